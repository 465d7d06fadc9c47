package rewardtest

import (
	"context"
	"errors"
	"math"
	"reflect"
	"slices"
	"sync"
	"testing"

	"github.com/denseflow/densereward/reward"
)

// mapTolerance admits what a batch's size and padding do to float32 sums
// of a model: the same sample in another batch.
const mapTolerance = 1e-3

// scoreTolerance is the same for scores that a model computes rather than writes.
const scoreTolerance = 1e-5

// Run tests that what newEvaluator makes is an Evaluator, and a Preparer and a
// Generator if it claims to be. It makes one and uses it throughout; if it is an io.Closer the
// caller closes it.
func Run(t *testing.T, newEvaluator func() reward.Evaluator) {
	s := &suite{evaluator: newEvaluator()}
	s.about = s.evaluator.Describe()
	t.Run("it describes itself", s.testDescription)
	t.Run("it gives scores and maps in their ranges and sizes", s.testRanges)
	t.Run("it gives the same answer twice", s.testDeterminism)
	t.Run("it keeps the order of its samples", s.testOrder)
	t.Run("it answers every mode of its description", s.testModes)
	t.Run("it gives no results for no samples", s.testNoSamples)
	t.Run("one bad sample costs its neighbours nothing", s.testBadSamples)
	t.Run("it leaves its samples alone and its results to the caller", s.testOwnership)
	t.Run("it returns when its context is done", s.testCancel)
	t.Run("it serves many callers at a time", s.testConcurrency)
	t.Run("it gives prepared samples the answer of unprepared ones", s.testPrepare)
	t.Run("it continues prompts if it says so", s.runGenerator)
}

type suite struct {
	evaluator reward.Evaluator
	about     reward.Description
	first     []reward.Result // see firstAnswers
}

// samples are of different sizes, prompts and images.
func (s *suite) samples() []reward.Sample {
	mode := s.about.Modes[0]
	samples := []reward.Sample{
		{Image: Image(1, 64, 64), Prompt: "a red circle", Mode: mode},
		{Image: Image(2, 96, 64), Prompt: "three blue squares to the left of a green triangle, in the rain", Mode: mode},
		{Image: Image(3, 33, 71), Prompt: "", Mode: mode},
		{Image: Image(4, 64, 64), Prompt: "a red circle", Mode: mode},
	}
	for i := range samples { // for evaluators that must be told what to look for
		samples[i].Metadata = map[string]any{"text": "stop"}
	}
	return samples
}

func (s *suite) evaluate(t *testing.T, samples []reward.Sample) []reward.Result {
	t.Helper()
	results, err := s.evaluator.Evaluate(t.Context(), samples)
	if err != nil {
		t.Fatalf("Evaluate: %v", err)
	}
	if len(results) != len(samples) {
		t.Fatalf("%d results for %d samples", len(results), len(samples))
	}
	for i, r := range results {
		if r.Err != nil {
			t.Fatalf("sample %d: %v", i, r.Err)
		}
	}
	return results
}

// firstAnswers are the results of the first evaluation of samples, which later ones are
// compared with.
func (s *suite) firstAnswers(t *testing.T) []reward.Result {
	t.Helper()
	if s.first == nil {
		for _, r := range s.evaluate(t, s.samples()) {
			s.first = append(s.first, copied(r))
		}
	}
	return s.first
}

// copied is a result that shares nothing with r.
func copied(r reward.Result) reward.Result {
	r.Scores, r.Missing, r.Boxes, r.Maps = slices.Clone(r.Scores), slices.Clone(r.Missing), slices.Clone(r.Boxes), slices.Clone(r.Maps)
	for k := range r.Maps {
		r.Maps[k].Data = slices.Clone(r.Maps[k].Data)
	}
	return r
}

func (s *suite) testDescription(t *testing.T) {
	if err := s.about.Validate(); err != nil {
		t.Fatal(err)
	}
	switch {
	case s.about.Kind == "":
		t.Error("no kind")
	case s.about.Fingerprint == "":
		t.Error("no fingerprint")
	case len(s.about.Scores)+len(s.about.Maps) == 0:
		t.Error("neither scores nor maps")
	}
	if again := s.evaluator.Describe(); !reflect.DeepEqual(again, s.about) {
		t.Errorf("it describes itself as %+v and then as %+v", s.about, again)
	}
}

func (s *suite) testRanges(t *testing.T) {
	for i, r := range s.firstAnswers(t) {
		if err := s.about.Check(&r); err != nil {
			t.Errorf("sample %d: %v", i, err)
			continue
		}
		for k, v := range r.Scores {
			if name := s.about.Scores[k].Name; slices.Contains(r.Missing, name) && v != 0 {
				t.Errorf("sample %d: %s is missing and %v", i, name, v)
			}
		}
		for k, m := range r.Maps {
			for at, v := range m.Data {
				if !(v >= 0 && v <= 1) { // also NaN
					t.Errorf("sample %d: map %s is %v at %d", i, s.about.Maps[k].Name, v, at)
					break
				}
			}
		}
		if !s.about.Text && r.Text != "" || !s.about.Boxes && len(r.Boxes) > 0 {
			t.Errorf("sample %d: %d bytes of text and %d boxes, which the description does not announce", i, len(r.Text), len(r.Boxes))
		}
	}
}

// same reports whether two results are of the same sample.
func same(t *testing.T, what string, got, want reward.Result) {
	t.Helper()
	close := func(a, b float64) bool { return math.Abs(a-b) <= scoreTolerance*max(1, math.Abs(a)) }
	if !slices.EqualFunc(got.Scores, want.Scores, close) || !slices.Equal(got.Missing, want.Missing) || got.Text != want.Text {
		t.Errorf("%s: got scores %v and %q, want %v and %q", what, got.Scores, got.Text, want.Scores, want.Text)
	}
	if !slices.Equal(got.Boxes, want.Boxes) {
		t.Errorf("%s: got boxes %v, want %v", what, got.Boxes, want.Boxes)
	}
	if len(got.Maps) != len(want.Maps) {
		t.Errorf("%s: %d maps, want %d", what, len(got.Maps), len(want.Maps))
		return
	}
	for k, m := range got.Maps {
		if off := distance(m.Data, want.Maps[k].Data); off > mapTolerance {
			t.Errorf("%s: map %d differs by %v, tolerance %v", what, k, off, mapTolerance)
		}
	}
}

// distance is the largest difference of two maps, infinite if one is longer.
func distance(a, b []float32) float64 {
	if len(a) != len(b) {
		return math.Inf(1)
	}
	var most float64
	for i := range a {
		most = max(most, math.Abs(float64(a[i])-float64(b[i])))
	}
	return most
}

func (s *suite) testDeterminism(t *testing.T) {
	want := s.firstAnswers(t)
	for i, r := range s.evaluate(t, s.samples()) {
		same(t, "again", r, want[i])
	}
}

func (s *suite) testOrder(t *testing.T) {
	want := s.firstAnswers(t)
	reversed := s.samples()
	slices.Reverse(reversed)
	for i, r := range s.evaluate(t, reversed) {
		same(t, "in reverse order", r, want[len(want)-1-i])
	}
	for i, sample := range s.samples() {
		same(t, "one by one", s.evaluate(t, []reward.Sample{sample})[0], want[i])
	}
}

func (s *suite) testModes(t *testing.T) {
	s.firstAnswers(t) // in the first mode
	for _, mode := range s.about.Modes[1:] {
		samples := s.samples()
		for i := range samples {
			samples[i].Mode = mode
		}
		s.evaluate(t, samples)
	}
	mixed := s.samples()
	var want []reward.Result
	for i := range mixed {
		mixed[i].Mode = s.about.Modes[i%len(s.about.Modes)]
		want = append(want, s.evaluate(t, mixed[i:i+1])...)
	}
	for i, r := range s.evaluate(t, mixed) {
		same(t, "a batch of several modes", r, want[i])
	}
}

func (s *suite) testNoSamples(t *testing.T) {
	results, err := s.evaluator.Evaluate(t.Context(), nil)
	if err != nil || len(results) != 0 {
		t.Errorf("got %d results, %v", len(results), err)
	}
}

func (s *suite) testBadSamples(t *testing.T) {
	good := s.samples()[:2]
	want := s.firstAnswers(t)
	mode := s.about.Modes[0]
	for name, bad := range map[string]reward.Sample{
		"no image":                          {Prompt: "a", Mode: mode},
		"an image of no pixels":             {Prompt: "a", Mode: mode, Image: &reward.Image{}},
		"an image of a negative size":       {Prompt: "a", Mode: mode, Image: &reward.Image{Width: -8, Height: -8, Pix: make([]uint8, 192)}},
		"fewer pixels than the size claims": {Prompt: "a", Mode: mode, Image: &reward.Image{Width: 64, Height: 64, Pix: make([]uint8, 100)}},
		"a mode that does not exist":        {Prompt: "a", Mode: "dream", Image: Image(5, 64, 64)},
	} {
		results, err := s.evaluator.Evaluate(t.Context(), []reward.Sample{good[0], bad, good[1]})
		if err != nil || len(results) != 3 {
			t.Errorf("%s: %d results, %v", name, len(results), err)
			continue
		}
		if results[1].Err == nil {
			t.Errorf("%s: scored", name)
		}
		for at, i := range map[int]int{0: 0, 2: 1} {
			if results[at].Err != nil {
				t.Errorf("%s: its neighbour failed: %v", name, results[at].Err)
				continue
			}
			same(t, name, results[at], want[i])
		}
	}
}

func (s *suite) testOwnership(t *testing.T) {
	samples := s.samples()
	changed := s.evaluate(t, samples)
	for i, fresh := range s.samples() {
		if !slices.Equal(samples[i].Image.Pix, fresh.Image.Pix) || samples[i].Prompt != fresh.Prompt {
			t.Errorf("sample %d was changed", i)
		}
	}
	want := s.firstAnswers(t)
	for i := range changed {
		clear(changed[i].Scores)
		for _, m := range changed[i].Maps {
			clear(m.Data)
		}
	}
	for i, r := range s.evaluate(t, s.samples()) {
		same(t, "after the caller changed older results", r, want[i])
	}
}

func (s *suite) testCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.evaluator.Evaluate(ctx, s.samples()); !errors.Is(err, context.Canceled) {
		t.Errorf("Evaluate: got %v, want the context's error", err)
	}
	if p, ok := s.evaluator.(reward.Preparer); ok {
		sample := s.samples()[0]
		if err := p.Prepare(ctx, &sample); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("Prepare: got %v, want the context's error or none", err)
		}
	}
}

func (s *suite) testConcurrency(t *testing.T) {
	want := s.firstAnswers(t)
	var callers sync.WaitGroup
	for caller := range 4 {
		callers.Go(func() {
			samples := s.samples()
			at := caller % len(samples)
			order := append(slices.Clone(samples[at:]), samples[:at]...)
			results, err := s.evaluator.Evaluate(t.Context(), order)
			if err != nil || len(results) != len(samples) {
				t.Errorf("caller %d: %d results, %v", caller, len(results), err)
				return
			}
			for i, r := range results {
				same(t, "beside other callers", r, want[(i+at)%len(samples)])
			}
		})
	}
	callers.Wait()
}

func (s *suite) testPrepare(t *testing.T) {
	p, ok := s.evaluator.(reward.Preparer)
	if !ok {
		return // nothing is claimed
	}
	want := s.firstAnswers(t)
	some := s.samples()
	for i := range some {
		if i%2 == 1 {
			continue
		}
		if err := p.Prepare(t.Context(), &some[i]); err != nil {
			t.Fatalf("Prepare: %v", err)
		}
	}
	for i, r := range s.evaluate(t, some) {
		same(t, "prepared", r, want[i])
	}
	bad := reward.Sample{Prompt: "a", Mode: s.about.Modes[0]}
	if err := p.Prepare(t.Context(), &bad); err != nil {
		return
	}
	results, err := s.evaluator.Evaluate(t.Context(), []reward.Sample{bad})
	if err == nil && results[0].Err == nil {
		t.Error("a sample without an image was prepared and scored")
	}
}
