package tokenizer

import (
	"strings"
	"sync/atomic"
	"unicode/utf8"
)

// Tokenizer encodes and decodes text. Make it with Load or Parse.
type Tokenizer struct {
	form form

	// words maps the bytes of every token that bytes can form to its id.
	words map[string]int32
	// inner maps the bytes of tokens that do not end a word to their ids, in the
	// forms that tell them apart.
	inner map[string]int32
	// added maps the text of every added token to its id.
	added map[string]int32
	// foreign maps tokens that are not spelt in the byte alphabet to their
	// ids. They can be decoded but never encoded.
	foreign map[string]int32
	// pieces holds the bytes that each id decodes to; nil where no token has
	// the id.
	pieces [][]byte
	// special tells which ids Decode may be asked to skip.
	special map[int32]bool

	bytes  [256]int32 // the id of each single byte
	ends   [256]int32 // the same for the last byte of a word
	merges map[pair]merge

	// whole caches for each id whether its own bytes merge into that one
	// token. A word that is a token need not come out as it: the merges may
	// stop before.
	whole []atomic.Uint32

	raw        matcher // added tokens that are found before normalization
	normalized matcher // added tokens that are found after it
}

// The states of Tokenizer.whole.
const (
	wholeUnknown = iota
	wholeYes
	wholeNo
)

// Size is one more than the largest id. Models often have a few rows more in
// their embedding.
func (t *Tokenizer) Size() int { return len(t.pieces) }

// TokenID is the id of a token as tokenizer.json spells it: an added token such
// as <|im_end|>, or an ordinary one in the byte alphabet, such as Ġthe.
func (t *Tokenizer) TokenID(token string) (int32, bool) {
	if id, ok := t.added[token]; ok {
		return id, true
	}
	if id, ok := t.foreign[token]; ok {
		return id, true
	}
	spelt, ends := token, true
	if t.form.suffix != "" {
		spelt, ends = strings.CutSuffix(token, t.form.suffix)
	}
	data, ok := alphabetBytes(spelt)
	if !ok {
		return 0, false
	}
	tokens := t.words
	if !ends {
		tokens = t.inner
	}
	id, ok := tokens[string(data)]
	return id, ok
}

// Encode returns the ids of text. Added tokens that occur in text become their
// ids, as with the reference; use it for a prompt whose wrapper is our own. A
// byte of text that is not UTF-8 counts as U+FFFD.
func (t *Tokenizer) Encode(text string) []int32 {
	e := newEncoder(t, text)
	splitAdded(&t.raw, validUTF8(text), e.add, func(part string) {
		splitAdded(&t.normalized, t.form.normalize(part), e.add, e.ordinary)
	})
	return e.ids
}

// EncodeOrdinary returns the ids of text without recognising added tokens:
// <|im_end|> is taken for the characters it consists of. Use it for text from
// outside that must not speak to the model in control tokens.
func (t *Tokenizer) EncodeOrdinary(text string) []int32 {
	e := newEncoder(t, text)
	e.ordinary(t.form.normalize(validUTF8(text)))
	return e.ids
}

// validUTF8 replaces each byte that is not part of a character by U+FFFD.
func validUTF8(text string) string {
	if utf8.ValidString(text) {
		return text
	}
	return strings.Map(func(r rune) rune { return r }, text)
}

// Decode returns the text of ids. Bytes that do not form characters, as at the
// cut end of an answer, become U+FFFD; ids that no token has become nothing.
// With skipSpecial, tokens marked special in tokenizer.json are left out.
func (t *Tokenizer) Decode(ids []int32, skipSpecial bool) string {
	var data []byte
	for _, id := range ids {
		if id < 0 || int(id) >= len(t.pieces) || skipSpecial && t.special[id] {
			continue
		}
		data = append(data, t.pieces[id]...)
	}
	return lossyUTF8(data)
}

// encoder holds the state of one call of Encode.
type encoder struct {
	t    *Tokenizer
	ids  []int32
	work mergeWork
}

func newEncoder(t *Tokenizer, text string) *encoder {
	// English has about four bytes a token.
	return &encoder{t: t, ids: make([]int32, 0, len(text)/3+8)}
}

func (e *encoder) add(id int32) { e.ids = append(e.ids, id) }

// ordinary appends the ids of normalized text without added tokens.
func (e *encoder) ordinary(text string) {
	e.t.form.split(text, e.word)
}

// word appends the ids of one word.
func (e *encoder) word(word string) {
	id, known := e.t.words[word]
	if known && e.t.whole[id].Load() == wholeYes {
		e.ids = append(e.ids, id)
		return
	}
	before := len(e.ids)
	e.ids = e.t.appendMerged(e.ids, word, &e.work)
	if known && e.t.whole[id].Load() == wholeUnknown {
		state := uint32(wholeNo)
		if len(e.ids) == before+1 {
			state = wholeYes
		}
		e.t.whole[id].Store(state)
	}
}
