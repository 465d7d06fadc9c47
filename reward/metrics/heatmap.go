package metrics

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/stat"

	"github.com/denseflow/densereward/reward"
)

// HeatmapMetrics compare one predicted heatmap with the truth. Where the truth
// is empty, that is all zero, only MSE has a meaning; the others are 0.
type HeatmapMetrics struct {
	Empty   bool    // the truth is all zero
	MSE     float64 // mean squared error
	CC      float64 // Pearson's correlation of the cells, in [-1,1]
	KLD     float64 // Kullback-Leibler divergence of the truth from the prediction, in nats; 0 is best
	SIM     float64 // histogram intersection, in [0,1]
	NSS     float64 // mean z-score of the prediction at the truth's fixations
	AUCJudd float64 // area under the ROC over those fixations, in [0,1]
}

// CompareHeatmaps compares two maps of one size. A cell of the truth above
// fixation counts as fixated for NSS and AUC-Judd; 0 is the usual choice. It
// fails for sizes that differ, no cells, and values that are not finite or are
// negative.
func CompareHeatmaps(predicted, truth reward.Map, fixation float64) (HeatmapMetrics, error) {
	if predicted.Height != truth.Height || predicted.Width != truth.Width {
		return HeatmapMetrics{}, fmt.Errorf("metrics: a heatmap of %dx%d beside a truth of %dx%d",
			predicted.Height, predicted.Width, truth.Height, truth.Width)
	}
	p, err := cells("the heatmap", predicted)
	if err != nil {
		return HeatmapMetrics{}, err
	}
	q, err := cells("the truth", truth)
	if err != nil {
		return HeatmapMetrics{}, err
	}
	m := HeatmapMetrics{MSE: squaredDistance(p, q) / float64(len(q)), Empty: slices.Max(q) == 0}
	if m.Empty {
		return m, nil
	}
	m.CC = pearson(p, q)
	m.KLD = divergence(density(p), density(q))
	m.SIM = intersection(density(p), density(q))
	at := fixations(q, fixation)
	m.NSS = scanpathSaliency(p, at)
	m.AUCJudd = aucJudd(p, at)
	return m, nil
}

func cells(name string, m reward.Map) ([]float64, error) {
	if m.Height < 1 || m.Width < 1 || len(m.Data) != m.Height*m.Width {
		return nil, fmt.Errorf("metrics: %s is %dx%d with %d values", name, m.Height, m.Width, len(m.Data))
	}
	if err := checkFinite(m.Data); err != nil {
		return nil, fmt.Errorf("metrics: %s: %w", name, err)
	}
	out := make([]float64, len(m.Data))
	for i, v := range m.Data {
		if v < 0 {
			return nil, fmt.Errorf("metrics: %s: value %d is %v, negative", name, i, v)
		}
		out[i] = float64(v)
	}
	return out, nil
}

func squaredDistance(p, q []float64) float64 {
	d := floats.Distance(p, q, 2)
	return d * d
}

// density divides a map by its sum; a map that is all zero becomes uniform.
func density(m []float64) []float64 {
	out := make([]float64, len(m))
	sum := floats.Sum(m)
	for i, v := range m {
		if out[i] = v / sum; sum == 0 {
			out[i] = 1 / float64(len(m))
		}
	}
	return out
}

// divergenceEpsilon is that of the MIT saliency benchmark's code (KLdiv.m),
// Matlab's eps.
const divergenceEpsilon = 2.2204e-16

// divergence is sum(q log(eps + q/(eps + p))).
func divergence(p, q []float64) float64 {
	var sum float64
	for i := range q {
		sum += q[i] * math.Log(divergenceEpsilon+q[i]/(divergenceEpsilon+p[i]))
	}
	return sum
}

// intersection is sum(min(p, q)).
func intersection(p, q []float64) float64 {
	var sum float64
	for i := range q {
		sum += min(p[i], q[i])
	}
	return sum
}

// fixations are the positions of the cells above threshold.
func fixations(truth []float64, threshold float64) []int {
	var at []int
	for i, v := range truth {
		if v > threshold {
			at = append(at, i)
		}
	}
	return at
}

// scanpathSaliency is NSS: the mean over fixations of (p - mean)/std.
func scanpathSaliency(p []float64, at []int) float64 {
	if len(at) == 0 || constant(p) {
		return 0
	}
	mean, std := stat.PopMeanStdDev(p, nil)
	if std == 0 {
		return 0
	}
	var sum float64
	for _, i := range at {
		sum += (p[i] - mean) / std
	}
	return sum / float64(len(at))
}

// aucJudd is the area, by trapezoids, under the curve of the share of fixated
// against the share of unfixated cells at or above each of the thresholds that
// are the values of fixated cells. Ties are not broken by noise.
func aucJudd(p []float64, at []int) float64 {
	negatives := len(p) - len(at)
	if len(at) == 0 || negatives == 0 {
		return 0.5
	}
	fixated := make([]bool, len(p))
	for _, i := range at {
		fixated[i] = true
	}
	order := ordered(len(p), func(a, b int) int { return cmp.Compare(p[b], p[a]) })
	var area, hits, alarms, lastHits, lastAlarms float64
	for first := 0; first < len(order); {
		threshold, met := p[order[first]], false
		for ; first < len(order) && p[order[first]] == threshold; first++ {
			if fixated[order[first]] {
				hits, met = hits+1, true
			} else {
				alarms++
			}
		}
		if met || first == len(order) {
			area += (alarms - lastAlarms) * (hits + lastHits) / 2
			lastHits, lastAlarms = hits, alarms
		}
	}
	return area / float64(len(at)) / float64(negatives)
}

// HeatmapSummary averages over samples, each metric over those to which it
// applies.
type HeatmapSummary struct {
	MSE         Mean `json:"mse"`
	MSEEmpty    Mean `json:"mse_empty"`     // samples whose truth is all zero
	MSENonEmpty Mean `json:"mse_non_empty"` // the others, as all below
	CC          Mean `json:"cc"`
	KLD         Mean `json:"kld"`
	SIM         Mean `json:"sim"`
	NSS         Mean `json:"nss"`
	AUCJudd     Mean `json:"auc_judd"`
}

// Add takes one more sample into the averages.
func (s *HeatmapSummary) Add(m HeatmapMetrics) {
	s.MSE.Add(m.MSE)
	if m.Empty {
		s.MSEEmpty.Add(m.MSE)
		return
	}
	s.MSENonEmpty.Add(m.MSE)
	s.CC.Add(m.CC)
	s.KLD.Add(m.KLD)
	s.SIM.Add(m.SIM)
	s.NSS.Add(m.NSS)
	s.AUCJudd.Add(m.AUCJudd)
}

// Mean is a running mean; its Value is 0 while N is.
type Mean struct {
	N     int     `json:"n"`
	Value float64 `json:"value"`
}

// Add takes one more value into the mean.
func (m *Mean) Add(v float64) {
	m.N++
	m.Value += (v - m.Value) / float64(m.N)
}
