package tokenizer

import (
	"unicode/utf8"
)

// tokenizer.json spells the bytes of a token in an alphabet of 256 printable
// characters, GPT-2's: a byte that is a printable character of Latin-1 stands
// for itself, and the others, in order, are U+0100 and up. So a space is Ġ.

// alphabetEnd is the first code point past the alphabet: 68 bytes do not stand
// for themselves.
const alphabetEnd = 0x100 + 68

// printable reports whether b stands for itself.
func printable(b byte) bool {
	return b >= '!' && b <= '~' || b >= 0xA1 && b <= 0xAC || b >= 0xAE
}

// alphabetTable maps code points below alphabetEnd to bytes; -1 marks those
// outside the alphabet.
func alphabetTable() (table [alphabetEnd]int16) {
	next := rune(0x100)
	for r := range rune(0x100) {
		table[r] = -1
	}
	for b := range 256 {
		if printable(byte(b)) {
			table[b] = int16(b)
		} else {
			table[next] = int16(b)
			next++
		}
	}
	return table
}

// alphabetOrder is the alphabet in GPT-2's order: bytes that stand for themselves
// first.
func alphabetOrder() []rune {
	var order, rest []rune
	for r, b := range alphabet {
		switch {
		case b < 0:
		case r < 0x100:
			order = append(order, rune(r))
		default:
			rest = append(rest, rune(r))
		}
	}
	return append(order, rest...)
}

// alphabet is never written to.
var alphabet = alphabetTable()

// alphabetBytes returns the bytes that a token spells, and false if one of its
// characters is not in the alphabet.
func alphabetBytes(token string) ([]byte, bool) {
	data := make([]byte, 0, len(token))
	for _, r := range token {
		if r >= alphabetEnd || alphabet[r] < 0 {
			return nil, false
		}
		data = append(data, byte(alphabet[r]))
	}
	return data, true
}

// lossyUTF8 is data as text. Like Rust's and Python's decoders it replaces each
// maximal part of a broken character by one U+FFFD; strings.ToValidUTF8 would
// replace a whole run by one, and a range loop each byte.
func lossyUTF8(data []byte) string {
	if utf8.Valid(data) {
		return string(data)
	}
	text := make([]byte, 0, len(data)+8)
	for len(data) > 0 {
		r, n := utf8.DecodeRune(data)
		if r == utf8.RuneError && n == 1 {
			n = brokenLength(data)
			text = utf8.AppendRune(text, utf8.RuneError)
		} else {
			text = append(text, data[:n]...)
		}
		data = data[n:]
	}
	return string(text)
}

// brokenLength is how many bytes, at least 1, of the broken character that data
// begins with could have begun a valid one.
func brokenLength(data []byte) int {
	for n := 2; n <= 3 && n <= len(data); n++ {
		// What can be completed is not a full rune yet.
		if utf8.FullRune(data[:n]) {
			return n - 1
		}
	}
	return min(3, len(data))
}
