// Package imagedoctor is the ImageDoctor evaluator (arXiv 2510.01010) on ONNX
// Runtime: a picture and its prompt in; four scores, two heatmaps of flaws and
// the model's own words out.
//
// The checkpoint folder is used as it was published: config.json, safetensors
// shards, tokenizer.json, and preprocessor_config.json and
// generation_config.json where they are. Load builds one ONNX graph from it, in
// which every weight is a place in a shard; nothing is converted or copied
// beforehand. What the published config.json leaves out has Qwen2.5-VL's value
// and is checked against the tensors' shapes, but for what no shape tells: the
// number of vision heads, the window and the blocks with full attention.
//
// # The graph
//
// B pictures, T prompt tokens of all of them standing behind each other, in any
// lengths.
//
//	input              type    shape            what
//	pictures           uint8   (B,504,504,3)    RGB, resized as the reference does
//	token_ids          int64   (T)              prompts, with a token for each 2x2 patches
//	image_slots        int64   (B*324)          places of those tokens among the T
//	lengths            int64   (B)              tokens of each prompt
//	longest            int64   ()               the largest of them
//	pad_index          int64   (B,S)            token at each place of padded rows (not with pages)
//	pack_index         int64   (T)              place of each token in padded rows (not with pages)
//	head_parts         int64   (n,m)            rows that go through the heads together
//	max_new_tokens     int64   ()               at least 1
//	draft_state        int64   ()               where in its wording an answer begins (with guesses)
//	token_rows         int64   (T)              row of each token (with a penalty)
//	repetition_penalty float32 ()               (with a penalty)
//
//	output             type    shape            what
//	generated_ids      int64   (B,N)            a row's end token, again, behind its end
//	heatmaps           float32 (B,2,288,288)    misalignment and artifact in [0,1]; 0 where missing
//
// Sizes are the released checkpoint's; all are read from the configuration and
// the tensors. Decoding is a Loop inside the graph, so that neither cache nor
// logits leave the device.
//
// On a CPU everything is float32 and rows are padded. On CUDA the vision tower
// and the language model are bfloat16, the heads float16 with sums in float32,
// and the cache lies in pages that PagedAttention fills in place.
//
// # Conventions
//
// Pictures are RGB, three bytes a pixel, row by row, of any size and aspect; a
// heatmap covers the whole of its picture. Weights are (out,in), as checkpoints
// store them. A merged unit of 2x2 patches is one image token; the units of a
// picture are in raster order wherever they leave the vision tower. Results own
// their memory. An Evaluator may be used by many callers at once.
//
// # Details
//
//  1. A picture is squashed to 512x512 with Pillow's bicubic and then resized
//     to 504x504 with torchvision's: two filters that differ in their rounding.
//     See package resize. A still image is its own second frame.
//  2. Window attention: patches are put in an order in which windows lie
//     together and windows of one size form a batch. Order among patches means
//     nothing to attention; the merger's 2x2 stay together. 18x18 units in
//     windows of 4x4 leave strips at the right and lower edges: windows of 64, 32
//     and 16 patches [transformers, get_window_index].
//  3. Vision heads turn with the patch's row in their first half and its column
//     in their second, at base 10000. The elements of a head's queries and keys
//     are stored here so that the pairs that turn are neighbours, which changes
//     none of their products.
//  4. M-RoPE: all prompts begin alike, so that a token's index tells its three
//     positions. Text counts on; the picture keeps its time and counts rows and
//     columns; text goes on behind the largest [transformers, get_rope_index].
//  5. The greatest logit is taken, the first one of equals, as torch's argmax
//     does on a CPU. top_k 1 or a temperature near 0 mean the same and are not
//     read.
//  6. The repetition penalty falls on every token of the prompt, the picture's
//     included, and on the answer's [transformers,
//     RepetitionPenaltyLogitsProcessor]. Where generation_config.json names one
//     it holds, as generate has it.
//  7. A heatmap comes from the hidden state, after the last norm, of the token
//     before the first <|misalignment|> or <|artifact|>. One that is the very
//     first generated token does not count: the reference looks for them from the
//     second on [ImageDoctor]. Without one the map is 0.
//  8. The heads are SAM's mask decoder without its quality token: a
//     TwoWayTransformer of depth 2, a hypernetwork, and the prompt encoder's
//     random Fourier positions and no_mask_embed; its other tensors are not read.
//     The first layer's self-attention adds neither positions nor a residual.
//     Positions of the tokens are the tokens themselves as they came in. The mask
//     token's product with the upscaled features is the map, before a sigmoid
//     [segment-anything].
//  9. What the upscaling network calls LayerNorm divides by the root mean
//     square over the channels, with 1e-8 under the root. Its first two
//     convolutions are rectified before that norm, all later ones after it.
//  10. Guesses: an answer's wording is fixed but for its digits. A step runs the
//     newest token and what is guessed to follow, and takes over the guesses
//     that the model itself would have written, up to its own token behind the
//     first wrong one. The tokens are those of steps of one, as far as the
//     highest logit is the same in sums of another order.
//  11. A text is what the model wrote, special tokens included, behind what it was
//     forced to begin with. The reference's text is without both; its scores are
//     found in either.
//  12. Special tokens spelt in a caption are not recognised: a caption cannot
//     end its turn. With the reference it can.
//
// # Sources
//
//	[transformers] github.com/huggingface/transformers, 4.57
//	    src/transformers/models/qwen2_5_vl/modeling_qwen2_5_vl.py
//	    src/transformers/generation/logits_process.py
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
// float32 on a CPU. Tokens and texts are the same; from the same pictures
// features and logits differ by 3e-7 of their size and heatmaps by 2e-5 at most.
//
// PERFORMANCE.md has the figures of speed.
package imagedoctor
