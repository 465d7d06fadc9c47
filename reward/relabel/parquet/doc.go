// Package parquet reads and writes shards in Parquet as Hugging Face datasets
// writes them: an image is a struct {bytes, path} or plain bytes, or latents in
// the bytes of a .npy or .safetensors file; the prompt is a string. Where there
// are no bytes, as datasets writes a folder of images, or where the column holds
// strings, the image lies at the path: absolute, or relative to the shard.
//
// Shards whose pages are compressed with LZ4 are refused; zstd, snappy, gzip,
// brotli and uncompressed ones are read.
//
// Memory is that of the images in hand, whatever the size of a row group or a page:
// byte arrays are read value by value from their pages and dictionaries, of which
// pyarrow puts 1,024 images into one.
//
// The output has all columns of the source in their order, as Parquet knows them
// (what Arrow alone knows, such as dictionaries, large strings, durations and the
// arrays of datasets, becomes what it lies in: strings, integers, lists), then those of the labels, null
// where a sample failed:
//
//	reward              double
//	one for each score  double
//	missing             list<string>
//	text                string
//	boxes               list<struct {box: list<double>, label: string, importance: double}>
//	error_code          string
//	error_message       string
//	one for each map    struct {height: int32, width: int32, data: binary}
//
// The file's metadata say under "densereward" how maps are stored; the features
// that datasets keeps under "huggingface" are brought up to date. Compression is
// zstd. Row groups end where the source's do, or earlier where they would hold
// more than 64 MiB.
package parquet
