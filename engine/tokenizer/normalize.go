package tokenizer

import (
	"cmp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// manyMarks is how many characters may follow the first of a segment for x/text to
// normalize it. It follows the stream-safe text format of UAX 15, which breaks runs
// of more than 30 combining characters by U+034F, and a character can decompose
// into three.
const manyMarks = 8

// firstNotCombining is the first character of notCombining.
const firstNotCombining = 0x7fd

// NFC brings text to normalization form C as tokenizers does: by Unicode 9.0, and
// without what x/text inserts into long runs.
func NFC(text string) string {
	if norm.NFC.IsNormalString(text) {
		return text
	}
	var b strings.Builder
	b.Grow(len(text))
	begin := 0 // of what has no character that Unicode 9.0 does not combine
	for i, r := range text {
		if r >= firstNotCombining && unicode.Is(notCombining, r) {
			writeNFC(&b, text[begin:i])
			b.WriteRune(r)
			begin = i + utf8.RuneLen(r)
		}
	}
	writeNFC(&b, text[begin:])
	return b.String()
}

// writeNFC writes the normal form of text. x/text counts some characters that combine
// with none before them, such as U+3160 of Korean, so each segment is normalized on its
// own.
func writeNFC(b *strings.Builder, text string) {
	begin := 0 // of the segment: the last character that composes with none before it
	marks := 0 // characters since
	flush := func(end int) {
		switch part := text[begin:end]; {
		case len(part) <= 1: // ASCII
			b.WriteString(part)
		case marks > manyMarks:
			writeComposed(b, part)
		default:
			b.WriteString(norm.NFC.String(part))
		}
		begin, marks = end, 0
	}
	for i := 0; i < len(text); {
		p := norm.NFC.PropertiesString(text[i:])
		if p.BoundaryBefore() {
			flush(i)
		} else {
			marks++
		}
		i += p.Size()
	}
	flush(len(text))
}

// combining is a character with its canonical combining class, 0 for those that
// others combine with.
type combining struct {
	r     rune
	class uint8
}

// writeComposed writes the normal form of part by the algorithm of UAX 15:
// decompose, sort by class, compose. part begins with a character that composes
// with none before it.
func writeComposed(b *strings.Builder, part string) {
	characters := decompose(part)
	starter := -1 // where the last character of class 0 is
	var last uint8
	kept := characters[:0]
	for _, c := range characters {
		// A character is cut off from the starter by one of its own class or
		// a higher one between them.
		if starter >= 0 && (last < c.class || len(kept) == starter+1) {
			if r, ok := composite(kept[starter].r, c.r); ok {
				kept[starter].r = r
				continue
			}
		}
		if c.class == 0 {
			starter = len(kept)
		}
		last = c.class
		kept = append(kept, c)
	}
	for _, c := range kept {
		b.WriteRune(c.r)
	}
}

// decompose gives the full canonical decomposition of part.
func decompose(part string) []combining {
	var characters []combining
	for _, r := range part {
		for _, d := range norm.NFD.String(string(r)) {
			characters = append(characters, combining{d, norm.NFD.PropertiesString(string(d)).CCC()})
		}
	}
	for begin := 0; begin < len(characters); begin++ {
		end := begin
		for end < len(characters) && characters[end].class > 0 {
			end++
		}
		slices.SortStableFunc(characters[begin:end], func(a, b combining) int {
			return cmp.Compare(a.class, b.class)
		})
		begin = end
	}
	return characters
}

// composite is the character that two compose into. Both are as decomposition
// and earlier compositions leave them.
func composite(starter, next rune) (rune, bool) {
	both := norm.NFC.String(string(starter) + string(next))
	r, n := utf8.DecodeRuneInString(both)
	return r, n == len(both)
}
