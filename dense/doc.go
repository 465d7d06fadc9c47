// Package dense turns heatmaps of flaws into reward maps on the latent grid of
// a flow model, in the forms of DenseFlow-GRPO and BoxFlow-GRPO. It is pure
// arithmetic and knows neither evaluators nor servers.
//
// # Notation
//
//	R         scalar reward of an image
//	H(h,w)    heatmap on the latent grid, in [0,1], 1 where the image is flawed
//	1-H(h,w)  weight map
//	R_D(h,w)  dense reward map
//	W(h,w)    importance/100 of the most important box that covers the cell
//	alpha     penalty of a box of importance 100
//	c         alpha in units of the group's reward standard deviation
//
// # Forms
//
//	DenseFlow, published code   weight 1-H                              [Weight]
//	DenseFlow, paper            R_D = R (1-H)                           [Reward]
//	BoxFlow                     R_D = R - alpha_art W_art - alpha_mis W_mis  [BoxReward]
//
// A heatmap reaches the grid by adaptive average pooling ([AdaptiveAvgPool]);
// several heatmaps are pooled first and combined afterwards ([Combine]). Advantages
// made of reward maps may be smoothed ([SmoothMaps]).
//
// # Conventions
//
// Maps are row major, height before width. A packed grid (FLUX, Qwen-Image) has
// one cell per token, and its row-major order is the order of the tokens, so a
// map of Height*Width cells is a (L) vector of tokens without any copying.
// Functions fill a caller's buffer, dst, which may be the source itself where
// the two have the same length. Sums are carried in float64 whatever the
// element type. A buffer of the wrong length is a programming mistake and
// panics; a grid, box or reward that came from outside is answered by an error.
// NaN in a heatmap stays NaN in the cells that it touches and in no others.
//
// # Performance
//
// Pooling a heatmap of 288x288 to 64x64 takes 0.13 ms on one core of an Intel Xeon
// at 2.6 GHz, a box map of 64x64 with three boxes 0.03 ms (go test -bench .), and
// neither allocates.
//
// # Sources
//
//   - ImageDoctor and DenseFlow-GRPO, arXiv 2510.01010. The weight 1-H is in
//     github.com/EthanG97/ImageDoctor, modify/flow_grpo/scripts/train_sd3_hp.py
//     at commit f541579a9c2e4ae498a81667f3c719695cfcab6f, the map R (1-H) in the
//     same file at commit 66da035126a08efc386a61953028a09de3db4563; pooling and
//     the mean of the two heatmaps are in modify/flow_grpo/flow_grpo/doctor_hp.py
//     at the latter.
//   - BoxFlow-GRPO, arXiv 2606.06113, equation 4. Its code is in
//     github.com/nianbai006/SDG,
//     boxflow_grpo/src/flow_factory/utils/pixel_reward_map.py and
//     boxflow_grpo/src/flow_factory/trainers/dense_grpo.py at commit
//     80144d644e894eeb154e92dc578e5fc4ada22b84. It lets boxes with different
//     unknown labels add up, which one label of artifacts here does not.
//   - Adaptive average pooling has the semantics of torch's
//     nn.functional.adaptive_avg_pool2d.
package dense
