package server

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strconv"

	"github.com/denseflow/densereward/engine/image/png"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/batch"
	"github.com/denseflow/densereward/reward/scoring"
	"github.com/denseflow/densereward/reward/server/budget"
	"github.com/denseflow/densereward/reward/server/contentencoding"
	"github.com/denseflow/densereward/reward/server/recent"
	"github.com/denseflow/densereward/reward/wire"
	"github.com/denseflow/densereward/reward/wire/jsonwire"
	"github.com/labstack/echo/v4"
)

// unsupportedMediaType says what a request may be.
func unsupportedMediaType() error {
	return reward.ErrUnsupportedMediaType.With("want Content-Type %s or %s", wire.MediaType, echo.MIMEApplicationJSON)
}

// score answers POST /v1/score.
func (s *Server) score(c echo.Context) error {
	isJSON, known := jsonwire.Sent(c.Request().Header)
	if !known {
		return unsupportedMediaType()
	}
	return s.withBody(c, func(ctx context.Context, b *body, watch *stopwatch) error {
		format := jsonwire.MapsAsTensors
		if isJSON {
			err := b.translate(func(body []byte) (message []byte, err error) {
				message, format, err = jsonwire.Request(body)
				return message, err
			})
			if err != nil {
				b.release()
				return err
			}
		}
		loan := s.budget.Open(batch.ClientOf(ctx))
		defer loan.Return()
		answer, err := s.evaluate(ctx, b, loan, watch, s.record(c))
		if err != nil {
			return err
		}
		defer s.evaluated(c, watch, answer.evaluated)
		mapped := answer.evaluated.MakeMaps()
		watch.lap("maps")
		scored, err := mapped.MakeAdvantages(ctx, s.barrier(c))
		if err != nil {
			return err
		}
		watch.lap("groups")
		p := answer.response(scored)
		p.TimingMS = timing(watch, scored.Outcomes)
		m := p.Encode()
		if !jsonwire.Wanted(c.Request().Header) {
			return send(c, m, loan)
		}
		if err := loan.Grow(jsonBytes(m.Len(), format)); err != nil {
			return overfull(err)
		}
		text, err := jsonwire.Response(p, format)
		if err != nil {
			return err
		}
		return sendJSON(c, text, loan)
	})
}

// sendJSON answers with text, whose memory is loan's.
func sendJSON(c echo.Context, text []byte, loan *budget.Loan) error {
	hold(c, loan)
	return c.JSONBlob(http.StatusOK, text)
}

// stopReading makes a read that waits for the client fail.
func stopReading(c echo.Context) func() {
	if timed, ok := c.Get(bodyKey).(*timedBody); ok {
		return timed.stop
	}
	return func() {}
}

// withBody reads the body of a request within its deadline and hands both to
// handle, which lets go of the body once its samples were evaluated.
func (s *Server) withBody(c echo.Context, handle func(ctx context.Context, b *body, watch *stopwatch) error) error {
	ctx, cancel, err := withDeadline(c.Request(), s.cfg.Timeout)
	if err != nil {
		return err
	}
	defer cancel()
	watch := startWatch(s.cfg.Now)
	if err := contentencoding.Decode(c.Request()); err != nil {
		c.Response().Header().Set(echo.HeaderAcceptEncoding, contentencoding.Accepted)
		return err
	}
	defer c.Request().Body.Close()
	b, err := s.openBody(c.Request(), stopReading(c))
	if err != nil {
		return err
	}
	watch.lap("read")
	return handle(ctx, b, watch)
}

// answer is a request whose samples were evaluated, and what its response is to
// hold.
type answer struct {
	evaluated *scoring.Evaluated
	wants     func(wire.Return) bool
	files     [][]byte // the images as PNG, where asked for
	groups    []string // of the samples, where their places are asked for
}

// evaluate decodes the request in b, checks it, borrows the memory of its answer and
// has its samples evaluated. It lets go of b, so that no body is held while a group
// comes together.
func (s *Server) evaluate(ctx context.Context, b *body, loan *budget.Loan, watch *stopwatch, recorder *recent.Recorder) (*answer, error) {
	defer b.release()
	q, err := wire.DecodeRequest(b.bytes, s.cfg.Limits)
	if err != nil {
		return nil, err
	}
	pipeline, in, err := s.input(q, b)
	if err != nil {
		return nil, err
	}
	parts := wire.Request{Return: q.Return}
	a := &answer{wants: parts.Wants}
	o := options(q)
	o.OnPreview = recorder.Preview()
	if q.Rank {
		for i := range q.Prompts {
			a.groups = append(a.groups, q.GroupName(i))
		}
	}
	if a.wants(wire.ReturnImages) {
		a.files = make([][]byte, len(q.Prompts))
		o.OnImage = func(i int, image *reward.Image) (err error) {
			a.files[i], err = png.Encode(image)
			return err
		}
	}
	loaded, err := pipeline.Load(in, o)
	if err != nil {
		return nil, err
	}
	expected := loaded.AnswerBytes(loaded.MapBytes())
	if err := loan.Grow(expected); err != nil {
		return nil, overfull(err)
	}
	watch.lap("decode")
	if a.evaluated, err = loaded.Evaluate(ctx); err != nil {
		return nil, err
	}
	recorder.Record(a.evaluated, q.Prompts)
	if more := loaded.AnswerBytes(a.evaluated.MapBytes()) - expected; more > 0 { // of maps of any size
		if err := loan.Grow(more); err != nil {
			return nil, overfull(err)
		}
	}
	watch.lap("score")
	return a, nil
}

// record begins to record the samples of a request, where recent ones are kept.
func (s *Server) record(c echo.Context) *recent.Recorder {
	owner, _ := c.Get(ownerKey).(string)
	return s.recent.Record(owner)
}

// input finds what a request names and gives its samples, which lie in b.
func (s *Server) input(q *wire.Request, b *body) (*scoring.Pipeline, scoring.Input, error) {
	in := scoring.Input{Prompts: q.Prompts, Metadata: q.Metadata, Groups: q.Groups, Hold: b.lend}
	pipeline, err := s.pipeline(q.Evaluator)
	if err != nil {
		return nil, in, err
	}
	if q.Latents == nil {
		if q.Wants(wire.ReturnImages) {
			return nil, in, reward.ErrInvalidValue.With("return: images are those decoded from latents")
		}
		in.Images = make([]scoring.Image, len(q.Images))
		for i, sent := range q.Images {
			in.Images[i] = scoring.Image{Encoded: sent.Encoded, Tensor: sent.Tensor}
		}
		return pipeline, in, nil
	}
	d, ok := s.decoders[q.VAE]
	if !ok && len(s.decoders) == 0 {
		return nil, in, reward.ErrUnknownVAE.With("vae: no latent decoder %.80q, the server has none: serve --vae NAME=PATH", q.VAE)
	}
	if !ok {
		return nil, in, reward.ErrUnknownVAE.With("vae: no latent decoder %.80q, the server has %v", q.VAE, slices.Sorted(maps.Keys(s.decoders)))
	}
	in.Latents = &scoring.Latents{Tensor: q.Latents, Decoder: d}
	return pipeline, in, nil
}

// options are those of a request. Dense maps that it gets by default are left
// out where the evaluator draws none.
func options(q *wire.Request) scoring.Options {
	return scoring.Options{
		Mode: q.Mode, Weights: q.Weights, Grid: q.Grid, Advantage: q.Advantage, Missing: q.Missing, Clamp: q.Clamp,
		Parts: scoring.Parts{
			Dense: q.Wants(wire.ReturnDense), Heatmaps: q.Wants(wire.ReturnHeatmaps),
			Text: q.Wants(wire.ReturnText), Boxes: q.Wants(wire.ReturnBoxes),
			Optional: q.Return == nil,
		},
	}
}

// evaluated records a request whose samples were evaluated.
func (s *Server) evaluated(c echo.Context, watch *stopwatch, all ...*scoring.Evaluated) {
	var errs []*reward.Error
	for _, e := range all {
		errs = append(errs, e.Errors...)
		s.cfg.Metrics.Found(e)
	}
	s.cfg.Metrics.Scored(watch.laps, errs)
	s.traceStages(c.Request().Context(), watch, errs)
}

// jsonBytes is what an answer takes as JSON that has n bytes as msgpack: base64 and
// its source, or numbers of up to 24 characters and as they are before they are text.
func jsonBytes(n int64, format jsonwire.MapFormat) int64 {
	if format == jsonwire.MapsAsArrays {
		return 12 * n
	}
	return 3 * n
}

// hold says that the loan is of the memory of the answer that follows.
func hold(c echo.Context, loan *budget.Loan) {
	if w, ok := c.Get(writerKey).(*timedWriter); ok {
		w.holds(loan)
	}
}

// send writes a message with its length. The loan is of its memory.
func send(c echo.Context, m *wire.Message, loan *budget.Loan) error {
	hold(c, loan)
	h := c.Response().Header()
	h.Set(echo.HeaderContentType, wire.MediaType)
	h.Set(echo.HeaderContentLength, strconv.FormatInt(m.Len(), 10))
	c.Response().WriteHeader(http.StatusOK)
	_, err := m.WriteTo(c.Response())
	return err
}
