package batch_test

import (
	"context"
	"encoding/binary"
	"sync"
	"testing"
	"time"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/batch"
)

// image makes an image that carries id in its pixels.
func image(id int) *reward.Image {
	pix := make([]uint8, 6)
	binary.LittleEndian.PutUint32(pix, uint32(id))
	return &reward.Image{Width: 2, Height: 1, Pix: pix}
}

// identity reads what image wrote.
func identity(im *reward.Image) int { return int(binary.LittleEndian.Uint32(im.Pix)) }

// resultOf is the result the fakes give the image with that id.
func resultOf(id int) reward.Result {
	return reward.Result{
		Scores: []float64{float64(id)},
		Maps:   []reward.Map{{Height: 1, Width: 1, Data: []float32{float32(id)}}},
	}
}

// resultsOf gives each sample the identity in its image as a score.
func resultsOf(samples []reward.Sample) []reward.Result {
	results := make([]reward.Result, len(samples))
	for i, s := range samples {
		results[i] = resultOf(identity(s.Image))
	}
	return results
}

// fake is an Evaluator that takes a set time for each batch and remembers them.
type fake struct {
	name     string
	takes    time.Duration
	evaluate func(ctx context.Context, samples []reward.Sample) ([]reward.Result, error) // nil scores

	mu      sync.Mutex
	batches [][]int // identities, a row a batch
}

var _ reward.Evaluator = (*fake)(nil)

func (f *fake) Describe() reward.Description {
	return reward.Description{Name: "fake", Fingerprint: "f" + f.name}
}

func (f *fake) Evaluate(ctx context.Context, samples []reward.Sample) ([]reward.Result, error) {
	ids := make([]int, len(samples))
	for i, s := range samples {
		ids[i] = identity(s.Image)
	}
	f.mu.Lock()
	f.batches = append(f.batches, ids)
	f.mu.Unlock()
	if f.takes > 0 {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(f.takes):
		}
	}
	if f.evaluate != nil {
		return f.evaluate(ctx, samples)
	}
	return resultsOf(samples), nil
}

// seen is a copy of the batches so far.
func (f *fake) seen() [][]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([][]int(nil), f.batches...)
}

// tally is an Observer that counts.
type tally struct {
	mu     sync.Mutex
	events [batch.NumEvents]int
	stages [batch.NumStages]int
	sizes  []int
}

var _ batch.Observer = (*tally)(nil)

func (o *tally) Stage(s batch.Stage, _ time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.stages[s]++
}

func (o *tally) Batch(n int, _ time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sizes = append(o.sizes, n)
}

func (o *tally) Count(e batch.Event, n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.events[e] += n
}

func (o *tally) count(e batch.Event) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.events[e]
}

// wantCounts compares the tally with events and the numbers they should have.
func wantCounts(t *testing.T, o *tally, want map[batch.Event]int) {
	t.Helper()
	for e, n := range want {
		if got := o.count(e); got != n {
			t.Errorf("%v was counted %d times, want %d", e, got, n)
		}
	}
}

// plain is a Config without a cache and without delay, whose numbers are easy
// to reason about.
func plain() batch.Config {
	cfg := batch.DefaultConfig()
	cfg.MaxBatch = 4
	cfg.MaxDelay = 0
	cfg.Workers = 4
	cfg.CacheBytes = 0
	return cfg
}

// start makes a Scheduler that is shut down when the test ends.
func start(t testing.TB, cfg batch.Config, evaluators ...reward.Evaluator) *batch.Scheduler {
	t.Helper()
	s, err := batch.New(cfg, evaluators...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// jobs makes one decoded job for each id.
func jobs(ids ...int) []batch.Job {
	js := make([]batch.Job, len(ids))
	for i, id := range ids {
		js[i] = batch.Job{Sample: reward.Sample{Image: image(id), Prompt: "p", Mode: reward.ModeAnswer}, Bytes: 6}
	}
	return js
}

// sequence is first, first+1, ... of length n.
func sequence(first, n int) []int {
	ids := make([]int, n)
	for i := range ids {
		ids[i] = first + i
	}
	return ids
}

// slow makes the job's decoding take d.
func slow(j batch.Job, d time.Duration) batch.Job {
	im := j.Sample.Image
	j.Sample.Image = nil
	j.Load = func(ctx context.Context) (*reward.Image, error) {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(d):
			return im, nil
		}
	}
	return j
}

// answer is what a call of Score returned, and when.
type answer struct {
	outcomes []batch.Outcome
	err      error
	took     time.Duration
}

// score calls Score in the background.
func score(ctx context.Context, s *batch.Scheduler, js []batch.Job) <-chan answer {
	done := make(chan answer, 1)
	began := time.Now()
	go func() {
		outcomes, err := s.Score(ctx, js)
		done <- answer{outcomes, err, time.Since(began)}
	}()
	return done
}

// wantIdentities checks that every outcome belongs to the job in its place.
func wantIdentities(t *testing.T, a answer, ids ...int) {
	t.Helper()
	if a.err != nil {
		t.Fatalf("Score: %v", a.err)
	}
	if len(a.outcomes) != len(ids) {
		t.Fatalf("%d outcomes, want %d", len(a.outcomes), len(ids))
	}
	for i, o := range a.outcomes {
		if o.Err != nil {
			t.Errorf("outcome %d: %v", i, o.Err)
			continue
		}
		if got := int(o.Scores[0]); got != ids[i] || o.Maps[0].Data[0] != float32(ids[i]) {
			t.Errorf("outcome %d is of image %d, want %d", i, got, ids[i])
		}
	}
}

// shutdown drains s, which must succeed, and checks that nothing is held.
func shutdown(t *testing.T, s *batch.Scheduler) {
	t.Helper()
	if err := s.Shutdown(context.Background()); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	wantNothingHeld(t, s)
}

func wantNothingHeld(t *testing.T, s *batch.Scheduler) {
	t.Helper()
	st := s.Stats()
	if st.Samples != 0 || st.Bytes != 0 || st.Waiting != 0 || st.Preparing != 0 || st.Ready != 0 || st.Busy != 0 {
		t.Errorf("still holds %+v", st)
	}
}
