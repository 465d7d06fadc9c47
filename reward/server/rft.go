package server

import (
	"context"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/batch"
	"github.com/denseflow/densereward/reward/rft"
	"github.com/denseflow/densereward/reward/wire"
	"github.com/denseflow/densereward/reward/wire/jsonwire"
	"github.com/labstack/echo/v4"
)

// rewardCompletions answers POST /v1/rft. It needs no evaluator.
func (s *Server) rewardCompletions(c echo.Context) error {
	isJSON, known := jsonwire.Sent(c.Request().Header)
	if !known {
		return unsupportedMediaType()
	}
	return s.withBody(c, func(ctx context.Context, b *body, _ *stopwatch) error {
		defer b.release()
		if isJSON {
			if err := b.translate(jsonwire.RFTRequest); err != nil {
				return err
			}
		}
		q, err := wire.DecodeRFTRequest(b.bytes, s.cfg.Limits)
		if err != nil {
			return err
		}
		p, err := completionRewards(ctx, q)
		if err != nil {
			return err
		}
		m := p.Encode()
		loan := s.budget.Open(batch.ClientOf(ctx))
		defer loan.Return()
		if err := loan.Grow(m.Len()); err != nil {
			return overfull(err)
		}
		if !jsonwire.Wanted(c.Request().Header) {
			return send(c, m, loan)
		}
		if err := loan.Grow(jsonBytes(m.Len(), jsonwire.MapsAsArrays)); err != nil {
			return overfull(err)
		}
		text, err := jsonwire.RFTResponse(p)
		if err != nil {
			return err
		}
		return sendJSON(c, text, loan)
	})
}

// completionRewards computes the rewards of q's completions, then their sums and
// advantages.
func completionRewards(ctx context.Context, q *wire.RFTRequest) (*wire.RFTResponse, error) {
	n := len(q.Completions)
	p := &wire.RFTResponse{Format: make([]float64, n), Sums: make([]float64, n), Advantages: make([]float64, n)}
	for r := range rft.Reward(rft.NumRewards) {
		p.Rewards = append(p.Rewards, wire.NamedScores{Name: r.String(), Values: make([]float64, n)})
	}
	truth := truths{q: q}
	for i, text := range q.Completions {
		if err := context.Cause(ctx); err != nil {
			return nil, reward.ContextError(err, reward.ErrInternal)
		}
		c := rft.Completion{Text: text}
		for _, one := range []struct {
			into **reward.Map
			from *reward.Tensor
		}{{&c.Misalignment, q.PredictedMisalignment}, {&c.Artifact, q.PredictedArtifact}} {
			if one.from != nil {
				m := mapAt(one.from, i)
				*one.into = &m
			}
		}
		against, err := truth.at(i)
		if err != nil {
			return nil, err
		}
		rewards, err := rft.Evaluate(c, against)
		if err != nil {
			return nil, reward.ErrNotFinite.With("completions[%d]: %v", i, err)
		}
		for r, v := range rewards {
			p.Rewards[r].Values[i] = v
		}
		p.Format[i], p.Sums[i] = rft.Format(text), rewards.Sum()
	}
	if err := rft.Advantages(p.Advantages, p.Sums, q.Groups); err != nil {
		return nil, reward.ErrNotFinite.With("scores: %v", err)
	}
	return p, nil
}

// truths gives the truth of each completion; what all share is converted once.
type truths struct {
	q                      *wire.RFTRequest
	misalignment, artifact *reward.Map // those that are shared
}

func (t *truths) at(i int) (rft.Truth, error) {
	var truth rft.Truth
	if t.q.Solutions != nil {
		truth.Scores = rft.ParseScores(t.q.Solutions[i])
	} else {
		values, err := t.q.Scores.Float64s()
		if err != nil {
			return truth, err
		}
		if t.q.Scores.Shape[0] > 1 {
			values = values[i*wire.RFTScores:]
		}
		truth.Scores = rft.Scores{Values: [rft.NumScores]float64(values[:wire.RFTScores]), Present: true}
	}
	truth.Misalignment = shared(&t.misalignment, t.q.Misalignment, i)
	truth.Artifact = shared(&t.artifact, t.q.Artifact, i)
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
	m.Data, _ = part.Float32s() // the request was checked
	return m
}
