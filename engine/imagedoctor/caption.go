package imagedoctor

import "strings"

// CleanCaption prepares a caption as the public scorer does: white space is cut
// off both ends, then terminal punctuation and white space off the end, ASCII
// and full-width alike. Quotes and brackets stay.
func CleanCaption(caption string) string {
	caption = strings.TrimFunc(caption, pythonSpace)
	return strings.TrimRightFunc(caption, func(r rune) bool {
		return pythonSpace(r) || strings.ContainsRune(".,!?:;…、，。！？；：", r)
	})
}

// pythonSpace reports whether Python's str.strip, and \s in its regular
// expressions, take r for white space. Unlike Unicode they count the four
// separators U+001C to U+001F.
func pythonSpace(r rune) bool {
	switch {
	case r >= '\t' && r <= '\r', r >= 0x1C && r <= ' ', r == 0x85, r == 0xA0:
		return true
	case r == 0x1680, r >= 0x2000 && r <= 0x200A, r == 0x2028, r == 0x2029:
		return true
	}
	return r == 0x202F || r == 0x205F || r == 0x3000
}
