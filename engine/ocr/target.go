package ocr

import (
	"strings"

	"github.com/denseflow/densereward/reward"
	"golang.org/x/text/cases"
	"golang.org/x/text/language"
)

// MetadataText names the text that an image should show, in a sample's metadata.
const MetadataText = "text"

// maxTarget is the most characters of a target: the alignment's time grows with
// their square.
const maxTarget = 1024

// target is the text that a sample's image should show, without spaces and in lower
// case.
func target(s *reward.Sample) ([]rune, error) {
	text, field := "", "prompt"
	if given, ok := s.Metadata[MetadataText]; ok {
		if text, ok = given.(string); !ok {
			return nil, reward.ErrInvalidValue.With("metadata: %s is no text", MetadataText)
		}
		field = "metadata: " + MetadataText
	} else {
		parts := strings.SplitN(s.Prompt, `"`, 3)
		if len(parts) < 2 {
			return nil, reward.ErrInvalidValue.With("prompt: no text between double quotes, which the image should show")
		}
		text = parts[1]
	}
	wanted := []rune(lowered(strings.ReplaceAll(text, " ", "")))
	switch {
	case len(wanted) == 0:
		return nil, reward.ErrInvalidValue.With("%s: the text that the image should show is empty", field)
	case len(wanted) > maxTarget:
		return nil, reward.ErrInvalidValue.With("%s: %d characters that the image should show, limit %d", field, len(wanted), maxTarget)
	}
	return wanted, nil
}

// lowered is text in lower case as Python's str.lower has it.
func lowered(text string) string { return cases.Lower(language.Und).String(text) }

type character struct{ line, index int }

// joined is what was read, without spaces and in lower case, and where each of its
// characters comes from.
func joined(lines []Line) ([]rune, []character) {
	var text strings.Builder
	var from []character
	for l, line := range lines {
		index := 0
		for _, r := range line.Text {
			if r != ' ' {
				text.WriteRune(r)
				for range []rune(lowered(string(r))) { // two of one in a single case
					from = append(from, character{l, index})
				}
			}
			index++
		}
	}
	read := []rune(lowered(text.String()))
	return read, from[:min(len(from), len(read))]
}
