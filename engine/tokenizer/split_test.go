package tokenizer

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// The alternatives of qwenPattern before and after the one that Go's regular
// expressions cannot say, \s+(?!\S). Their \s is ASCII, so the classes are
// spelt out.
var (
	beforeLookahead = regexp.MustCompile(withUnicodeClasses(
		`^(?:(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|[\s]*[\r\n]+)`))
	afterLookahead = regexp.MustCompile(withUnicodeClasses(`^[\s]+`))
)

func withUnicodeClasses(pattern string) string {
	pattern = strings.ReplaceAll(pattern, `\s`, `\t-\r \x{85}\x{a0}\p{Z}`)
	pattern = strings.ReplaceAll(pattern, `]?\p{L}+|\p{N}|`, `]?[\p{L}]+|[\p{N}]|`)
	pattern = strings.ReplaceAll(pattern, `\p{L}`, `\p{L}`+ranges(newLetters))
	return strings.ReplaceAll(pattern, `\p{N}`, `\p{N}`+ranges(newNumbers))
}

// ranges is a table as part of a class.
func ranges(table *unicode.RangeTable) string {
	var b strings.Builder
	for _, r := range table.R16 {
		fmt.Fprintf(&b, `\x{%x}-\x{%x}`, r.Lo, r.Hi)
	}
	for _, r := range table.R32 {
		fmt.Fprintf(&b, `\x{%x}-\x{%x}`, r.Lo, r.Hi)
	}
	return b.String()
}

// naiveWords splits text by qwenPattern as written.
func naiveWords(text string) []string {
	var words []string
	for text != "" {
		n := len(beforeLookahead.FindString(text))
		if n == 0 {
			n = len(afterLookahead.FindString(text))
			if r, _ := utf8.DecodeRuneInString(text[n:]); n < len(text) && !unicode.IsSpace(r) {
				// The lookahead makes \s+ give back its last character, if
				// that is not its only one.
				if _, last := utf8.DecodeLastRuneInString(text[:n]); last < n {
					n -= last
				}
			}
		}
		words = append(words, text[:n])
		text = text[n:]
	}
	return words
}

func words(text string) []string {
	var list []string
	for text != "" {
		n := wordLength(text)
		list = append(list, text[:n])
		text = text[n:]
	}
	return list
}

func TestWordsAreThoseOfThePattern(t *testing.T) {
	for _, c := range referenceCases(t) {
		if got, want := words(c.Text), naiveWords(c.Text); !slices.Equal(got, want) {
			t.Errorf("%+q:\n got %q\nwant %q", c.Text, got, want)
		}
	}
}

func TestSplitting(t *testing.T) {
	for text, want := range map[string]string{
		"Hello world":          "Hello| world",
		"we'll, WE'LL, don'T":  "we|'ll|,| WE|'LL|,| don|'T",
		"'s's'S'ſ":             "'s|'s|'S|'ſ",
		"'tis 'really 'veal":   "'t|is| '|really| '|veal",
		"'r'v'l'":              "'r|'v|'l|'",
		"12.5 km":              "1|2|.|5| km",
		"a  b":                 "a| | b",
		"a   b":                "a|  | b",
		"a \n b":               "a| \n| b",
		"a\r\n\r\nb":           "a|\r\n\r\n|b",
		" \n \n  x":            " \n \n| | x",
		"end  ":                "end|  ",
		"(word) -word":         "(word|)| -|word",
		"!!\n\n?":              "!!\n\n|?",
		" !x":                  " !|x",
		"\tx\u00a0y":           "\tx|\u00a0y",
		"\u00a0\u00a0y":        "\u00a0|\u00a0y",
		"é\u0301x":             "é|\u0301x",
		"½²Ⅷ":                  "½|²|Ⅷ",
		"猫が好き":                 "猫が好き",
		"x\u0000y":             "x|\u0000y",
		" ":                    " ",
		"\u0085x\u2028\u3000y": "\u0085x|\u2028|\u3000y",
	} {
		if got := strings.Join(words(text), "|"); got != want {
			t.Errorf("%+q splits into %+q, want %+q", text, got, want)
		}
		if got := strings.Join(naiveWords(text), "|"); got != want {
			t.Errorf("%+q splits by the pattern into %+q, want %+q", text, got, want)
		}
	}
}

func TestWhiteSpaceClassesAgree(t *testing.T) {
	// withUnicodeClasses spells out what unicode.IsSpace knows.
	class := regexp.MustCompile(withUnicodeClasses(`^[\s]$`))
	for r := range rune(unicode.MaxRune + 1) {
		if !utf8.ValidRune(r) {
			continue
		}
		if r > 0x3100 && !unicode.IsSpace(r) {
			continue
		}
		if got := class.MatchString(string(r)); got != unicode.IsSpace(r) {
			t.Errorf("%U: the class says %v", r, got)
		}
	}
}

// Characters of Unicode 15.1 and 16.0, as tokenizers 0.23 has them.
func TestCharactersThatAreNewerThanGosTablesHaveTheirClass(t *testing.T) {
	for r, want := range map[rune]class{
		0x2ebf0: letter, 0x2ee5d: letter, 0x2ee5e: other, 0x10d4a: letter, 0x13460: letter, 0x143fb: other,
		0x10d40: number, 0x1ccf9: number, 0x1ccfa: other, 0xa7cb: letter, 0xa7ce: other,
	} {
		if got := unicodeClass(r); got != want {
			t.Errorf("%U is of class %d, want %d", r, got, want)
		}
	}
	if got := clipNormal("\ua7da\U00010d50"); got != "\ua7db\U00010d70" {
		t.Errorf("in lower case: %+q", got)
	}
}
