package flowgrpo

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/denseflow/densereward/internal/numtest"
)

// caseSchedule is the schedule of all step and loss cases.
func caseSchedule() Schedule { return NewSchedule(10, 3) }

func stepsAt(s Schedule, indexes []int, method Method, noiseLevel float64) []Step {
	steps := make([]Step, len(indexes))
	for i, index := range indexes {
		steps[i] = s.Step(index, method, noiseLevel)
	}
	return steps
}

func latentsOf(shape [4]int) Shape { return Latents(shape[0], shape[1], shape[2], shape[3]) }

// pack turns (B,C,L) into (B,L,C).
func pack[T Float](values []T, shape Shape) []T {
	packed := make([]T, len(values))
	for i, v := range values {
		image, rest := i/(shape.Channels*shape.Locations), i%(shape.Channels*shape.Locations)
		channel, location := rest/shape.Locations, rest%shape.Locations
		packed[(image*shape.Locations+location)*shape.Channels+channel] = v
	}
	return packed
}

func packed(shape Shape) Shape {
	return PackedLatents(shape.Batch, shape.Locations, shape.Channels)
}

func TestStepsEqualTheReference(t *testing.T) {
	for i, c := range readCases(t).Steps {
		for method, want := range map[Method]stepOut{SDE: c.SDE, CPS: c.CPS} {
			t.Run(fmt.Sprintf("case %d %v", i, method), func(t *testing.T) {
				checkStep[float64](t, c, method, want, exact64)
			})
			t.Run(fmt.Sprintf("case %d %v float32", i, method), func(t *testing.T) {
				// A mean near zero is a difference of numbers near one, each
				// rounded to 2^-24 on its way in.
				checkStep[float32](t, c, method, want, numtest.Tolerance{Abs: 1e-6, Rel: exact32.Rel})
			})
		}
	}
}

func checkStep[T Float](t *testing.T, c stepCase, method Method, want stepOut, tol numtest.Tolerance) {
	t.Helper()
	shape := latentsOf(c.Shape)
	steps := stepsAt(caseSchedule(), c.StepIndex, method, c.NoiseLevel)
	for image, step := range steps {
		numtest.Value(t, "std_dev_t", step.StdDev, want.StdDev[image], exact64)
	}
	output, sample, prev := convert[T](c.ModelOutput), convert[T](c.Sample), convert[T](c.PrevSample)
	mean, logProb, logProbMap := make([]T, shape.Len()), make([]float64, shape.Batch), make([]T, shape.MapLen())

	StepMean(mean, shape, steps, output, sample)
	numtest.Slice(t, "mean", mean, want.Mean, tol)
	LogProb(logProb, logProbMap, shape, steps, output, sample, prev)
	numtest.Slice(t, "log-prob", logProb, want.LogProb, tol)
	numtest.Slice(t, "log-prob map", logProbMap, want.LogProbMap, tol)

	clear(logProb)
	clear(logProbMap)
	LogProb(logProb, logProbMap, packed(shape), steps, pack(output, shape), pack(sample, shape), pack(prev, shape))
	numtest.Slice(t, "log-prob of packed latents", logProb, want.LogProb, tol)
	numtest.Slice(t, "log-prob map of packed latents", logProbMap, want.LogProbMap, tol)
}

func TestTransitionsAllocateNothing(t *testing.T) {
	shape := Latents(1, 2, 50, 100)
	steps := stepsAt(caseSchedule(), []int{3}, SDE, 0.7)
	sample, prev := make([]float32, shape.Len()), make([]float32, shape.Len())
	logProb, logProbMap := make([]float64, 1), make([]float32, shape.MapLen())
	noise := []NormSource{PromptSource("a cat", 0)}
	allocs := testing.AllocsPerRun(10, func() {
		StepMean(prev, shape, steps, sample, sample)
		SampleStep(prev, shape, steps, sample, sample, noise)
		LogProb(logProb, logProbMap, shape, steps, sample, sample, prev)
	})
	if allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

func TestODEStepIsEulers(t *testing.T) {
	shape, schedule := Latents(1, 1, 1, 2), caseSchedule()
	steps := []Step{schedule.Step(3, ODE, 0.7)}
	sample, output, prev := []float64{1, -2}, []float64{0.5, 4}, []float64{0, 0}
	dt := float64(schedule.Sigmas[4]) - float64(schedule.Sigmas[3])
	want := []float64{1 + 0.5*dt, -2 + 4*dt}
	SampleStep(prev, shape, steps, output, sample, nil)
	numtest.Slice(t, "next latents", prev, want, exact64)
	logProb := make([]float64, 1)
	LogProb(logProb, nil, shape, steps, output, sample, []float64{want[0] + 2, want[1]})
	numtest.Value(t, "log-prob", logProb[0], -(4.0+0)/2, exact64)
}

func TestAnSDEWithoutNoiseIsTheODE(t *testing.T) {
	schedule := caseSchedule()
	for index := range schedule.Steps() {
		sde, ode := schedule.Step(index, SDE, 0), schedule.Step(index, ODE, 0)
		numtest.Value(t, "sample coefficient", sde.SampleCoef, ode.SampleCoef, exact64)
		numtest.Value(t, "output coefficient", sde.OutputCoef, ode.OutputCoef, exact64)
	}
}

func TestStepsAreFiniteAtEveryLimit(t *testing.T) {
	repeated := Schedule{Sigmas: []float32{1, 0.5, 0.5, 0, 0}, Timesteps: []float32{1000, 500, 500, 0}}
	schedules := map[string]Schedule{"ten steps": caseSchedule(), "one step": NewSchedule(1, 3), "dynamic": NewDynamicSchedule(4, 1.15),
		"a sigma that repeats and one that is 0": repeated}
	shape := Latents(1, 2, 1, 1)
	for name, schedule := range schedules {
		for _, method := range []Method{SDE, CPS, ODE} {
			for _, noiseLevel := range []float64{0, 0.7, 1} {
				t.Run(fmt.Sprintf("%s, %v, noise %v", name, method, noiseLevel), func(t *testing.T) {
					for index := range schedule.Steps() {
						steps := []Step{schedule.Step(index, method, noiseLevel)}
						prev, logProb := make([]float64, 2), make([]float64, 1)
						output, sample := []float64{0.3, -1}, []float64{1, 2}
						rng := rand.New(rand.NewPCG(1, 1))
						SampleStep(prev, shape, steps, output, sample, []NormSource{rng})
						LogProb(logProb, nil, shape, steps, output, sample, prev)
						for _, v := range []float64{prev[0], prev[1], logProb[0], steps[0].KLScale} {
							if !finite(v) {
								t.Errorf("step %d: %v, log-prob %v, KL scale %v", index, prev, logProb, steps[0].KLScale)
							}
						}
					}
				})
			}
		}
	}
}

// The noise of many draws has the mean and deviation that the step says.
func TestSampledNoiseHasTheStepsDeviation(t *testing.T) {
	const n = 20000
	shape := Latents(1, 1, 1, n)
	output, sample := numtest.Normals(rand.New(rand.NewPCG(5, 1)), n), numtest.Normals(rand.New(rand.NewPCG(5, 2)), n)
	for _, method := range []Method{SDE, CPS} {
		steps := []Step{caseSchedule().Step(4, method, 0.7)}
		mean, prev := make([]float64, n), make([]float64, n)
		StepMean(mean, shape, steps, output, sample)
		SampleStep(prev, shape, steps, output, sample, []NormSource{rand.New(rand.NewPCG(5, 3))})
		var sum, squares float64
		for i := range prev {
			d := (prev[i] - mean[i]) / steps[0].NoiseStd
			sum += d
			squares += d * d
		}
		// Four standard errors of a mean and of a variance of n draws.
		numtest.Value(t, "mean", sum/n, 0, numtest.Tolerance{Abs: 4 / math.Sqrt(n)})
		numtest.Value(t, "variance", squares/n, 1, numtest.Tolerance{Abs: 4 * math.Sqrt(2.0/n)})
	}
}

func TestNoiseIsReproducibleByPrompt(t *testing.T) {
	shape := Latents(3, 2, 2, 2)
	steps := stepsAt(caseSchedule(), []int{1, 1, 1}, SDE, 0.7)
	sample := make([]float32, shape.Len())
	draw := func(base int64) []float32 {
		prev := make([]float32, shape.Len())
		noise := []NormSource{PromptSource("a cat", base), PromptSource("a dog", base), PromptSource("a cat", base)}
		SampleStep(prev, shape, steps, sample, sample, noise)
		return prev
	}
	first, again, other := draw(3), draw(3), draw(4)
	size := len(first) / 3
	if fmt.Sprint(first) != fmt.Sprint(again) {
		t.Error("the same seeds draw different noise")
	}
	if fmt.Sprint(first[:size]) != fmt.Sprint(first[2*size:]) {
		t.Error("one prompt draws two noises")
	}
	if fmt.Sprint(first[:size]) == fmt.Sprint(first[size:2*size]) || fmt.Sprint(first) == fmt.Sprint(other) {
		t.Error("another prompt or base draws the same noise")
	}
}

// The numbers are Python's, for (base + int(sha256(prompt)[:4])) % 2**31.
func TestPromptSeedEqualsTheReference(t *testing.T) {
	tests := []struct {
		prompt string
		base   int64
		want   uint64
	}{
		{"", 0, 1672528962},
		{"a photo of a cat", 0, 981019455},
		{"a photo of a cat", 20003, 981039458},
		{"a photo of a cat", -2000000000, 1128503103},
		{"ein Hündchen", 1 << 31, 177350280},
	}
	for _, test := range tests {
		if got := PromptSeed(test.prompt, test.base); got != test.want {
			t.Errorf("PromptSeed(%q, %d) = %d, want %d", test.prompt, test.base, got, test.want)
		}
	}
}
