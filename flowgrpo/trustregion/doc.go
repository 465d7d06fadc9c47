// Package trustregion has the policy losses that replace the plain clip of the
// likelihood ratio: [GRPOGuard], which normalises the ratio before it is clipped, and
// [FlowDPPO], which masks by the exact divergence of the step's two Gaussians.
//
// Notation and conventions are those of package flowgrpo. Both losses need the mean
// under the policy that sampled; [Batch.OldModelOutput] stands for it, because the
// means differ by OutputCoef (v - v_old), which is exact where subtracting two
// rounded means is not. With e = x_{t-1} - mean_old and delta = mean - mean_old,
//
//	log p - log p_old = Precision mean_c(2 e delta - delta^2).
//
// Each loss takes every [flowgrpo.Ratio]: one for the image, one that has the image's
// value and a local gradient, and one for each location. The dense map enters as
// [flowgrpo.Credit]; with equal credit at every location the detached form is the
// image's, in value and gradient.
//
// Sums are float64 throughout. A wrong length panics; trouble that comes with the
// data is an error that names the image. The public code, which the tests run
// against, is
//
//	[flow_grpo]    github.com/yifan123/flow_grpo, scripts/train_sd3_GRPO_Guard.py, as
//	               github.com/zhtmike/flow_grpo has it at
//	               2e2f712e9feb19246fa0db9527878e2766b5353f
//	[verl-omni]    github.com/verl-project/verl-omni
//	               verl_omni/trainer/diffusion/diffusion_algos.py
//	               a1139bafffb5b9711f0a6b6edff8ecaa60bfff30
//	[UniRL]        github.com/Tencent-Hunyuan/UniRL, unirl/algorithms/flowdppo.py
//	               1a7b501e8fe8517b432a130220d2ff462f9b5afa
//	[Flow-Factory] github.com/X-GenGroup/Flow-Factory
//	               src/flow_factory/trainers/grpo.py
//	               a0b2bc5a2b4fbf9125429b3fb70c0c5d7631047c
package trustregion
