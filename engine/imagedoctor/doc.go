// Package imagedoctor is the ImageDoctor evaluator (arXiv 2510.01010) on ONNX
// Runtime: a picture and its prompt in; four scores, two heatmaps of flaws and
// the model's own words out.
//
// The checkpoint folder is used as it was published: config.json, safetensors
// shards, tokenizer.json, and preprocessor_config.json and
// generation_config.json where they are. Load builds one ONNX graph from it, in
// which every weight is a place in a shard; nothing is converted or copied
// beforehand.
//
// # The graph
//
// B pictures, T prompt tokens of all of them standing behind each other, in any
// lengths.
//
//	input            type     shape            what
//	pictures         uint8    (B,504,504,3)    RGB, resized as the reference does
//	token_ids        int64    (T)              prompts, with a token for each 2x2 patches
//	image_slots      int64    (B*324)          places of those tokens among the T
//	lengths          int64    (B)              tokens of each prompt
//	longest          int64    ()               the largest of them
//	pad_index        int64    (B,S)            token at each place of padded rows (not with pages)
//	pack_index       int64    (T)              place of each token in padded rows (not with pages)
//	head_parts       int64    (n,m)            rows that go through the heads together
//	max_new_tokens   int64    ()               at least 1
//	draft_state      int64    ()               where in its wording an answer begins (with guesses)
//	token_rows       int64    (T)              row of each token (with a penalty)
//	repetition_penalty float32 ()              (with a penalty)
//
//	output           type     shape            what
//	generated_ids    int64    (B,N)            a row's end token, again, behind its end
//	heatmaps         float32  (B,2,288,288)    misalignment and artifact in [0,1]; 0 where missing
//
// Sizes are the released checkpoint's; all are read from the configuration and
// the tensors. Decoding is a Loop inside the graph, so that neither cache nor
// logits leave the device.
//
// On a CPU everything is float32 and rows are padded. On CUDA the vision tower
// and the language model are bfloat16, the heads float16 with sums in float32,
// and the cache lies in pages that PagedAttention fills in place.
//
// # Details
//
//  1. A picture is squashed to 512x512 with Pillow's bicubic and then resized
//     to 504x504 with torchvision's: two filters that differ in their rounding.
//     See package pixels.
//  2. Window attention: patches are put in an order in which windows lie
//     together and windows of one size form a batch. Order among patches means
//     nothing to attention; the merger's 2x2 stay together.
//  3. M-RoPE: all prompts begin alike, so that a token's index tells its three
//     positions. Text counts on; the picture keeps its time and counts rows and
//     columns; text goes on behind the largest. Source: transformers,
//     modeling_qwen2_5_vl.py, get_rope_index.
//  4. A heatmap comes from the hidden state, after the last norm, of the token
//     before the first <|misalignment|> or <|artifact|>. One that is the very
//     first generated token has none before it and gives no map.
//  5. The heads are SAM's mask decoder (segment-anything, transformer.py and
//     prompt_encoder.py): TwoWayTransformer of depth 2, random Fourier positions,
//     a hypernetwork. The mask token's product with the upscaled features is the
//     map, before a sigmoid.
//  6. What the upscaling network calls LayerNorm divides by the root mean
//     square over the channels, with 1e-8 under the root. Its first two
//     convolutions are rectified before that norm, all later ones after it.
//  7. The repetition penalty falls on every token of the prompt, the picture's
//     included, as transformers' RepetitionPenaltyLogitsProcessor has it.
//  8. Guesses: an answer's wording is fixed but for its digits. A step runs the
//     newest token and what is guessed to follow, and takes over the guesses
//     that the model itself would have written, up to its own token behind the
//     first wrong one. The tokens are those of steps of one.
//  9. Special tokens spelt in a caption are not recognised: a caption cannot
//     end its turn.
//
// PERFORMANCE.md has the figures.
package imagedoctor
