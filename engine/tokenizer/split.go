package tokenizer

import (
	"unicode"
	"unicode/utf8"
)

// qwenPattern is the regular expression that wordLength implements.
const qwenPattern = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`

// class is what the pattern tells characters apart by.
type class uint8

const (
	other   class = iota // [^\s\p{L}\p{N}]
	letter               // \p{L}
	number               // \p{N}
	space                // \s but for newline
	newline              // [\r\n]
)

// asciiClasses is never written to.
var asciiClasses = func() (table [utf8.RuneSelf]class) {
	for r := range table {
		table[r] = unicodeClass(rune(r))
	}
	return table
}()

func unicodeClass(r rune) class {
	switch {
	case isLetter(r):
		return letter
	case isNumber(r):
		return number
	case r == '\r' || r == '\n':
		return newline
	case unicode.IsSpace(r):
		return space
	}
	return other
}

// first is the class and the length of the first character of text, or
// 0 bytes of class other if text is empty.
func first(text string) (class, int) {
	if text == "" {
		return other, 0
	}
	if b := text[0]; b < utf8.RuneSelf {
		return asciiClasses[b], 1
	}
	r, n := utf8.DecodeRuneInString(text)
	return unicodeClass(r), n
}

// run is the length of the longest prefix of text whose characters are all of
// class c.
func run(text string, c class) int {
	length := 0
	for length < len(text) {
		k, n := first(text[length:])
		if k != c {
			break
		}
		length += n
	}
	return length
}

// splitQwen cuts text into the words of qwenPattern.
func splitQwen(text string, word func(word string)) {
	for len(text) > 0 {
		n := wordLength(text)
		word(text[:n])
		text = text[n:]
	}
}

// wordLength is the length in bytes of what qwenPattern matches at the start of
// text, which is not empty. The pattern matches at every character, so the
// words cover the text.
func wordLength(text string) int {
	c, n := first(text)
	if c == other && text[0] == '\'' {
		if length := contraction(text); length > 0 {
			return length
		}
	}
	switch c {
	case letter:
		return n + run(text[n:], letter)
	case number:
		return n
	case other, space:
		if length := run(text[n:], letter); length > 0 {
			return n + length
		}
	}
	if c == other {
		return punctuation(text)
	}
	if text[0] == ' ' {
		if next, _ := first(text[1:]); next == other && len(text) > 1 {
			return 1 + punctuation(text[1:])
		}
	}
	return whitespace(text)
}

// punctuation is the length of [^\s\p{L}\p{N}]+[\r\n]* at the start of text.
func punctuation(text string) int {
	length := run(text, other)
	return length + run(text[length:], newline)
}

// whitespace is the length of \s*[\r\n]+|\s+(?!\S)|\s+ at the start of text:
// up to the last newline of the run of white space if it has one; else up to
// the end of the text; else all but its last character, which belongs to the
// next word, unless it is the only one.
func whitespace(text string) int {
	length, last, newlineEnd := 0, 0, 0
	for length < len(text) {
		c, n := first(text[length:])
		if c != space && c != newline {
			break
		}
		length += n
		last = n
		if c == newline {
			newlineEnd = length
		}
	}
	switch {
	case newlineEnd > 0:
		return newlineEnd
	case length == len(text) || length == last:
		return length
	}
	return length - last
}

// contraction is the length of (?i:'s|'t|'re|'ve|'m|'ll|'d) at the start of
// text, which begins with an apostrophe; 0 if it does not match.
func contraction(text string) int {
	if len(text) < 2 {
		return 0
	}
	switch text[1] | 0x20 { // lower case, for letters
	case 's', 't', 'm', 'd':
		return 2
	case 'r', 'v':
		if len(text) > 2 && text[2]|0x20 == 'e' {
			return 3
		}
	case 'l':
		if len(text) > 2 && text[2]|0x20 == 'l' {
			return 3
		}
	}
	// The long s folds to s.
	if r, n := utf8.DecodeRuneInString(text[1:]); r == 'ſ' {
		return 1 + n
	}
	return 0
}
