package clip

import (
	"html"
	"regexp"
	"strings"
	"unicode"

	"github.com/denseflow/densereward/engine/tokenizer"
	lettercase "golang.org/x/text/cases"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/language"
	"golang.org/x/text/unicode/norm"
)

// openCLIPText is text as open_clip's SimpleTokenizer, and OpenAI's before it, has
// it: mended by ftfy.fix_text, HTML unescaped twice, white space made one space, in
// lower case as Python has it. Models that were trained so see a typewriter's quotes
// for curly ones and separate letters for ligatures. Of ftfy, what undoes text that
// was decoded in a wrong encoding is left out.
func openCLIPText(text string) string {
	text = html.UnescapeString(html.UnescapeString(mend(text)))
	text = strings.Join(strings.FieldsFunc(text, isPythonSpace), " ")
	return lettercase.Lower(language.Und).String(text)
}

// isPythonSpace is Python's str.isspace.
func isPythonSpace(r rune) bool { return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f }

// mend is ftfy.fix_text, a line at a time. From the first line with a < on, entities
// of HTML stay.
func mend(text string) string {
	var b strings.Builder
	entities := true
	for line := range strings.Lines(text) {
		entities = entities && !strings.Contains(line, "<")
		b.WriteString(mendLine(line, entities))
	}
	return b.String()
}

// maxMends bounds how often a line is mended until nothing changes: what is found
// behind an entity of an entity.
const maxMends = 16

func mendLine(line string, entities bool) string {
	for range maxMends {
		before := line
		if entities {
			line = entity.ReplaceAllStringFunc(line, unescapeEntity)
		}
		line = strings.Map(fixControl, line)
		line = ligatures.Replace(line)
		line = mapWidths(line)
		line = strings.Map(straightQuote, line)
		line = lineBreaks.Replace(line)
		line = terminalEscape.ReplaceAllString(line, "")
		line = strings.Map(dropControl, line)
		line = tokenizer.NFC(line)
		if line == before {
			break
		}
	}
	return line
}

var (
	entity         = regexp.MustCompile(`&#?[0-9A-Za-z]{1,24};`)
	terminalEscape = regexp.MustCompile("\033\\[[0-9;]*[a-zA-Z]")
	lineBreaks     = strings.NewReplacer("\r\n", "\n", "\r", "\n", "\u2028", "\n", "\u2029", "\n", "\u0085", "\n")
	ligatures      = strings.NewReplacer(
		"Ĳ", "IJ", "ĳ", "ij", "ŉ", "ʼn", "Ǳ", "DZ", "ǲ", "Dz", "ǳ", "dz", "Ǆ", "DŽ", "ǅ", "Dž", "ǆ", "dž", "Ǉ", "LJ", "ǈ", "Lj", "ǉ", "lj",
		"Ǌ", "NJ", "ǋ", "Nj", "ǌ", "nj", "ﬀ", "ff", "ﬁ", "fi", "ﬂ", "fl", "ﬃ", "ffi", "ﬄ", "ffl", "ﬅ", "ſt", "ﬆ", "st")
)

// unescapeEntity is the character of an entity with its semicolon; a name that only
// begins with one stays. A name in capitals may stand for one in small letters.
func unescapeEntity(text string) string {
	if decoded := html.UnescapeString(text); !strings.Contains(decoded, ";") || text == "&semi;" {
		return decoded
	}
	name := strings.ToLower(text)
	if text != strings.ToUpper(text) || text == name || html.UnescapeString(text) != text {
		return text
	}
	if decoded := html.UnescapeString(name); !strings.Contains(decoded, ";") {
		return lettercase.Upper(language.Und).String(decoded) // ß has two
	}
	return text
}

// fixControl takes a C1 control character for what Windows-1252 has in its place.
func fixControl(r rune) rune {
	if r >= 0x80 && r <= 0x9f {
		if c := charmap.Windows1252.DecodeByte(byte(r)); c != unicode.ReplacementChar {
			return c
		}
	}
	return r
}

// mapWidths makes characters of full and half width ordinary ones.
func mapWidths(line string) string {
	wide := func(r rune) bool { return r == 0x3000 || r >= 0xff01 && r < 0xfff0 }
	if !strings.ContainsFunc(line, wide) {
		return line
	}
	var b strings.Builder
	for _, r := range line {
		switch {
		case r == 0x3000:
			b.WriteByte(' ')
		case wide(r):
			b.WriteString(norm.NFKC.String(string(r)))
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

func straightQuote(r rune) rune {
	switch {
	case r == 0x2bc, r >= 0x2018 && r <= 0x201b:
		return '\''
	case r >= 0x201c && r <= 0x201f:
		return '"'
	}
	return r
}

// dropControl drops control characters that have no place in text.
func dropControl(r rune) rune {
	switch {
	case r < 0x09, r == 0x0b, r >= 0x0e && r < 0x20, r == 0x7f, r >= 0x206a && r < 0x2070, r == 0xfeff, r >= 0xfff9 && r < 0xfffd:
		return -1
	}
	return r
}
