package rewardtest

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"sync/atomic"
	"time"

	"github.com/denseflow/densereward/reward"
)

// Fake is an Evaluator whose answers follow from the pixels and the prompt of
// each sample alone, so that a test can tell whose result it was given. The
// zero value answers at once with maps of 64x64.
type Fake struct {
	// Name and Fingerprint describe the fake; "fake" and "fake" when empty.
	Name, Fingerprint string
	// Side is that of the default maps, 64 when 0.
	Side int
	// Scores and Maps are what the fake claims to give; the default is four
	// scores and two maps. A map needs a size.
	Scores []reward.ScoreSpec
	Maps   []reward.MapSpec
	// Delay is how long a batch takes. It ends early when ctx does.
	Delay time.Duration
	// Before is called with each batch ahead of its evaluation: a test can
	// count, wait, or panic in it. Its error fails the batch.
	Before func(ctx context.Context, samples []reward.Sample) error
	// Fail gives the error of one sample, nil where it is scored.
	Fail func(reward.Sample) error

	batches atomic.Int64
	samples atomic.Int64
}

var (
	_ reward.Evaluator = (*Fake)(nil)
	_ reward.Preparer  = (*Fake)(nil)
)

// Batches is the number of times that Evaluate was called.
func (f *Fake) Batches() int64 { return f.batches.Load() }

// Samples is the number of samples that Evaluate was given.
func (f *Fake) Samples() int64 { return f.samples.Load() }

// Describe describes the fake, a demonstration in both modes.
func (f *Fake) Describe() reward.Description {
	d := reward.Description{
		Name: f.Name, Kind: "fake", Fingerprint: f.Fingerprint,
		Modes:  []reward.Mode{reward.ModeAnswer, reward.ModeThink},
		Scores: f.Scores, Maps: f.Maps,
		Text: true, Boxes: true,
		Demonstration: true,
		Note:          "answers follow from the pixels and mean nothing",
	}
	if d.Scores == nil {
		d.Scores = defaultScores()
	}
	if d.Maps == nil {
		d.Maps = defaultMaps(f.side())
	}
	if d.Name == "" {
		d.Name = "fake"
	}
	if d.Fingerprint == "" {
		d.Fingerprint = "fake"
	}
	return d
}

func defaultScores() []reward.ScoreSpec {
	return []reward.ScoreSpec{
		{Name: "semantic_alignment", Max: 1, Weight: 0.8},
		{Name: "aesthetics", Max: 1, Weight: 0.1},
		{Name: "plausibility", Max: 1, Weight: 0.1},
		{Name: "overall", Max: 1},
	}
}

func defaultMaps(side int) []reward.MapSpec {
	return []reward.MapSpec{
		{Name: "misalignment", Height: side, Width: side, Weight: 0.5},
		{Name: "artifact", Height: side, Width: side, Weight: 0.5},
	}
}

func (f *Fake) side() int {
	if f.Side == 0 {
		return 64
	}
	return f.Side
}

// prepared is what Prepare leaves: the identity of the sample's image.
type prepared uint64

// Prepare computes the identity of the sample's image ahead of its batch.
func (f *Fake) Prepare(ctx context.Context, s *reward.Sample) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := check(*s); err != nil {
		return err
	}
	s.Prepared = prepared(Identity(s.Image))
	return nil
}

// Evaluate gives each sample its Answer.
func (f *Fake) Evaluate(ctx context.Context, samples []reward.Sample) ([]reward.Result, error) {
	about := f.Describe()
	return f.run(ctx, samples, func(identity uint64, s reward.Sample) reward.Result {
		if !s.Mode.Valid() {
			return reward.Result{Err: fmt.Errorf("rewardtest: mode %q", s.Mode)}
		}
		return answer(identity, s, &about)
	})
}

// run gives each sample that can be answered what result makes of it.
func (f *Fake) run(ctx context.Context, samples []reward.Sample, result func(identity uint64, s reward.Sample) reward.Result) ([]reward.Result, error) {
	f.batches.Add(1)
	f.samples.Add(int64(len(samples)))
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if f.Before != nil {
		if err := f.Before(ctx, samples); err != nil {
			return nil, err
		}
	}
	if f.Delay > 0 {
		timer := time.NewTimer(f.Delay)
		defer timer.Stop()
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-timer.C:
		}
	}
	results := make([]reward.Result, len(samples))
	for i, s := range samples {
		if err := check(s); err != nil {
			results[i] = reward.Result{Err: err}
			continue
		}
		if f.Fail != nil {
			if err := f.Fail(s); err != nil {
				results[i] = reward.Result{Err: err}
				continue
			}
		}
		identity, ok := s.Prepared.(prepared)
		if !ok {
			identity = prepared(Identity(s.Image))
		}
		results[i] = result(uint64(identity), s)
	}
	return results, nil
}

// check fails for a sample that no evaluator can score.
func check(s reward.Sample) error {
	switch image := s.Image; {
	case image == nil:
		return errors.New("rewardtest: no image")
	case image.Width < 1 || image.Height < 1 || len(image.Pix) != image.Width*image.Height*3:
		return fmt.Errorf("rewardtest: an image of %dx%d has %d bytes", image.Width, image.Height, len(image.Pix))
	case !s.Mode.Valid() && s.Mode != reward.ModeGenerate:
		return fmt.Errorf("rewardtest: mode %q", s.Mode)
	}
	return nil
}

// Identity is a number that an image's size and a sample of its bytes give.
// Images made by Image have different identities.
func Identity(image *reward.Image) uint64 {
	h := fnv.New64a()
	var head [16]byte
	for i := range 8 {
		head[i] = byte(image.Width >> (8 * i))
		head[8+i] = byte(image.Height >> (8 * i))
	}
	_, _ = h.Write(head[:])
	pix := image.Pix
	_, _ = h.Write(pix[:min(len(pix), 256)])
	for i := 256; i < len(pix); i += 1021 {
		_, _ = h.Write(pix[i : i+1])
	}
	return h.Sum64()
}

// Image is a noisy image that carries a seed: different seeds give
// different identities, also after a lossless file format.
func Image(seed uint64, width, height int) *reward.Image {
	image := &reward.Image{Width: width, Height: height, Pix: make([]uint8, width*height*3)}
	state := seed*0x9e3779b97f4a7c15 + 1
	for i := range image.Pix {
		state ^= state << 13
		state ^= state >> 7
		state ^= state << 17
		image.Pix[i] = uint8(state >> 32)
	}
	return image
}

// Answer is the result that a Fake with the default scores and maps of
// side x side gives a sample.
func Answer(s reward.Sample, side int) reward.Result {
	about := (&Fake{Side: side}).Describe()
	return answer(Identity(s.Image), s, &about)
}

func answer(identity uint64, s reward.Sample, about *reward.Description) reward.Result {
	h := fnv.New64a()
	_, _ = h.Write([]byte(s.Prompt))
	seed := identity ^ h.Sum64()
	unit := func(i int) float64 {
		x := (seed + uint64(i)) * 0xbf58476d1ce4e5b9
		x ^= x >> 31
		return float64(x*0x94d049bb133111eb>>40) / (1 << 24)
	}
	var r reward.Result
	for i, spec := range about.Scores {
		r.Scores = append(r.Scores, spec.Min+(spec.Max-spec.Min)*unit(i))
	}
	for i, spec := range about.Maps {
		r.Maps = append(r.Maps, ramp(spec.Height, spec.Width, float32(unit(10+2*i)), float32(unit(11+2*i))))
	}
	r.Text = "fake: " + s.Prompt
	if s.Mode == reward.ModeThink {
		r.Boxes = []reward.Box{
			{Coords: [4]float64{100 * unit(20), 100 * unit(21), 500 + 100*unit(22), 500 + 100*unit(23)}, Label: "artifact", Importance: 100 * unit(24)},
			{Coords: [4]float64{400, 400, 900, 900}, Label: "misalignment", Importance: 100},
		}
	}
	return r
}

// ramp is a map that goes from one value to another, left to right.
func ramp(height, width int, from, to float32) reward.Map {
	m := reward.Map{Height: height, Width: width, Data: make([]float32, height*width)}
	for x := range width {
		m.Data[x] = from + (to-from)*float32(x)/float32(max(width-1, 1))
	}
	for y := 1; y < height; y++ {
		copy(m.Data[y*width:(y+1)*width], m.Data[:width])
	}
	return m
}
