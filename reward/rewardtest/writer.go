package rewardtest

import (
	"context"
	"fmt"
	"strings"

	"github.com/denseflow/densereward/reward"
)

// Writer is a Fake that is a reward.Generator. It writes the words of the system's
// text, of the prompt and of the image's identity; a word is a token.
type Writer struct{ Fake }

var (
	_ reward.Evaluator = (*Writer)(nil)
	_ reward.Generator = (*Writer)(nil)
)

// Describe describes the Fake as one that generates.
func (w *Writer) Describe() reward.Description {
	d := w.Fake.Describe()
	d.Generates = true
	return d
}

// Generate gives each sample what Written says.
func (w *Writer) Generate(ctx context.Context, samples []reward.Sample) ([]reward.Result, error) {
	return w.run(ctx, samples, func(_ uint64, s reward.Sample) reward.Result {
		if s.Mode != reward.ModeGenerate {
			return reward.Result{Err: fmt.Errorf("rewardtest: mode %q", s.Mode)}
		}
		g := Written(s)
		return reward.Result{Generation: &g}
	})
}

// Written is how a Writer continues a sample.
func Written(s reward.Sample) reward.Generation {
	words := strings.Fields(s.Continuation.System + " " + s.Prompt)
	prompt := len(words)
	if s.Continuation.ImageLast {
		words = append(words, "before")
	}
	words = append(words, "image", fmt.Sprintf("%016x", Identity(s.Image)))
	g := reward.Generation{PromptTokens: prompt + 1, Tokens: len(words)} // the image is one
	if limit := s.Continuation.MaxNewTokens; limit > 0 && limit < len(words) {
		words, g.Tokens, g.Truncated = words[:limit], limit, true
	}
	g.Text = strings.Join(words, " ")
	for _, stop := range s.Continuation.Stop {
		if before, _, found := strings.Cut(g.Text, stop); found {
			g.Text, g.Tokens, g.Truncated = before, len(strings.Fields(before))+1, false
		}
	}
	return g
}
