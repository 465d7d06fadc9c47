package tokenizer

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// write makes a folder of files; a value that is no string is written as JSON.
func write(t *testing.T, files map[string]any) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		text, ok := content.(string)
		if !ok {
			var data bytes.Buffer
			encoder := json.NewEncoder(&data)
			encoder.SetEscapeHTML(false)
			if err := encoder.Encode(content); err != nil {
				t.Fatal(err)
			}
			text = data.String()
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// parts are the vocabulary, the merges as merges.txt has them, and the added tokens
// of a tokenizer.json.
func parts(t *testing.T, data []byte) (vocab map[string]int32, merges string, added []addedToken) {
	t.Helper()
	var file tokenizerFile
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	pairs, err := parseMerges(file.Model.Merges)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	text.WriteString("#version: 0.2\n")
	for _, p := range pairs {
		text.WriteString(p[0] + " " + p[1] + "\n")
	}
	return file.Model.Vocab, text.String(), file.AddedTokens
}

func TestVocabularyAndMergesAreTheTokenizerWithoutItsFile(t *testing.T) {
	vocab, merges, added := parts(t, qwenJSON(t))
	decoder, ids := map[string]addedToken{}, map[string]int32{}
	for _, token := range added {
		id, err := json.Marshal(token.ID)
		if err != nil {
			t.Fatal(err)
		}
		decoder[string(id)], ids[token.Content] = token, token.ID
	}
	for name, files := range map[string]map[string]any{
		"tokens in tokenizer_config.json": {"tokenizer_config.json": map[string]any{"added_tokens_decoder": decoder, "tokenizer_class": "Qwen2Tokenizer"}},
		"tokens in added_tokens.json":     {"added_tokens.json": ids},
	} {
		t.Run(name, func(t *testing.T) {
			files["vocab.json"], files["merges.txt"] = vocab, merges
			tok, err := LoadFolder(write(t, files))
			if err != nil {
				t.Fatal(err)
			}
			for i, c := range referenceCases(t) {
				if i%5 == 0 && !slices.Equal(tok.Encode(c.Text), c.IDs) {
					t.Fatalf("%.100q becomes %.100v, want %.100v", c.Text, tok.Encode(c.Text), c.IDs)
				}
			}
		})
	}
}

func TestCLIPsVocabularyAndMergesAreItsTokenizer(t *testing.T) {
	data, err := os.ReadFile(clipFile)
	if err != nil {
		t.Fatal(err)
	}
	vocab, merges, _ := parts(t, data)
	tok, err := LoadFolder(write(t, map[string]any{"vocab.json": vocab, "merges.txt": merges}))
	if err != nil {
		t.Fatal(err)
	}
	begin, _ := tok.TokenID("<|startoftext|>")
	end, _ := tok.TokenID("<|endoftext|>")
	var cases []struct {
		Text string
		IDs  []int32
	}
	loadCompressed(t, "testdata/clip/cases.json.gz", &cases)
	for _, c := range cases {
		if got := append(append([]int32{begin}, tok.Encode(c.Text)...), end); !slices.Equal(got, c.IDs) {
			t.Fatalf("%.100q becomes %.100v, want %.100v", c.Text, got, c.IDs)
		}
	}
}

// The file's name and version are on one line, and the merges are those of the
// fixture, so that all ids but those of the alphabet's order are known.
func TestOpenCLIPsFileOfMergesIsATokenizer(t *testing.T) {
	data, err := os.ReadFile(clipFile)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	_, merges, _ := parts(t, data)
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	if _, err := io.WriteString(w, "\"bpe_simple_vocab_16e6.txt"+merges); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	tok, err := LoadFolder(write(t, map[string]any{simpleFile: packed.String()}))
	if err != nil {
		t.Fatal(err)
	}
	// open_clip.tokenizer.SimpleTokenizer.encoder has these ids.
	for token, want := range map[string]int32{"!": 0, "a": 64, "~": 93, "\u00a1": 94, "\u00ff": 187, "\u0100": 188, "\u0143": 255, "!</w>": 256, "\u0143</w>": 511} {
		if id, ok := tok.TokenID(token); !ok || id != want {
			t.Errorf("%s has the id %d, want %d", token, id, want)
		}
	}
	end, _ := tok.TokenID("<|endoftext|>")
	if int(end) != tok.Size()-1 || tok.Size() != 512+strings.Count(merges, "\n")-1+2 {
		t.Errorf("<|endoftext|> is %d of %d", end, tok.Size())
	}
	for _, text := range []string{"a red circle", "It's  A Photo!!", "caf\u00e9 東京"} {
		if got, want := tok.Decode(tok.Encode(text), true), whole.Decode(whole.Encode(text), true); got != want || len(tok.Encode(text)) != len(whole.Encode(text)) {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
}

func TestTokensOfOtherFilesAreAdded(t *testing.T) {
	file := miniature()
	tests := []struct {
		name  string
		files map[string]any
		id    int32  // of <|new|>
		says  string // of the error; none where empty
	}{
		{"tokenizer_config.json", map[string]any{"tokenizer_config.json": `{"added_tokens_decoder": {"300": {"content": "<|new|>", "special": true}}, "eos_token": "<end>"}`}, 300, ""},
		{"added_tokens.json", map[string]any{"added_tokens.json": `{"<|new|>": 300}`, "special_tokens_map.json": `{"additional_special_tokens": [{"content": "<|new|>"}], "bos_token": null}`}, 300, ""},
		{"both", map[string]any{"added_tokens.json": `{"<|new|>": 300}`, "tokenizer_config.json": `{"added_tokens_decoder": {"300": {"content": "<|new|>", "special": true}}}`}, 300, ""},
		{"two ids", map[string]any{"added_tokens.json": `{"<|new|>": 301}`, "tokenizer_config.json": `{"added_tokens_decoder": {"300": {"content": "<|new|>"}}}`}, 0, "ids 300 and 301"},
		{"an id that is taken", map[string]any{"added_tokens.json": `{"<|new|>": 0}`}, 0, "id 0 is taken"},
		{"a broken configuration", map[string]any{"tokenizer_config.json": "{"}, 0, "tokenizer_config.json"},
		{"an id that is none", map[string]any{"tokenizer_config.json": `{"added_tokens_decoder": {"x": {"content": "<|new|>"}}}`}, 0, "added_tokens_decoder"},
		{"a pointer", map[string]any{"tokenizer.json": "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"}, 0, "git lfs pull"},
		{"nothing", map[string]any{"tokenizer.json": nil}, 0, "tokenizer.json"},
		{"a vocabulary alone", map[string]any{"tokenizer.json": nil, "vocab.json": "{}"}, 0, "merges.txt"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if _, given := test.files["tokenizer.json"]; !given {
				test.files["tokenizer.json"] = file
			}
			if test.files["tokenizer.json"] == nil {
				delete(test.files, "tokenizer.json")
			}
			tok, err := LoadFolder(write(t, test.files))
			if test.says != "" {
				if err == nil || !strings.Contains(err.Error(), test.says) {
					t.Errorf("error %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := tok.Encode("<|new|>"); !slices.Equal(got, []int32{test.id}) {
				t.Errorf("<|new|> becomes %v", got)
			}
			if got := tok.Decode([]int32{test.id}, true); got != "" {
				t.Errorf("the special token decodes to %q", got)
			}
		})
	}
}
