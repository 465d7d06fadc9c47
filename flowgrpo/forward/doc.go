// Package forward has the losses that train on the forward process: images are noised
// anew, x_t = (1-t) x_0 + t eps, and the model's velocity is compared with eps - x_0.
// They need no transitions, so that any solver may sample: [DiffusionNFT], [AWM] and
// [DiffusionDPO].
//
// With u = eps - x_0 the velocity that noised the image, every loss is a function of
// the errors u - v of the policy that is trained, of the one that sampled (old) and of
// the reference. Notation and conventions are those of package flowgrpo; Sigma is t.
// A dense map enters as [flowgrpo.Credit] or, for pairs, as a weight of the errors at
// each location; equal everywhere it leaves the image-level form.
//
// Sums are float64 throughout. A wrong length panics; trouble that comes with the
// data is an error that names the image. The public code, which the tests run against,
// is
//
//	[DiffusionNFT] github.com/NVlabs/DiffusionNFT, scripts/train_nft_sd3.py
//	               24af5554898d85e93efa492f42b5e9cdf4156e9b
//	[AWM]          github.com/scxue/advantage_weighted_matching
//	               advantage_weighted_matching/scripts/train_sd3_awm.py
//	               be5137232e33a21b449ed65a533211d0deb97ed8
//	[Flow-Factory] github.com/X-GenGroup/Flow-Factory
//	               src/flow_factory/trainers/{awm,nft,dpo}.py
//	               a0b2bc5a2b4fbf9125429b3fb70c0c5d7631047c
//	[verl-omni]    github.com/verl-project/verl-omni
//	               verl_omni/trainer/diffusion/diffusion_algos.py
//	               a1139bafffb5b9711f0a6b6edff8ecaa60bfff30
package forward
