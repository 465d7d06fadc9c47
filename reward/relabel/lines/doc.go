// Package lines reads and writes shards that name their images: JSONL, CSV, and
// folders of images.
//
// A JSONL or CSV file has a column with the path of the image, relative to the
// file, and one with the prompt. The output has the source's columns as they
// were (paths stay relative to the input), then those of the labels. In JSONL
// what a failed record lacks is null, in CSV it is empty; missing and boxes are
// JSON in CSV, whose empty cells are null.
//
// A line that is no JSON object (NaN is none), or that has more or fewer cells than
// the first one, is a sample that failed; its row has the labels and the cells that
// have a column. A last line that was cut short makes the shard unreadable. Line ends within cells of CSV become LF.
//
// A folder has a metadata.jsonl, which is read as JSONL, or a NAME.txt with the
// prompt beside each image NAME.png, .jpg, .jpeg, .webp, .npy or .safetensors;
// its output is a metadata.jsonl whose file_name is the path in the folder.
//
// Each map is a file beside the output, SHARD.maps/NUMBER.NAME.npy with the
// number of the record in the shard, from 0: float16, or uint8 for value*255. The
// row has its path, relative to the output, null or empty where there is none.
package lines
