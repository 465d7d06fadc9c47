package tokenizer

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// clipFile is the tokenizer that testdata/clip/make.py trained.
const clipFile = "testdata/clip/tokenizer.json"

// The ids are those that transformers gives; testdata/clip/make.py wrote them.
func TestCLIPTextBecomesTheReferencesIDs(t *testing.T) {
	tok, err := Load(clipFile)
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
	if len(cases) != 2000 {
		t.Fatalf("%d cases", len(cases))
	}
	for _, c := range cases {
		got := append(append([]int32{begin}, tok.Encode(c.Text)...), end)
		if !slices.Equal(got, c.IDs) {
			t.Errorf("%q\ngot  %v\nwant %v", c.Text, got, c.IDs)
		}
	}
}

func TestCLIPWordsKeepNoSpaces(t *testing.T) {
	tok, err := Load(clipFile)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := tok.Decode(tok.Encode("  A  Red\tcircle! "), true), "a red circle ! "; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestUnsupportedCLIPFilesAreRefusedByName(t *testing.T) {
	file, err := os.ReadFile(clipFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, old, now, want string }{
		{"another suffix", `"end_of_word_suffix": "</w>"`, `"end_of_word_suffix": "@@"`, "end_of_word_suffix"},
		{"another normalizer", `"Lowercase"`, `"Strip"`, "Lowercase"},
		{"another pattern", `'s|'t`, `'t|'s`, "pattern"},
		{"another replacement", `"content": " "`, `"content": "_"`, "Replace"},
		{"spaces kept", `"behavior": "Removed"`, `"behavior": "Isolated"`, "behavior"},
		{"a prefix space", `"add_prefix_space": false`, `"add_prefix_space": true`, "add_prefix_space"},
		{"ByteLevel without its pattern", `"use_regex": true`, `"use_regex": false`, "use_regex"},
	} {
		t.Run(c.name, func(t *testing.T) {
			changed := strings.ReplaceAll(string(file), c.old, c.now)
			if changed == string(file) {
				t.Fatalf("%s is not in the file", c.old)
			}
			if _, err := Parse([]byte(changed)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v does not say %s", err, c.want)
			}
		})
	}
}
