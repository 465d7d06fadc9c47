package imagedoctor

import (
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

// answerTemplate is what answers are drafted from.
func answerTemplate(c Config, t *tokenizer.Tokenizer) qwenvl.AnswerTemplate {
	spelt := func(id int32) string { return t.Decode([]int32{id}, false) }
	return qwenvl.AnswerTemplate{
		Prefix: answerPrefix,
		Text:   answerText(spelt(c.MisalignmentTokenID), spelt(c.ArtifactTokenID)),
		Number: number,
	}
}
