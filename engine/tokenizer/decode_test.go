package tokenizer

import (
	"testing"
)

// byteIDs are the ids of the single bytes of data.
func byteIDs(t *Tokenizer, data string) []int32 {
	var ids []int32
	for i := range len(data) {
		ids = append(ids, t.bytes[data[i]])
	}
	return ids
}

// The expected texts are what Python's bytes.decode("utf-8", "replace") gives;
// Rust's from_utf8_lossy, which Hugging Face tokenizers uses, does the same.
func TestBrokenCharactersAreReplacedByTheirLongestValidStart(t *testing.T) {
	tok := qwen(t)
	for data, want := range map[string]string{
		"\xe4\xbd":                 "\ufffd",
		"\xe4\xbd\xe4\xbd\xa0":     "\ufffd\u4f60",
		"a\x80b":                   "a\ufffdb",
		"\xf0\x9f\x98":             "\ufffd",
		"\xf0\x9f\x98A":            "\ufffdA",
		"\xc0\xaf":                 "\ufffd\ufffd",
		"\xed\xa0\x80":             "\ufffd\ufffd\ufffd",
		"\xf4\x90\x80\x80":         "\ufffd\ufffd\ufffd\ufffd",
		"\xf0\x80\x80":             "\ufffd\ufffd\ufffd",
		"\xff\xfe":                 "\ufffd\ufffd",
		"\xe0\x9f\x80":             "\ufffd\ufffd\ufffd",
		"\xc3":                     "\ufffd",
		"\xc3(":                    "\ufffd(",
		"\xf1\x80\x80\xf1\x80\xc3": "\ufffd\ufffd\ufffd",
		"\x80\x80\x80":             "\ufffd\ufffd\ufffd",
		"\xe2\x82\xac\xe2\x82":     "\u20ac\ufffd",
		"\xf5\x80":                 "\ufffd\ufffd",
		"\xf4\x8f\xbf":             "\ufffd",
		"\xef\xbf\xbd":             "\ufffd",
	} {
		if got := tok.Decode(byteIDs(tok, data), false); got != want {
			t.Errorf("%q decodes to %+q, want %+q", data, got, want)
		}
	}
}

func TestDecodingSkipsWhatIsNoToken(t *testing.T) {
	tok := qwen(t)
	const end, toolCall = 151645, 151657
	for name, test := range map[string]struct {
		ids         []int32
		skipSpecial bool
		want        string
	}{
		"special tokens are kept":                {[]int32{0, end}, false, "!<|im_end|>"},
		"special tokens are left out":            {[]int32{0, end}, true, "!"},
		"other added tokens stay":                {[]int32{toolCall, 0}, true, "<tool_call>!"},
		"ids past the vocabulary become nothing": {[]int32{0, 151667, 151935, 1 << 30}, false, "!"},
		"negative ids become nothing":            {[]int32{-1, 0, -1 << 31}, false, "!"},
		"no ids":                                 {nil, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := tok.Decode(test.ids, test.skipSpecial); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestEveryByteHasOneLetterOfTheAlphabet(t *testing.T) {
	seen := map[byte]bool{}
	for r := range rune(alphabetEnd) {
		if data, ok := alphabetBytes(string(r)); ok {
			if seen[data[0]] {
				t.Errorf("%U spells 0x%02X again", r, data[0])
			}
			seen[data[0]] = true
		}
	}
	if len(seen) != 256 {
		t.Errorf("the alphabet spells %d bytes", len(seen))
	}
	for letter, want := range map[string]byte{"Ġ": ' ', "Ċ": '\n', "ĉ": '\t', "Ā": 0, "Ń": 0xAD, "ÿ": 0xFF, "A": 'A'} {
		if data, ok := alphabetBytes(letter); !ok || data[0] != want {
			t.Errorf("%s spells %v, want 0x%02X", letter, data, want)
		}
	}
}
