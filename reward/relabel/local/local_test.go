package local_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/denseflow/densereward/engine/image"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/relabel"
	"github.com/denseflow/densereward/reward/relabel/local"
	"github.com/denseflow/densereward/reward/rewardtest"
)

func record(seed uint64, width, height int) *relabel.Record {
	file := rewardtest.PNG(rewardtest.Image(seed, width, height))
	return &relabel.Record{
		Name: fmt.Sprint(seed), Prompt: fmt.Sprintf("prompt %d", seed),
		Load: func() ([]byte, error) { return file, nil },
	}
}

func options(fakes ...*rewardtest.Fake) local.Options {
	o := local.Options{Files: new(image.Decoder)}
	for _, f := range fakes {
		o.Evaluators = append(o.Evaluators, f)
	}
	about := fakes[0].Describe()
	o.Labels = local.LabelsOf(&about, []string{relabel.ColumnDense, "heatmaps"})
	o.Labels.MapType = relabel.Float16
	return o
}

func mustNew(t *testing.T, o local.Options) *local.Evaluator {
	t.Helper()
	e, err := local.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestLabelsAreWhatTheEvaluatorSays(t *testing.T) {
	fake := &rewardtest.Fake{}
	chunk := []*relabel.Record{record(1, 64, 64), record(2, 128, 64), record(3, 64, 64)}
	labels, err := mustNew(t, options(fake)).Evaluate(context.Background(), chunk)
	if err != nil {
		t.Fatal(err)
	}
	if fake.Batches() != 1 {
		t.Errorf("%d batches, want the chunk to be one", fake.Batches())
	}
	about := fake.Describe()
	weights, err := about.Weighting(nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, label := range labels {
		size := []int{64, 128, 64}[i]
		want := rewardtest.Answer(reward.Sample{Image: rewardtest.Image(uint64(i+1), size, 64), Prompt: chunk[i].Prompt, Mode: about.DefaultMode()}, 64)
		if label.Failed() || label.Reward != weights.Reward(want.Scores) || label.Text != want.Text || len(label.Boxes) != len(want.Boxes) {
			t.Errorf("record %d: %+v, want %+v", i, label, want)
		}
		for k, m := range want.Maps {
			if stored := relabel.NewMap(m, relabel.Float16); string(stored.Data) != string(label.Maps[k+1].Data) {
				t.Errorf("record %d: map %d differs", i, k)
			}
		}
		if dense := label.Maps[0]; dense.Height != 8 || dense.Width != size/8 {
			t.Errorf("record %d: a dense map of %dx%d for an image of 64x%d", i, dense.Height, dense.Width, size)
		}
	}
}

func TestABadRecordFailsAlone(t *testing.T) {
	broken := record(1, 64, 64)
	broken.Load = func() ([]byte, error) { return []byte("no image"), nil }
	gone := record(2, 64, 64)
	gone.Load = func() ([]byte, error) { return nil, errors.New("gone") }
	latents := record(3, 64, 64)
	latents.Load = func() ([]byte, error) { return []byte("\x93NUMPY..."), nil }
	unnamed := &relabel.Record{Name: "x", Err: reward.ErrMissingField.With("no prompt")}
	fake := &rewardtest.Fake{Fail: func(s reward.Sample) error {
		if s.Prompt == "prompt 5" {
			return reward.ErrEvaluatorFailed.With("not this one")
		}
		return nil
	}}
	labels, err := mustNew(t, options(fake)).Evaluate(context.Background(),
		[]*relabel.Record{broken, gone, latents, unnamed, record(4, 64, 64), record(5, 64, 64)})
	if err != nil {
		t.Fatal(err)
	}
	var codes []string
	for _, l := range labels {
		codes = append(codes, l.ErrorCode)
	}
	if got, want := strings.Join(codes, " "), "image_unsupported internal image_unsupported missing_field  evaluator_failed"; got != want {
		t.Errorf("error codes %q, want %q", got, want)
	}
}

func TestABatchThatFailsIsHalved(t *testing.T) {
	for name, failure := range map[string]func(samples []reward.Sample) error{
		"out of memory": func(samples []reward.Sample) error {
			if len(samples) > 3 {
				return reward.ErrOutOfMemory
			}
			return nil
		},
		"an error": func(samples []reward.Sample) error {
			if len(samples) > 1 {
				return errors.New("too many")
			}
			return nil
		},
		"a panic": func(samples []reward.Sample) error {
			if len(samples) > 2 {
				panic("too many")
			}
			return nil
		},
	} {
		fake := &rewardtest.Fake{Before: func(_ context.Context, samples []reward.Sample) error { return failure(samples) }}
		var chunk []*relabel.Record
		for i := range 10 {
			chunk = append(chunk, record(uint64(i), 32, 32))
		}
		labels, err := mustNew(t, options(fake)).Evaluate(context.Background(), chunk)
		if err != nil {
			t.Fatal(err)
		}
		for i, l := range labels {
			if l.Failed() {
				t.Errorf("%s: record %d failed: %+v", name, i, l)
			}
		}
	}
}

func TestAnEvaluatorThatAlwaysFailsIsLost(t *testing.T) {
	gone := errors.New("the device is gone")
	failing := atomic.Bool{}
	failing.Store(true)
	fake := &rewardtest.Fake{Before: func(context.Context, []reward.Sample) error {
		if failing.Load() {
			return gone
		}
		return nil
	}}
	e := mustNew(t, options(fake))
	chunk := []*relabel.Record{record(1, 32, 32), record(2, 32, 32)}
	for range 2 {
		labels, err := e.Evaluate(context.Background(), chunk)
		if err != nil || labels[0].ErrorCode != "evaluator_failed" {
			t.Fatalf("%+v, %v", labels, err)
		}
	}
	failing.Store(false)
	if _, err := e.Evaluate(context.Background(), chunk); err != nil {
		t.Fatal(err)
	}
	failing.Store(true)
	var err error
	for range 3 {
		if err != nil {
			t.Fatalf("lost too early: %v", err)
		}
		_, err = e.Evaluate(context.Background(), chunk)
	}
	if !errors.Is(err, gone) {
		t.Errorf("error %v", err)
	}
}

func TestACancelledEvaluationIsNoFailure(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	fake := &rewardtest.Fake{Before: func(ctx context.Context, _ []reward.Sample) error { cancel(); return ctx.Err() }}
	if _, err := mustNew(t, options(fake)).Evaluate(ctx, []*relabel.Record{record(1, 32, 32)}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestMapsThatTheEvaluatorLacksAreRefused(t *testing.T) {
	o := options(&rewardtest.Fake{})
	o.Labels.Maps = []string{"depth"}
	if _, err := local.New(o); err == nil || !strings.Contains(err.Error(), `"depth"`) {
		t.Errorf("error %v", err)
	}
}

func TestNoLabelIsNaN(t *testing.T) {
	fake := &rewardtest.Fake{}
	o := options(fake)
	o.Weights = &reward.Weights{Scores: map[string]float64{fake.Describe().Scores[0].Name: math.Inf(1)}}
	labels, err := mustNew(t, o).Evaluate(context.Background(), []*relabel.Record{record(1, 32, 32)})
	if err != nil || !labels[0].Failed() {
		t.Errorf("%+v, %v", labels, err)
	}
}

func TestMetadataReachTheEvaluator(t *testing.T) {
	fake := &rewardtest.Fake{Fail: func(s reward.Sample) error {
		if s.Metadata["text"] != "said of "+s.Prompt {
			return fmt.Errorf("metadata %v", s.Metadata)
		}
		return nil
	}}
	one, other := record(1, 32, 32), record(2, 64, 32)
	one.Keep("text", "said of prompt 1")
	labels, err := mustNew(t, options(fake)).Evaluate(context.Background(), []*relabel.Record{one, other})
	if err != nil || labels[0].Failed() || !labels[1].Failed() {
		t.Errorf("%+v, %v", labels, err)
	}
}
