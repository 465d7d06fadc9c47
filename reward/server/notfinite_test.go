package server_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/rewardtest"
	"github.com/denseflow/densereward/reward/server"
	"github.com/denseflow/densereward/reward/server/servertest"
	"github.com/denseflow/densereward/reward/wire"
)

// floats is a request of n images of floats, or of latents, in two groups.
func floats(r *rand.Rand, n int, ofLatents bool) *wire.Request {
	q := &wire.Request{Advantage: &reward.Advantage{Method: methods[r.IntN(len(methods))]}}
	if ofLatents {
		q = latents(n, 4, 2, 2)
		q.Advantage = &reward.Advantage{Method: reward.AdvantageDenseFlow}
	}
	q.Prompts = nil
	for i := range n {
		q.Prompts = append(q.Prompts, "a red cube")
		q.Groups.Names = append(q.Groups.Names, fmt.Sprint(i%2))
		if ofLatents {
			continue
		}
		values := make([]float32, 16*8*3)
		for k := range values {
			values[k] = r.Float32()
		}
		q.Images = append(q.Images, wire.Image{Tensor: reward.Float32Tensor(values, 16, 8, 3)})
	}
	return q
}

var methods = []reward.AdvantageMethod{reward.AdvantageFlowGRPO, reward.AdvantageDenseFlow, reward.AdvantageDenseFlowPaper, reward.AdvantageGDPO}

// spoilSample makes numbers of one sample none, or out of range.
func spoilSample(r *rand.Rand, q *wire.Request, bad int) {
	if q.Latents != nil {
		values, _ := q.Latents.Float32s()
		values[bad*len(values)/len(q.Prompts)] = float32(math.NaN())
		q.Latents = reward.Float32Tensor(values, q.Latents.Shape...)
		return
	}
	t := q.Images[bad].Tensor
	values, _ := t.Float32s()
	switch r.IntN(3) {
	case 0:
		values[r.IntN(len(values))] = []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))}[r.IntN(3)]
	case 1:
		for i := range values {
			values[i] = 2*values[i] - 1
		}
	case 2:
		for i := range values {
			values[i] *= 255
		}
	}
	q.Images[bad].Tensor = reward.Float32Tensor(values, t.Shape...)
}

// without is q but for one sample.
func without(q *wire.Request, bad int) *wire.Request {
	p := *q
	p.Prompts = slices.Delete(slices.Clone(q.Prompts), bad, bad+1)
	p.Groups.Names = slices.Delete(slices.Clone(q.Groups.Names), bad, bad+1)
	if q.Latents != nil {
		var rest []int
		for i := range q.Prompts {
			if i != bad {
				rest = append(rest, i)
			}
		}
		p.Latents = q.Latents.Gather(rest)
		return &p
	}
	p.Images = slices.Delete(slices.Clone(q.Images), bad, bad+1)
	return &p
}

// Whatever float of a sample is none or out of range, the sample has an error and no
// number, and its neighbours have what they have without it.
func TestNoFloatOfASampleReachesTheAdvantagesOfAnother(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	c, _ := serveOver(t, &rewardtest.Fake{Side: 8}, func(cfg *server.Config) { cfg.Decoders = []reward.LatentDecoder{&greys{}} })
	for round := range 150 {
		n := 3 + r.IntN(5)
		bad := r.IntN(n)
		q := floats(r, n, round%4 == 0)
		spoilSample(r, q, bad)
		with, rest := mustScore(t, c, q), mustScore(t, c, without(q, bad))
		for i := range n {
			got := servertest.Numbers(t, with, i)
			if i == bad {
				if with.Errors[i] == nil || slices.ContainsFunc(got, func(v float64) bool { return !math.IsNaN(v) }) {
					t.Fatalf("round %d, %s: the sample has error %v, numbers %v", round, q.Advantage.Method, with.Errors[i], got)
				}
				continue
			}
			at := i
			if i > bad {
				at--
			}
			if want := servertest.Numbers(t, rest, at); with.Errors[i] != nil || !slices.Equal(got, want) || slices.ContainsFunc(got, math.IsNaN) {
				t.Fatalf("round %d, %s: neighbour %d has %v, without it %v, error %v", round, q.Advantage.Method, i, got, want, with.Errors[i])
			}
		}
	}
}

// A float of the request itself that is none or out of range refuses it.
func TestNoFloatOfARequestThatIsNoneIsAnswered(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	c, _ := serveOver(t, &rewardtest.Fake{Side: 8}, nil)
	for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), 1e300, -1e300} {
		for name, spoil := range map[string]func(q *wire.Request){
			"a score's weight": func(q *wire.Request) { q.Weights = &reward.Weights{Scores: map[string]float64{"overall": v}} },
			"a map's weight":   func(q *wire.Request) { q.Weights = &reward.Weights{Maps: map[string]float64{"artifact": v}} },
			"a floor":          func(q *wire.Request) { q.Advantage.Floor = &v },
			"a penalty":        func(q *wire.Request) { q.Mode, q.Advantage.Penalty = reward.ModeThink, &reward.Penalty{Artifact: v} },
		} {
			q := floats(r, 4, false)
			q.Advantage.Method = reward.AdvantageBoxFlow
			q.Mode = reward.ModeThink
			spoil(q)
			if p, err := c.Score(t.Context(), q); err == nil {
				t.Errorf("%s of %v is answered: %v", name, v, p.Rewards)
			}
		}
	}
}
