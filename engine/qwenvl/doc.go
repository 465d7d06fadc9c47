// Package qwenvl is the Qwen-VL family of vision-language models on ONNX Runtime:
// what every judge of that family shares. It builds one ONNX graph of a checkpoint
// (package checkpoint), in which every weight is a place in a safetensors shard, and
// decodes greedily inside that graph, so that neither cache nor logits leave the
// device. Package evaluator asks such a model by a judge file; ImageDoctor's evaluator
// builds its heads on the same graph.
//
// A file holds one part: the vision towers (vision.go, vision_qwen25.go,
// vision_qwen3.go, patches.go, layout.go), the language model (language.go), its
// rotary embedding (rope.go), the key/value caches (kvcache_padded.go,
// kvcache_paged.go), the decoding loop (generation.go, step.go), the
// repetition penalty, the graph with its inputs
// (graph.go, batch.go), and a session for it (session.go).
//
// What the published config.json leaves out has Qwen2.5-VL's value and is checked
// against the tensors' shapes, but for what no shape tells: the number of vision
// heads, the window and the blocks with full attention.
//
// # Conventions
//
// Images are RGB, three bytes a pixel, row by row. Weights are (out,in), as
// checkpoints store them. A merged unit of 2x2 patches is one image token; the
// units of an image are in raster order wherever they leave the vision tower. A
// batch holds prompts of any lengths with images of any sizes, standing behind each
// other without padding.
//
// On a CPU everything is float32 and the cache is padded rows. On CUDA activations
// may be bfloat16, and the cache lies in pages that PagedAttention fills in place.
//
// # Details
//
//  1. A still image is its own second frame.
//  2. Window attention: units are put in an order in which windows lie together and
//     windows of one size, of whatever image, form a batch. Order among patches
//     means nothing to attention; the merger's 2x2 stay together. 18x18 units in
//     windows of 4x4 leave strips at the right and lower edges: windows of 64, 32
//     and 16 patches [transformers, get_window_index].
//  3. Vision heads turn with the patch's row in their first half and its column in
//     their second, at base 10000. The elements of a head's queries and keys are
//     stored here so that the pairs that turn are neighbours, which changes none of
//     their products.
//  4. M-RoPE: text counts on along all three axes; an image keeps its time and
//     counts rows and columns; text goes on behind the largest [transformers,
//     get_rope_index].
//  5. The attention of prompts on a CPU goes through their queries in blocks, so
//     that its memory grows with a prompt's length and not with its square.
//  6. The greatest logit is taken, the first one of equals, as torch's argmax does
//     on a CPU. top_k 1 or a temperature near 0 mean the same and are not read.
//  7. The repetition penalty falls on every token of the prompt, the image's
//     included, and on the answer's [transformers,
//     RepetitionPenaltyLogitsProcessor]. Where generation_config.json names one it
//     holds, as generate has it.
//  8. Qwen3-VL: learned positions of the vision tower are interpolated to the
//     image's grid, corners on corners; every block sees its whole image; the output
//     of some blocks is added to the image's tokens behind the first layers; queries
//     and keys are normed head by head; the axes of M-RoPE take turns.
//  9. The cache of pages has room for 256 new tokens, then for 1,024, then for all:
//     an answer that outgrows its room goes on with more, and none reserves what it
//     does not need.
//  10. Speculative decoding: where earlier answers tell how one goes on, a step runs
//     the newest token and the draft tokens of package draft, and accepts those
//     that the model itself would have written, up to its own token behind the first
//     wrong one. The tokens are those of steps of one, as far as the argmax is the
//     same in sums of another order.
//
// # Sources
//
//	[transformers] github.com/huggingface/transformers, 4.57 and, for Qwen3-VL, 5.24
//	    src/transformers/models/qwen2_5_vl/modeling_qwen2_5_vl.py
//	    src/transformers/models/qwen3_vl/modeling_qwen3_vl.py
//	    src/transformers/vision_utils.py
//	    src/transformers/generation/logits_process.py
//
// testdata holds miniatures of both families and what transformers computes with them;
// make.py there made it. Tokens are the same and logits differ by less than 1e-4 of
// their size, in batches of images of mixed sizes as well.
package qwenvl
