package imagedoctor

import (
	"strings"

	"github.com/denseflow/densereward/engine/qwenvl/checkpoint"
	"github.com/denseflow/densereward/engine/tokenizer"
)

// number stands for a score in answers: a digit and a point that are nearly always a
// nought and a point, then digits that nobody can foresee.
const number = "0.50"

// AnswerTemplate is the fixed text of an answer.
type AnswerTemplate struct {
	Prefix string // encoded by itself, as it is where it is given
	Text   string // what follows
	Number string // stands for a score wherever it occurs in Text
}

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

// publishedAnswers are the answers that a draft knows from the start: the published form,
// and the one that the authors' rewards for fine-tuning read, with a semicolon behind each
// score but the last.
func publishedAnswers(c Config, t *tokenizer.Tokenizer) [][]int32 {
	spelt := func(id int32) string { return t.Decode([]int32{id}, false) }
	published := answerText(spelt(c.MisalignmentTokenID), spelt(c.ArtifactTokenID))
	var all [][]int32
	for _, text := range []string{strings.ReplaceAll(published, number+"\n", number+";\n"), published} {
		all = append(all, append(t.Encode(answerPrefix), t.Encode(text)...))
	}
	return all
}
