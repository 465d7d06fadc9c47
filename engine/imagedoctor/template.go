package imagedoctor

import "github.com/denseflow/densereward/engine/qwenvl"

// number stands for a score in answerTemplate: a digit and a point that are nearly
// always a nought and a point, then digits that nobody can foresee.
const number = "0.50"

// answerText is the published form of an answer, behind answerPrefix.
const answerText = "Semantic Alignment score: " + number +
	"\nMisalignment Locations: " + misalignmentToken +
	"\nAesthetic score: " + number +
	"\nPlausibility score: " + number +
	"\nArtifact Locations: " + artifactToken +
	"\nOverall Impression score: " + number + "</answer>" + qwenvl.TurnEnd

// answerTemplate drafts answers.
var answerTemplate = qwenvl.AnswerTemplate{Prefix: answerPrefix, Text: answerText, Number: number}
