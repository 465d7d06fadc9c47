package server

import (
	"context"
	"errors"
	"mime"
	"net/http"
	"slices"
	"time"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/batch"
	"github.com/denseflow/densereward/reward/compat"
	"github.com/denseflow/densereward/reward/scoring"
	"github.com/denseflow/densereward/reward/server/budget"
	"github.com/labstack/echo/v4"
)

// routeForeign adds the paths of other people's protocols.
func (s *Server) routeForeign() {
	for _, e := range compat.Endpoints(s.cfg.Compat) {
		if e.Describe != nil {
			s.get(e.Path, func(c echo.Context) error {
				return c.JSON(http.StatusOK, e.Describe(s.descriptions()))
			})
			continue
		}
		s.echo.Add(e.Method, e.Path, s.foreign(e))
	}
}

// foreign answers an endpoint that scores.
func (s *Server) foreign(e compat.Endpoint) echo.HandlerFunc {
	return func(c echo.Context) error {
		if kind, _, _ := mime.ParseMediaType(c.Request().Header.Get(echo.HeaderContentType)); kind != echo.MIMEApplicationJSON {
			return reward.ErrUnsupportedMediaType.With("want Content-Type %s", echo.MIMEApplicationJSON)
		}
		return s.withBody(c, func(ctx context.Context, b *body, watch *stopwatch) error {
			defer b.release()
			q, err := e.Decode(b.bytes, s.cfg.Limits)
			if err != nil {
				return err
			}
			if len(q.Ignored) > 0 {
				s.ignored.Do(func() {
					s.cfg.Logger.Warn("parts of requests are ignored", "path", e.Path, "request_id", requestID(c),
						"number", len(q.Ignored), "keys", q.Ignored[:min(len(q.Ignored), toldKeys)])
				})
			}
			watch.lap("decode")
			h := &host{server: s, request: c, body: b, loan: s.budget.Open(batch.ClientOf(ctx))}
			defer h.loan.Return()
			defer func() { s.evaluated(c, watch, h.evaluated...) }()
			answer, err := q.Answer(ctx, h)
			if err != nil {
				return err
			}
			watch.lap("score")
			return c.JSON(http.StatusOK, answer)
		})
	}
}

// toldKeys is how many ignored keys the log names.
const toldKeys = 8

// host is the server for one request of a foreign protocol.
type host struct {
	server    *Server
	request   echo.Context
	body      *body
	loan      *budget.Loan // of the evaluators' results
	evaluated []*scoring.Evaluated
}

var _ compat.Host = (*host)(nil)

func (h *host) Describe(evaluator string) (reward.Description, error) {
	pipeline, err := h.server.pipeline(evaluator)
	if err != nil {
		return reward.Description{}, err
	}
	return pipeline.Evaluator, nil
}

// Score scores what the request asks of one evaluator.
func (h *host) Score(ctx context.Context, call compat.Call) (*scoring.Scored, error) {
	pipeline, err := h.server.pipeline(call.Evaluator)
	if err != nil {
		return nil, err
	}
	call.Input.Hold = h.body.lend
	recorder := h.server.record(h.request)
	call.Options.OnPreview = recorder.Preview()
	loaded, err := pipeline.Load(call.Input, call.Options)
	if err != nil {
		return nil, err
	}
	if err := h.borrow(ctx, loaded.AnswerBytes(loaded.MapBytes())); err != nil {
		return nil, err
	}
	evaluated, err := loaded.Evaluate(ctx)
	if err != nil {
		return nil, err
	}
	recorder.Record(evaluated, call.Input.Prompts)
	h.evaluated = append(h.evaluated, evaluated)
	return evaluated.MakeMaps().MakeAdvantages(ctx, h.server.barrier(h.request))
}

// borrowAgain is how soon a client that knows no "come back later" is tried again.
const borrowAgain = 100 * time.Millisecond

// borrow waits for memory, as such clients wait for a place in the queue.
func (h *host) borrow(ctx context.Context, n int64) error {
	for again := time.NewTicker(borrowAgain); ; {
		err := h.loan.Grow(n)
		if !errors.Is(err, budget.ErrFull) {
			again.Stop()
			if err != nil {
				return overfull(err)
			}
			return nil
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			again.Stop()
			return reward.ContextError(context.Cause(ctx), reward.ErrInternal)
		}
	}
}

func (h *host) Generate(ctx context.Context, evaluator string, in scoring.Input, c reward.Continuation) (*scoring.Generated, error) {
	pipeline, err := h.server.pipeline(evaluator)
	if err != nil {
		return nil, err
	}
	in.Hold = h.body.lend
	return pipeline.Generate(ctx, in, c)
}

// descriptions are those of all evaluators, the default first.
func (s *Server) descriptions() []reward.Description {
	descriptions := make([]reward.Description, len(s.cfg.Models))
	for i := range s.cfg.Models {
		descriptions[i] = s.cfg.Models[i].Description
	}
	return descriptions
}

// probe reports whether a path of another protocol is answered without a token.
func probe(path string) bool {
	return slices.ContainsFunc(compat.Endpoints(compat.Config{}), func(e compat.Endpoint) bool { return e.Probe && e.Path == path })
}
