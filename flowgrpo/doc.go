// Package flowgrpo is the mathematics of Flow-GRPO, DenseFlow-GRPO and
// BoxFlow-GRPO, reinforcement learning of flow-matching image models: everything
// on the policy's side of the loss. A trainer that runs the network and the
// optimiser needs nothing else.
//
// # The way through the package
//
//  1. [NewSchedule] or [NewDynamicSchedule] sets up the sigmas; [Schedule.Step]
//     gives the transition of one image.
//  2. [SampleStep] draws x_{t-1} with noise from the prompt's [PromptSource];
//     [LogProb] scores it, per image and per location.
//  3. [GroupAdvantages] turns scalar rewards into advantages, [MapAdvantages]
//     dense ones; [StatTracker] keeps a prompt's rewards over several batches.
//     Package dense makes weights and dense rewards from heatmaps and boxes.
//     [TrainingMask] drops what teaches nothing.
//  4. A [FusedLoss] of [FlowGRPO], [DenseFlowGRPO] or [BoxFlowGRPO] returns the
//     loss with its diagnostics and the gradient by the model output, which goes
//     back into the network.
//
// The Examples go this way from a heatmap to a gradient.
//
// # Methods
//
// Every loss takes a dense map: a weight or advantage for each latent location, which
// enters by [Credit] unless the table says otherwise. Equal everywhere, the detached
// form of a method is its image-level form.
//
//	method          what it computes                            dense map             source
//	Flow-GRPO       max(-A r, -A clip(r)), r of the image       none                  2505.05470 [flow_grpo]
//	DenseFlow-GRPO  rho(l) = sg(r) p(l) / sg(p(l))              w = 1-H, or A(l)      2510.01010 [ImageDoctor]
//	BoxFlow-GRPO    rho(l) = exp(log p(l) - log p_old(l))       A(l) of R_D           2606.06113 [SDG]
//	TempFlow-GRPO   A Norm(std_dev_t sqrt(-dt)): NoiseWeights   w                     2508.04324 [TempFlow]
//	STAR            A(l) = A M(l): MaskAdvantages               M                     2606.17979, its abstract; star.py
//	GDPO            whitened sum of A_k: GDPOAdvantages         R_k(l)                2601.05242 [GDPO]
//	DenseGRPO       dR_t = R_{t-1} - R_t: StepGains             R_t(l)                2601.20218; code 2602.06422
//	MixGRPO         steps in a moving window: package mixgrpo   that of the loss      2507.21802 [MixGRPO]
//	GRPO-Guard      r = exp(mean(e delta)/s): trustregion       w, A(l)               2510.22319 [flow_grpo]
//	Flow-DPPO       -M A r, M by divergence: trustregion        w, A(l), M(l)         2606.11025 [UniRL]
//	DiffusionNFT    r |x+ - x_0|^2 + ..(x-): forward             r(l) of A(l) w(l)     2509.16117 [DiffusionNFT]
//	AWM             log p = -mean((u-v)^2): forward             w, A(l)               2509.25050 [AWM]
//	Diffusion-DPO   -log sigmoid of a pair's errors: forward    w of the errors       2311.12908 [DiffusionDPO]
//
// # Notation
//
//	paper, reference code      here
//	x_t, sample                Sample, latents at sigma
//	x_{t-1}, prev_sample       PrevSample, latents at the next and smaller sigma
//	v_theta, model_output      ModelOutput, the velocity that the model predicts
//	sigma, sigma_prev          Step.Sigma, Step.SigmaPrev
//	dt                         SigmaPrev - Sigma, negative
//	a, noise_level             noiseLevel
//	sigma_t, std_dev_t         Step.StdDev
//	std_dev_t sqrt(-dt)        Step.NoiseStd
//	log p                      LogProb, the mean over channels and locations
//	log p(l), log_prob map     LogProbMap, the mean over channels at location l
//	R, R_D(l)                  rewards of an image and of its locations
//	H(l), 1-H(l)               heatmap of flaws, Batch.Weight
//	A, A(l)                    Advantages, AdvantageMap
//	rho, r                     likelihood ratio; r is that of the whole image
//	epsilon, clip_range        Loss.ClipRange
//	adv_clip_max               Loss.AdvantageClip
//	beta                       Loss.KLBeta
//	sg                         gradient stop ("detach")
//	B, C, H, W; L, D           batch, channels, height, width; tokens, token width
//
// # Conventions
//
// Tensors are contiguous slices in row-major order, (B,C,H,W) or packed (B,L,D),
// as [Shape] says; maps are (B,H*W) or (B,L). Elements are float32 or float64.
// Every sum, and every number between a load and a store, is float64, and numbers
// per image and diagnostics stay so. Functions fill buffers of the caller, in full
// or, for the optional ones, not at all.
//
// A wrong length, an unknown option or a missing input is a programming mistake
// and panics with a message that names it. Trouble that comes with the data (NaN
// or infinity in rewards, latents or advantages, an empty group) is an error that
// names the sample; no function writes a NaN advantage or returns a NaN loss
// without one. Nothing here keeps a reference to a caller's memory, reads a clock
// or draws from a source that was not passed in.
//
// # Sources
//
// Papers: Flow-GRPO, arXiv 2505.05470; Flow-CPS, arXiv 2509.05952; ImageDoctor with
// DenseFlow-GRPO, arXiv 2510.01010; BoxFlow-GRPO, section 4.2 of arXiv 2606.06113.
// Code, each file at the commit that was read:
//
//	[diffusers] github.com/huggingface/diffusers
//	    src/diffusers/schedulers/scheduling_flow_match_euler_discrete.py
//	        03186e1f59b84d637dde86acfde8577a864776fc
//	    src/diffusers/pipelines/flux/pipeline_flux.py
//	        02edb0f33a34ce8ac971545df7809216b01547e9
//	[flow_grpo] github.com/yifan123/flow_grpo
//	    flow_grpo/diffusers_patch/sd3_sde_with_logprob.py
//	        54809b5fcf4d3930d2a17fa553928704bd0b719e
//	    flow_grpo/stat_tracking.py, scripts/train_sd3_gardo.py
//	        94e23ee5405ab7241fc1f75d30cac8147e2b1f53
//	    scripts/train_sd3.py
//	        74db69191de9a0a54869c9c3341ce4b54db7005f
//	[FlowCPS] github.com/IamCreateAI/FlowCPS
//	    flow_grpo/diffusers_patch/sd3_sde_with_logprob.py, scripts/train_sd3.py
//	        814c35979d9ee3563178373bccca0605ded6ffa9
//	[ImageDoctor] github.com/EthanG97/ImageDoctor
//	    modify/flow_grpo/scripts/train_sd3_hp.py
//	        f541579a9c2e4ae498a81667f3c719695cfcab6f (the published form, 1-H)
//	        66da035126a08efc386a61953028a09de3db4563 (the paper's form, R (1-H))
//	[SDG] github.com/nianbai006/SDG, folder boxflow_grpo
//	    src/flow_factory/trainers/dense_grpo.py,
//	    src/flow_factory/advantage/dense_advantage_processor.py,
//	    src/flow_factory/scheduler/dense_flow_match_euler_discrete.py
//	        80144d644e894eeb154e92dc578e5fc4ada22b84
//
// and, for the methods beyond these, run by testdata/methods.py into methods.json.gz,
//
//	[TempFlow]     github.com/Shredded-Pork/TempFlow-GRPO, scripts/train_sd3_pr.py
//	        e66824eca96d2b41cfd70fd1879650ae1ea5892e
//	[GDPO]         github.com/NVlabs/GDPO
//	    trl-GDPO/trl-0.18.0-gdpo/trl/trainer/grpo_trainer.py
//	        b080e63d0126870ad08acc8ebc3f04b728175a9e
//	[Flow-Factory] github.com/X-GenGroup/Flow-Factory
//	    src/flow_factory/advantage/advantage_processor.py
//	        a0b2bc5a2b4fbf9125429b3fb70c0c5d7631047c
//
// with those of packages mixgrpo, trustregion and forward, which name theirs.
//
// testdata/cases.json.gz holds results of this code, computed in float64 but for
// the schedules, which are float32 as published. The tests hold float64 to 1e-9
// relative or 1e-12 absolute, float32 to 2e-5, and schedules to one unit in the
// last place.
//
// # Details that matter
//
// Schedules [diffusers].
//
//  1. A fixed shift is applied twice: once in the scheduler's constructor, whose
//     largest and smallest sigma then bound the timesteps, and once to the sigmas
//     of those timesteps. With shift 3 the last sigma of ten steps is 0.0089, not
//     0.0030 or 0.001.
//  2. Sigmas and timesteps are float32; a fixed shift is computed in float64 and
//     rounded, a dynamic one in float32. A step's index is found by comparing
//     float32 timesteps for equality, and a repeated timestep means the second.
//
// Steps [flow_grpo, sd3_sde_with_logprob.py].
//
//  3. At sigma = 1 std_dev_t would be infinite; the 1-sigma under its root, and
//     there only, takes Sigmas[1].
//  4. std_dev_t does not contain sqrt(-dt): the noise of a step is NoiseStd, while
//     the KL term divides by 2 StdDev^2.
//  5. log(sqrt(2 pi)) is a float32 constant there even for float64 latents. It is
//     used as it is here; it cancels in every ratio.
//  6. Log-probabilities are means, not sums, over channels and locations. That
//     keeps ratios near 1 and is why clip ranges such as 1e-4 make sense.
//  7. CPS leaves constants and the division by the variance out of log p, which is
//     -d^2, so that its last step, which has no noise, is finite [FlowCPS]. Every
//     step without noise is treated so here; the reference has NaN for an SDE step
//     at noise level 0.
//
// Advantages [flow_grpo, stat_tracking.py].
//
//  8. Standard deviations are the population's, and 1e-4 is added. With a global
//     deviation it is that of the current batch, while the mean stays that of the
//     prompt's whole record.
//  9. The record of a prompt is kept until Clear. In the reference a second call
//     with the same prompt fails, because the record has become an array that
//     cannot be extended.
//  10. DPO prefers the second image to the first where all rewards are equal. A
//     prompt with one image, where the reference fails, gets 0.
//  11. The mean of equal rewards may round away from them and leave advantages of
//     1e-12 that the mask takes for useful. Equal rewards have deviation 0 and
//     advantages 0 here.
//  12. BoxFlow-GRPO's deviation is the sample's, clamped from below [SDG]. The
//     trainer's default floor is 0.1, its published run sets 1e-6, and the paper
//     adds a small constant instead; a single image has NaN there and 0 here.
//  13. The global deviation of a dense reward is over prompts and locations alike
//     [ImageDoctor].
//  14. Smoothing (package dense) takes advantages that are normalised already, and they are not
//     normalised again [SDG, dense_advantage_processor.py].
//  15. The mask puts dropped samples back until the count divides, but only if
//     enough were dropped; otherwise the count is left as it is.
//
// Losses [flow_grpo, train_sd3.py; ImageDoctor; SDG].
//
//  16. The published DenseFlow-GRPO multiplies a scalar advantage by 1-H. Its
//     advantage therefore sums to zero over a group only where H is 0.
//  17. The detached ratio divides by sg(p) + 1e-10, not sg(p): it is short of r by
//     1e-10/p, and vanishes with its gradient where log p(l) is below about -23.
//     It is r everywhere else, so a location is clipped when its image is.
//  18. approx_kl and the clip fractions of DenseFlow-GRPO are those of the image's
//     ratio, BoxFlow-GRPO's those of the locations.
//  19. Advantages are clamped to 5 by default, before the weight; BoxFlow-GRPO
//     clamps none.
//  20. KL is the mean square of mean - mean_ref over 2 StdDev^2 for SDE steps and
//     undivided for CPS [FlowCPS]. [SDG] offers the mean square of the means or of
//     the velocities, undivided: scale KLBeta for those. Because the mean is linear
//     in the model output, the difference of two means is OutputCoef (v - v_ref),
//     which is exact where subtracting two rounded means is not.
//  21. The derivative of every form of ratio with respect to its own log p is the
//     ratio itself. Inside the clip range both arms of the maximum carry the
//     gradient; outside, only the unclipped one does, where it is the larger.
//
// # Performance
//
// A [FusedLoss] goes over the latents once: it scores an image, keeping the
// distances from the mean, and differentiates it while they are in the core's
// cache. It allocates nothing after its first call. PERFORMANCE.md has figures.
package flowgrpo
