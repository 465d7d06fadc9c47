package scoring_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/denseflow/densereward/dense"
	"github.com/denseflow/densereward/engine/image"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/batch"
	"github.com/denseflow/densereward/reward/rewardtest"
	"github.com/denseflow/densereward/reward/scoring"
)

// newPipeline is a pipeline of a fake behind a scheduler.
func newPipeline(t *testing.T, fake *rewardtest.Fake, change func(*batch.Config)) *scoring.Pipeline {
	t.Helper()
	cfg := batch.DefaultConfig()
	cfg.MaxDelay = 0
	if change != nil {
		change(&cfg)
	}
	s, err := batch.New(cfg, fake)
	if err != nil {
		t.Fatal(err)
	}
	return &scoring.Pipeline{Evaluator: fake.Describe(), Scorer: s, Files: image.NewDecoder(image.Limits{})}
}

// images are n images in turn in each form.
func images(n int) scoring.Input {
	in := scoring.Input{}
	for i := range n {
		img := rewardtest.Image(uint64(i), 32, 16)
		in.Prompts = append(in.Prompts, "a cat")
		in.Images = append(in.Images, []scoring.Image{
			{Decoded: img}, {Encoded: rewardtest.PNG(img)}, {Tensor: rewardtest.Tensor(img)},
		}[i%3])
	}
	return in
}

func TestEveryFormIsScoredWithItsMaps(t *testing.T) {
	p := newPipeline(t, &rewardtest.Fake{Side: 8}, nil)
	o := scoring.Options{Parts: scoring.Parts{Dense: true}, Advantage: &reward.Advantage{Method: reward.AdvantageFlowGRPO}}
	scored, err := p.Score(t.Context(), images(3), o, nil)
	if err != nil {
		t.Fatal(err)
	}
	grid, _ := scored.Grids.One()
	if grid != (dense.Grid{Height: 2, Width: 4}) || len(scored.Weight) != 3*8 || scored.Advantages.Shape[0] != 3 {
		t.Errorf("grid %v, %d weights, advantages %v", grid, len(scored.Weight), scored.Advantages)
	}
	for i := range 3 {
		want := rewardtest.Answer(reward.Sample{Image: rewardtest.Image(uint64(i), 32, 16), Prompt: "a cat"}, 8)
		if scored.Errors[i] != nil || !slices.Equal(scored.Outcomes[i].Scores, want.Scores) {
			t.Errorf("sample %d: %v (%v), want %v", i, scored.Outcomes[i].Scores, scored.Errors[i], want.Scores)
		}
		pooled := [2][]float32{make([]float32, 8), make([]float32, 8)}
		for k, m := range want.Maps {
			dense.AdaptiveAvgPool(pooled[k], grid, m.Data, dense.Grid{Height: 8, Width: 8})
		}
		for c := range 8 {
			h := (float64(pooled[0][c]) + float64(pooled[1][c])) / 2
			if got := float64(scored.Weight[8*i+c]); math.Abs(got-(1-h)) > 1e-7 {
				t.Fatalf("sample %d, cell %d: weight %v, want %v", i, c, got, 1-h)
			}
		}
	}
}

func TestSamplesThatFailLeaveTheirNeighboursAlone(t *testing.T) {
	p := newPipeline(t, &rewardtest.Fake{}, nil)
	in := images(4)
	in.Images[1] = scoring.Image{Encoded: []byte("GIF89a")}
	in.Images[2] = scoring.Image{Decoded: &reward.Image{Width: 9, Height: 9, Pix: make([]uint8, 3)}}
	scored, err := p.Score(t.Context(), in, scoring.Options{Grid: reward.GridSpec{Height: 2, Width: 2}, Parts: scoring.Parts{Dense: true}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !errors.Is(scored.Errors[1], reward.ErrImageUnsupported) || !errors.Is(scored.Errors[2], reward.ErrInvalidValue) {
		t.Errorf("errors are %v", scored.Errors)
	}
	for i := range 4 {
		failed := i == 1 || i == 2
		if math.IsNaN(scored.Rewards[i]) != failed || math.IsNaN(float64(scored.Weight[4*i])) != failed || (scored.Errors[i] != nil) != failed {
			t.Errorf("sample %d: reward %v, weight %v, %v", i, scored.Rewards[i], scored.Weight[4*i], scored.Errors[i])
		}
	}
}

func TestWhatTheEvaluatorLacksIsLeftOutOrRefused(t *testing.T) {
	fake := &rewardtest.Fake{Maps: []reward.MapSpec{}}
	p := newPipeline(t, fake, nil)
	p.Evaluator.Text, p.Evaluator.Boxes = false, false
	for name, o := range map[string]scoring.Options{
		"dense maps":        {Parts: scoring.Parts{Dense: true}},
		"heatmaps":          {Parts: scoring.Parts{Heatmaps: true}},
		"text":              {Parts: scoring.Parts{Text: true}},
		"boxes":             {Parts: scoring.Parts{Boxes: true}},
		"a dense method":    {Advantage: &reward.Advantage{Method: reward.AdvantageDenseFlow}, Parts: scoring.Parts{Optional: true}},
		"a method of boxes": {Advantage: &reward.Advantage{Method: reward.AdvantageBoxFlow}, Parts: scoring.Parts{Optional: true}},
	} {
		if _, err := p.Score(t.Context(), images(1), o, nil); !errors.Is(err, reward.ErrInvalidValue) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	o := scoring.Options{Parts: scoring.Parts{Dense: true, Heatmaps: true, Text: true, Boxes: true, Optional: true}}
	scored, err := p.Score(t.Context(), images(1), o, nil)
	if err != nil || scored.Weight != nil || scored.Grids.Cells() != 0 {
		t.Errorf("optional parts: got %v, %v", scored, err)
	}
}

func TestInputsThatDisagreeAreRefused(t *testing.T) {
	p := newPipeline(t, &rewardtest.Fake{}, nil)
	for name, spoil := range map[string]func(*scoring.Input){
		"no samples":          func(in *scoring.Input) { *in = scoring.Input{} },
		"an image too few":    func(in *scoring.Input) { in.Images = in.Images[:1] },
		"metadata too few":    func(in *scoring.Input) { in.Metadata = make([]map[string]any, 1) },
		"a group name short":  func(in *scoring.Input) { in.Groups.Names = []string{"g"} },
		"a member too many":   func(in *scoring.Input) { in.Groups.Members = []int{0, 1, 2} },
		"latents of no shape": func(in *scoring.Input) { in.Images, in.Latents = nil, &scoring.Latents{Tensor: &reward.Tensor{}} },
	} {
		in := images(2)
		spoil(&in)
		var e *reward.Error
		if _, err := p.Score(t.Context(), in, scoring.Options{}, nil); !errors.As(err, &e) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	across := images(2)
	across.Groups = reward.Groups{Step: "1", Size: 2}
	o := scoring.Options{Advantage: &reward.Advantage{Method: reward.AdvantageFlowGRPO}}
	if _, err := p.Score(t.Context(), across, o, nil); !errors.Is(err, reward.ErrInvalidValue) {
		t.Errorf("groups across calls without a barrier: got %v", err)
	}
}

func TestPatientCallersWaitForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipeline(t, &rewardtest.Fake{Delay: time.Minute}, func(c *batch.Config) { c.QueueSamples, c.CacheBytes = 2, 0 })
		var first sync.WaitGroup
		first.Go(func() {
			if _, err := p.Score(t.Context(), images(2), scoring.Options{}, nil); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		if _, err := p.Score(t.Context(), images(1), scoring.Options{}, nil); !errors.Is(err, reward.ErrOverloaded) {
			t.Errorf("an impatient caller: got %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		if _, err := p.Score(ctx, images(1), scoring.Options{Patient: true}, nil); !errors.Is(err, reward.ErrOverloaded) {
			t.Errorf("a patient caller with no time: got %v", err)
		}
		if _, err := p.Score(t.Context(), images(1), scoring.Options{Patient: true}, nil); err != nil {
			t.Errorf("a patient caller: got %v", err)
		}
		first.Wait()
	})
}

func TestWhatIsHeldIsLetGoOfOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipeline(t, &rewardtest.Fake{}, nil)
		in := images(6)
		in.Images[4] = scoring.Image{Encoded: []byte("\x89PNG\r\n\x1a\nnot really")}
		var mu sync.Mutex
		held, most := 0, 0
		in.Hold = func() func() {
			mu.Lock()
			defer mu.Unlock()
			held++
			most = max(most, held)
			return func() { mu.Lock(); defer mu.Unlock(); held-- }
		}
		if _, err := p.Score(t.Context(), in, scoring.Options{}, nil); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // the answer comes before the last is let go of
		mu.Lock()
		defer mu.Unlock()
		if held != 0 || most == 0 {
			t.Errorf("%d are held, %d were", held, most)
		}
	})
}

func TestImagesAreShownBeforeTheyAreEvaluatedAndKept(t *testing.T) {
	p := newPipeline(t, &rewardtest.Fake{}, nil)
	in := images(3)
	var mu sync.Mutex
	seen := map[int]*reward.Image{}
	o := scoring.Options{OnImage: func(i int, img *reward.Image) error {
		mu.Lock()
		defer mu.Unlock()
		seen[i] = img
		if i == 2 {
			return reward.ErrImageTooLarge
		}
		return nil
	}}
	scored, err := p.Score(t.Context(), in, o, nil)
	if err != nil || !errors.Is(scored.Errors[2], reward.ErrImageTooLarge) {
		t.Fatalf("%v, %v", scored.Errors, err)
	}
	for range 4 { // others decode meanwhile, in memory of their own
		if _, err := p.Score(t.Context(), images(3), scoring.Options{}, nil); err != nil {
			t.Fatal(err)
		}
	}
	for i, img := range seen {
		if !slices.Equal(img.Pix, rewardtest.Image(uint64(i), 32, 16).Pix) {
			t.Errorf("image %d changed", i)
		}
	}
}

func TestTheEvaluatorReadsTheMetadata(t *testing.T) {
	var got []any
	fake := &rewardtest.Fake{Before: func(_ context.Context, samples []reward.Sample) error {
		for _, s := range samples {
			got = append(got, s.Metadata["text"])
		}
		return nil
	}}
	in := images(2)
	in.Metadata = []map[string]any{{"text": "OPEN"}, nil}
	p := newPipeline(t, fake, func(c *batch.Config) { c.MaxBatch = 1 })
	if _, err := p.Score(t.Context(), in, scoring.Options{}, nil); err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || !slices.Contains(got, any("OPEN")) {
		t.Errorf("the evaluator saw %v", got)
	}
}

func TestMapsOfManySizesAreOneTensorOnlyWhereTheyFit(t *testing.T) {
	p := newPipeline(t, &rewardtest.Fake{}, nil)
	scored, err := p.Score(t.Context(), images(2), scoring.Options{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	scored.Evaluator.Maps = []reward.MapSpec{{Name: "any"}, {Name: "none"}}
	for i := range scored.Outcomes {
		scored.Outcomes[i].Maps = []reward.Map{{Height: 1, Width: 2, Data: []float32{0, 1}}, {}}
	}
	if m, each := scored.Heatmaps(0); each != nil || !slices.Equal(m.Shape, []int{2, 1, 2}) {
		t.Errorf("maps of one size: %v, %v", m, each)
	}
	if m, each := scored.Heatmaps(1); each != nil || !slices.Equal(m.Shape, []int{2, 1, 1}) {
		t.Errorf("missing maps: %v, %v", m, each)
	}
	scored.Outcomes[1].Maps[0] = reward.Map{Height: 1, Width: 1, Data: []float32{0}}
	m, each := scored.Heatmaps(0)
	if m != nil || len(each) != 2 || !slices.Equal(each[0].Shape, []int{1, 2}) || !slices.Equal(each[1].Shape, []int{1, 1}) {
		t.Errorf("maps of two sizes: %v, %v", m, each)
	}
}
