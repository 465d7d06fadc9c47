// Package qwen carries the tokenizer of ImageDoctor's published checkpoint:
// Qwen2.5-VL's, with the two tokens <|misalignment|> and <|artifact|> behind it.
package qwen

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"fmt"
	"io"
)

//go:embed tokenizer.json.gz
var compressed []byte

// JSON is the tokenizer.json, 4.8 MB. It is unpacked anew by every call and
// belongs to the caller.
func JSON() ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(compressed))
	if err != nil {
		return nil, fmt.Errorf("qwen: %w", err)
	}
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("qwen: %w", err)
	}
	return data, nil
}
