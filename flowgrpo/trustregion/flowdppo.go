package trustregion

import "github.com/denseflow/densereward/flowgrpo"

// FlowDPPO is the loss of Flow-DPPO (arXiv 2606.11025),
//
//	L = mean of -M A w r,
//	M = 0 where D >= Threshold and the ratio has moved with its advantage
//	      (A w > 0 and r > 1, or A w < 0 and r < 1), and 1 elsewhere,
//	D = mean(delta^2) / (2 NoiseStd^2), the divergence of the step's two Gaussians,
//
// so that a step is stopped by how far the policy has moved rather than by the ratio,
// which is one noisy sample of that. [UniRL], [verl-omni]; advantages are not clamped
// there. D is a mean over channels and locations, as log-probabilities are.
type FlowDPPO struct {
	Ratio     flowgrpo.Ratio
	Threshold float64 // of D; 1e-5 in the public code
	KLBeta    float64
	// Unscaled leaves the noise out of D, which is then mean(delta^2) / 2: the public
	// code with add_kl_coefficient off.
	Unscaled bool
}

func (f FlowDPPO) settings() settings { return settings{f.Ratio, f.Threshold, 0, f.KLBeta} }

func (f FlowDPPO) check(int, *flowgrpo.Step) {}

func (f FlowDPPO) logRatio(step *flowgrpo.Step, cross, square float64) float64 {
	return step.Precision * (2*cross - square)
}

func (f FlowDPPO) slope(step *flowgrpo.Step, e, delta float64) float64 {
	return 2 * step.Precision * (e - delta)
}

func (f FlowDPPO) divergence(step *flowgrpo.Step, square float64) float64 {
	if f.Unscaled {
		return square / 2
	}
	return gaussianKL(step, square)
}

func (f FlowDPPO) policy(_ *flowgrpo.Step, credit, ratio, divergence float64) (loss, slope float64, masked bool) {
	if divergence >= f.Threshold && (credit > 0 && ratio > 1 || credit < 0 && ratio < 1) {
		return 0, 0, true
	}
	return -credit * ratio, -credit * ratio, false
}
