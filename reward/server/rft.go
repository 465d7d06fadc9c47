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
		p, err := s.computeRewards(ctx, q)
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

// computeRewards takes a turn on half the processors: the texts of a request may take
// minutes of one, and others want their scores.
func (s *Server) computeRewards(ctx context.Context, q *wire.RFTRequest) (*wire.RFTResponse, error) {
	select {
	case s.rewarding <- struct{}{}:
	case <-ctx.Done():
		return nil, reward.ContextError(context.Cause(ctx), reward.ErrInternal)
	}
	defer func() { <-s.rewarding }()
	return completionRewards(ctx, q)
}

// completionRewards are the rewards of q's completions, their sums and advantages.
func completionRewards(ctx context.Context, q *wire.RFTRequest) (*wire.RFTResponse, error) {
	b := rft.Batch(*q)
	all, err := b.Evaluate(ctx)
	if err != nil {
		return nil, err
	}
	p := &wire.RFTResponse{Format: all.Format, Sums: all.Sums, Advantages: all.Advantages}
	for r, values := range all.Rewards {
		p.Rewards = append(p.Rewards, wire.NamedScores{Name: rft.Reward(r).String(), Values: values})
	}
	return p, nil
}
