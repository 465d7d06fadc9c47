package metrics

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

// Interval is an estimate with the bounds of its confidence interval.
type Interval struct {
	Value float64 `json:"value"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
}

// MeanInterval is the mean of values with Student's interval at a level such as
// 0.95. One value is an interval without width. It fails for no values, ones
// that are not finite, and a level outside (0,1).
func MeanInterval(values []float64, level float64) (Interval, error) {
	if err := checkSample("mean", values, level); err != nil {
		return Interval{}, err
	}
	n := float64(len(values))
	if constant(values) {
		return Interval{values[0], values[0], values[0]}, nil
	}
	mean, std := stat.MeanStdDev(unit(values), nil)
	t := distuv.StudentsT{Sigma: 1, Nu: n - 1}.Quantile((1 + level) / 2)
	half, scale := t*std/math.Sqrt(n), largest(values)
	i := Interval{mean * scale, (mean - half) * scale, (mean + half) * scale}
	if err := checkFinite([]float64{i.Value, i.Low, i.High}); err != nil {
		return Interval{}, fmt.Errorf("metrics: the interval of a mean is too large: %w", err)
	}
	return i, nil
}

// Wins counts comparisons that were won, tied and lost.
type Wins struct {
	Won  int `json:"won"`
	Tied int `json:"tied"`
	Lost int `json:"lost"`
}

// CountWins compares a with b pair by pair; the larger wins. It is how one model
// beats another on the same prompts, and how often an evaluator prefers what
// people preferred.
func CountWins(a, b []float64) (Wins, error) {
	var w Wins
	if err := checkPairs(a, b, 0); err != nil {
		return w, fmt.Errorf("metrics: pairs: %w", err)
	}
	for i := range a {
		switch {
		case a[i] > b[i]:
			w.Won++
		case a[i] == b[i]:
			w.Tied++
		default:
			w.Lost++
		}
	}
	return w, nil
}

// N is the number of comparisons.
func (w Wins) N() int { return w.Won + w.Tied + w.Lost }

// Rate is the share of wins, ties counting one half, with Wilson's interval,
//
//	(p + z²/2n ± z sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n).
//
// For preference pairs it is the pairwise accuracy. Of no comparisons it is 0 in
// [0,1].
func (w Wins) Rate(level float64) Interval {
	n := float64(w.N())
	if n == 0 {
		return Interval{0, 0, 1}
	}
	p := (float64(w.Won) + float64(w.Tied)/2) / n
	z := distuv.UnitNormal.Quantile((1 + level) / 2)
	centre := p + z*z/(2*n)
	half := z * math.Sqrt(p*(1-p)/n+z*z/(4*n*n))
	scale := 1 + z*z/n
	return Interval{p, max(0, (centre-half)/scale), min(1, (centre+half)/scale)}
}

// Comparison is one model against another on the same prompts.
type Comparison struct {
	Difference Interval `json:"difference"` // mean of a-b with its percentile interval
	// P is the share of resampled differences that lie on the other side of 0,
	// doubled: how surprising the difference would be if there were none. It is
	// never below 1/rounds.
	P float64 `json:"p"`
	Wins
	WinRate Interval `json:"win_rate"`
}

// Compare resamples the pairs rounds times (the paired bootstrap; Koehn 2004).
// The same source gives the same answer.
func Compare(a, b []float64, level float64, rounds int, source rand.Source) (Comparison, error) {
	if err := checkPairs(a, b, 1); err != nil {
		return Comparison{}, fmt.Errorf("metrics: comparison: %w", err)
	}
	differences := make([]float64, len(a))
	for i := range a {
		differences[i] = a[i] - b[i]
	}
	resampled, err := resample(len(a), level, rounds, source, func(sample []int) (float64, error) {
		return meanOf(differences, sample), nil
	})
	if err != nil {
		return Comparison{}, err
	}
	c := Comparison{Difference: percentiles(stat.Mean(differences, nil), resampled, level)}
	if err := checkFinite([]float64{c.Difference.Value, c.Difference.Low, c.Difference.High}); err != nil {
		return Comparison{}, fmt.Errorf("metrics: comparison: the difference is too large: %w", err)
	}
	c.P = pValue(c.Difference.Value, resampled)
	if c.Wins, err = CountWins(a, b); err != nil {
		return Comparison{}, err
	}
	c.WinRate = c.Wins.Rate(level)
	return c, nil
}

func pValue(estimate float64, resampled []float64) float64 {
	if estimate == 0 {
		return 1
	}
	var other float64
	for _, v := range resampled {
		if v == 0 || (v > 0) != (estimate > 0) {
			other++
		}
	}
	n := float64(len(resampled))
	return min(1, max(1/n, 2*other/n))
}

// Bootstrap is the percentile interval of any statistic of n samples, such as a
// correlation: statistic is given the indices of the samples to take, some more
// than once.
func Bootstrap(n int, level float64, rounds int, source rand.Source, statistic func(sample []int) (float64, error)) (Interval, error) {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	estimate, err := statistic(all)
	if err != nil {
		return Interval{}, err
	}
	resampled, err := resample(n, level, rounds, source, statistic)
	if err != nil {
		return Interval{}, err
	}
	return percentiles(estimate, resampled, level), nil
}

func resample(n int, level float64, rounds int, source rand.Source, statistic func(sample []int) (float64, error)) ([]float64, error) {
	if n < 1 || rounds < 1 || !(level > 0 && level < 1) {
		return nil, fmt.Errorf("metrics: bootstrap: %d samples, %d rounds, level %v; at least one of each and a level within (0,1) are needed", n, rounds, level)
	}
	random := rand.New(source)
	resampled := make([]float64, rounds)
	sample := make([]int, n)
	for r := range resampled {
		for i := range sample {
			sample[i] = random.IntN(n)
		}
		var err error
		if resampled[r], err = statistic(sample); err != nil {
			return nil, err
		}
	}
	return resampled, nil
}

// percentiles sorts resampled and takes the bounds from it, interpolating
// linearly between order statistics as numpy.percentile does.
func percentiles(estimate float64, resampled []float64, level float64) Interval {
	slices.Sort(resampled)
	at := func(share float64) float64 {
		position := share * float64(len(resampled)-1)
		below := int(position)
		above := min(below+1, len(resampled)-1)
		return resampled[below] + (resampled[above]-resampled[below])*(position-float64(below))
	}
	return Interval{estimate, at((1 - level) / 2), at((1 + level) / 2)}
}

func meanOf(values []float64, sample []int) float64 {
	var sum float64
	for _, i := range sample {
		sum += values[i]
	}
	return sum / float64(len(sample))
}

func checkSample(name string, values []float64, level float64) error {
	if len(values) == 0 {
		return fmt.Errorf("metrics: %s of no values", name)
	}
	if !(level > 0 && level < 1) {
		return fmt.Errorf("metrics: %s: level %v lies outside (0,1)", name, level)
	}
	if err := checkFinite(values); err != nil {
		return fmt.Errorf("metrics: %s: %w", name, err)
	}
	return nil
}
