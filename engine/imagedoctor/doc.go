// Package imagedoctor is the ImageDoctor evaluator (arXiv 2510.01010) on ONNX
// Runtime: an image and its prompt in; four scores, two heatmaps of flaws and
// the model's own words out.
//
// The checkpoint folder is used as it was published: config.json, safetensors
// shards, tokenizer.json, and preprocessor_config.json and
// generation_config.json where they are. Load builds one ONNX graph from it, in
// which every weight is a place in a shard; nothing is converted or copied
// beforehand. The vision tower and the language model are package qwenvl's; here are
// prompts, answers and the heatmap heads.
//
// # The graph
//
// B images with their prompts. Beside the inputs of package qwenvl the graph has
//
//	input              type    shape            what
//	head_parts         int64   (n,m)            rows that go through the heads together
//	head_grid          int64   (2)              rows and columns of every image's units
//	cell_centres       float32 (units,2)        column and row of each one's centre, in [-1,1]
//
//	output             type    shape            what
//	generated_ids      int64   (B,N)            a row's end token, again, behind its end
//	heatmaps           float32 (B,2,16*rows,16*cols) misalignment and artifact in [0,1]; 0 where missing
//
// On a CPU everything is float32. On CUDA the vision tower and the language model
// are bfloat16, the heads float16 with sums in float32.
//
// # Conventions
//
// Images are RGB, three bytes a pixel, row by row, of any size and aspect; a heatmap
// covers the whole of its image. Results own their memory. An Evaluator may be used
// by many callers at once.
//
// # Details
//
//  1. An image is squashed to 512x512 and then resized to 504x504, both with
//     Pillow's bicubic: the published scripts hand images to qwen_vl_utils, which
//     leaves nothing to resize to the processor. With ResizeArea it keeps its aspect
//     at that area, as in inference.py.
//  2. A heatmap comes from the hidden state, after the last norm, of the token
//     before the first <|misalignment|> or <|artifact|>. One that is the very
//     first generated token does not count: the reference looks for them from the
//     second on [ImageDoctor]. Without one the map is 0
//     and named as missing.
//  3. The heads are SAM's mask decoder without its quality token: a
//     TwoWayTransformer of depth 2, a hypernetwork, and the prompt encoder's
//     random Fourier positions and no_mask_embed; its other tensors are not read.
//     The first layer's self-attention adds neither positions nor a residual.
//     Positions of the tokens are the tokens themselves as they came in. The mask
//     token's product with the upscaled features is the map, before a sigmoid
//     [segment-anything].
//  4. What the upscaling network calls LayerNorm divides by the root mean
//     square over the channels, with 1e-8 under the root. Its first two
//     convolutions are rectified before that norm, all later ones after it.
//  5. Scores and boxes are read from what the model generated; the text of a result
//     has the answer prefix before that. The reference's text is without special
//     tokens; its scores are the same.
//  6. Special tokens spelt in a caption are not recognised: a caption cannot
//     end its turn. With the reference it can.
//
// # Sources
//
//	[segment-anything] github.com/facebookresearch/segment-anything
//	    segment_anything/modeling/transformer.py, mask_decoder.py
//	        571794162e0887c15d12b809505b902c7bf8b4db
//	    segment_anything/modeling/prompt_encoder.py
//	        f89f35aedc93adc8a106215883650c7c47c13448
//	[ImageDoctor] github.com/EthanG97/ImageDoctor
//	    inference.py
//	        67f146d6cd1fc22d7fee2ac67f6a426bf5244212
//	    modify/flow_grpo/flow_grpo/doctor_hp.py
//	        66da035126a08efc386a61953028a09de3db4563
//
// testdata/cases holds what the reference computes with the nano checkpoint in
// float32 on a CPU. Tokens and texts are the same; from the same images
// features and logits differ by 3e-7 of their size and heatmaps by 2e-5 at most. Its
// images went through the processor's own resize, with torch's filter.
//
// PERFORMANCE.md has the figures of speed.
package imagedoctor
