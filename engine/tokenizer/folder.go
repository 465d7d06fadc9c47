package tokenizer

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/denseflow/densereward/internal/modelfile"
)

// The files of a checkpoint folder that concern its tokenizer.
const (
	jsonFile    = "tokenizer.json"
	vocabFile   = "vocab.json"
	mergesFile  = "merges.txt"
	configFile  = "tokenizer_config.json"
	addedFile   = "added_tokens.json"
	specialFile = "special_tokens_map.json"
	simpleFile  = "bpe_simple_vocab_16e6.txt.gz"
)

// Files are the names of all files that LoadFolder reads where they are there: what
// a fingerprint has to cover.
func Files() []string {
	return []string{jsonFile, vocabFile, mergesFile, configFile, addedFile, specialFile, simpleFile}
}

// LoadFolder reads the tokenizer of a checkpoint folder: tokenizer.json, or where
// that is absent vocab.json and merges.txt, as Qwen2's or CLIP's, or the
// bpe_simple_vocab_16e6.txt.gz that OpenAI and open_clip ship. Tokens that only
// tokenizer_config.json or added_tokens.json have are added, as transformers does.
// One that has another id there is an error.
func LoadFolder(dir string) (*Tokenizer, error) {
	t, err := loadFolder(dir)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %s: %w", dir, err)
	}
	return t, nil
}

func loadFolder(dir string) (*Tokenizer, error) {
	var file tokenizerFile
	err := readJSON(dir, jsonFile, &file)
	if errors.Is(err, fs.ErrNotExist) {
		err = file.fromVocabulary(dir, err)
	}
	if err != nil {
		return nil, err
	}
	if err := file.addTokens(dir); err != nil {
		return nil, err
	}
	return file.tokenizer()
}

func readJSON(dir, name string, v any) error {
	data, err := modelfile.Read(filepath.Join(dir, name), maxFileBytes)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// maxCLIPMerges is how many merges transformers reads of a CLIP tokenizer's
// merges.txt, which has more than the vocabulary has tokens for.
const maxCLIPMerges = 49152 - 256 - 2

// fromVocabulary makes of vocab.json and merges.txt, or of the file of merges that
// OpenAI and open_clip ship, what transformers makes of them. absent is why there is
// no tokenizer.json.
func (f *tokenizerFile) fromVocabulary(dir string, absent error) error {
	vocab, merges, err := readVocabulary(dir)
	if errors.Is(err, fs.ErrNotExist) && vocab == nil {
		vocab, merges, err = readSimpleVocabulary(dir)
		if errors.Is(err, fs.ErrNotExist) {
			return absent
		}
	}
	if err != nil {
		return err
	}
	model, steps := modelComponent{Type: "BPE", Vocab: vocab}, qwenSteps
	if _, clip := vocab["a"+clipForm.suffix]; clip {
		merges = merges[:min(len(merges), maxCLIPMerges)]
		model.EndOfWordSuffix, model.UnkToken = clipForm.suffix, clipEnd
		steps = clipSteps
		for _, token := range []string{clipStart, clipEnd} {
			if id, ok := vocab[token]; ok {
				f.AddedTokens = append(f.AddedTokens, addedToken{ID: id, Content: token, Special: true})
			}
		}
	}
	if model.Merges, err = json.Marshal(merges); err != nil {
		return err
	}
	f.Model = &model
	return json.Unmarshal([]byte(steps), f)
}

// The tokens around a text of CLIP's.
const (
	clipStart = "<|startoftext|>"
	clipEnd   = "<|endoftext|>"
)

// readVocabulary reads vocab.json and merges.txt. The vocabulary is nil where there
// is no vocab.json.
func readVocabulary(dir string) (vocab map[string]int32, merges []string, err error) {
	if err := readJSON(dir, vocabFile, &vocab); err != nil {
		return nil, nil, err
	}
	data, err := modelfile.Read(filepath.Join(dir, mergesFile), maxFileBytes)
	if err != nil {
		return map[string]int32{}, nil, err
	}
	return vocab, mergeLines(data), nil
}

// readSimpleVocabulary reads bpe_simple_vocab_16e6.txt.gz: merges alone. The tokens
// are the bytes, within a word and at its end, what the merges make, and the two
// around a text, as open_clip's SimpleTokenizer has them.
func readSimpleVocabulary(dir string) (vocab map[string]int32, merges []string, err error) {
	packed, err := modelfile.Read(filepath.Join(dir, simpleFile), maxFileBytes)
	if err != nil {
		return nil, nil, err
	}
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", simpleFile, err)
	}
	data, err := io.ReadAll(io.LimitReader(r, maxFileBytes+1))
	if err == nil && len(data) > maxFileBytes {
		err = fmt.Errorf("unpacks to more than %d bytes", maxFileBytes)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", simpleFile, err)
	}
	_, rest, _ := bytes.Cut(data, []byte("\n")) // the name and a version
	merges = mergeLines(rest)
	merges = merges[:min(len(merges), maxCLIPMerges)]
	vocab = map[string]int32{}
	add := func(token string) { vocab[token] = int32(len(vocab)) }
	for _, suffix := range []string{"", clipForm.suffix} {
		for _, r := range alphabetOrder() {
			add(string(r) + suffix)
		}
	}
	for _, merge := range merges {
		add(strings.Replace(merge, " ", "", 1))
	}
	add(clipStart)
	add(clipEnd)
	return vocab, merges, nil
}

// mergeLines are the lines of merges.txt but for its version.
func mergeLines(data []byte) []string {
	var lines []string
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		if line != "" && (len(lines) > 0 || !strings.HasPrefix(line, "#version")) {
			lines = append(lines, line)
		}
	}
	return lines
}

// What the two families do around the model, as tokenizer.json has it.
var (
	qwenSteps = fmt.Sprintf(`{"normalizer": {"type": "NFC"},
		"pre_tokenizer": {"type": "Sequence", "pretokenizers": [
			{"type": "Split", "pattern": {"Regex": %q}, "behavior": "Isolated"},
			{"type": "ByteLevel", "add_prefix_space": false, "use_regex": false}]},
		"decoder": {"type": "ByteLevel"}}`, qwenPattern)
	clipSteps = fmt.Sprintf(`{"normalizer": {"type": "Sequence", "normalizers": [
			{"type": "NFC"}, {"type": "Replace", "pattern": {"Regex": "\\s+"}, "content": " "}, {"type": "Lowercase"}]},
		"pre_tokenizer": {"type": "Sequence", "pretokenizers": [
			{"type": "Split", "pattern": {"Regex": %q}, "behavior": "Removed", "invert": true},
			{"type": "ByteLevel", "add_prefix_space": false}]},
		"decoder": {"type": "ByteLevel"}}`, clipPatternAdded)
)

// tokenOrObject is a token as a string or as an object with its content.
type tokenOrObject string

func (t *tokenOrObject) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '{' {
		var object struct {
			Content string `json:"content"`
		}
		err := json.Unmarshal(data, &object)
		*t = tokenOrObject(object.Content)
		return err
	}
	var text *string
	err := json.Unmarshal(data, &text)
	if text != nil {
		*t = tokenOrObject(*text)
	}
	return err
}

// specialTokens are those that special_tokens_map.json and tokenizer_config.json
// give a part to.
type specialTokens struct {
	BOS        tokenOrObject   `json:"bos_token"`
	EOS        tokenOrObject   `json:"eos_token"`
	PAD        tokenOrObject   `json:"pad_token"`
	UNK        tokenOrObject   `json:"unk_token"`
	Additional []tokenOrObject `json:"additional_special_tokens"`
}

func (s specialTokens) all() []tokenOrObject {
	return append([]tokenOrObject{s.BOS, s.EOS, s.PAD, s.UNK}, s.Additional...)
}

// addTokens adds what the files beside tokenizer.json add.
func (f *tokenizerFile) addTokens(dir string) error {
	var config struct {
		specialTokens
		Decoder map[string]addedToken `json:"added_tokens_decoder"`
	}
	var named specialTokens
	ids := map[string]int32{}
	for name, v := range map[string]any{configFile: &config, specialFile: &named, addedFile: &ids} {
		if err := readJSON(dir, name, v); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	var extra []addedToken
	for text, token := range config.Decoder {
		id, err := strconv.ParseInt(text, 10, 32)
		if err != nil {
			return fmt.Errorf("%s: added_tokens_decoder: %w", configFile, err)
		}
		token.ID = int32(id)
		extra = append(extra, token)
	}
	special := append(config.all(), named.all()...)
	for content, id := range ids {
		if !slices.ContainsFunc(extra, func(t addedToken) bool { return t.Content == content && t.ID == id }) {
			extra = append(extra, addedToken{ID: id, Content: content, Special: slices.Contains(special, tokenOrObject(content))})
		}
	}
	slices.SortFunc(extra, func(a, b addedToken) int { return int(a.ID) - int(b.ID) })
	for _, token := range extra {
		if err := f.addToken(token); err != nil {
			return err
		}
	}
	return nil
}

// addToken adds a token unless it is there with the same id.
func (f *tokenizerFile) addToken(token addedToken) error {
	for _, known := range f.AddedTokens {
		switch {
		case known.Content == token.Content && known.ID == token.ID:
			return nil
		case known.Content == token.Content:
			return fmt.Errorf("added token %q has the ids %d and %d in different files", token.Content, known.ID, token.ID)
		case known.ID == token.ID:
			return fmt.Errorf("added tokens %q and %q have the id %d in different files", known.Content, token.Content, token.ID)
		}
	}
	f.AddedTokens = append(f.AddedTokens, token)
	return nil
}
