package evaluator

import (
	"cmp"
	"context"
	"sort"
	"strings"

	"github.com/denseflow/densereward/reward"
)

// maxGenerated is the most tokens that a caller may have written, as many as an
// ImageDoctor thinks.
const maxGenerated = 4096

// Generate continues the samples' prompts as they are, in batches as Evaluate does. A
// sample that names no limit has the judge file's.
func (j *Judge) Generate(ctx context.Context, samples []reward.Sample) ([]reward.Result, error) {
	return j.inBatches(ctx, samples, true, j.generate)
}

// limit is the most tokens that are written for a sample.
func (j *Judge) limit(s *reward.Sample) int {
	return cmp.Or(s.Continuation.MaxNewTokens, j.file.MaxNewTokens)
}

// generate runs rows as one batch, which writes until the longest of them is done: what
// is written does not depend on where it ends.
func (j *Judge) generate(ctx context.Context, rows []row, results []reward.Result) error {
	tokens := 0
	for i := range rows {
		tokens = max(tokens, j.limit(&rows[i].sample))
	}
	out, err := j.run(ctx, rows, tokens)
	if err != nil {
		return err
	}
	for r := range rows {
		ids := j.answerIDs(out, r)
		ids = ids[:min(len(ids), j.limit(&rows[r].sample))]
		g := j.cut(ids, rows[r].sample.Continuation.Stop)
		g.PromptTokens = len(rows[r].prompt.IDs)
		results[rows[r].at] = reward.Result{Generation: &g}
	}
	return nil
}

// cut makes a text of tokens, which ends before the first of stop that they come to.
func (j *Judge) cut(ids []int32, stop []string) reward.Generation {
	text := func(n int) string { return j.checkpoint.Tokenizer.Decode(ids[:n], true) }
	whole := text(len(ids))
	if firstOf(whole, stop) < 0 {
		ended := len(ids) > 0 && j.config.IsEOS(ids[len(ids)-1])
		return reward.Generation{Text: whole, Tokens: len(ids), Truncated: !ended}
	}
	n := sort.Search(len(ids), func(n int) bool { return firstOf(text(n), stop) >= 0 })
	written := text(n)
	return reward.Generation{Text: written[:firstOf(written, stop)], Tokens: n}
}

// firstOf is where the first of the texts begins, -1 where there is none of them.
func firstOf(s string, texts []string) int {
	first := -1
	for _, text := range texts {
		if at := strings.Index(s, text); at >= 0 && (first < 0 || at < first) {
			first = at
		}
	}
	return first
}
