package rft

import (
	"regexp"
	"strconv"
)

// NumScores counts the scores of an answer: semantic alignment, aesthetics,
// plausibility, overall.
const NumScores = 4

// Scores are the four scores of one answer, or of the truth about an image.
type Scores struct {
	Values [NumScores]float64
	// Present tells that there is an answer. Without one on either side the
	// rewards of all four scores are 0.
	Present bool
}

// The patterns of the public code: the case counts, there is exactly one space,
// and the first three numbers must be followed by a semicolon. They differ from
// those that read a score in service, which are more forgiving.
var (
	answerBlock   = regexp.MustCompile(`(?s)<answer>(.*?)</answer>`)
	scorePatterns = [NumScores]*regexp.Regexp{
		regexp.MustCompile(`Semantic Alignment score: ([0-9.]+);`),
		regexp.MustCompile(`Aesthetic score: ([0-9.]+);`),
		regexp.MustCompile(`Plausibility score: ([0-9.]+);`),
		regexp.MustCompile(`Overall Impression score: ([0-9.]+)`),
	}
	completeFormat = regexp.MustCompile(`(?s)^<think>.*?</think>` + space + `<answer>.*?</answer>$`)
)

// ParseScores reads the scores of a completion, or of a solution text, from its
// first <answer> block. A score that is not there, or is no number such as
// 0.5.5, is 0; that is what the public code compares with the truth.
func ParseScores(text string) Scores {
	block := answerBlock.FindStringSubmatch(text)
	if block == nil {
		return Scores{}
	}
	scores := Scores{Present: true}
	for i, pattern := range scorePatterns {
		if match := pattern.FindStringSubmatch(block[1]); match != nil {
			if v, err := strconv.ParseFloat(match[1], 64); err == nil {
				scores.Values[i] = v
			}
		}
	}
	return scores
}

// Format is 1 for a text that is a <think> block followed by an <answer> block
// and nothing else, and 0 otherwise. The published run defines this reward but
// does not use it; [Rewards.Sum] leaves it out.
func Format(text string) float64 {
	if completeFormat.MatchString(text) {
		return 1
	}
	return 0
}
