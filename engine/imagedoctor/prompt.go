package imagedoctor

import (
	_ "embed" // the task texts
	"strings"

	"github.com/denseflow/densereward/engine/qwenvl/checkpoint"
	"github.com/denseflow/densereward/engine/tokenizer"
	"github.com/denseflow/densereward/reward"
)

// The special tokens of an answer, as the tokenizer spells them.
const (
	misalignmentToken = "<|misalignment|>"
	artifactToken     = "<|artifact|>"
)

// The chat wrapper of Qwen2.5-VL around the image and the task.
const (
	promptHead = checkpoint.TurnStart + "system\nYou are a helpful assistant." + checkpoint.TurnEnd +
		"\n" + checkpoint.TurnStart + "user\n"
	promptTail = checkpoint.TurnEnd + "\n" + checkpoint.TurnStart + "assistant\n"
)

// captionMark is where a task text takes the caption.
const captionMark = "{prompt}"

// answerPrefix is what the public scorer makes the model begin its answer with
// in ModeAnswer, to have the scores without the reasoning.
const answerPrefix = "<think>\n...</think>\n<answer>"

// The task texts that the checkpoint was trained on, character for character:
// their odd quotes, stars and missing backslash are the model's own.
var (
	//go:embed prompts/answer.txt
	answerTask string
	//go:embed prompts/think.txt
	thinkTask string
)

// Task is the text that asks for an evaluation in the given mode. caption is
// used as it is: clean it first.
func Task(mode reward.Mode, caption string) string {
	task := answerTask
	if mode == reward.ModeThink {
		task = thinkTask
	}
	before, after, _ := strings.Cut(task, captionMark)
	return before + caption + after
}

// Prefix is the forced start of the answer in the given mode.
func Prefix(mode reward.Mode) string {
	if mode == reward.ModeThink {
		return ""
	}
	return answerPrefix
}

// BuildPrompt is the whole prompt as one text: the chat wrapper around
// imageTokens image tokens and the task, then the forced start of the answer.
// A nil prefix stands for the mode's own, a pointer to "" for none.
func BuildPrompt(mode reward.Mode, caption string, imageTokens int, prefix *string) string {
	if prefix == nil {
		own := Prefix(mode)
		prefix = &own
	}
	return promptHead + checkpoint.VisionStart + strings.Repeat(checkpoint.ImagePad, imageTokens) + checkpoint.VisionEnd +
		Task(mode, caption) + promptTail + *prefix
}

// EncodePrompt is the token ids of BuildPrompt's text, with one difference: the
// caption comes from outside, so special tokens spelt in it are not recognised
// but encoded as the characters they consist of. With the reference, such a
// caption could end its turn and dictate the answer, or upset the count of
// image tokens. Without them the ids are the same: the task stands between two
// special tokens, at which the tokenizer splits anyway. The image's tokens are those
// of the configuration's ids.
func EncodePrompt(c Config, t *tokenizer.Tokenizer, mode reward.Mode, caption string, imageTokens int, prefix *string) []int32 {
	if prefix == nil {
		own := Prefix(mode)
		prefix = &own
	}
	ids := append(t.Encode(promptHead), c.WrapImage(imageTokens)...)
	ids = append(ids, t.EncodeOrdinary(Task(mode, caption))...)
	return append(ids, t.Encode(promptTail+*prefix)...)
}
