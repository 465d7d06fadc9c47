package flowgrpo

import (
	"fmt"
	"math"
	"testing"

	"github.com/denseflow/densereward/internal/numtest"
)

func TestSchedulesEqualDiffusers(t *testing.T) {
	for _, c := range readCases(t).Schedules {
		t.Run(fmt.Sprintf("%s shift %v, %d tokens, %d steps", c.Kind, c.Shift, c.ImageSeqLen, c.Steps), func(t *testing.T) {
			var got Schedule
			switch c.Kind {
			case "shift":
				got = NewSchedule(c.Steps, c.Shift)
			case "dynamic":
				mu := FluxShift().DynamicShift(c.ImageSeqLen)
				numtest.Value(t, "mu", mu, c.Mu, exact64)
				got = NewDynamicSchedule(c.Steps, mu)
			default:
				t.Fatalf("unknown kind %q", c.Kind)
			}
			withinOneULP(t, "sigma", got.Sigmas, c.Sigmas)
			withinOneULP(t, "timestep", got.Timesteps, c.Timesteps)
			for i, timestep := range got.Timesteps {
				if index, err := got.StepIndex(timestep); err != nil || index != i {
					t.Errorf("StepIndex(%v) = %d, %v, want %d", timestep, index, err, i)
				}
			}
		})
	}
}

func withinOneULP(t *testing.T, name string, got, want []float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d values of %s, want %d", len(got), name, len(want))
	}
	for i := range got {
		if n := numtest.ULPs(got[i], want[i]); n > 1 {
			t.Errorf("%s %d is %v, want %v: %d ulps", name, i, got[i], want[i], n)
		} else if n > 0 {
			t.Logf("%s %d is %v, want %v: %d ulps", name, i, got[i], want[i], n)
		}
	}
}

func TestScheduleOfOneStep(t *testing.T) {
	for name, s := range map[string]Schedule{"shift": NewSchedule(1, 3), "dynamic": NewDynamicSchedule(1, 0.63)} {
		if s.Steps() != 1 || s.Sigmas[0] != 1 || s.Sigmas[1] != 0 || s.Timesteps[0] != 1000 {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

func TestStepIndexOfARepeatedTimestep(t *testing.T) {
	s := Schedule{Sigmas: []float32{1, 0.5, 0.5, 0.5, 0}, Timesteps: []float32{1000, 500, 500, 500}}
	if index, err := s.StepIndex(500); err != nil || index != 2 {
		t.Errorf("StepIndex = %d, %v, want the second", index, err)
	}
	if _, err := s.StepIndex(501); err == nil {
		t.Error("a timestep outside the schedule is found")
	}
	if _, err := s.StepIndex(float32(math.NaN())); err == nil {
		t.Error("NaN is found")
	}
}

// The numbers are numpy's, for four steps of a 1024x1024 image.
func TestQwenImageScheduleIsStretched(t *testing.T) {
	mu := QwenImageShift().DynamicShift(4096)
	numtest.Value(t, "mu", mu, 0.6935483870967742, exact64)
	got := NewDynamicSchedule(4, mu).StretchTo(0.02)
	withinOneULP(t, "sigma", got.Sigmas, []float32{1, 0.7667093276977539, 0.45561373233795166, 0.019999980926513672, 0})
	for i, timestep := range got.Timesteps {
		numtest.Value(t, "timestep", timestep, float64(got.Sigmas[i]*1000), numtest.Tolerance{})
	}
}

func TestSchedulesRefuseNonsense(t *testing.T) {
	inf, nan := math.Inf(1), math.NaN()
	tests := []struct {
		name string
		call func()
		want string
	}{
		{"no steps", func() { NewSchedule(0, 3) }, "flowgrpo: a schedule of 0 steps"},
		{"no dynamic steps", func() { NewDynamicSchedule(-1, 1) }, "flowgrpo: a schedule of -1 steps"},
		{"a shift of zero", func() { NewSchedule(1, 0) }, "flowgrpo: a schedule's shift must be positive and finite, not 0"},
		{"an infinite shift", func() { NewSchedule(1, inf) }, "flowgrpo: a schedule's shift must be positive and finite, not +Inf"},
		{"a shift that is NaN", func() { NewSchedule(1, nan) }, "flowgrpo: a schedule's shift must be positive and finite, not NaN"},
		{"a mu that is NaN", func() { NewDynamicSchedule(1, nan) }, "flowgrpo: a schedule's mu must be finite, not NaN"},
		{"stretching to one", func() { NewSchedule(2, 1).StretchTo(1) }, "flowgrpo: cannot stretch a schedule of 2 steps to end in 1"},
		{"stretching one step", func() { NewSchedule(1, 1).StretchTo(0) }, "flowgrpo: cannot stretch a schedule of 1 steps to end in 0"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { expectPanic(t, test.want, test.call) })
	}
}

func expectPanic(t *testing.T, want string, call func()) {
	t.Helper()
	defer func() {
		t.Helper()
		if got := recover(); got != want {
			t.Errorf("panic %v, want %q", got, want)
		}
	}()
	call()
}
