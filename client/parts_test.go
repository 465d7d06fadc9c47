package client_test

import (
	"bytes"
	"errors"
	"math"
	"net/http"
	"slices"
	"testing"

	"github.com/denseflow/densereward/client"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/rewardtest"
	"github.com/denseflow/densereward/reward/wire"
)

func TestPartsGiveTheResponseOfTheWhole(t *testing.T) {
	address := listen(t, newServer(t, &rewardtest.Fake{Side: 8}))
	q := rollout(10)
	q.Mode = reward.ModeThink
	q.Images[7] = wire.Image{Encoded: []byte("GIF89a")}
	q.Groups.Names = []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"}
	q.Return = []wire.Return{wire.ReturnDense, wire.ReturnHeatmaps, wire.ReturnText, wire.ReturnBoxes}
	want := mustScore(t, newClient(t, address), q)
	for _, size := range []int{1, 3, 4, 9} { // with 1, the seventh part has maps of one cell
		s := &script{next: newServer(t, &rewardtest.Fake{Side: 8})}
		got := mustScore(t, newClient(t, listen(t, s), client.WithPartSize(size)), q)
		if n := (10 + size - 1) / size; s.requests() != n {
			t.Errorf("parts of %d: sent %d requests, want %d", size, s.requests(), n)
		}
		got.TimingMS, got.Cached = want.TimingMS, want.Cached
		// NaN has many encodings and failed samples are all NaN.
		quiet(got)
		quiet(want)
		if !bytes.Equal(got.Encode().Bytes(), want.Encode().Bytes()) {
			t.Errorf("parts of %d: another response", size)
		}
	}
}

// quiet gives all NaNs of a response's maps one encoding.
func quiet(p *wire.Response) {
	for _, tensor := range []**reward.Tensor{&p.Dense.Weight, &p.Dense.Reward, &p.Heatmaps[0].Maps, &p.Heatmaps[1].Maps} {
		values, _ := (*tensor).Float32s()
		for i, v := range values {
			if v != v {
				values[i] = float32(math.NaN())
			}
		}
		*tensor = reward.Float32Tensor(values, (*tensor).Shape...)
	}
}

func TestGroupsAreNotTornApart(t *testing.T) {
	s := &script{next: newServer(t, &rewardtest.Fake{})}
	c := newClient(t, listen(t, s), client.WithPartSize(2))
	q := rollout(6)
	q.Advantage = &reward.Advantage{Method: reward.AdvantageFlowGRPO}
	if _, err := c.Score(t.Context(), q); err == nil || s.requests() != 0 {
		t.Errorf("got %v after %d requests", err, s.requests())
	}
	whole := mustScore(t, newClient(t, listen(t, s)), q)
	q.Groups = reward.Groups{Step: "1", Size: 6, Members: []int{0, 1, 2, 3, 4, 5}}
	parts := mustScore(t, c, q)
	got, _ := parts.Advantages.Float64s()
	want, _ := whole.Advantages.Float64s()
	if !slices.Equal(got, want) {
		t.Errorf("advantages over parts are %v, want %v", got, want)
	}
}

func TestTheFirstFailureOfAPartEndsTheOthers(t *testing.T) {
	s := &script{steps: []http.HandlerFunc{fails(reward.ErrEvaluatorFailed)}, next: http.HandlerFunc(hangs)}
	_, err := newClient(t, listen(t, s), client.WithPartSize(1)).Score(t.Context(), rollout(4))
	if !errors.Is(err, reward.ErrEvaluatorFailed) {
		t.Errorf("got %v", err)
	}
}

func TestPartsOfDifferentSizesHaveMapsOfTheirOwn(t *testing.T) {
	server := newServer(t, &rewardtest.Fake{})
	q := rollout(3)
	q.Images[1].Tensor = rewardtest.Tensor(rewardtest.Image(9, 64, 64))
	q.Return = []wire.Return{wire.ReturnDense, wire.ReturnHeatmaps}
	parts := mustScore(t, newClient(t, listen(t, server), client.WithPartSize(2)), q)
	whole := mustScore(t, newClient(t, listen(t, server)), q)
	if parts.Dense.Weight != nil || len(parts.Dense.Weights) != 3 || len(whole.Dense.Weights) != 3 {
		t.Fatalf("maps %v and %v", parts.Dense, whole.Dense)
	}
	for i := range 3 {
		if !slices.Equal(parts.Dense.Weights[i].Data, whole.Dense.Weights[i].Data) || !slices.Equal(parts.Dense.Rewards[i].Shape, whole.Dense.Rewards[i].Shape) {
			t.Errorf("sample %d differs in parts", i)
		}
	}
	if !slices.Equal(parts.Heatmap("artifact").Data, whole.Heatmap("artifact").Data) {
		t.Error("heatmaps, which are of one size, differ in parts")
	}
}

func TestLatentsAreCutBetweenSamples(t *testing.T) {
	s := &script{next: fails(reward.ErrUnknownVAE)}
	c := newClient(t, listen(t, s), client.WithPartSize(2))
	q := &wire.Request{Prompts: make([]string, 3), VAE: "sd3", Latents: reward.Float32Tensor(make([]float32, 3*16), 3, 4, 2, 2)}
	if _, err := c.Score(t.Context(), q); !errors.Is(err, reward.ErrUnknownVAE) {
		t.Errorf("got %v", err)
	}
	q.Latents.Shape = []int{4, 3, 2, 2}
	if _, err := c.Score(t.Context(), q); !errors.Is(err, reward.ErrImageCountMismatch) {
		t.Errorf("four latents for three prompts: got %v", err)
	}
}

func TestListsOfAnotherLengthThanThePromptsAreRefusedUncut(t *testing.T) {
	for name, change := range map[string]func(*wire.Request){
		"three names for ten prompts":   func(q *wire.Request) { q.Groups.Names = make([]string, 3) },
		"twelve names for ten prompts":  func(q *wire.Request) { q.Groups.Names = make([]string, 12) },
		"three members for ten prompts": func(q *wire.Request) { q.Groups = step(3) },
		"twelve members":                func(q *wire.Request) { q.Groups = step(12) },
		"three images":                  func(q *wire.Request) { q.Images = q.Images[:3] },
		"twelve images":                 func(q *wire.Request) { q.Images = append(q.Images, q.Images[:2]...) },
	} {
		t.Run(name, func(t *testing.T) {
			s := &script{}
			address := listen(t, s)
			q := rollout(10)
			q.Advantage = &reward.Advantage{Method: reward.AdvantageNone}
			change(q)
			_, whole := newClient(t, address).Score(t.Context(), q)
			_, parts := newClient(t, address, client.WithPartSize(4)).Score(t.Context(), q)
			if !errors.Is(parts, reward.ErrImageCountMismatch) || parts.Error() != whole.Error() || s.requests() != 0 {
				t.Errorf("got %v after %d requests, want %v", parts, s.requests(), whole)
			}
		})
	}
}

// step is a group that spans requests, of which these are the first n members.
func step(n int) reward.Groups {
	g := reward.Groups{Step: "1", Size: n}
	for i := range n {
		g.Members = append(g.Members, i)
	}
	return g
}
