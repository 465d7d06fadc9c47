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
func (c *Client) scoreParts(ctx context.Context, q *wire.Request, once exchange) (*wire.Response, error) {
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
			responses[i], failures[i] = c.scoreOne(ctx, part, once)
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
	all := &wire.Response{Evaluator: parts[0].Evaluator, Model: parts[0].Model, Resize: parts[0].Resize, TimingMS: map[string]float64{}}
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
		for _, w := range p.Warnings {
			if !slices.Contains(all.Warnings, w) {
				all.Warnings = append(all.Warnings, w)
			}
		}
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

// maps is a field of maps in a response: one tensor, or one a sample.
type maps struct {
	one  *reward.Tensor
	each []*reward.Tensor
}

func joinMaps(all *wire.Response, parts []*wire.Response) error {
	lead := parts[0] // the first part that has maps of a sample
	for i := len(parts) - 1; i >= 0; i-- {
		if slices.Contains(parts[i].Errors, nil) {
			lead = parts[i]
		}
	}
	if lead.Dense != nil {
		weight, err := joinField(parts, lead, denseMaps(func(d *wire.DenseMaps) maps { return maps{d.Weight, d.Weights} }))
		if err != nil {
			return err
		}
		rewards, err := joinField(parts, lead, denseMaps(func(d *wire.DenseMaps) maps { return maps{d.Reward, d.Rewards} }))
		if err != nil {
			return err
		}
		all.Dense = &wire.DenseMaps{Weight: weight.one, Weights: weight.each, Reward: rewards.one, Rewards: rewards.each}
		if weight.one != nil {
			all.Dense.Height, all.Dense.Width = lead.Dense.Height, lead.Dense.Width
		}
	}
	for _, h := range lead.Heatmaps {
		joined, err := joinField(parts, lead, func(p *wire.Response) (m maps) {
			for _, other := range p.Heatmaps {
				if other.Name == h.Name {
					m = maps{other.Maps, other.Each}
				}
			}
			return m
		})
		if err != nil {
			return err
		}
		all.Heatmaps = append(all.Heatmaps, wire.NamedMaps{Name: h.Name, Maps: joined.one, Each: joined.each})
	}
	if lead.Advantages != nil || lead.AdvantageMaps != nil {
		joined, err := joinField(parts, lead, func(p *wire.Response) maps { return maps{p.Advantages, p.AdvantageMaps} })
		if err != nil {
			return err
		}
		all.Advantages, all.AdvantageMaps = joined.one, joined.each
	}
	return nil
}

func denseMaps(of func(d *wire.DenseMaps) maps) func(p *wire.Response) maps {
	return func(p *wire.Response) maps {
		if p.Dense == nil {
			return maps{}
		}
		return of(p.Dense)
	}
}

// joinField joins a field of all parts: into one tensor where their maps are of one size,
// else into one a sample. A part of which every sample failed may have another grid,
// and has nothing but NaN to say.
func joinField(parts []*wire.Response, lead *wire.Response, of func(*wire.Response) maps) (maps, error) {
	like := of(lead).one
	same := like != nil
	for _, p := range parts {
		m := of(p)
		if m.one == nil && m.each == nil {
			return maps{}, errors.New("client: parts of the request have different maps")
		}
		fits := m.one != nil && like != nil && m.one.Type == like.Type && slices.Equal(m.one.Shape[1:], like.Shape[1:])
		same = same && (fits || !slices.Contains(p.Errors, nil))
	}
	if !same {
		return apart(parts, of)
	}
	all := &reward.Tensor{Type: like.Type, Shape: slices.Clone(like.Shape)}
	all.Shape[0] = 0
	for _, p := range parts {
		t := of(p).one
		if t == nil || !slices.Equal(t.Shape[1:], like.Shape[1:]) {
			t = allNaN(like, len(p.Errors))
		}
		all.Shape[0] += t.Shape[0]
		all.Data = append(all.Data, t.Data...)
	}
	return maps{one: all}, nil
}

// apart is a field of all parts as one map a sample.
func apart(parts []*wire.Response, of func(*wire.Response) maps) (maps, error) {
	var all maps
	for _, p := range parts {
		m := of(p)
		for i := range p.Errors {
			t := wire.OfSample(m.one, m.each, i)
			if len(t.Shape) != 2 {
				return maps{}, errors.New("client: parts of the request have different maps")
			}
			all.each = append(all.each, t)
		}
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
