package client

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/wire"
)

// errTorn says why a request cannot be sent in parts.
var errTorn = errors.New("client: a request of several parts cannot have advantages of its own groups: send fewer samples, or groups with a step, size and members")

// scoreParts sends q in parts of equal size, all at the same time, and joins
// their responses. The first failure ends the others.
func (c *Client) scoreParts(ctx context.Context, q *wire.Request) (*wire.Response, error) {
	if q.Advantage != nil && q.Advantage.Method != reward.AdvantageNone && (q.Groups.Step == "" || q.Groups.Members == nil) {
		return nil, errTorn
	}
	if err := checkWhole(q, c.opts.limits); err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	size := c.opts.partSize()
	if q.Advantage != nil && q.Advantage.Steps > 0 {
		size = max(size-size%(q.Advantage.Steps+1), q.Advantage.Steps+1) // a sample's steps come together
	}
	n := (len(q.Prompts) + size - 1) / size
	responses, failures := make([]*wire.Response, n), make([]error, n)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var sending sync.WaitGroup
	for i := range n {
		part := part(q, i*size, min((i+1)*size, len(q.Prompts)))
		sending.Go(func() {
			responses[i], failures[i] = c.scoreOne(ctx, part)
			if failures[i] != nil {
				cancel(failures[i])
			}
		})
	}
	sending.Wait()
	if slices.IndexFunc(failures, func(err error) bool { return err != nil }) >= 0 {
		return nil, context.Cause(ctx)
	}
	joined, err := join(responses)
	if err == nil && q.Rank {
		joined.Ranks = reward.Ranks(joined.Rewards, groupNames(q))
	}
	return joined, err
}

// checkWhole refuses what would be refused in one piece too, but for its size:
// a list that is not as long as the prompts cannot be cut beside them. Encoding
// borrows the images, so it costs little to do so for the check alone.
func checkWhole(q *wire.Request, limits wire.Limits) error {
	limits.Samples, limits.BodyBytes = len(q.Prompts), math.MaxInt64
	_, err := q.Encode(limits)
	return err
}

// part is samples [from,to) of q, which has passed checkWhole.
func part(q *wire.Request, from, to int) *wire.Request {
	p := *q
	p.Rank = false // places are those within the whole
	p.Prompts = q.Prompts[from:to]
	if q.Images != nil {
		p.Images = q.Images[from:to]
	}
	if q.Latents != nil {
		p.Latents = q.Latents.Part(from, to)
	}
	if q.Metadata != nil {
		p.Metadata = q.Metadata[from:to]
	}
	if q.Groups.Names != nil {
		p.Groups.Names = q.Groups.Names[from:to]
	}
	if q.Groups.Members != nil {
		p.Groups.Members = q.Groups.Members[from:to]
	}
	return &p
}

// join makes one response of those of a request's parts. Timings are the
// longest of any part.
func join(parts []*wire.Response) (*wire.Response, error) {
	all := &wire.Response{Evaluator: parts[0].Evaluator, Model: parts[0].Model, TimingMS: map[string]float64{}}
	for _, p := range parts {
		if p.Model != all.Model {
			return nil, fmt.Errorf("client: servers of different checkpoints answered: %.80q and %.80q", all.Model, p.Model)
		}
		all.Rewards = append(all.Rewards, p.Rewards...)
		all.Missing = append(all.Missing, p.Missing...)
		all.Errors = append(all.Errors, p.Errors...)
		all.Cached = append(all.Cached, p.Cached...)
		all.Texts = append(all.Texts, p.Texts...)
		all.Boxes = append(all.Boxes, p.Boxes...)
		all.Images = append(all.Images, p.Images...)
		for stage, ms := range p.TimingMS {
			all.TimingMS[stage] = max(all.TimingMS[stage], ms)
		}
	}
	if err := joinScores(all, parts); err != nil {
		return nil, err
	}
	return all, joinMaps(all, parts)
}

// joinScores joins the scores of a request's parts, which must have the same.
func joinScores(all *wire.Response, parts []*wire.Response) error {
	for _, s := range parts[0].Scores {
		joined := wire.NamedScores{Name: s.Name, Values: []float64{}}
		for _, p := range parts {
			values := p.Score(s.Name)
			if len(values) != len(p.Rewards) || len(p.Scores) != len(parts[0].Scores) {
				return fmt.Errorf("client: parts of the request have different scores than %.80q", s.Name)
			}
			joined.Values = append(joined.Values, values...)
		}
		all.Scores = append(all.Scores, joined)
	}
	return nil
}

// joinMaps joins the tensors of a request's parts.
func joinMaps(all *wire.Response, parts []*wire.Response) (err error) {
	lead := parts[0] // the first part that has maps of a sample
	for i := len(parts) - 1; i >= 0; i-- {
		if slices.Contains(parts[i].Errors, nil) {
			lead = parts[i]
		}
	}
	tensors := func(of func(*wire.Response) *reward.Tensor) *reward.Tensor {
		var joined *reward.Tensor
		if err == nil {
			joined, err = concatenate(parts, of(lead), of)
		}
		return joined
	}
	if lead.Dense != nil {
		all.Dense = &wire.DenseMaps{
			Height: lead.Dense.Height, Width: lead.Dense.Width,
			Weight: tensors(func(p *wire.Response) *reward.Tensor { return p.Dense.Weight }),
			Reward: tensors(func(p *wire.Response) *reward.Tensor { return p.Dense.Reward }),
		}
	}
	for _, h := range lead.Heatmaps {
		joined := tensors(func(p *wire.Response) *reward.Tensor { return p.Heatmap(h.Name) })
		all.Heatmaps = append(all.Heatmaps, wire.NamedMaps{Name: h.Name, Maps: joined})
	}
	if lead.Advantages != nil {
		all.Advantages = tensors(func(p *wire.Response) *reward.Tensor { return p.Advantages })
	}
	return err
}

// concatenate joins tensors of like's kind along their first dimension. A part
// of which every sample failed may have another grid, and has nothing but NaN
// to say.
func concatenate(parts []*wire.Response, like *reward.Tensor, of func(*wire.Response) *reward.Tensor) (*reward.Tensor, error) {
	all := &reward.Tensor{Type: like.Type, Shape: slices.Clone(like.Shape)}
	all.Shape[0] = 0
	for _, p := range parts {
		t := of(p)
		if t == nil {
			return nil, errors.New("client: parts of the request have different maps")
		}
		if t.Type != all.Type || !slices.Equal(t.Shape[1:], all.Shape[1:]) {
			if slices.Contains(p.Errors, nil) {
				return nil, fmt.Errorf("client: %w", reward.ErrGridMismatch.With("parts of the request have maps of shape %v and %v: name a grid by height and width", like.Shape, t.Shape))
			}
			t = allNaN(like, len(p.Errors))
		}
		all.Shape[0] += t.Shape[0]
		all.Data = append(all.Data, t.Data...)
	}
	return all, nil
}

// allNaN is a float32 tensor of n maps of like's shape.
func allNaN(like *reward.Tensor, n int) *reward.Tensor {
	shape := append([]int{n}, like.Shape[1:]...)
	elements, _ := reward.Elements(shape)
	values := make([]float32, elements)
	for i := range values {
		values[i] = float32(math.NaN())
	}
	return reward.Float32Tensor(values, shape...)
}
