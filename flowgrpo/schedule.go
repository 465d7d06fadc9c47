package flowgrpo

import (
	"fmt"
	"math"
	"slices"
)

// trainTimesteps is num_train_timesteps of every published flow model.
const trainTimesteps = 1000

// Schedule is the noise schedule of one sampling run, as diffusers'
// FlowMatchEulerDiscreteScheduler sets it up. Sigma 1 is pure noise, 0 the image.
//
// The values are float32 because the scheduler's are: a trainer finds the step of
// a timestep by comparing bits.
type Schedule struct {
	Sigmas    []float32 // (n+1), decreasing from 1 and ending in 0
	Timesteps []float32 // (n), 1000 times the sigmas
}

// NewSchedule returns the schedule of n steps with a fixed shift: 3 for Stable
// Diffusion 3, 1 for none. It panics if n is below 1 or shift is not positive.
//
// The scheduler shifts twice: it spaces n timesteps between its largest and
// smallest sigma, which its constructor has already shifted, and shifts those.
func NewSchedule(n int, shift float64) Schedule {
	checkSteps(n)
	if !(shift > 0) || math.IsInf(shift, 1) {
		panic(fmt.Sprintf("flowgrpo: a schedule's shift must be positive and finite, not %v", shift))
	}
	highest, lowest := shiftedOnce(1, shift), shiftedOnce(float32(1)/trainTimesteps, shift)
	sigmas := linspace(float64(highest)*trainTimesteps, float64(lowest)*trainTimesteps, n)
	s := Schedule{Sigmas: make([]float32, n+1), Timesteps: make([]float32, n)}
	for i, timestep := range sigmas {
		sigma := timestep / trainTimesteps
		s.set(i, float32(shift*sigma/(1+float64((shift-1)*sigma))))
	}
	return s
}

// shiftedOnce is the shift in the scheduler's constructor, in float32. Here and
// below a product is converted to its own type before it is added, which keeps
// the compiler from fusing the two into one rounding.
func shiftedOnce(sigma float32, shift float64) float32 {
	return float32(shift) * sigma / (1 + float32(float32(shift-1)*sigma))
}

// NewDynamicSchedule returns the schedule of n steps from sigma 1 to 1/n with the
// exponential time shift mu, as the pipelines of FLUX and Qwen-Image ask for it;
// [ShiftRange.DynamicShift] gives mu. It panics if n is below 1 or mu is not
// finite.
func NewDynamicSchedule(n int, mu float64) Schedule {
	checkSteps(n)
	if !finite(mu) {
		panic(fmt.Sprintf("flowgrpo: a schedule's mu must be finite, not %v", mu))
	}
	s := Schedule{Sigmas: make([]float32, n+1), Timesteps: make([]float32, n)}
	shift := float32(math.Exp(mu))
	for i, sigma := range linspace(1, 1/float64(n), n) {
		s.set(i, shift/(shift+(1/float32(sigma)-1)))
	}
	return s
}

// ShiftRange is how the time shift mu of a model grows with the length of its
// image sequence: on the line through (BaseSeqLen, BaseShift) and (MaxSeqLen,
// MaxShift).
type ShiftRange struct {
	BaseSeqLen, MaxSeqLen int
	BaseShift, MaxShift   float64
}

// FluxShift is the range in FLUX.1's scheduler configuration.
func FluxShift() ShiftRange {
	return ShiftRange{BaseSeqLen: 256, MaxSeqLen: 4096, BaseShift: 0.5, MaxShift: 1.15}
}

// QwenImageShift is the range in Qwen-Image's scheduler configuration, which also
// stretches its schedules ([Schedule.StretchTo]).
func QwenImageShift() ShiftRange {
	return ShiftRange{BaseSeqLen: 256, MaxSeqLen: 8192, BaseShift: 0.5, MaxShift: 0.9}
}

// DynamicShift is mu for an image of the given number of packed tokens.
func (r ShiftRange) DynamicShift(imageSeqLen int) float64 {
	slope := (r.MaxShift - r.BaseShift) / float64(r.MaxSeqLen-r.BaseSeqLen)
	return float64(float64(imageSeqLen)*slope) + (r.BaseShift - float64(slope*float64(r.BaseSeqLen)))
}

// StretchTo returns the schedule stretched so that its last sigma before 0 is
// terminal, the scheduler's shift_terminal: 0.02 for Qwen-Image. It panics unless
// terminal is at least 0 and below 1, and for a schedule of one step, which has
// nothing to stretch.
func (s Schedule) StretchTo(terminal float64) Schedule {
	n := s.Steps()
	if !(terminal >= 0 && terminal < 1) || n < 2 {
		panic(fmt.Sprintf("flowgrpo: cannot stretch a schedule of %d steps to end in %v", n, terminal))
	}
	stretched := Schedule{Sigmas: make([]float32, n+1), Timesteps: make([]float32, n)}
	scale := (1 - s.Sigmas[n-1]) / float32(1-terminal)
	for i, sigma := range s.Sigmas[:n] {
		stretched.set(i, 1-(1-sigma)/scale)
	}
	return stretched
}

// Steps is one less than there are sigmas.
func (s Schedule) Steps() int { return len(s.Timesteps) }

// StepIndex finds the step of a timestep by exact comparison. Where a timestep
// occurs twice it is the second, which is what diffusers does so that a start in
// the middle of the schedule skips no sigma. It fails for a timestep that is not
// in the schedule.
func (s Schedule) StepIndex(timestep float32) (int, error) {
	first := slices.Index(s.Timesteps, timestep)
	if first < 0 {
		return 0, fmt.Errorf("flowgrpo: timestep %v is not in the schedule of %d steps", timestep, s.Steps())
	}
	if second := slices.Index(s.Timesteps[first+1:], timestep); second >= 0 {
		return first + 1 + second, nil
	}
	return first, nil
}

func (s Schedule) set(i int, sigma float32) {
	s.Sigmas[i] = sigma
	s.Timesteps[i] = sigma * trainTimesteps
}

func checkSteps(n int) {
	if n < 1 {
		panic(fmt.Sprintf("flowgrpo: a schedule of %d steps", n))
	}
}

// linspace is numpy's: n values from start, the last of which is exactly stop.
func linspace(start, stop float64, n int) []float64 {
	values := make([]float64, n)
	if n == 1 {
		values[0] = start
		return values
	}
	step := (stop - start) / float64(n-1)
	for i := range values {
		values[i] = float64(float64(i)*step) + start
	}
	values[n-1] = stop
	return values
}
