package remote

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"

	"github.com/denseflow/densereward/client"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/wire"
)

// Server is an evaluator of another DenseReward server. It is safe for concurrent
// use.
type Server struct {
	client *client.Client
	remote string // its name there
	about  reward.Description
}

// generatingServer is a Server whose evaluator there continues prompts.
type generatingServer struct {
	*Server
	chat *chatModel
}

var (
	_ reward.Evaluator = (*Server)(nil)
	_ reward.Generator = (*generatingServer)(nil)
)

// NewServer makes an evaluator of the one called evaluator on the server at o.URL, the
// server's first where it is empty; it is a reward.Generator if that one is. It asks the
// server for the description, and fails where that cannot be had. Of the options
// continuing prompts reads all, scoring reads Name, URL, Token, Timeout, Tries and Client.
func NewServer(ctx context.Context, evaluator string, o Options) (reward.Evaluator, error) {
	c, err := connect(o)
	if err != nil {
		return nil, fmt.Errorf("remote: %w", err)
	}
	there, err := find(ctx, c, evaluator, o.URL)
	if err != nil {
		return nil, err
	}
	s := &Server{client: c, remote: there.Name, about: description(there)}
	if o.Name != "" {
		s.about.Name = o.Name
	}
	if err := s.about.Validate(); err != nil || !there.Generates {
		return s, err
	}
	o.URL = strings.TrimRight(o.URL, "/") + "/v1"
	e, err := newEndpoint(o)
	if err != nil {
		return nil, err
	}
	return &generatingServer{s, &chatModel{e, there.Name}}, nil
}

// connect makes a client of the server.
func connect(o Options) (*client.Client, error) {
	var options []client.Option
	if o.Token != "" {
		options = append(options, client.WithToken(o.Token))
	}
	if o.Timeout > 0 {
		options = append(options, client.WithTimeout(o.Timeout))
	}
	if o.Tries > 0 {
		options = append(options, client.WithTries(o.Tries))
	}
	if o.Client != nil {
		options = append(options, client.WithHTTPClient(o.Client))
	}
	return client.New(o.URL, options...)
}

// find asks the server at url for the description of an evaluator.
func find(ctx context.Context, c *client.Client, evaluator, url string) (there client.Evaluator, err error) {
	models, err := c.Models(ctx)
	if err != nil {
		return there, fmt.Errorf("remote: asking %s what it evaluates: %w", url, err)
	}
	at := slices.IndexFunc(models.Evaluators, func(e client.Evaluator) bool { return evaluator == "" || e.Name == evaluator })
	if at < 0 {
		var names []string
		for _, e := range models.Evaluators {
			names = append(names, e.Name)
		}
		return there, fmt.Errorf("remote: %s has no evaluator %q, only %q", url, evaluator, names)
	}
	return models.Evaluators[at], nil
}

func description(e client.Evaluator) reward.Description {
	d := reward.Description{
		Name: e.Name, Kind: "remote", Fingerprint: e.Fingerprint, Modes: e.Modes, Text: e.Text, Boxes: e.Boxes, Generates: e.Generates,
		PromptTokens: e.PromptTokens, Resize: e.Resize, Demonstration: e.Demonstration, Note: e.Note,
	}
	bound := func(v *float64, none float64) float64 {
		if v == nil {
			return none
		}
		return *v
	}
	for _, s := range e.Scores {
		d.Scores = append(d.Scores, reward.ScoreSpec{
			Name: s.Name, Min: bound(s.Min, math.Inf(-1)), Max: bound(s.Max, math.Inf(1)), Weight: s.Weight, Doc: s.Doc,
		})
	}
	for _, m := range e.Maps {
		d.Maps = append(d.Maps, reward.MapSpec{Name: m.Name, Height: m.Height, Width: m.Width, Weight: m.Weight, Doc: m.Doc})
	}
	return d
}

// Describe says what the evaluator there gives.
func (s *Server) Describe() reward.Description { return s.about }

// Close does nothing: idle connections end by themselves.
func (s *Server) Close() error { return nil }

// Generate has the evaluator there continue each sample's prompt by itself.
func (s *generatingServer) Generate(ctx context.Context, samples []reward.Sample) ([]reward.Result, error) {
	return s.chat.each(ctx, samples, func(one *reward.Sample) reward.Result { return s.chat.generate(ctx, one, 0) })
}

// Close gives the connections back.
func (s *generatingServer) Close() error { return s.chat.Close() }

// Evaluate sends the samples of each mode in one request, and in smaller ones where that
// is refused.
func (s *Server) Evaluate(ctx context.Context, samples []reward.Sample) ([]reward.Result, error) {
	results := make([]reward.Result, len(samples))
	byMode := map[reward.Mode][]int{}
	for i := range samples {
		if err := samples[i].Check(); err != nil {
			results[i].Err = err
			continue
		}
		byMode[samples[i].Mode] = append(byMode[samples[i].Mode], i)
	}
	for mode, at := range byMode {
		s.evaluateOrHalve(ctx, mode, samples, results, at)
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return results, nil
}

// evaluateOrHalve evaluates the samples with the numbers at. Where their request is
// refused, by the server there or by the client before it is sent, it may be for one
// of them: the halves of it are tried until that one is alone.
func (s *Server) evaluateOrHalve(ctx context.Context, mode reward.Mode, samples []reward.Sample, results []reward.Result, at []int) {
	err := s.evaluate(ctx, mode, samples, results, at)
	var refused *refusedError
	switch {
	case err == nil || ctx.Err() != nil:
	case errors.As(err, &refused) && len(at) > 1:
		half := len(at) / 2
		s.evaluateOrHalve(ctx, mode, samples, results, at[:half])
		s.evaluateOrHalve(ctx, mode, samples, results, at[half:])
	default:
		for _, i := range at {
			results[i] = reward.Result{Err: reward.ErrEvaluatorFailed.With("%v", err)}
		}
	}
}

// evaluate asks for the samples with the numbers at, all of one mode.
func (s *Server) evaluate(ctx context.Context, mode reward.Mode, samples []reward.Sample, results []reward.Result, at []int) error {
	q := &wire.Request{Evaluator: s.remote, Mode: mode, Return: []wire.Return{}, Missing: reward.MissingZero} // the policy is this server's caller's
	if len(s.about.Maps) > 0 {
		q.Return = append(q.Return, wire.ReturnHeatmaps)
	}
	if s.about.Text {
		q.Return = append(q.Return, wire.ReturnText)
	}
	if s.about.Boxes {
		q.Return = append(q.Return, wire.ReturnBoxes)
	}
	for _, i := range at {
		m := samples[i].Image
		q.Prompts = append(q.Prompts, samples[i].Prompt)
		q.Images = append(q.Images, wire.Image{Tensor: reward.Uint8Tensor(m.Pix, m.Height, m.Width, 3)})
		q.Metadata = append(q.Metadata, samples[i].Metadata)
	}
	if !slices.ContainsFunc(q.Metadata, func(m map[string]any) bool { return m != nil }) {
		q.Metadata = nil
	}
	p, err := s.client.Score(ctx, q)
	if e := (*reward.Error)(nil); errors.As(err, &e) {
		switch e.Status() {
		case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType:
			return &refusedError{err}
		}
	}
	if err != nil {
		return err
	}
	if p.Model != s.about.Fingerprint {
		return fmt.Errorf("%s has model %.16q now and had %.16q when this server was started: start it again", s.remote, p.Model, s.about.Fingerprint)
	}
	for k, i := range at {
		if p.Errors[k] != nil {
			results[i].Err = p.Errors[k]
			continue
		}
		if results[i], err = s.result(p, k); err != nil {
			results[i] = reward.Result{Err: err}
		}
	}
	return nil
}

func mapOf(p *wire.Response, name string, k int) (reward.Map, error) {
	at := slices.IndexFunc(p.Heatmaps, func(m wire.NamedMaps) bool { return m.Name == name })
	if at < 0 {
		return reward.Map{}, reward.ErrEvaluatorFailed.With("the server's answer has no map %s", name)
	}
	t := wire.OfSample(p.Heatmaps[at].Maps, p.Heatmaps[at].Each, k)
	values, err := t.Float32s()
	return reward.Map{Height: t.Shape[0], Width: t.Shape[1], Data: values}, err
}

// result is what the answer says of its sample k.
func (s *Server) result(p *wire.Response, k int) (reward.Result, error) {
	r := reward.Result{Missing: p.Missing[k]}
	for _, spec := range s.about.Scores {
		at := slices.IndexFunc(p.Scores, func(c wire.NamedScores) bool { return c.Name == spec.Name })
		if at < 0 {
			return r, reward.ErrEvaluatorFailed.With("the server's answer has no score %s", spec.Name)
		}
		r.Scores = append(r.Scores, p.Scores[at].Values[k])
	}
	for _, spec := range s.about.Maps {
		m, err := mapOf(p, spec.Name, k)
		if err != nil {
			return r, err
		}
		r.Maps = append(r.Maps, m)
	}
	if p.Texts != nil {
		r.Text = p.Texts[k]
	}
	if p.Boxes != nil {
		r.Boxes = p.Boxes[k]
	}
	return r, nil
}
