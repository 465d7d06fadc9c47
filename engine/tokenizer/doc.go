// Package tokenizer turns text into token ids and back with the byte-level BPE
// of Qwen2 and its descendants, as a tokenizer.json describes it.
//
// Text becomes ids in five steps, those of Hugging Face tokenizers:
//
//  1. Added tokens such as <|im_end|> are found in the raw text, leftmost and
//     longest first, and split out.
//  2. What lies between them is brought to Unicode normalization form C.
//  3. It is split into words by Qwen2's pattern.
//  4. Each word's UTF-8 bytes are the first symbols.
//  5. The pair of neighbours with the lowest rank in the merge list is joined,
//     the leftmost first, until no pair is in the list.
//
// CLIP's form makes one space of any white space and lower case of letters in
// step 2, splits by a pattern of its own that drops the spaces, and has tokens of
// their own for the end of a word. The tokens around a text (<|startoftext|> and
// <|endoftext|>) are the model's to add.
//
// A tokenizer.json that asks for anything else is refused with an error that
// names the part: ids that are almost right are worse than none.
//
// The pattern is matched by hand, in one pass. Long words are merged with a
// heap over a linked list, so that no text takes more than O(n log n): text
// comes from strangers.
//
// Measured with go test -bench on a Xeon, one of two shared cores: a prompt of
// 344 tokens 27 us, 100 KB of one letter 34 ms and of any other single
// character at most 80 ms, reading Qwen2.5-VL's tokenizer.json 0.3 s.
//
// Ids are int32, as models take them. A Tokenizer is safe for concurrent use.
package tokenizer
