package rft

import (
	"context"

	"github.com/denseflow/densereward/reward"
)

// Batch is N completions and the truths about their images.
type Batch struct {
	Completions []string
	// The true scores: one of Solutions (N), texts in whose <answer> they are, and
	// Scores, float32 or float64 (N,4), or (1,4) for all.
	Solutions []string
	Scores    *reward.Tensor
	// The true heatmaps, float32 in [0,1] or uint8 for 255 times that, (N,h,w) or
	// (1,h,w) for all.
	Misalignment, Artifact *reward.Tensor
	// The heatmaps that came with the completions, (N,h,w), nil where there are none.
	PredictedMisalignment, PredictedArtifact *reward.Tensor
	Groups                                   []string // N names; nil is one group
}

// BatchRewards is what each completion of a batch (N) earns.
type BatchRewards struct {
	Rewards    [NumRewards][]float64
	Format     []float64 // 0 or 1, see [Format]
	Sums       []float64 // of Rewards
	Advantages []float64 // of Sums, see [Advantages]
}

// Evaluate computes the rewards of b's completions, their sums and advantages. Its tensors
// have the types and shapes that Batch names. It fails with [reward.ErrNotFinite] for a
// value that is no number, which it names, and ends with ctx.
func (b *Batch) Evaluate(ctx context.Context) (*BatchRewards, error) {
	n := len(b.Completions)
	all := &BatchRewards{Format: make([]float64, n), Sums: make([]float64, n), Advantages: make([]float64, n)}
	for r := range all.Rewards {
		all.Rewards[r] = make([]float64, n)
	}
	truth := truths{batch: b}
	for i, text := range b.Completions {
		if err := context.Cause(ctx); err != nil {
			return nil, reward.ContextError(err, reward.ErrInternal)
		}
		against, err := truth.at(i)
		if err != nil {
			return nil, err
		}
		c := Completion{Text: text, Misalignment: predictedAt(b.PredictedMisalignment, i), Artifact: predictedAt(b.PredictedArtifact, i)}
		rewards, err := Evaluate(c, against)
		if err != nil {
			return nil, reward.ErrNotFinite.With("completions[%d]: %v", i, err)
		}
		for r, v := range rewards {
			all.Rewards[r][i] = v
		}
		all.Format[i], all.Sums[i] = Format(text), rewards.Sum()
	}
	if err := Advantages(all.Advantages, all.Sums, b.Groups); err != nil {
		return nil, reward.ErrNotFinite.With("scores: %v", err)
	}
	return all, nil
}

// truths gives the truth of each completion; what all share is converted once.
type truths struct {
	batch                  *Batch
	misalignment, artifact *reward.Map // those that are shared
}

func (t *truths) at(i int) (Truth, error) {
	var truth Truth
	if t.batch.Solutions != nil {
		truth.Scores = ParseScores(t.batch.Solutions[i])
	} else {
		values, err := t.batch.Scores.Float64s()
		if err != nil {
			return truth, err
		}
		if t.batch.Scores.Shape[0] > 1 {
			values = values[i*NumScores:]
		}
		truth.Scores = Scores{Values: [NumScores]float64(values[:NumScores]), Present: true}
	}
	truth.Misalignment = shared(&t.misalignment, t.batch.Misalignment, i)
	truth.Artifact = shared(&t.artifact, t.batch.Artifact, i)
	return truth, nil
}

func shared(kept **reward.Map, t *reward.Tensor, i int) reward.Map {
	if t.Shape[0] > 1 {
		return mapAt(t, i)
	}
	if *kept == nil {
		m := mapAt(t, 0)
		*kept = &m
	}
	return **kept
}

func predictedAt(t *reward.Tensor, i int) *reward.Map {
	if t == nil {
		return nil
	}
	m := mapAt(t, i)
	return &m
}

// mapAt is the i-th map of a tensor float32 or uint8 (N,h,w).
func mapAt(t *reward.Tensor, i int) reward.Map {
	m := reward.Map{Height: t.Shape[1], Width: t.Shape[2]}
	part := t.Part(i, i+1)
	if part.Type == reward.Uint8 {
		m.Data = make([]float32, len(part.Data))
		for at, level := range part.Data {
			m.Data[at] = float32(level) / 255
		}
		return m
	}
	m.Data, _ = part.Float32s() // Evaluate refuses a map that lacks its data
	return m
}
