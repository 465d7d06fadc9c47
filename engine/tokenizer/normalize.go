package tokenizer

import (
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// nfc brings text to normalization form C.
func nfc(text string) string {
	if ascii(text) {
		return text
	}
	return norm.NFC.String(text)
}

// ascii reports whether text is ASCII, which is its own normal form.
func ascii(text string) bool {
	for i := range len(text) {
		if text[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
