// Package remote labels chunks of records with DenseReward servers. A chunk is
// one request; how servers batch it with others' is theirs, so that maps may
// differ in their last bits from run to run.
package remote

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/denseflow/densereward/client"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/relabel"
	"github.com/denseflow/densereward/reward/wire"
)

// Options say how records are labelled.
type Options struct {
	Client    *client.Client
	Evaluator string      // "" is the server's first
	Mode      reward.Mode // "" is the evaluator's default
	Weights   *reward.Weights
	Grid      reward.GridSpec
	Labels    relabel.Labels
}

// Evaluator labels chunks. Evaluate is its relabel.Evaluate.
type Evaluator struct{ o Options }

// New sends nothing yet.
func New(o Options) *Evaluator { return &Evaluator{o} }

// Evaluate labels a chunk. Errors of the whole request end the run, but for
// images of several sizes whose dense maps need a request each.
func (e *Evaluator) Evaluate(ctx context.Context, chunk []*relabel.Record) ([]relabel.Label, error) {
	labels := make([]relabel.Label, len(chunk))
	var at []int // the records that are asked for
	request := e.request()
	hasMetadata := false
	for i, r := range chunk {
		err := r.Err
		var data []byte
		if err == nil {
			data, err = r.Load()
		}
		if err != nil {
			labels[i] = relabel.Failure(err)
			continue
		}
		at = append(at, i)
		request.Prompts = append(request.Prompts, r.Prompt)
		request.Images = append(request.Images, wire.Image{Encoded: data})
		request.Metadata = append(request.Metadata, r.Metadata)
		hasMetadata = hasMetadata || r.Metadata != nil
	}
	if len(at) == 0 {
		return labels, nil
	}
	if !hasMetadata {
		request.Metadata = nil
	}
	got, err := e.score(ctx, request)
	if err != nil {
		return nil, err
	}
	for k, i := range at {
		labels[i] = got[k]
	}
	return labels, nil
}

func (e *Evaluator) request() *wire.Request {
	q := &wire.Request{Evaluator: e.o.Evaluator, Mode: e.o.Mode, Weights: e.o.Weights, Grid: e.o.Grid, Return: []wire.Return{}}
	heatmaps := false
	for _, name := range e.o.Labels.Maps {
		if name == relabel.ColumnDense {
			q.Return = append(q.Return, wire.ReturnDense)
		} else if !heatmaps {
			heatmaps = true
			q.Return = append(q.Return, wire.ReturnHeatmaps)
		}
	}
	if e.o.Labels.Text {
		q.Return = append(q.Return, wire.ReturnText)
	}
	if e.o.Labels.Boxes {
		q.Return = append(q.Return, wire.ReturnBoxes)
	}
	return q
}

// score sends a request, or one for each of its samples where they need a grid
// each.
func (e *Evaluator) score(ctx context.Context, q *wire.Request) ([]relabel.Label, error) {
	p, err := e.o.Client.Score(ctx, q)
	if errors.Is(err, reward.ErrGridMismatch) && len(q.Prompts) > 1 {
		var labels []relabel.Label
		for i := range q.Prompts {
			one := *q
			one.Prompts, one.Images = q.Prompts[i:i+1], q.Images[i:i+1]
			if q.Metadata != nil {
				one.Metadata = q.Metadata[i : i+1]
			}
			label, err := e.score(ctx, &one)
			if err != nil {
				return nil, err
			}
			labels = append(labels, label...)
		}
		return labels, nil
	}
	if err != nil {
		return nil, err
	}
	labels := make([]relabel.Label, len(q.Prompts))
	for i := range labels {
		if labels[i], err = e.label(p, i); err != nil {
			return nil, err
		}
	}
	return labels, nil
}

// label is what a response says of its i-th sample. Its error is a server of
// another evaluator.
func (e *Evaluator) label(p *wire.Response, i int) (relabel.Label, error) {
	if err := p.Errors[i]; err != nil {
		return relabel.Failure(err), nil
	}
	if v := p.Rewards[i]; math.IsNaN(v) || math.IsInf(v, 0) {
		return relabel.Failure(reward.ErrEvaluatorFailed.With("the reward is %v", v)), nil
	}
	label := relabel.Label{Reward: p.Rewards[i], Missing: p.Missing[i]}
	for _, name := range e.o.Labels.Scores {
		values := p.Score(name)
		if values == nil {
			return label, fmt.Errorf("the server's %s gave no score %q", p.Evaluator, name)
		}
		label.Scores = append(label.Scores, values[i])
	}
	if e.o.Labels.Text && p.Texts != nil {
		label.Text = p.Texts[i]
	}
	if e.o.Labels.Boxes && p.Boxes != nil {
		for _, b := range p.Boxes[i] {
			label.Boxes = append(label.Boxes, relabel.Box{Box: b.Coords, Label: b.Label, Importance: b.Importance})
		}
	}
	for _, name := range e.o.Labels.Maps {
		m, err := mapOf(p, name, i)
		if err != nil {
			return label, fmt.Errorf("map %q: %w", name, err)
		}
		label.Maps = append(label.Maps, relabel.NewMap(m, e.o.Labels.MapType))
	}
	return label, nil
}

func mapOf(p *wire.Response, name string, i int) (reward.Map, error) {
	var t *reward.Tensor
	if name == relabel.ColumnDense && p.Dense != nil {
		t = wire.OfSample(p.Dense.Weight, p.Dense.Weights, i)
	}
	for _, h := range p.Heatmaps {
		if h.Name == name {
			t = wire.OfSample(h.Maps, h.Each, i)
		}
	}
	if t == nil {
		return reward.Map{}, errors.New("the server gave none")
	}
	values, err := t.Float32s()
	return reward.Map{Height: t.Shape[0], Width: t.Shape[1], Data: values}, err
}
