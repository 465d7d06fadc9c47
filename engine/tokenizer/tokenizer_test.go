package tokenizer

import (
	"compress/gzip"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
)

// referenceCase is a string with the ids that Hugging Face tokenizers gives.
type referenceCase struct {
	Text string  `json:"text"`
	IDs  []int32 `json:"ids"`
}

func referenceCases(t testing.TB) []referenceCase {
	t.Helper()
	cases, err := parsedCases()
	if err != nil || len(cases) != 1440 {
		t.Fatalf("%d cases, want 1440: %v", len(cases), err)
	}
	return cases
}

// parsedCases are those of testdata/cases.json.gz, read once.
var parsedCases = sync.OnceValues(func() (cases []referenceCase, err error) {
	file, err := os.Open("testdata/cases.json.gz")
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := gzip.NewReader(file)
	if err != nil {
		return nil, err
	}
	err = json.NewDecoder(text).Decode(&cases)
	return cases, err
})

// No case is excepted: neither a newer Unicode table nor x/text's stream-safe
// insertion makes a difference here.
func TestAllReferenceStringsHaveTheReferencesIDs(t *testing.T) {
	tok := qwen(t)
	for i, c := range referenceCases(t) {
		if got := tok.Encode(c.Text); !slices.Equal(got, c.IDs) {
			t.Errorf("case %d, %+q:\n got %v\nwant %v", i, c.Text, got, c.IDs)
		}
	}
}

func TestDecodingReferenceIDsGivesTheNormalizedText(t *testing.T) {
	tok := qwen(t)
	for i, c := range referenceCases(t) {
		// Added tokens are split out before normalization.
		var want strings.Builder
		splitAdded(&tok.raw, c.Text,
			func(id int32) { want.Write(tok.pieces[id]) },
			func(part string) { want.WriteString(NFC(part)) })
		if got := tok.Decode(c.IDs, false); got != want.String() {
			t.Errorf("case %d: got %+q, want %+q", i, got, want.String())
		}
	}
}

func TestOrdinaryEncodingDiffersOnlyInAddedTokens(t *testing.T) {
	tok := qwen(t)
	for i, c := range referenceCases(t) {
		got := tok.EncodeOrdinary(c.Text)
		for _, id := range got {
			for token, added := range tok.added {
				if id == added {
					t.Fatalf("case %d: ordinary text has become %s", i, token)
				}
			}
		}
		if decoded := tok.Decode(got, true); decoded != NFC(c.Text) {
			t.Errorf("case %d: got %+q back from %+q", i, decoded, c.Text)
		}
		if !strings.Contains(c.Text, "<") && !slices.Equal(got, c.IDs) {
			t.Errorf("case %d: ids of a text without added tokens differ", i)
		}
	}
}

func TestTokensAreLookedUpAsTheFileSpellsThem(t *testing.T) {
	tok := qwen(t)
	for token, want := range map[string]int32{
		"<|im_end|>": 151645, "<|misalignment|>": 151665, "<|artifact|>": 151666, "<|endoftext|>": 151643,
		"<tool_call>": 151657, "!": 0, "Ġthe": 279, "ĊĊ": 271,
	} {
		if got, ok := tok.TokenID(token); !ok || got != want {
			t.Errorf("TokenID(%q) is %d, %v, want %d", token, got, ok, want)
		}
	}
	for _, token := range []string{"", " the", "<|nothing|>", "Ġthe Ġ", "猫"} {
		if got, ok := tok.TokenID(token); ok {
			t.Errorf("TokenID(%q) is %d, want none", token, got)
		}
	}
	if got := tok.Size(); got != 151667 {
		t.Errorf("Size is %d, want 151667", got)
	}
}

func TestBytesThatAreNotUTF8CountAsReplacementCharacters(t *testing.T) {
	tok := qwen(t)
	for broken, whole := range map[string]string{
		"a\xffb":        "a\ufffdb",
		"\xe4\xbd":      "\ufffd\ufffd",
		"\xed\xa0\x80":  "\ufffd\ufffd\ufffd",
		"<|im_end|\xc3": "<|im_end|\ufffd",
	} {
		if got, want := tok.Encode(broken), tok.Encode(whole); !slices.Equal(got, want) {
			t.Errorf("ids of %q are %v, want %v", broken, got, want)
		}
	}
}

func TestEncodingAgainGivesTheSameIDs(t *testing.T) {
	// The second time, words that are one token come from the cache.
	tok := qwen(t)
	const text = "The plausibility of a photograph, unquestionably."
	once := tok.Encode(text)
	if twice := tok.Encode(text); !slices.Equal(once, twice) {
		t.Errorf("first %v, then %v", once, twice)
	}
}

func TestConcurrentEncodingGivesTheSameIDs(t *testing.T) {
	tok, err := Parse(qwenJSON(t))
	if err != nil {
		t.Fatal(err)
	}
	cases := referenceCases(t)
	const workers = 4
	wrong := make(chan int, workers)
	for range workers {
		go func() {
			n := 0
			for _, c := range cases {
				if !slices.Equal(tok.Encode(c.Text), c.IDs) {
					n++
				}
			}
			wrong <- n
		}()
	}
	for range workers {
		if n := <-wrong; n > 0 {
			t.Errorf("%d cases differ", n)
		}
	}
}

// testdata/make_generated.py wrote the strings and what tokenizers makes of them.
func TestGeneratedTextBecomesTheReferencesIDs(t *testing.T) {
	var cases []struct {
		Text string
		IDs  []int32
	}
	loadCompressed(t, "testdata/generated.json.gz", &cases)
	if len(cases) != 600 {
		t.Fatalf("%d cases", len(cases))
	}
	tok := qwen(t)
	for _, c := range cases {
		if got := tok.Encode(c.Text); !slices.Equal(got, c.IDs) {
			t.Errorf("%+.300q becomes %.300v, want %.300v", c.Text, got, c.IDs)
		}
	}
}

func FuzzEncode(f *testing.F) {
	for i, c := range referenceCases(f) {
		if i%48 == 0 {
			f.Add(c.Text)
		}
	}
	f.Add(strings.Repeat("a", 100))
	f.Add("x" + strings.Repeat("\u0301", 40))
	f.Add("<|im_end|><|im_end|\xff")
	tok := qwen(f)
	f.Fuzz(func(t *testing.T, text string) {
		whole := validUTF8(text)
		ids := tok.EncodeOrdinary(text)
		if got := tok.Decode(ids, false); got != NFC(whole) {
			t.Fatalf("%+q comes back as %+q", text, got)
		}
		all := tok.Encode(text)
		if !strings.Contains(text, "<") && !slices.Equal(all, ids) {
			t.Fatalf("%+q without added tokens: %v and %v", text, all, ids)
		}
		var words []string
		for rest := NFC(whole); rest != ""; {
			n := wordLength(rest)
			words = append(words, rest[:n])
			rest = rest[n:]
		}
		if naive := naiveWords(NFC(whole)); !slices.Equal(words, naive) {
			t.Fatalf("%+q splits into %q, by the pattern into %q", text, words, naive)
		}
	})
}
