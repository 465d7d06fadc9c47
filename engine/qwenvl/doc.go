// Package qwenvl is the Qwen-VL family of vision-language models on ONNX Runtime:
// what every judge of that family shares. It reads a checkpoint folder as it was
// published, builds one ONNX graph of it, in which every weight is a place in a
// safetensors shard, and decodes greedily inside that graph, so that neither cache
// nor logits leave the device.
//
// A file holds one part: the vision tower (vision.go, patches.go), the language
// model (language.go), its rotary embedding (rope.go), the key/value caches
// (kvcache_padded.go, kvcache_paged.go), the decoding loop (generation.go,
// step.go), draft tokens (speculative.go), the repetition penalty, and the graph's
// inputs (graph.go, batch.go).
//
// Images are RGB, three bytes a pixel, row by row. Weights are (out,in), as
// checkpoints store them. A merged unit of 2x2 patches is one image token; the
// units of an image are in raster order wherever they leave the vision tower.
package qwenvl
