package server

import (
	"context"
	"mime"
	"net/http"
	"strconv"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/wire"
	"github.com/labstack/echo/v4"
)

// score answers POST /v1/score.
func (s *Server) score(c echo.Context) error {
	if kind, _, _ := mime.ParseMediaType(c.Request().Header.Get(echo.HeaderContentType)); kind != wire.MediaType {
		return reward.ErrUnsupportedMediaType
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
	watch.lap("read")
	r, err := s.judge(ctx, b, watch)
	if err != nil {
		return err
	}
	defer s.judged(c, watch, r)
	r.makeMaps()
	watch.lap("maps")
	if err := r.makeAdvantages(ctx, s.gatherer); err != nil {
		return err
	}
	watch.lap("groups")
	p, err := r.response()
	if err != nil {
		return err
	}
	p.TimingMS = r.timing(watch)
	return send(c, p.Encode())
}

// judged records a request whose samples were judged.
func (s *Server) judged(c echo.Context, watch *stopwatch, r *rollout) {
	s.cfg.Metrics.scored(watch.laps, r.errs)
	s.traceStages(c.Request().Context(), watch, r.errs)
}

// judge decodes the request in b, checks it and has its samples judged. It
// lets go of b, so that nothing large is held while a group is gathered.
func (s *Server) judge(ctx context.Context, b *body, watch *stopwatch) (*rollout, error) {
	defer b.release()
	q, err := wire.DecodeRequest(b.bytes, s.cfg.Limits)
	if err != nil {
		return nil, err
	}
	r, err := s.newRollout(q)
	if err != nil {
		return nil, err
	}
	r.load()
	if err := r.chooseGrid(); err != nil {
		return nil, err
	}
	watch.lap("decode")
	if err := r.evaluate(ctx, b); err != nil {
		return nil, err
	}
	watch.lap("score")
	r.dropPictures()
	return r, nil
}

// send writes a message with its length.
func send(c echo.Context, m *wire.Message) error {
	h := c.Response().Header()
	h.Set(echo.HeaderContentType, wire.MediaType)
	h.Set(echo.HeaderContentLength, strconv.FormatInt(m.Len(), 10))
	c.Response().WriteHeader(http.StatusOK)
	_, err := m.WriteTo(c.Response())
	return err
}
