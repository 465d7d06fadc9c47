// Package webdataset reads and writes tar shards in the layout of webdataset:
// consecutive files whose path up to the first dot of the base name is the same
// make one sample; what follows the dot names the column. A shard may be
// compressed, .tar.gz, .tgz or .tar.zst.
//
// The image is the first of jpg, jpeg, png, webp, npy and safetensors; the
// prompt is txt, or prompt, caption or text of the JSON object in json. Columns
// name others: an extension, or for the prompt a member of json.
//
// The output has the files of the source in their order. KEY.json, which is added
// where there is none, has the labels behind its own members (one that is no JSON
// object fails its sample and gives way to the labels), and each map is in
// KEY.NAME.npy: float16, or uint8 for value*255. Files that belong to no sample
// are kept. A sample with two files of one extension, where webdataset fails, is one
// that failed. What follows the end of an archive is not read, here as there.
package webdataset
