package metrics

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/denseflow/densereward/internal/numtest"
	"github.com/denseflow/densereward/reward"
)

// float64 on both sides; sums are taken in other orders.
var exact = numtest.Tolerance{Abs: 1e-9, Rel: 1e-9}

// goldens is testdata/goldens.json.gz, which goldens.py makes.
type goldens struct {
	Correlations []struct {
		X, Y                []float64
		PLCC, SRCC, Kendall float64
	}
	Heatmaps []struct {
		Height, Width          int
		Predicted, Truth       []float32
		MSE, CC, KLD, SIM, NSS float64
		AUCJudd                float64 `json:"auc_judd"`
	}
	Presence []struct {
		Predicted, Truth                 []float64
		Threshold, Precision, Recall, F1 float64
	}
	Boxes []struct {
		Predicted, Truth []goldenBox
		Threshold        float64
		Matched          int
	}
	Means []struct {
		Values                  []float64
		Level, Value, Low, High float64
	}
	Rates []struct {
		Won, Lost        int
		Level, Low, High float64
	}
	Percentiles []struct {
		Resampled        []float64
		Level, Low, High float64
	}
}

type goldenBox struct {
	Box   [4]float64 `json:"box_2d"`
	Label string
}

func readGoldens(t *testing.T) goldens {
	t.Helper()
	file, err := os.Open("testdata/goldens.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	z, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	var g goldens
	if err := json.NewDecoder(z).Decode(&g); err != nil {
		t.Fatal(err)
	}
	if len(g.Correlations) == 0 || len(g.Heatmaps) == 0 || len(g.Presence) == 0 || len(g.Boxes) == 0 || len(g.Means) == 0 || len(g.Rates) == 0 || len(g.Percentiles) == 0 {
		t.Fatal("goldens.json.gz lacks a part")
	}
	return g
}

func TestCorrelationsAreThoseOfSciPy(t *testing.T) {
	for i, c := range readGoldens(t).Correlations {
		got, err := Correlate(c.X, c.Y)
		if err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprintf("case %d: ", i)
		numtest.Value(t, name+"PLCC", got.PLCC, c.PLCC, exact)
		numtest.Value(t, name+"SRCC", got.SRCC, c.SRCC, exact)
		numtest.Value(t, name+"Kendall", got.Kendall, c.Kendall, exact)
	}
}

// Values by Python's fractions from the doubles given, where scipy says of itself that it may
// be inaccurate: it gives .913, .773, and overflows.
func TestCorrelationsOfSmallDeviationsAreExact(t *testing.T) {
	for _, c := range []struct {
		x, y []float64
		want float64
	}{
		{[]float64{1, 1 + 1e-16, 1 + 2e-16, 1 + 3e-16, 1 + 4e-16}, []float64{1, 2, 3, 4, 5}, 0.944911182523068},
		{[]float64{1e8, 1e8 + 1e-8, 1e8 + 2e-8, 1e8 + 3e-8, 1e8 + 4e-8, 1e8 + 5e-8}, []float64{1, 3, 2, 4, 6, 5}, 0.9710083124552245},
		{[]float64{math.MaxFloat64, -math.MaxFloat64, 0}, []float64{1, -1, 0}, 1},
		{[]float64{0, 5e-324, 1e-323}, []float64{1, 2, 3}, 1},
	} {
		got, err := Correlate(c.x, c.y)
		if err != nil {
			t.Fatal(err)
		}
		numtest.Value(t, fmt.Sprint(c.x), got.PLCC, c.want, exact)
	}
}

func TestMapMetricsAreThoseOfPysaliency(t *testing.T) {
	for i, c := range readGoldens(t).Heatmaps {
		got, err := CompareHeatmaps(reward.Map{Height: c.Height, Width: c.Width, Data: c.Predicted},
			reward.Map{Height: c.Height, Width: c.Width, Data: c.Truth}, 0)
		if err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprintf("case %d: ", i)
		numtest.Value(t, name+"MSE", got.MSE, c.MSE, exact)
		numtest.Value(t, name+"CC", got.CC, c.CC, exact)
		numtest.Value(t, name+"KLD", got.KLD, c.KLD, exact)
		numtest.Value(t, name+"SIM", got.SIM, c.SIM, exact)
		numtest.Value(t, name+"NSS", got.NSS, c.NSS, exact)
		numtest.Value(t, name+"AUC-Judd", got.AUCJudd, c.AUCJudd, exact)
	}
}

func TestPresenceIsThatOfScikitLearn(t *testing.T) {
	for i, c := range readGoldens(t).Presence {
		got, err := Presence(c.Predicted, c.Truth, c.Threshold)
		if err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprintf("case %d: ", i)
		numtest.Value(t, name+"precision", got.Precision(), c.Precision, exact)
		numtest.Value(t, name+"recall", got.Recall(), c.Recall, exact)
		numtest.Value(t, name+"F1", got.F1(), c.F1, exact)
	}
}

func boxesOf(golden []goldenBox) []reward.Box {
	boxes := make([]reward.Box, len(golden))
	for i, b := range golden {
		boxes[i] = reward.Box{Coords: b.Box, Label: b.Label}
	}
	return boxes
}

func TestBoxesAreMatchedAsThePublishedSDGEvalMatchesThem(t *testing.T) {
	for i, c := range readGoldens(t).Boxes {
		want := Detection{c.Matched, len(c.Predicted) - c.Matched, len(c.Truth) - c.Matched}
		if got := MatchBoxes(boxesOf(c.Predicted), boxesOf(c.Truth), c.Threshold); got != want {
			t.Errorf("case %d: %+v, want %+v", i, got, want)
		}
	}
}

func TestIntervalsAreThoseOfSciPyAndNumPy(t *testing.T) {
	g := readGoldens(t)
	for i, c := range g.Means {
		got, err := MeanInterval(c.Values, c.Level)
		if err != nil {
			t.Fatal(err)
		}
		checkInterval(t, fmt.Sprintf("mean %d", i), got, Interval{c.Value, c.Low, c.High})
	}
	for i, c := range g.Rates {
		got := Wins{Won: c.Won, Lost: c.Lost}.Rate(c.Level)
		checkInterval(t, fmt.Sprintf("rate %d", i), got, Interval{float64(c.Won) / float64(c.Won+c.Lost), c.Low, c.High})
	}
	for i, c := range g.Percentiles {
		checkInterval(t, fmt.Sprintf("percentiles %d", i), percentiles(7, slices.Clone(c.Resampled), c.Level), Interval{7, c.Low, c.High})
	}
}

func checkInterval(t *testing.T, name string, got, want Interval) {
	t.Helper()
	numtest.Value(t, name+": value", got.Value, want.Value, exact)
	numtest.Value(t, name+": low", got.Low, want.Low, exact)
	numtest.Value(t, name+": high", got.High, want.High, exact)
}

func heatmap(height, width int, values ...float32) reward.Map {
	return reward.Map{Height: height, Width: width, Data: values}
}

func TestDegenerateInputsHaveTheValuesThatAreDocumented(t *testing.T) {
	constant, varied := []float64{0.1, 0.1, 0.1}, []float64{1, 2, 3}
	for _, pair := range [][2][]float64{{constant, varied}, {varied, constant}, {constant, constant}} {
		if got, err := Correlate(pair[0], pair[1]); err != nil || got != (Correlations{N: 3}) {
			t.Errorf("correlation of %v with %v: %+v, %v", pair[0], pair[1], got, err)
		}
	}
	zero, uniform, half, full := heatmap(1, 2, 0, 0), heatmap(1, 2, 0.5, 0.5), heatmap(1, 2, 0, 1), heatmap(1, 2, 0.25, 0.75)
	for _, c := range []struct {
		name             string
		predicted, truth reward.Map
		want             HeatmapMetrics
	}{
		{"an empty truth", half, zero, HeatmapMetrics{Empty: true, MSE: 0.5}},
		{"two empty maps", zero, zero, HeatmapMetrics{Empty: true}},
		{"an empty prediction is uniform", zero, half, HeatmapMetrics{MSE: 0.5, KLD: math.Log(2), SIM: 0.5, AUCJudd: 0.5}},
		{"a constant prediction", uniform, half, HeatmapMetrics{MSE: 0.25, KLD: math.Log(2), SIM: 0.5, AUCJudd: 0.5}},
		{"every cell fixated", half, full, HeatmapMetrics{MSE: 0.0625, CC: 1, KLD: 0.75*math.Log(0.75) + 0.25*math.Log(0.25/2.2204e-16), SIM: 0.75, AUCJudd: 0.5}},
	} {
		got, err := CompareHeatmaps(c.predicted, c.truth, 0)
		if err != nil {
			t.Fatal(err)
		}
		numtest.Slice(t, c.name, []float64{got.MSE, got.CC, got.KLD, got.SIM, got.NSS, got.AUCJudd},
			[]float64{c.want.MSE, c.want.CC, c.want.KLD, c.want.SIM, c.want.NSS, c.want.AUCJudd}, exact)
		if got.Empty != c.want.Empty {
			t.Errorf("%s: empty %v", c.name, got.Empty)
		}
	}
	if got := (Wins{}).Rate(0.95); got != (Interval{0, 0, 1}) {
		t.Errorf("the rate of no comparisons is %v", got)
	}
	if d := (Detection{}); d.Precision() != 0 || d.Recall() != 0 || d.F1() != 0 {
		t.Error("a detection of nothing is not 0")
	}
	if got, err := MeanInterval([]float64{3}, 0.95); err != nil || got != (Interval{3, 3, 3}) {
		t.Errorf("the mean of one value: %v, %v", got, err)
	}
}

func TestIntervalsOfAnySizeScale(t *testing.T) {
	values := []float64{-1, 2, 5, 3.5}
	want, err := MeanInterval(values, 0.95)
	if err != nil {
		t.Fatal(err)
	}
	for _, scale := range []float64{1e-300, 1e300} {
		scaled := make([]float64, len(values))
		for i, v := range values {
			scaled[i] = v * scale
		}
		got, err := MeanInterval(scaled, 0.95)
		if err != nil {
			t.Fatal(err)
		}
		checkInterval(t, fmt.Sprint(scale), Interval{got.Value / scale, got.Low / scale, got.High / scale}, want)
	}
	most := []float64{math.MaxFloat64, -math.MaxFloat64}
	if _, err := MeanInterval(most, 0.95); err == nil || !strings.Contains(err.Error(), "too large") {
		t.Errorf("error %v", err)
	}
	if _, err := Compare(most, []float64{-math.MaxFloat64, 0}, 0.95, 10, rand.NewPCG(1, 2)); err == nil || !strings.Contains(err.Error(), "too large") {
		t.Errorf("error %v", err)
	}
}

func TestSummariesLeaveOutWhatDoesNotApply(t *testing.T) {
	var s HeatmapSummary
	s.Add(HeatmapMetrics{Empty: true, MSE: 0.5})
	s.Add(HeatmapMetrics{MSE: 0.1, CC: 0.2})
	s.Add(HeatmapMetrics{MSE: 0.3, CC: 0.6})
	numtest.Value(t, "MSE", s.MSE.Value, 0.3, exact)
	numtest.Value(t, "MSE, empty", s.MSEEmpty.Value, 0.5, exact)
	numtest.Value(t, "MSE, non-empty", s.MSENonEmpty.Value, 0.2, exact)
	numtest.Value(t, "CC", s.CC.Value, 0.4, exact)
	if s.MSE.N != 3 || s.MSEEmpty.N != 1 || s.CC.N != 2 {
		t.Errorf("counts %d, %d, %d", s.MSE.N, s.MSEEmpty.N, s.CC.N)
	}
}

// The exact distribution of the resampled mean is known where samples are few:
// all n^n draws. At this level both bounds lie in the middle of a step.
func TestTheBootstrapFindsTheExactDistributionOfFewSamples(t *testing.T) {
	values := []float64{0, 1, 3, 7}
	var all []float64
	for i := range 4 * 4 * 4 * 4 {
		all = append(all, (values[i%4]+values[i/4%4]+values[i/16%4]+values[i/64])/4)
	}
	want := percentiles(2.75, all, 0.8)
	got, err := Bootstrap(len(values), 0.8, 100000, rand.NewPCG(1, 2), func(sample []int) (float64, error) {
		return meanOf(values, sample), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	checkInterval(t, "mean", got, want)
}

func TestAComparisonIsReproducibleAndSymmetric(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	a, b := make([]float64, 80), make([]float64, 80)
	for i := range a {
		b[i] = random.NormFloat64()
		a[i] = b[i] + 0.5 + random.NormFloat64()
	}
	ab, err := Compare(a, b, 0.95, 2000, rand.NewPCG(5, 6))
	if err != nil {
		t.Fatal(err)
	}
	again, _ := Compare(a, b, 0.95, 2000, rand.NewPCG(5, 6))
	ba, _ := Compare(b, a, 0.95, 2000, rand.NewPCG(5, 6))
	if ab != again {
		t.Errorf("%+v, then %+v", ab, again)
	}
	checkInterval(t, "difference", ba.Difference, Interval{-ab.Difference.Value, -ab.Difference.High, -ab.Difference.Low})
	numtest.Value(t, "p", ba.P, ab.P, exact)
	if ab.Won != ba.Lost || ab.Lost != ba.Won || ab.N() != 80 {
		t.Errorf("wins %+v and %+v", ab.Wins, ba.Wins)
	}
	if !(ab.Difference.Low > 0) || ab.P > 0.05 {
		t.Errorf("a difference of half a deviation over 80 pairs is not seen: %+v", ab)
	}
	same, err := Compare(a, a, 0.95, 100, rand.NewPCG(5, 6))
	if err != nil || same.P != 1 || same.Difference != (Interval{}) || same.WinRate.Value != 0.5 {
		t.Errorf("a model against itself: %+v, %v", same, err)
	}
}

func TestUnusableInputsAreNamed(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	source := func() rand.Source { return rand.NewPCG(1, 2) }
	mean := func([]int) (float64, error) { return 0, nil }
	_, lengths := Correlate([]float64{1, 2}, []float64{1})
	_, few := Correlate([]float64{1}, []float64{1})
	_, notNumber := Correlate([]float64{1, nan}, []float64{1, 2})
	_, infinite := Presence([]float64{inf}, []float64{1}, 0)
	_, sizes := CompareHeatmaps(heatmap(1, 2, 0, 0), heatmap(2, 1, 0, 0), 0)
	_, short := CompareHeatmaps(heatmap(1, 2, 0), heatmap(1, 2, 0, 0), 0)
	_, negative := CompareHeatmaps(heatmap(1, 2, 0, 0), heatmap(1, 2, 0, -1), 0)
	_, nothing := MeanInterval(nil, 0.95)
	_, level := MeanInterval([]float64{1}, 95)
	_, rounds := Bootstrap(3, 0.95, 0, source(), mean)
	_, pairs := Compare(nil, nil, 0.95, 10, source())
	for want, err := range map[string]error{
		"metrics: correlation: 2 values beside 1":               lengths,
		"metrics: correlation: 1 values, at least 2 are needed": few,
		"metrics: correlation: value 1 is NaN":                  notNumber,
		"metrics: presence: value 0 is +Inf":                    infinite,
		"metrics: a heatmap of 1x2 beside a truth of 2x1":       sizes,
		"metrics: the heatmap is 1x2 with 1 values":             short,
		"metrics: the truth: value 1 is -1, negative":           negative,
		"metrics: mean of no values":                            nothing,
		"metrics: mean: level 95 lies outside (0,1)":            level,
		"metrics: bootstrap: 3 samples, 0 rounds, level 0.95; at least one of each and a level within (0,1) are needed": rounds,
		"metrics: comparison: 0 values, at least 1 are needed":                                                          pairs,
	} {
		if err == nil || err.Error() != want {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}
