package flowgrpo

import (
	"fmt"
	"math"
)

// Method is a way to step from x_t to x_{t-1}.
type Method int

const (
	// SDE is Flow-GRPO's reverse stochastic differential equation.
	SDE Method = iota
	// CPS is Coefficients-Preserving Sampling.
	CPS
	// ODE is the deterministic Euler step, used for evaluation.
	ODE
)

// String names the method as the reference's sde_type does.
func (m Method) String() string {
	switch m {
	case SDE:
		return "sde"
	case CPS:
		return "cps"
	case ODE:
		return "ode"
	}
	return fmt.Sprintf("Method(%d)", int(m))
}

// logSqrtTwoPi is log(sqrt(2 pi)) as the reference has it: torch makes pi a
// float32 whatever the type of the latents.
const logSqrtTwoPi = 0.9189385175704956

// Step is one transition of one image. Every method's mean is linear in what it
// starts from,
//
//	mean = SampleCoef x_t + OutputCoef v,
//
// with v the model output, the velocity. [Schedule.Step] makes it.
type Step struct {
	Method     Method
	Sigma      float64 // sigma_t
	SigmaPrev  float64 // sigma_{t-1}, the next in the schedule and the smaller
	StdDev     float64 // std_dev_t, as the reference returns it
	NoiseStd   float64 // standard deviation of x_{t-1} about its mean
	SampleCoef float64
	OutputCoef float64

	// The log-probability of a value at distance d from the mean is
	// LogNorm - Precision d^2, and the KL term is KLScale times the mean square
	// of the distance between two means.
	Precision, LogNorm, KLScale float64
}

// Step returns the transition from Sigmas[index] to Sigmas[index+1].
//
// noiseLevel is the reference's noise_level, 0.7 by default there: a of the
// Flow-GRPO paper for SDE, and for CPS a share of 90 degrees, 1 for all noise
// drawn afresh; ODE ignores it. A step without noise (ODE, noise
// level 0, the last step of CPS, a sigma that does not fall) has no density: its
// log-probability is the -d^2 that the reference gives to ODE and CPS steps, so
// that it is finite. Step panics if index is outside the schedule, noiseLevel is
// negative or not finite, or Sigmas[1] is 1 as well, which has no SDE.
func (s Schedule) Step(index int, method Method, noiseLevel float64) Step {
	if index < 0 || index >= s.Steps() {
		panic(fmt.Sprintf("flowgrpo: step %d of a schedule of %d steps", index, s.Steps()))
	}
	if !(noiseLevel >= 0) || !finite(noiseLevel) {
		panic(fmt.Sprintf("flowgrpo: noise level %v", noiseLevel))
	}
	step := Step{
		Method:    method,
		Sigma:     float64(s.Sigmas[index]),
		SigmaPrev: float64(s.Sigmas[index+1]),
		Precision: 1,
		KLScale:   1,
	}
	switch method {
	case SDE:
		step.setSDE(float64(s.Sigmas[1]), noiseLevel)
	case CPS:
		step.setCPS(noiseLevel)
	case ODE:
		step.SampleCoef, step.OutputCoef = 1, step.SigmaPrev-step.Sigma
	default:
		panic(fmt.Sprintf("flowgrpo: unknown method %v", method))
	}
	return step
}

// setSDE is the step of Flow-GRPO,
//
//	std_dev_t = a sqrt(sigma / (1-sigma))
//	mean      = x (1 + std_dev_t^2/(2 sigma) dt) + v (1 + std_dev_t^2 (1-sigma)/(2 sigma)) dt
//	x_{t-1}   ~ N(mean, std_dev_t^2 (-dt)).
//
// At sigma = 1, where std_dev_t is infinite, the 1-sigma below the root takes the
// second sigma. Written out, std_dev_t^2/(2 sigma) is a^2/(2 (1-sigma)), which
// does not divide by a vanishing sigma.
func (s *Step) setSDE(second, noiseLevel float64) {
	dt := s.SigmaPrev - s.Sigma
	below := s.Sigma
	if below == 1 {
		below = second
	}
	if below >= 1 {
		panic(fmt.Sprintf("flowgrpo: an SDE step at sigma %v", below))
	}
	s.StdDev = math.Sqrt(s.Sigma/(1-below)) * noiseLevel
	s.NoiseStd = s.StdDev * math.Sqrt(-dt)
	drift := noiseLevel * noiseLevel / (2 * (1 - below))
	s.SampleCoef = 1 + drift*dt
	s.OutputCoef = (1 + drift*(1-s.Sigma)) * dt
	if s.NoiseStd > 0 {
		s.Precision = 1 / (2 * s.NoiseStd * s.NoiseStd)
		s.LogNorm = -math.Log(s.NoiseStd) - logSqrtTwoPi
		s.KLScale = 1 / (2 * s.StdDev * s.StdDev)
	}
}

// setCPS is Coefficients-Preserving Sampling: with the predictions of both ends,
//
//	x_0 = x - sigma v,  x_1 = x + (1-sigma) v,
//	std_dev_t = sigma_{t-1} sin(noiseLevel pi/2)
//	mean      = (1-sigma_{t-1}) x_0 + sqrt(sigma_{t-1}^2 - std_dev_t^2) x_1
//	x_{t-1}   ~ N(mean, std_dev_t^2),
//
// the noise in x_{t-1} keeps the level of the schedule. Constants are left out of
// its log-probability, which is -d^2, and of its KL term.
func (s *Step) setCPS(noiseLevel float64) {
	s.StdDev = s.SigmaPrev * math.Sin(noiseLevel*math.Pi/2)
	s.NoiseStd = math.Abs(s.StdDev)
	noise := math.Sqrt(math.Max(0, s.SigmaPrev*s.SigmaPrev-s.StdDev*s.StdDev))
	s.SampleCoef = (1 - s.SigmaPrev) + noise
	s.OutputCoef = noise*(1-s.Sigma) - s.Sigma*(1-s.SigmaPrev)
}
