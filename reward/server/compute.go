package server

import (
	"context"
	"errors"
	"mime"
	"net/http"
	"time"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/batch"
	"github.com/denseflow/densereward/reward/wire"
	"github.com/labstack/echo/v4"
)

// Flow-Factory's protocol for remote reward models: its client
// (RemotePointwiseRewardModel in github.com/X-GenGroup/Flow-Factory,
// src/flow_factory/rewards/my_reward_remote.py at commit
// 696af0711dbda2d7b717970f82c1af54bdcb5eb6) asks /health once and posts JSON
// with base64 images to /compute.
const (
	flowFactoryHealth  = "/health"
	flowFactoryCompute = "/compute"
)

// compute answers POST /compute with the rewards of the default evaluator,
// mode and weights.
func (s *Server) compute(c echo.Context) error {
	if kind, _, _ := mime.ParseMediaType(c.Request().Header.Get(echo.HeaderContentType)); kind != echo.MIMEApplicationJSON {
		return reward.ErrUnsupportedMediaType.With("want Content-Type %s", echo.MIMEApplicationJSON)
	}
	ctx, cancel, err := withDeadline(c.Request(), s.cfg.Timeout)
	if err != nil {
		return err
	}
	defer cancel()
	watch := startWatch(s.cfg.Now)
	b, err := s.bodies.open(c.Request(), s.cfg.Limits.BodyBytes)
	if err != nil {
		return err
	}
	defer b.release()
	watch.lap("read")
	q, err := decodeCompute(b.bytes, s.cfg.Limits)
	if err != nil {
		return err
	}
	if len(q.ignored) > 0 {
		s.ignored.Do(func() {
			s.cfg.Logger.Warn("parts of Flow-Factory's requests are ignored", "request_id", requestID(c), "keys", q.ignored)
		})
	}
	r, err := s.judgeCompute(ctx, q, b, watch)
	if err != nil {
		return err
	}
	defer s.judged(c, watch, r)
	return respondCompute(c, r)
}

// judgeCompute has the samples judged.
func (s *Server) judgeCompute(ctx context.Context, q *computeRequest, b *body, watch *stopwatch) (*rollout, error) {
	pictures := make([]wire.Image, len(q.images))
	for i, file := range q.images {
		pictures[i].Encoded = file
	}
	r, err := s.newRollout(&wire.Request{Prompts: q.prompts, Images: pictures, Return: []wire.Return{}})
	if err != nil {
		return nil, err
	}
	r.load()
	watch.lap("decode")
	if err := r.evaluatePatiently(ctx, b); err != nil {
		return nil, err
	}
	watch.lap("score")
	return r, nil
}

// evaluatePatiently waits for room in the queue, as long as the request may
// take: Flow-Factory's client repeats a refused request three times at once
// and then gives its training up.
func (r *rollout) evaluatePatiently(ctx context.Context, b *body) error {
	for {
		err := r.evaluate(ctx, b)
		var full *batch.OverloadError
		if !errors.As(err, &full) {
			return err
		}
		timer := time.NewTimer(full.RetryAfter)
		select {
		case <-ctx.Done():
			timer.Stop()
			return err
		case <-timer.C:
		}
	}
}

// respondCompute sends the rewards. The protocol has no place for the failure
// of one sample, so the first fails the request.
func respondCompute(c echo.Context, r *rollout) error {
	for i, e := range r.errs {
		if e != nil {
			return e.With("image: element %d: %s", i, e.Message())
		}
	}
	return c.JSON(http.StatusOK, map[string][]float64{"rewards": r.rewards})
}
