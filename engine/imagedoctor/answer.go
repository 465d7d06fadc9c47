package imagedoctor

import (
	"regexp"
	"strconv"
	"strings"
	"unicode"
)

// The regular expressions of the public scorer, which are Python's and ignore
// case: \s and \d are Unicode there, and s and i have more than two cases.
// Go's engine is linear in the text, so no answer can stall it.
const (
	anySpace = `[\t-\r\x{1c}-\x20\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}]*`
	anyScore = `([-+]?\p{Nd}*\.?\p{Nd}+(?:[eE][-+]?\p{Nd}+)?)`
)

var (
	answerBlock = regexp.MustCompile(`(?is)<answer>(.*?)</answer>`)

	scorePatterns = [NumScores]*regexp.Regexp{
		SemanticAlignment: scorePattern("semantic", "alignment"),
		Aesthetics:        scorePattern("aesthetic"),
		Plausibility:      scorePattern("plausibility"),
		Overall:           scorePattern("overall", "impression"),
	}
)

// scorePattern matches a label's words, the word score, a colon and a number.
// Ignoring case, Go's engine takes the long s for an s as Python's does, but not
// the dotted and the dotless i of Turkish for an i.
func scorePattern(label ...string) *regexp.Regexp {
	words := strings.Join(append(label, "score", ":"), anySpace)
	words = strings.ReplaceAll(words, "i", "[iİı]")
	return regexp.MustCompile("(?i)" + words + anySpace + anyScore)
}

// ParseAnswer reads the four scores from a generated text as the public scorer
// does: within the first <answer> block, or in the whole text where no block is
// complete; after each label the first number; clamped to [0,1]. A score that is
// not found is 0 and reported in missing.
func ParseAnswer(text string) (scores Scores, missing Missing) {
	if block := answerBlock.FindStringSubmatch(text); block != nil {
		text = block[1]
	}
	for s, pattern := range scorePatterns {
		match := pattern.FindStringSubmatch(text)
		if match == nil {
			missing[s] = true
			continue
		}
		scores[s] = min(1, max(0, pythonFloat(match[1])))
	}
	return scores, missing
}

// pythonFloat converts what anyScore matched as Python's float does: digits of
// any script count, and what is too large is infinite.
func pythonFloat(number string) float64 {
	number = strings.Map(func(r rune) rune {
		if r <= unicode.MaxASCII || !unicode.Is(unicode.Nd, r) {
			return r
		}
		return digit(r)
	}, number)
	// The one error left is ErrRange, which comes with an infinity.
	v, _ := strconv.ParseFloat(number, 64)
	return v
}

// digit is the ASCII form of a decimal digit. The digits of a script are ten in
// a row, and scripts whose rows adjoin still begin at a multiple of ten from the
// start of the run.
func digit(r rune) rune {
	n := rune(0)
	for unicode.Is(unicode.Nd, r-n-1) {
		n++
	}
	return '0' + n%10
}
