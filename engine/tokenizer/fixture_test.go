package tokenizer

import (
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"sync"
	"testing"

	qwenfile "github.com/denseflow/densereward/engine/tokenizer/qwen"
)

// readCompressed returns the content of a gzipped fixture.
func readCompressed(t testing.TB, path string) []byte {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// loadCompressed decodes a gzipped JSON fixture into v.
func loadCompressed(t testing.TB, path string, v any) {
	t.Helper()
	if err := json.Unmarshal(readCompressed(t, path), v); err != nil {
		t.Fatal(err)
	}
}

// parsedQwen is the tokenizer of Qwen2.5-VL with ImageDoctor's two tokens,
// parsed once.
var parsedQwen = sync.OnceValues(func() (*Tokenizer, error) {
	data, err := qwenfile.JSON()
	if err != nil {
		return nil, err
	}
	return Parse(data)
})

// qwenJSON is its file.
func qwenJSON(t testing.TB) []byte {
	t.Helper()
	data, err := qwenfile.JSON()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func qwen(t testing.TB) *Tokenizer {
	t.Helper()
	tok, err := parsedQwen()
	if err != nil {
		t.Fatal(err)
	}
	return tok
}
