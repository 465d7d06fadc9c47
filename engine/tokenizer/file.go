package tokenizer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/denseflow/densereward/internal/modelfile"
)

const (
	// maxFileBytes is the largest tokenizer.json that is read. Qwen's has 7 MB.
	maxFileBytes = 64 << 20
	// maxTokens bounds the vocabulary, the merges and the ids. Qwen has 151,667.
	maxTokens = 1 << 20
	// maxAddedBytes is the longest added token: what can be found in a text is
	// looked for at each of its characters.
	maxAddedBytes = 256
)

// tokenizerFile is tokenizer.json, or what other files say in its terms. Truncation and padding are left out: they
// are options of a call, which transformers sets anew for each.
type tokenizerFile struct {
	AddedTokens   []addedToken    `json:"added_tokens"`
	Normalizer    *component      `json:"normalizer"`
	PreTokenizer  *component      `json:"pre_tokenizer"`
	PostProcessor *component      `json:"post_processor"`
	Decoder       *component      `json:"decoder"`
	Model         *modelComponent `json:"model"`
}

type addedToken struct {
	ID         int32  `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"`
	LStrip     bool   `json:"lstrip"`
	RStrip     bool   `json:"rstrip"`
	Normalized bool   `json:"normalized"`
	Special    bool   `json:"special"`
}

// component is a step around the model: the union of the fields that matter.
type component struct {
	Type           string      `json:"type"`
	PreTokenizers  []component `json:"pretokenizers"`
	Normalizers    []component `json:"normalizers"`
	Content        string      `json:"content"`
	Pattern        pattern     `json:"pattern"`
	Behavior       string      `json:"behavior"`
	Invert         bool        `json:"invert"`
	AddPrefixSpace *bool       `json:"add_prefix_space"` // absent is true
	UseRegex       *bool       `json:"use_regex"`        // absent is true

	// Single is what a TemplateProcessing puts around one text.
	Single []struct {
		Sequence     *struct{} `json:"Sequence"`
		SpecialToken *struct{} `json:"SpecialToken"`
	} `json:"single"`
}

type pattern struct {
	Regex  string `json:"Regex"`
	String string `json:"String"`
}

type modelComponent struct {
	Type                    string           `json:"type"`
	Dropout                 float64          `json:"dropout"`
	UnkToken                string           `json:"unk_token"`
	ContinuingSubwordPrefix string           `json:"continuing_subword_prefix"`
	EndOfWordSuffix         string           `json:"end_of_word_suffix"`
	ByteFallback            bool             `json:"byte_fallback"`
	IgnoreMerges            bool             `json:"ignore_merges"`
	Vocab                   map[string]int32 `json:"vocab"`
	Merges                  json.RawMessage  `json:"merges"`
}

// Load reads the tokenizer.json at path.
func Load(path string) (*Tokenizer, error) {
	data, err := modelfile.Read(path, maxFileBytes)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	t, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %s: %w", path, err)
	}
	return t, nil
}

// Parse reads a tokenizer.json.
func Parse(data []byte) (*Tokenizer, error) {
	t, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	return t, nil
}

func parse(data []byte) (*Tokenizer, error) {
	if len(data) > maxFileBytes {
		return nil, fmt.Errorf("file exceeds the limit of %d bytes", maxFileBytes)
	}
	var file tokenizerFile
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, err
	}
	return file.tokenizer()
}

func (f *tokenizerFile) tokenizer() (*Tokenizer, error) {
	form, err := f.form()
	if err != nil {
		return nil, err
	}
	t := &Tokenizer{form: form}
	if err := t.setVocabulary(f.Model, f.AddedTokens); err != nil {
		return nil, err
	}
	merges, err := parseMerges(f.Model.Merges)
	if err != nil {
		return nil, err
	}
	if err := t.setMerges(merges, f.Model.Vocab); err != nil {
		return nil, err
	}
	return t, nil
}

// form is the family whose steps the file asks for. It refuses whatever this
// package does not do.
func (f *tokenizerFile) form() (form, error) {
	if f.Model == nil {
		return form{}, errors.New("model is absent")
	}
	if f.Normalizer != nil && f.Normalizer.Type == "Sequence" {
		if err := f.checkCLIP(); err != nil {
			return form{}, err
		}
		if f.PreTokenizer.PreTokenizers[0].Pattern.Regex == clipPatternAdded {
			return clipFormAdded, nil
		}
		return clipForm, nil
	}
	return qwenForm, f.checkQwen()
}

// checkQwen checks for the steps of qwenForm.
func (f *tokenizerFile) checkQwen() error {
	if f.Normalizer == nil || f.Normalizer.Type != "NFC" {
		return fmt.Errorf("normalizer is %s, only NFC is supported", f.Normalizer.name())
	}
	if err := f.PreTokenizer.checkPreTokenizer(); err != nil {
		return fmt.Errorf("pre_tokenizer: %w", err)
	}
	if !f.PostProcessor.addsNothing() {
		return fmt.Errorf("post_processor is %s, only ByteLevel and a TemplateProcessing of the text alone are supported", f.PostProcessor.name())
	}
	if f.Decoder == nil || f.Decoder.Type != "ByteLevel" {
		return fmt.Errorf("decoder is %s, only ByteLevel is supported", f.Decoder.name())
	}
	if f.Model.UnkToken != "" {
		return errors.New("model: unk_token is not supported")
	}
	if f.Model.EndOfWordSuffix != "" {
		return errors.New("model: end_of_word_suffix is not supported")
	}
	return f.Model.check()
}

// addsNothing reports whether a post-processor leaves ids as they are. transformers 5
// saves a template of the text alone.
func (c *component) addsNothing() bool {
	switch {
	case c == nil, c.Type == "ByteLevel":
		return true
	case c.Type == "TemplateProcessing":
		return len(c.Single) == 1 && c.Single[0].Sequence != nil && c.Single[0].SpecialToken == nil
	}
	return false
}

func (c *component) name() string {
	if c == nil {
		return "absent"
	}
	return c.Type
}

// checkPreTokenizer checks for a split by qwenPattern and then the byte
// alphabet.
func (c *component) checkPreTokenizer() error {
	if c == nil || c.Type != "Sequence" || len(c.PreTokenizers) != 2 {
		return fmt.Errorf("%s, only a Sequence of Split and ByteLevel is supported", c.name())
	}
	split, level := c.PreTokenizers[0], c.PreTokenizers[1]
	switch {
	case split.Type != "Split" || level.Type != "ByteLevel":
		return fmt.Errorf("%s and %s, only Split and ByteLevel are supported", split.Type, level.Type)
	case split.Pattern != pattern{Regex: qwenPattern}:
		return fmt.Errorf("pattern is %q, only Qwen2's is supported: %q", split.Pattern.Regex+split.Pattern.String, qwenPattern)
	case split.Behavior != "Isolated":
		return fmt.Errorf("behavior of Split is %q, only Isolated is supported", split.Behavior)
	case split.Invert:
		return errors.New("invert of Split is not supported")
	case level.AddPrefixSpace == nil || *level.AddPrefixSpace:
		return errors.New("add_prefix_space of ByteLevel is not supported")
	case level.UseRegex == nil || *level.UseRegex:
		return errors.New("use_regex of ByteLevel is not supported")
	}
	return nil
}

func (m *modelComponent) check() error {
	switch {
	case m.Type != "BPE":
		return fmt.Errorf("model is %q, only BPE is supported", m.Type)
	case m.Dropout != 0:
		return errors.New("model: dropout is not supported")
	case m.ContinuingSubwordPrefix != "":
		return errors.New("model: continuing_subword_prefix is not supported")
	case m.ByteFallback:
		return errors.New("model: byte_fallback is not supported")
	case m.IgnoreMerges:
		return errors.New("model: ignore_merges is not supported")
	}
	return nil
}

// setVocabulary fills in everything but the merges.
func (t *Tokenizer) setVocabulary(model *modelComponent, added []addedToken) error {
	vocab := model.Vocab
	if len(vocab)+len(added) > maxTokens {
		return fmt.Errorf("vocabulary of %d tokens exceeds the limit of %d", len(vocab)+len(added), maxTokens)
	}
	largest := int32(-1)
	for _, id := range vocab {
		largest = max(largest, id)
	}
	for _, a := range added {
		largest = max(largest, a.ID)
	}
	if largest >= maxTokens {
		return fmt.Errorf("id %d exceeds the limit of %d", largest, maxTokens-1)
	}
	t.pieces = make([][]byte, largest+1)
	t.whole = make([]atomic.Uint32, largest+1)
	t.words = make(map[string]int32, len(vocab))
	t.foreign = map[string]int32{}
	t.inner = map[string]int32{}
	for token, id := range vocab {
		if id < 0 {
			return fmt.Errorf("token %q has the negative id %d", token, id)
		}
		if t.pieces[id] != nil {
			return fmt.Errorf("token %q shares the id %d with another", token, id)
		}
		t.setToken(token, id)
	}
	if err := t.setBytes(model); err != nil {
		return err
	}
	return t.setAdded(added, vocab)
}

// setToken registers a token of the vocabulary.
func (t *Tokenizer) setToken(token string, id int32) {
	spelt, ends := token, true
	if t.form.suffix != "" {
		spelt, ends = strings.CutSuffix(token, t.form.suffix)
	}
	data, ok := alphabetBytes(spelt)
	switch {
	case !ok:
		t.foreign[token] = id
		t.pieces[id] = []byte(token)
	case t.form.suffix == "":
		t.words[string(data)] = id
		t.pieces[id] = data
	case ends:
		t.words[string(data)] = id
		t.pieces[id] = append(data, ' ')
	default:
		t.inner[string(data)] = id
		t.pieces[id] = data
	}
}

// setBytes finds the token of each single byte, within a word and at its end. A
// byte without one is the model's unknown token.
func (t *Tokenizer) setBytes(model *modelComponent) error {
	unknown, known := model.Vocab[model.UnkToken]
	known = known && model.UnkToken != ""
	for b := range 256 {
		one := []byte{byte(b)}
		last, ok := t.words[string(one)]
		within := last
		if t.form.suffix != "" {
			var found bool
			within, found = t.inner[string(one)]
			if !found {
				within = unknown
			}
			if !ok {
				last = unknown
			}
			ok = found && ok
		}
		if !ok && !known {
			return fmt.Errorf("vocabulary has no token for the byte 0x%02X", b)
		}
		t.bytes[b], t.ends[b] = within, last
	}
	return nil
}

// setAdded registers the added tokens. One that is in the vocabulary too must
// have the same id there.
func (t *Tokenizer) setAdded(added []addedToken, vocab map[string]int32) error {
	t.added = make(map[string]int32, len(added))
	t.special = map[int32]bool{}
	for _, a := range added {
		switch {
		case a.Content == "" || len(a.Content) > maxAddedBytes:
			return fmt.Errorf("added token %d has %d bytes, not 1 to %d", a.ID, len(a.Content), maxAddedBytes)
		case a.SingleWord || a.LStrip || a.RStrip:
			return fmt.Errorf("added token %q: single_word, lstrip and rstrip are not supported", a.Content)
		case a.ID < 0:
			return fmt.Errorf("added token %q has the negative id %d", a.Content, a.ID)
		}
		if _, ok := t.added[a.Content]; ok {
			return fmt.Errorf("added token %q occurs twice", a.Content)
		}
		known, ok := vocab[a.Content]
		if ok && known != a.ID || !ok && t.pieces[a.ID] != nil {
			return fmt.Errorf("added token %q: id %d is taken or differs from the vocabulary's", a.Content, a.ID)
		}
		t.added[a.Content] = a.ID
		if a.Special {
			t.special[a.ID] = true
		}
		// The decoder takes added tokens for alphabet too, where it can.
		data, ok := alphabetBytes(a.Content)
		if !ok {
			data = []byte(a.Content)
		}
		t.pieces[a.ID] = data
		if a.Normalized {
			t.normalized.insert(t.form.normalize(a.Content), a.ID)
		} else {
			t.raw.insert(a.Content, a.ID)
		}
	}
	return nil
}

// parseMerges reads the merge list, whose items are "left right" or, since
// tokenizers 0.20, ["left", "right"].
func parseMerges(data json.RawMessage) ([][2]string, error) {
	inner := bytes.TrimLeft(bytes.TrimPrefix(bytes.TrimSpace(data), []byte("[")), " \t\r\n")
	if len(inner) > 0 && inner[0] == '[' {
		var lists [][]string
		if err := json.Unmarshal(data, &lists); err != nil {
			return nil, fmt.Errorf("merges: %w", err)
		}
		merges := make([][2]string, len(lists))
		for i, list := range lists {
			if len(list) != 2 {
				return nil, fmt.Errorf("merge %d has %d parts, not 2", i, len(list))
			}
			merges[i] = [2]string(list)
		}
		return merges, nil
	}
	var lines []string
	if len(data) > 0 {
		if err := json.Unmarshal(data, &lines); err != nil {
			return nil, fmt.Errorf("merges: %w", err)
		}
	}
	merges := make([][2]string, len(lines))
	for i, line := range lines {
		left, right, ok := strings.Cut(line, " ")
		if !ok || strings.Contains(right, " ") {
			return nil, fmt.Errorf("merge %d, %q, is not two tokens and a space", i, line)
		}
		merges[i] = [2]string{left, right}
	}
	return merges, nil
}

// setMerges resolves the merges' tokens.
func (t *Tokenizer) setMerges(merges [][2]string, vocab map[string]int32) error {
	if len(merges) > maxTokens {
		return fmt.Errorf("%d merges exceed the limit of %d", len(merges), maxTokens)
	}
	t.merges = make(map[pair]merge, len(merges))
	for rank, m := range merges {
		var ids [3]int32
		for i, token := range []string{m[0], m[1], m[0] + m[1]} {
			id, ok := vocab[token]
			if !ok {
				return fmt.Errorf("merge %d of %q and %q: %q is not in the vocabulary", rank, m[0], m[1], token)
			}
			ids[i] = id
		}
		p := pair{ids[0], ids[1]}
		if _, ok := t.merges[p]; ok {
			return fmt.Errorf("merge %d of %q and %q occurs twice", rank, m[0], m[1])
		}
		t.merges[p] = merge{int32(rank), ids[2]}
	}
	return nil
}
