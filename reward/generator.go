package reward

import "context"

// ModeGenerate is the mode of samples for a Generator. It is no mode of the protocol
// and in no description: Evaluate fails a sample that has it.
const ModeGenerate Mode = "generate"

// A Generator is an Evaluator that can also write what comes after a prompt of the
// caller's own, in place of asking its own question.
//
// Generate reads Image, Prompt and Continuation of samples whose Mode is ModeGenerate,
// and sets Result.Generation or Result.Err of each, in order. The most probable token
// follows each time, so that equal samples are continued alike. All else is as with
// Evaluate. A Generator that is a Preparer prepares these samples too.
type Generator interface {
	Generate(ctx context.Context, samples []Sample) ([]Result, error)
}

// Continuation is how a prompt is to be continued.
type Continuation struct {
	System    string // the text of the system's turn; "" is the model's own default
	ImageLast bool   // the image stands behind the prompt and not before it
	// MaxNewTokens bounds what is written; 0 is the generator's own limit.
	MaxNewTokens int
	// Stop are texts of which the first to be written ends the writing. It is left out
	// itself. None is empty.
	Stop []string
}

// Generation is what a Generator wrote.
type Generation struct {
	Text         string
	PromptTokens int  // with those of the image
	Tokens       int  // those written, one that ends a turn among them; at most MaxNewTokens
	Truncated    bool // it was cut off by MaxNewTokens
}
