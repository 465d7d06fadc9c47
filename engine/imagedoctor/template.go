package imagedoctor

import (
	"strings"

	"github.com/denseflow/densereward/engine/qwenvl"
	"github.com/denseflow/densereward/engine/qwenvl/checkpoint"
	"github.com/denseflow/densereward/engine/tokenizer"
)

// number stands for a score in answers: a digit and a point that are nearly always a
// nought and a point, then digits that nobody can foresee.
const number = "0.50"

// answerText is the published form of an answer, behind answerPrefix, with the
// special tokens as the tokenizer spells them.
func answerText(misalignment, artifact string) string {
	return "Semantic Alignment score: " + number +
		"\nMisalignment Locations: " + misalignment +
		"\nAesthetic score: " + number +
		"\nPlausibility score: " + number +
		"\nArtifact Locations: " + artifact +
		"\nOverall Impression score: " + number + "</answer>" + checkpoint.TurnEnd
}

// answerTemplates are what answers are drafted from: the published form, and the one
// that the authors' rewards for fine-tuning read, with a semicolon behind each score
// but the last.
func answerTemplates(c Config, t *tokenizer.Tokenizer) []qwenvl.AnswerTemplate {
	spelt := func(id int32) string { return t.Decode([]int32{id}, false) }
	text := answerText(spelt(c.MisalignmentTokenID), spelt(c.ArtifactTokenID))
	var all []qwenvl.AnswerTemplate
	for _, text := range []string{text, strings.ReplaceAll(text, number+"\n", number+";\n")} {
		all = append(all, qwenvl.AnswerTemplate{Prefix: answerPrefix, Text: text, Number: number})
	}
	return all
}
