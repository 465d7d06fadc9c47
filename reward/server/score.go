package server

import (
	"context"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/denseflow/densereward/reward"
	"github.com/labstack/echo/v4"
)

// score answers POST /v1/score.
func (s *Server) score(c echo.Context) error {
	if kind, _, _ := mime.ParseMediaType(c.Request().Header.Get(echo.HeaderContentType)); kind != reward.MediaType {
		return reward.ErrUnsupportedMediaType
	}
	ctx, cancel, err := withDeadline(c.Request())
	if err != nil {
		return err
	}
	defer cancel()
	watch := stopwatch{now: s.cfg.Now}
	watch.start()
	body, err := s.bodies.read(c.Request(), s.cfg.Limits.BodyBytes)
	if err != nil {
		return err
	}
	watch.lap("read")
	q, err := reward.DecodeRequest(body, s.cfg.Limits)
	if err != nil {
		return err
	}
	response, clean, err := s.answer(ctx, q, requestID(c), &watch)
	if err != nil {
		return err
	}
	if clean {
		s.bodies.put(body)
	}
	return send(c, response.Encode())
}

// send writes a message with its length.
func send(c echo.Context, m *reward.Message) error {
	h := c.Response().Header()
	h.Set(echo.HeaderContentType, reward.MediaType)
	h.Set(echo.HeaderContentLength, strconv.FormatInt(m.Len(), 10))
	c.Response().WriteHeader(http.StatusOK)
	_, err := m.WriteTo(c.Response())
	return err
}

// answer judges the samples of q. clean says that no evaluator can still hold
// a picture of the request's body.
func (s *Server) answer(ctx context.Context, q *reward.Request, id string, watch *stopwatch) (response *reward.Response, clean bool, err error) {
	j, err := s.newJob(q)
	if err != nil {
		return nil, false, err
	}
	if err := j.decode(ctx, s); err != nil {
		return nil, false, contextError(err, reward.ErrInternal)
	}
	if err := j.chooseGrid(); err != nil {
		return nil, false, err
	}
	watch.lap("decode")
	if err := j.evaluate(ctx, s, id); err != nil {
		return nil, false, err
	}
	watch.lap("evaluate")
	response, err = j.respond()
	if err != nil {
		return nil, false, err
	}
	watch.lap("maps")
	response.TimingMS = watch.stages()
	return response, j.clean, nil
}

// stopwatch measures the stages of one request.
type stopwatch struct {
	now     func() time.Time
	first   time.Time
	last    time.Time
	names   []string
	lengths []time.Duration
}

func (w *stopwatch) start() { w.first = w.now(); w.last = w.first }

// lap ends a stage that began where the one before ended.
func (w *stopwatch) lap(stage string) {
	t := w.now()
	w.names = append(w.names, stage)
	w.lengths = append(w.lengths, t.Sub(w.last))
	w.last = t
}

// stages are the laps and their total in milliseconds.
func (w *stopwatch) stages() map[string]float64 {
	m := map[string]float64{"total": milliseconds(w.last.Sub(w.first))}
	for i, name := range w.names {
		m[name] = milliseconds(w.lengths[i])
	}
	return m
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// modes reports whether an evaluator answers in a mode.
func answers(d reward.Description, m reward.Mode) bool { return slices.Contains(d.Modes, m) }
