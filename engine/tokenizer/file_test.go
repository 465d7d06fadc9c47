package tokenizer

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// object is a part of a tokenizer.json.
type object = map[string]any

// letters is the byte alphabet in the order of the bytes.
func letters() []string {
	list := make([]string, 256)
	for r := range rune(alphabetEnd) {
		if alphabet[r] >= 0 {
			list[alphabet[r]] = string(r)
		}
	}
	return list
}

// miniature is a small valid tokenizer.json: the bytes, ab and abc, and the
// added tokens <end> and <x y>.
func miniature() object {
	vocab := object{"ab": 256, "abc": 257}
	for b, letter := range letters() {
		vocab[letter] = b
	}
	level := func() object {
		return object{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false}
	}
	return object{
		"version": "1.0",
		"added_tokens": []any{
			object{"id": 258, "content": "<end>", "special": true, "normalized": false},
			object{"id": 259, "content": "<x y>", "special": false, "normalized": false},
		},
		"normalizer": object{"type": "NFC"},
		"pre_tokenizer": object{"type": "Sequence", "pretokenizers": []any{
			object{"type": "Split", "pattern": object{"Regex": qwenPattern}, "behavior": "Isolated", "invert": false},
			level(),
		}},
		"post_processor": nil,
		"decoder":        level(),
		"model": object{
			"type": "BPE", "dropout": nil, "unk_token": nil, "continuing_subword_prefix": "", "end_of_word_suffix": nil,
			"byte_fallback": false, "ignore_merges": false, "vocab": vocab, "merges": []any{"a b", "ab c"},
		},
	}
}

// parseEdited parses miniature after a change.
func parseEdited(t testing.TB, change func(file object)) (*Tokenizer, error) {
	t.Helper()
	file := miniature()
	change(file)
	data, err := json.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	return Parse(data)
}

// set returns a change of one value, found by the keys and indexes of path.
func set(value any, path ...any) func(object) {
	return func(file object) {
		var at any = file
		for i, step := range path {
			last := i == len(path)-1
			switch key := step.(type) {
			case string:
				if last {
					at.(object)[key] = value
					return
				}
				at = at.(object)[key]
			case int:
				if last {
					at.([]any)[key] = value
					return
				}
				at = at.([]any)[key]
			}
		}
	}
}

func TestMiniatureTokenizerWorks(t *testing.T) {
	tok, err := parseEdited(t, func(object) {})
	if err != nil {
		t.Fatal(err)
	}
	got := tok.Encode("abc<end>abd<x y>c")
	if want := []int32{257, 258, 256, 'd', 259, 'c'}; !slices.Equal(got, want) {
		t.Errorf("ids %v, want %v", got, want)
	}
	if text := tok.Decode(got, true); text != "abcabd<x y>c" {
		t.Errorf("text %q", text)
	}
}

func TestMergesMayBeListsOrLines(t *testing.T) {
	for name, merges := range map[string][]any{
		"lines": {"a b", "ab c"},
		"lists": {[]any{"a", "b"}, []any{"ab", "c"}},
	} {
		tok, err := parseEdited(t, set(merges, "model", "merges"))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := tok.Encode("abc"); !slices.Equal(got, []int32{257}) {
			t.Errorf("%s: ids %v", name, got)
		}
	}
}

// As transformers 5.24 saves Qwen2's tokenizer.
func TestATemplateOfTheTextAloneChangesNothing(t *testing.T) {
	tok, err := parseEdited(t, set(object{
		"type": "TemplateProcessing", "single": []any{object{"Sequence": object{"id": "A", "type_id": 0}}},
		"pair":           []any{object{"Sequence": object{"id": "A", "type_id": 0}}, object{"Sequence": object{"id": "B", "type_id": 1}}},
		"special_tokens": object{},
	}, "post_processor"))
	if err != nil {
		t.Fatal(err)
	}
	if got := tok.Encode("abc"); !slices.Equal(got, []int32{257}) {
		t.Errorf("ids %v", got)
	}
}

func TestAddedTokensAreMatchedLeftmostAndLongest(t *testing.T) {
	tok, err := parseEdited(t, set([]any{
		object{"id": 300, "content": "<a"},
		object{"id": 301, "content": "<a><b>"},
		object{"id": 302, "content": "a><b"},
		object{"id": 303, "content": "é!", "normalized": true},
		object{"id": 98, "content": "b"},
	}, "added_tokens"))
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string][]int32{
		"<a><b>":        {301},
		"<a><":          {300, '>', '<'},
		"a><b>":         {302, '>'},
		"<<a":           {'<', 300},
		"ab":            {'a', 98}, // the added b keeps the merge from happening
		"e\u0301!":      {303},     // found after normalization
		"e\u0301<a><b>": {0xC3, 0xA9, 301},
	} {
		if got := tok.Encode(text); !slices.Equal(got, want) {
			t.Errorf("%q encodes to %v, want %v", text, got, want)
		}
	}
}

func TestForeignTokensAreDecodedButNeverEncoded(t *testing.T) {
	tok, err := parseEdited(t, set(300, "model", "vocab", "猫"))
	if err != nil {
		t.Fatal(err)
	}
	if id, ok := tok.TokenID("猫"); !ok || id != 300 {
		t.Errorf("TokenID is %d, %v", id, ok)
	}
	if got := tok.Decode([]int32{300}, false); got != "猫" {
		t.Errorf("decoded to %q", got)
	}
	if got := tok.Encode("猫"); !slices.Equal(got, []int32{0xE7, 0x8C, 0xAB}) {
		t.Errorf("encoded to %v", got)
	}
}

func TestWhatIsNotSupportedIsRefusedByName(t *testing.T) {
	split := []any{"pre_tokenizer", "pretokenizers", 0}
	level := []any{"pre_tokenizer", "pretokenizers", 1}
	in := func(path []any, key string) []any { return append(slices.Clone(path), key) }
	for name, test := range map[string]struct {
		change func(object)
		want   string
	}{
		"no normalizer":          {set(nil, "normalizer"), "normalizer is absent"},
		"another normalizer":     {set("NFKC", "normalizer", "type"), "normalizer is NFKC"},
		"no pre-tokenizer":       {set(nil, "pre_tokenizer"), "pre_tokenizer: absent"},
		"another pre-tokenizer":  {set("Whitespace", "pre_tokenizer", "type"), "pre_tokenizer: Whitespace"},
		"steps in another order": {set([]any{object{"type": "ByteLevel"}, object{"type": "Split"}}, "pre_tokenizer", "pretokenizers"), "ByteLevel and Split"},
		"three steps":            {set([]any{object{}, object{}, object{}}, "pre_tokenizer", "pretokenizers"), "pre_tokenizer: Sequence"},
		"another pattern":        {set(`\p{L}+`, append(in(split, "pattern"), "Regex")...), `pattern is "\\p{L}+"`},
		"a literal pattern":      {set(object{"String": " "}, in(split, "pattern")...), `pattern is " "`},
		"another behaviour":      {set("Removed", in(split, "behavior")...), `behavior of Split is "Removed"`},
		"an inverted split":      {set(true, in(split, "invert")...), "invert of Split"},
		"a space put in front":   {set(true, in(level, "add_prefix_space")...), "add_prefix_space"},
		"GPT-2's own pattern":    {set(true, in(level, "use_regex")...), "use_regex"},
		"a template":             {set(object{"type": "TemplateProcessing"}, "post_processor"), "post_processor is TemplateProcessing"},
		"a template with a token": {set(object{"type": "TemplateProcessing", "single": []any{
			object{"SpecialToken": object{"id": "<s>", "type_id": 0}}, object{"Sequence": object{"id": "A", "type_id": 0}}}}, "post_processor"), "post_processor is TemplateProcessing"},
		"no decoder":                {set(nil, "decoder"), "decoder is absent"},
		"another decoder":           {set("Metaspace", "decoder", "type"), "decoder is Metaspace"},
		"no model":                  {set(nil, "model"), "model is absent"},
		"another model":             {set("Unigram", "model", "type"), `model is "Unigram"`},
		"dropout":                   {set(0.1, "model", "dropout"), "dropout"},
		"an unknown token":          {set("<unk>", "model", "unk_token"), "unk_token"},
		"a subword prefix":          {set("##", "model", "continuing_subword_prefix"), "continuing_subword_prefix"},
		"a word suffix":             {set("</w>", "model", "end_of_word_suffix"), "end_of_word_suffix"},
		"byte fallback":             {set(true, "model", "byte_fallback"), "byte_fallback"},
		"merges ignored":            {set(true, "model", "ignore_merges"), "ignore_merges"},
		"a token that eats spaces":  {set(true, "added_tokens", 0, "lstrip"), `"<end>": single_word, lstrip`},
		"a token that stands alone": {set(true, "added_tokens", 1, "single_word"), `"<x y>": single_word`},
	} {
		t.Run(name, func(t *testing.T) {
			wantParseError(t, test.change, test.want)
		})
	}
}

func wantParseError(t *testing.T, change func(object), want string) {
	t.Helper()
	_, err := parseEdited(t, change)
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v does not say %s", err, want)
	}
}

func TestBrokenVocabulariesAreRefusedByName(t *testing.T) {
	for name, test := range map[string]struct {
		change func(object)
		want   string
	}{
		"a negative id":                  {set(-1, "model", "vocab", "ab"), `"ab" has the negative id -1`},
		"an id that is taken":            {set(256, "model", "vocab", "abc"), "shares the id 256"},
		"an enormous id":                 {set(1<<30, "model", "vocab", "abc"), "id 1073741824 exceeds the limit of 1048575"},
		"a byte without a token":         {func(f object) { delete(f["model"].(object)["vocab"].(object), "Ġ") }, "no token for the byte 0x20"},
		"an empty added token":           {set("", "added_tokens", 0, "content"), "added token 258 has 0 bytes"},
		"a long added token":             {set(strings.Repeat("x", 257), "added_tokens", 0, "content"), "added token 258 has 257 bytes"},
		"a negative added id":            {set(-5, "added_tokens", 0, "id"), `"<end>" has the negative id -5`},
		"an added token twice":           {set("<end>", "added_tokens", 1, "content"), `"<end>" occurs twice`},
		"a token added under another id": {set("b", "added_tokens", 0, "content"), `"b": id 258 is taken or differs`},
		"two added tokens with an id":    {set(258, "added_tokens", 1, "id"), `"<x y>": id 258 is taken`},
		"an added id of another":         {set(65, "added_tokens", 1, "id"), `"<x y>": id 65 is taken`},
		"a merge of one token":           {set([]any{"ab"}, "model", "merges"), `merge 0, "ab"`},
		"a merge of three tokens":        {set([]any{"a b c"}, "model", "merges"), `merge 0, "a b c"`},
		"a list of three tokens":         {set([]any{[]any{"a", "b", "c"}}, "model", "merges"), "merge 0 has 3 parts"},
		"a merge into nothing":           {set([]any{"b c"}, "model", "merges"), `"bc" is not in the vocabulary`},
		"a merge of nothing":             {set([]any{"a b", "x  yz"}, "model", "merges"), "merge 1"},
		"a merge twice":                  {set([]any{"a b", "a b"}, "model", "merges"), `merge 1 of "a" and "b" occurs twice`},
		"merges that are no list":        {set("a b", "model", "merges"), "merges:"},
		"mixed merges":                   {set([]any{[]any{"a", "b"}, "ab c"}, "model", "merges"), "merges:"},
	} {
		t.Run(name, func(t *testing.T) {
			wantParseError(t, test.change, test.want)
		})
	}
}

func TestFilesAreBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokenizer.json")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(maxFileBytes + 1); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), "exceeds the limit of 67108864 bytes") {
		t.Errorf("error %v does not name the limit", err)
	}
	if _, err := Load(filepath.Join(t.TempDir(), "absent.json")); err == nil || !strings.Contains(err.Error(), "absent.json") {
		t.Errorf("error %v does not name the file", err)
	}
}

func TestDeepNestingIsAnError(t *testing.T) {
	deep := `{"normalizer":` + strings.Repeat("[", 5<<20)
	if _, err := Parse([]byte(deep)); err == nil {
		t.Error("5 MB of brackets were accepted")
	}
}

func FuzzParse(f *testing.F) {
	for _, change := range []func(object){
		func(object) {},
		set([]any{[]any{"a", "b"}}, "model", "merges"),
		set(nil, "normalizer"),
		set(-1, "model", "vocab", "ab"),
		set(1<<30, "added_tokens", 0, "id"),
		set(true, "added_tokens", 0, "normalized"),
		set("e\u0301", "added_tokens", 0, "content"),
	} {
		file := miniature()
		change(file)
		data, err := json.Marshal(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, "abc <end> abd<x y>")
	}
	f.Fuzz(func(t *testing.T, data []byte, text string) {
		tok, err := Parse(data)
		if err != nil {
			return
		}
		if got := tok.Decode(tok.EncodeOrdinary(text), false); got != NFC(validUTF8(text)) {
			t.Errorf("%+q comes back as %+q", text, got)
		}
		for _, id := range tok.Encode(text) {
			if id < 0 || int(id) >= tok.Size() {
				t.Errorf("id %d of %d", id, tok.Size())
			}
		}
	})
}
