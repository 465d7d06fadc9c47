package scoring_test

import (
	"context"
	"math"
	"slices"
	"testing"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/advantages"
	"github.com/denseflow/densereward/reward/rewardtest"
	"github.com/denseflow/densereward/reward/scoring"
)

// gate is a barrier that notes the members and gives each the share 7.
type gate struct{ members []advantages.Member }

func (g *gate) Gather(_ context.Context, _ *reward.Groups, _ advantages.Rule, members []advantages.Member) ([]advantages.Share, error) {
	g.members = slices.Clone(members)
	return slices.Repeat([]advantages.Share{{Advantage: 7}}, len(members)), nil
}

// asked is what a caller asks for.
type asked struct {
	scoring.Input
	scoring.Options
}

// numbered asks for the advantages of two samples of a group that spans requests.
func numbered() asked {
	a := asked{images(2), scoring.Options{
		Mode: reward.ModeAnswer, Parts: scoring.Parts{Dense: true}, Advantage: &reward.Advantage{Method: reward.AdvantageFlowGRPO},
	}}
	pixels := make([]float32, 4*6*3)
	a.Images[1] = scoring.Image{Tensor: reward.Float32Tensor(pixels, 4, 6, 3)}
	a.Groups = reward.Groups{Step: "1", Size: 4, Members: []int{0, 1}}
	a.Metadata = []map[string]any{nil, {"text": "a"}}
	return a
}

// inputs are the samples' inputs as their group sees them.
func inputs(t *testing.T, a asked) (digests [][32]byte) {
	t.Helper()
	g := &gate{}
	if _, err := newPipeline(t, &rewardtest.Fake{Side: 8}, nil).Score(t.Context(), a.Input, a.Options, g); err != nil {
		t.Fatal(err)
	}
	for _, m := range g.members {
		digests = append(digests, m.Input)
	}
	return digests
}

func TestASampleIsKnownByAllThatItWasMadeOf(t *testing.T) {
	base := inputs(t, numbered())
	if base[0] == base[1] || base[0] == [32]byte{} {
		t.Fatal("two samples look alike, or have nothing to be told by")
	}
	for name, c := range map[string]struct {
		change func(a *asked)
		same   []bool
	}{
		"nothing":          {func(*asked) {}, []bool{true, true}},
		"what is answered": {func(a *asked) { a.Parts = scoring.Parts{Heatmaps: true, Text: true} }, []bool{true, true}},
		"a copy of the pixels": {func(a *asked) {
			a.Images[0].Decoded = &reward.Image{Width: 32, Height: 16, Pix: slices.Clone(a.Images[0].Decoded.Pix)}
		}, []bool{true, true}},
		"a pixel":   {func(a *asked) { a.Images[1].Tensor.Data[3] = 1 }, []bool{true, false}},
		"the sides": {func(a *asked) { a.Images[1].Tensor.Shape = []int{6, 4, 3} }, []bool{true, false}},
		"a type of the same zeros": {func(a *asked) {
			a.Images[1].Tensor = &reward.Tensor{Type: reward.Float16, Shape: []int{8, 6, 3}, Data: a.Images[1].Tensor.Data}
		}, []bool{true, false}},
		"a file":   {func(a *asked) { a.Images[0] = scoring.Image{Encoded: rewardtest.PNG(a.Images[0].Decoded)} }, []bool{false, true}},
		"a prompt": {func(a *asked) { a.Prompts[1], a.Groups.Names = "a dog", []string{"a cat", "a cat"} }, []bool{true, false}},
		"metadata": {func(a *asked) { a.Metadata[1]["text"] = "b" }, []bool{true, false}},
		"the mode": {func(a *asked) { a.Mode = reward.ModeThink }, []bool{false, false}},
		"a policy": {func(a *asked) { a.Missing = reward.MissingError }, []bool{false, false}},
		"clamping": {func(a *asked) { a.Clamp = true }, []bool{false, false}},
		"a weight": {func(a *asked) { a.Weights = &reward.Weights{Scores: map[string]float64{"overall": 1}} }, []bool{false, false}},
		"a map's":  {func(a *asked) { a.Weights = &reward.Weights{Maps: map[string]float64{"artifact": 1}} }, []bool{false, false}},
	} {
		a := numbered()
		c.change(&a)
		for i, digest := range inputs(t, a) {
			if (digest == base[i]) != c.same[i] {
				t.Errorf("another %s: sample %d is the same: %v", name, i, !c.same[i])
			}
		}
	}
}

func TestAStepIsKnownByTheImageBeforeIt(t *testing.T) {
	steps := func(change bool) [][32]byte {
		a := numbered()
		a.Advantage = &reward.Advantage{Method: reward.AdvantageDenseGRPO, Steps: 1}
		if change {
			a.Images[0].Decoded = rewardtest.Image(9, 32, 16)
		}
		return inputs(t, a)
	}
	if before, after := steps(false), steps(true); before[1] == after[1] || before[1] == inputs(t, numbered())[1] {
		t.Error("a gain from another image looks the same")
	}
}

// blank decodes latents to white images.
type blank struct{ fingerprint string }

func (b blank) Layout(shape []int, _, _ int) (reward.LatentLayout, error) {
	return reward.LatentLayout{GridHeight: 2, GridWidth: 2, ImageHeight: 16, ImageWidth: 16, Together: 1}, nil
}

func (b blank) Decode(_ context.Context, latents *reward.Tensor, _, _ int) ([]*reward.Image, []*reward.Error, error) {
	return []*reward.Image{rewardtest.Image(1, 16, 16)}, nil, nil
}

func (b blank) Describe() reward.DecoderDescription {
	return reward.DecoderDescription{Name: "blank", Fingerprint: b.fingerprint}
}

func TestLatentsAreKnownByTheirValuesAndDecoder(t *testing.T) {
	ask := func(value float32, decoder blank) [][32]byte {
		a := numbered()
		a.Images = nil
		values := make([]float32, 2*4*2*2)
		values[16] = value // of the second sample
		a.Latents = &scoring.Latents{Tensor: reward.Float32Tensor(values, 2, 4, 2, 2), Decoder: decoder}
		return inputs(t, a)
	}
	base, other := ask(0, blank{}), ask(1, blank{})
	if base[0] != other[0] || base[1] == other[1] {
		t.Error("latents are told apart wrongly")
	}
	if base[0] == ask(0, blank{"another"})[0] {
		t.Error("what another decoder makes of them looks the same")
	}
}

// A sample's share is its first try's. What failed when it came again has none.
func TestASampleThatFailedHasNoAdvantageWhateverItsPlaceHas(t *testing.T) {
	a := numbered()
	a.Images[1] = scoring.Image{Encoded: []byte("junk")}
	scored, err := newPipeline(t, &rewardtest.Fake{Side: 8}, nil).Score(t.Context(), a.Input, a.Options, &gate{})
	if err != nil {
		t.Fatal(err)
	}
	if values, err := scored.Advantages.Float64s(); err != nil || values[0] != 7 || !math.IsNaN(values[1]) {
		t.Errorf("got %v, %v", values, err)
	}
}
