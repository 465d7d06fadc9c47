package tokenizer

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// form is what the tokenizers of two families differ in.
type form struct {
	// normalize brings text without added tokens to the form that is split.
	normalize func(text string) string
	// split calls word for each word of normalized text.
	split func(text string, word func(word string))
	// suffix marks tokens that end a word; empty where none are told apart.
	suffix string
}

var (
	qwenForm = form{normalize: NFC, split: splitQwen}
	clipForm = form{normalize: clipNormal, split: splitCLIP, suffix: "</w>"}
	// clipFormAdded is the form that transformers 5 writes.
	clipFormAdded = form{normalize: clipNormal, split: splitCLIPAdded, suffix: "</w>"}
)

// The patterns of the two forms.
const (
	clipPattern      = `'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+`
	clipPatternAdded = `<\|startoftext\|>|<\|endoftext\|>|` + clipPattern
)

// splitCLIP finds what clipPattern matches; white space belongs to no word.
func splitCLIP(text string, word func(word string)) {
	for len(text) > 0 {
		n, isWord := clipWord(text)
		if isWord {
			word(text[:n])
		}
		text = text[n:]
	}
}

// splitCLIPAdded finds what clipPatternAdded matches. Text that spells one of the
// two tokens once it is in lower case is a match, which ByteLevel's own pattern
// takes apart again.
func splitCLIPAdded(text string, word func(word string)) {
	for len(text) > 0 {
		if n := spelledToken(text); n > 0 {
			word(text[:2])
			word(text[2 : n-2])
			word(text[n-2 : n])
			text = text[n:]
			continue
		}
		n, isWord := clipWord(text)
		if isWord {
			word(text[:n])
		}
		text = text[n:]
	}
}

// spelledToken is the length of the token that text begins with, 0 if there is
// none.
func spelledToken(text string) int {
	for _, token := range []string{"<|startoftext|>", "<|endoftext|>"} {
		if strings.HasPrefix(text, token) {
			return len(token)
		}
	}
	return 0
}

// clipNormal is text in normalization form C, with one space for any run of white
// space, in lower case.
func clipNormal(text string) string {
	text = NFC(text)
	var b strings.Builder
	b.Grow(len(text))
	spaces := false
	for _, r := range text {
		if unicode.IsSpace(r) {
			if !spaces {
				b.WriteByte(' ')
			}
			spaces = true
			continue
		}
		spaces = false
		if r == 'İ' { // the one character whose lower case is two
			b.WriteString("i̇")
			continue
		}
		b.WriteRune(toLower(r))
	}
	return b.String()
}

// clipWord is the length of what clipPattern matches at the start of text, which is
// not empty, or of white space, which it does not match.
func clipWord(text string) (n int, isWord bool) {
	switch c, size := first(text); c {
	case space, newline:
		return size, false
	case letter:
		return run(text, letter), true
	case number:
		return size, true
	}
	if n := clipContraction(text); n > 0 {
		return n, true
	}
	return run(text, other), true
}

// clipContraction is the length of 's|'t|'re|'ve|'m|'ll|'d at the start of text; 0
// if it does not match.
func clipContraction(text string) int {
	for _, c := range []string{"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"} {
		if strings.HasPrefix(text, c) {
			return len(c)
		}
	}
	return 0
}

// checkCLIP checks for the steps of clipForm.
func (f *tokenizerFile) checkCLIP() error {
	if f.Model.EndOfWordSuffix != clipForm.suffix {
		return fmt.Errorf("model: end_of_word_suffix is %q, only %q is supported", f.Model.EndOfWordSuffix, clipForm.suffix)
	}
	if err := f.Normalizer.checkCLIPNormalizer(); err != nil {
		return fmt.Errorf("normalizer: %w", err)
	}
	if err := f.PreTokenizer.checkCLIPPreTokenizer(); err != nil {
		return fmt.Errorf("pre_tokenizer: %w", err)
	}
	return f.Model.check()
}

func (c *component) checkCLIPNormalizer() error {
	const want = "only a Sequence of NFC, Replace of white space by a space, and Lowercase is supported"
	if c == nil || c.Type != "Sequence" || len(c.Normalizers) != 3 {
		return fmt.Errorf("%s, %s", c.name(), want)
	}
	types := []string{c.Normalizers[0].Type, c.Normalizers[1].Type, c.Normalizers[2].Type}
	if !slices.Equal(types, []string{"NFC", "Replace", "Lowercase"}) {
		return fmt.Errorf("%v, %s", types, want)
	}
	if r := c.Normalizers[1]; r.Pattern != (pattern{Regex: `\s+`}) || r.Content != " " {
		return fmt.Errorf("step Replace of %q by %q, %s", r.Pattern.Regex+r.Pattern.String, r.Content, want)
	}
	return nil
}

func (c *component) checkCLIPPreTokenizer() error {
	if c == nil || c.Type != "Sequence" || len(c.PreTokenizers) != 2 {
		return fmt.Errorf("%s, only a Sequence of Split and ByteLevel is supported", c.name())
	}
	split, level := c.PreTokenizers[0], c.PreTokenizers[1]
	byPattern := level.UseRegex == nil || *level.UseRegex
	switch {
	case split.Type != "Split" || level.Type != "ByteLevel":
		return fmt.Errorf("%s and %s, only Split and ByteLevel are supported", split.Type, level.Type)
	case split.Pattern != pattern{Regex: clipPattern} && split.Pattern != pattern{Regex: clipPatternAdded}:
		return fmt.Errorf("pattern is %q, only CLIP's is supported: %q", split.Pattern.Regex+split.Pattern.String, clipPattern)
	case split.Pattern.Regex == clipPatternAdded && !byPattern:
		return errors.New("use_regex of ByteLevel is off, which is not supported with this pattern")
	case split.Behavior != "Removed" || !split.Invert:
		return fmt.Errorf("step Split with behavior %q and invert %v, only Removed and true are supported", split.Behavior, split.Invert)
	case level.AddPrefixSpace == nil || *level.AddPrefixSpace:
		return errors.New("add_prefix_space of ByteLevel is not supported")
	}
	return nil
}
