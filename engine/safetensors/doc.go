// Package safetensors reads and writes checkpoints in the safetensors format:
// single files, and folders of shards with an index.
//
// A file is an 8-byte little-endian length N, a JSON header of N bytes and the
// tensors' bytes. The header maps each tensor's name to its dtype, its shape
// and the range of bytes it occupies, counted from the end of the header. The
// format is described at https://github.com/huggingface/safetensors.
//
// Reading is lazy: Open looks at headers only, and Read fetches one tensor.
// Nothing in a header is believed. Each length is checked against the file
// before anything is allocated for it, and the ranges must tile the data
// exactly: no overlap, no hole, nothing past the end, as the reference
// implementation demands. What is wrong is told by a *FormatError that names
// the tensor.
//
// A Checkpoint remembers its files as they were: Unchanged tells whether they still
// are, and Digests compares the files of a folder with what is known of them. Names
// are those of the files; Rename gives others, for layouts of one architecture.
//
// Conventions. Offsets and lengths are bytes; Tensor.Offset counts from the
// start of the file, so that a tensor can be mapped or referenced in place.
// Shapes are row major, outermost first; an empty shape is a scalar. Values are
// little-endian. The slices that Read returns belong to the caller; a Tensor's
// Shape is shared and must not be changed.
//
// Measured with go test -bench on a Xeon, one of two shared cores, for 845
// tensors of 7 GB in two shards: opening 11 ms. Writing reached 150 MB/s. The
// fingerprint, which reads all bytes, took 7 s of processor time for SHA-256 and 12 s of
// the kernel's for reading holes that no memory held yet (on two cores busy with other
// work, go test -bench FingerprintFullSize -benchtime 1x; it uses all processors).
//
// Writing streams: a Source is asked for its bytes when its turn comes, so a
// checkpoint of any size needs a fixed amount of memory, and a Source without
// bytes leaves a hole, so a stand-in of any size needs almost no disk.
package safetensors
