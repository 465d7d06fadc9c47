package imagedoctor

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/denseflow/densereward/engine/onnx"
	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/engine/ort/orttest"
	"github.com/denseflow/densereward/engine/qwenvl/checkpoint"
	"github.com/denseflow/densereward/engine/qwenvl/qwenvltest"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/rewardtest"
)

// loadSmall is an evaluator of a test's own, with small images and files in place of
// the checkpoint's.
func loadSmall(t *testing.T, files map[string]string, o Options) *Evaluator {
	t.Helper()
	all := map[string]string{checkpoint.PreprocessorFile: qwenvltest.SmallImages}
	for name, content := range files {
		all[name] = content
	}
	o.Threads = 1
	e, err := Load(orttest.Open(t), linked(t, all), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("closing the evaluator: %v", err)
		}
	})
	return e
}

func TestTheGenerationConfigurationsPenaltyHoldsUnlessAnOptionDoes(t *testing.T) {
	t.Parallel()
	_, samples := refSamples(t)
	samples = samples[:3]
	file := map[string]string{checkpoint.GenerationFile: `{"repetition_penalty": 1.3}`}
	plain := generate(t, nanoEvaluator(t, form{small: true, prefixed: true}), reward.ModeAnswer, samples, 60)
	penalised := generate(t, nanoEvaluator(t, form{small: true, prefixed: true, penalty: 1.3}), reward.ModeAnswer, samples, 60)
	if slices.Equal(plain[0].Trace.GeneratedIDs, penalised[0].Trace.GeneratedIDs) {
		t.Fatal("the penalty makes no difference to compare")
	}
	for name, test := range map[string]struct {
		penalty float64
		want    []reward.Result
	}{"the file's": {0, penalised}, "the option's": {1, plain}} {
		e := loadSmall(t, file, Options{RepetitionPenalty: test.penalty})
		for i, r := range generate(t, e, reward.ModeAnswer, samples, 60) {
			sameResult(t, name, r, test.want[i])
		}
	}
}

func TestAnyOfTheEndTokensEndsAnAnswer(t *testing.T) {
	_, samples := refSamples(t)
	samples = samples[:2]
	whole := evaluate(t, nanoEvaluator(t, form{small: true}), samples)
	const newline, colon = 198, 25
	e := loadSmall(t, map[string]string{checkpoint.GenerationFile: `{"eos_token_id": [1458, 198, 25]}`}, Options{Prefix: new(string)})
	for i, r := range evaluate(t, e, samples) {
		want := whole[i].Trace.GeneratedIDs
		end := slices.IndexFunc(want, func(id int32) bool { return id == newline || id == colon })
		if end < 0 {
			t.Fatalf("no end token in %v", want)
		}
		if !slices.Equal(r.Trace.GeneratedIDs, want[:end+1]) {
			t.Errorf("row %d: %v, want %v", i, r.Trace.GeneratedIDs, want[:end+1])
		}
	}
}

func TestTheAnswerPrefixIsPartOfTheTextAndNotOfTheAnswer(t *testing.T) {
	_, samples := refSamples(t)
	own := "<answer>Semantic"
	for name, test := range map[string]struct {
		prefix *string
		want   string
	}{"the published one": {nil, answerPrefix}, "one of one's own": {&own, own}, "none": {new(string), ""}} {
		t.Run(name, func(t *testing.T) {
			e := loadSmall(t, nil, Options{Prefix: test.prefix, MaxNewTokens: 3})
			r := generate(t, e, reward.ModeAnswer, samples[:1], 3)[0]
			if !strings.HasPrefix(r.Text, test.want) || len(r.Trace.GeneratedIDs) != 3 {
				t.Errorf("text %q of %d tokens", r.Text, len(r.Trace.GeneratedIDs))
			}
			prompt := e.tokenizer.Decode(r.Trace.InputIDs, false)
			if !strings.HasSuffix(prompt, promptTail+test.want) {
				t.Errorf("the prompt ends with %q", prompt[len(prompt)-60:])
			}
			if got := e.tokenizer.Decode(r.Trace.GeneratedIDs, false); r.Text != test.want+got {
				t.Errorf("text %q, generated %q", r.Text, got)
			}
		})
	}
}

func TestThinkingHasNoAnswerPrefixAndGivesBoxes(t *testing.T) {
	e := nanoEvaluator(t, form{small: true, prefixed: true})
	_, samples := refSamples(t)
	for i := range samples {
		samples[i].Mode = reward.ModeThink
	}
	for i, r := range generate(t, e, reward.ModeThink, samples, 30) {
		prompt := e.tokenizer.Decode(r.Trace.InputIDs, false)
		if !strings.HasSuffix(prompt, promptTail) || !strings.Contains(prompt, "bounding box") {
			t.Errorf("row %d: the prompt is %q", i, prompt)
		}
	}
	p := &prepared{mode: reward.ModeThink}
	out := answerTensors(e, "<think>1.[0,0,256,512];</think><answer>Aesthetic score: 0.5")
	if r := e.result(p, out, 0); len(r.Boxes) != 1 || r.Boxes[0].Coords != [4]float64{0, 0, 500, 1000} {
		t.Errorf("boxes %v", r.Boxes)
	}
	p.mode = reward.ModeAnswer
	if r := e.result(p, out, 0); r.Boxes != nil {
		t.Errorf("boxes %v without thinking", r.Boxes)
	}
}

func TestDescriptionsTellCheckpointsAndOptionsApart(t *testing.T) {
	t.Parallel()
	describe := func(files map[string]string, o Options) reward.Description {
		t.Helper()
		e, err := open(linked(t, files), o) // what is described is known without a session
		if err != nil {
			t.Fatal(err)
		}
		if e.fingerprint, err = e.checkpoint.Fingerprint(e.answering()); err != nil {
			t.Fatal(err)
		}
		return e.Describe()
	}
	plain := describe(nil, Options{})
	if plain.Name != "imagedoctor" || plain.Maps[Artifact].Height != 288 || plain.Maps[Artifact].Width != 288 || plain.Demonstration ||
		!slices.Equal(plain.Modes, []reward.Mode{reward.ModeAnswer, reward.ModeThink}) {
		t.Errorf("%+v", plain)
	}
	again := describe(nil, Options{NoSpeculative: true, MaxBatch: 3, Threads: 1, Demonstration: true, Note: "drawn scenes"})
	if again.Fingerprint != plain.Fingerprint || !again.Demonstration || again.Note != "drawn scenes" {
		t.Errorf("options without effect on answers: %+v, was %+v", again, plain)
	}
	small := map[string]string{checkpoint.PreprocessorFile: qwenvltest.SmallImages}
	every := onnx.AllOperators
	if d := describe(nil, Options{Operators: &every}); d.Fingerprint != plain.Fingerprint {
		t.Error("operators that a CPU has not change the fingerprint")
	}
	seen := map[string]string{plain.Fingerprint: "the plain one"}
	for name, d := range map[string]reward.Description{
		"another image size": describe(small, Options{}),
		"a penalty":          describe(nil, Options{RepetitionPenalty: 1.05}),
		"a limit":            describe(nil, Options{MaxNewTokens: 9}),
		"another start":      describe(nil, Options{Prefix: new(string)}),
		"eight bits":         describe(nil, Options{FP8: true}),
		"a GPU":              describe(nil, Options{Provider: ort.Provider{Kind: ort.CUDA}}),
		"its operators":      describe(nil, Options{Provider: ort.Provider{Kind: ort.CUDA}, Operators: &every}),
		"a generation file":  describe(map[string]string{checkpoint.GenerationFile: `{"eos_token_id": 7}`}, Options{}),
	} {
		if other, taken := seen[d.Fingerprint]; taken {
			t.Errorf("%s has the fingerprint of %s", name, other)
		}
		seen[d.Fingerprint] = name
	}
	if d := describe(small, Options{}); d.Maps[Misalignment].Height != 80 {
		t.Errorf("an image of 5x5 image tokens has heatmaps of %d", d.Maps[Misalignment].Height)
	}
}

func TestABadSampleCostsItsNeighboursNothing(t *testing.T) {
	e := nanoEvaluator(t, form{small: true, prefixed: true})
	image := rewardtest.Image(1, 64, 64)
	good := reward.Sample{Image: image, Prompt: "a red circle"}
	want := evaluate(t, e, []reward.Sample{good})[0]
	for name, test := range map[string]struct {
		bad  reward.Sample
		want string
	}{
		"no image":             {reward.Sample{Prompt: "a"}, "image"},
		"an image cut short":   {reward.Sample{Prompt: "a", Image: &reward.Image{Width: 8, Height: 8, Pix: make([]uint8, 191)}}, "image"},
		"a prompt without end": {reward.Sample{Prompt: strings.Repeat("a b ", 600), Image: image}, "1200 tokens, the limit is 1024"},
		"a mode of its own":    {reward.Sample{Prompt: "a", Image: image, Mode: "guess"}, `mode "guess"`},
		"no image in a think":  {reward.Sample{Prompt: "a", Mode: reward.ModeThink}, "image"},
	} {
		t.Run(name, func(t *testing.T) {
			results, err := e.Evaluate(t.Context(), []reward.Sample{good, test.bad, good})
			if err != nil || len(results) != 3 {
				t.Fatalf("%d results, %v", len(results), err)
			}
			if err := results[1].Err; err == nil || !errors.As(err, new(*reward.Error)) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v does not say %q", err, test.want)
			}
			for _, i := range []int{0, 2} {
				if results[i].Err != nil {
					t.Fatal(results[i].Err)
				}
				sameResult(t, "a neighbour", results[i], want)
			}
		})
	}
}

func TestABatchIsCutToItsLimitWithoutAnEffect(t *testing.T) {
	t.Parallel()
	e := loadSmall(t, nil, Options{MaxBatch: 2})
	_, samples := refSamples(t)
	samples[3].Mode = reward.ModeAnswer // the same as none
	all := evaluate(t, e, samples[:5])
	for i := range all {
		sameResult(t, samples[i].Prompt, all[i], evaluate(t, e, samples[i:i+1])[0])
	}
}

func TestHeatmapsOfOneAnswerDoNotReachIntoAnother(t *testing.T) {
	e := nanoEvaluator(t, form{small: true, prefixed: true})
	_, samples := refSamples(t)
	results := generate(t, e, reward.ModeAnswer, samples[:2], 2)
	for i := range results {
		for name, h := range heatmaps(results[i]) {
			if cap(h.Data) != len(h.Data) {
				t.Errorf("row %d: the %s heatmap has %d values and room for %d", i, name, len(h.Data), cap(h.Data))
			}
		}
	}
}

// The samples are prepared and make one batch, so that nothing but the run itself
// is left to see that time is up.
func TestAnEvaluationEndsWithItsContext(t *testing.T) {
	e := nanoEvaluator(t, form{})
	_, samples := refSamples(t)
	for i := range samples {
		if err := e.Prepare(t.Context(), &samples[i]); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond) // of a second or more
	defer cancel()
	if _, err := e.Evaluate(ctx, samples); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Evaluate: %v, want the context's error", err)
	}
	fresh := reward.Sample{Image: samples[0].Image, Prompt: "a"}
	if err := e.Prepare(ctx, &fresh); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Prepare: %v, want the context's error", err)
	}
	evaluate(t, e, samples[:1]) // the session is none the worse
}

func TestManyEvaluateAtOnce(t *testing.T) {
	e := nanoEvaluator(t, form{small: true, prefixed: true})
	_, samples := refSamples(t)
	want := evaluate(t, e, samples)
	var callers sync.WaitGroup
	for caller := range 4 {
		callers.Go(func() {
			for round := range 2 {
				i := (2*caller + round) % len(samples)
				results, err := e.Evaluate(t.Context(), samples[i:min(i+2, len(samples))])
				if err != nil {
					t.Error(err)
					return
				}
				for j, r := range results {
					sameResult(t, samples[i+j].Prompt, r, want[i+j])
				}
			}
		})
	}
	callers.Wait()
}

func TestPreparingTwiceIsPreparingOnce(t *testing.T) {
	e := nanoEvaluator(t, form{small: true})
	s := reward.Sample{Image: rewardtest.Image(1, 64, 64), Prompt: "a"}
	if err := e.Prepare(t.Context(), &s); err != nil {
		t.Fatal(err)
	}
	first := s.Prepared
	if err := e.Prepare(t.Context(), &s); err != nil || s.Prepared != first {
		t.Errorf("prepared anew, %v", err)
	}
}

// Prompts of different lengths in batches of so few tokens that each is alone.
func TestABatchIsCutByItsTokensWithoutAnEffect(t *testing.T) {
	t.Parallel()
	few, plenty := loadSmall(t, nil, Options{BatchTokens: 400}), nanoEvaluator(t, form{small: true, prefixed: true})
	_, samples := refSamples(t)
	samples[1].Prompt, samples[2].Prompt = strings.Repeat("of many words ", 30), "cat"
	lengths := map[int]bool{}
	for i, got := range evaluate(t, few, samples[:3]) {
		sameResult(t, samples[i].Prompt, got, evaluate(t, plenty, samples[i:i+1])[0])
		s := samples[i]
		if err := few.Prepare(t.Context(), &s); err != nil {
			t.Fatal(err)
		}
		if n := few.Tokens(&s); n != len(got.Trace.InputIDs) {
			t.Errorf("%d tokens, counted as %d", len(got.Trace.InputIDs), n)
		}
		lengths[len(got.Trace.InputIDs)] = true
	}
	if few.BatchTokens() != 400 || plenty.BatchTokens() != 16*1024 || few.Tokens(&reward.Sample{}) != 0 {
		t.Errorf("batches of %d and %d tokens", few.BatchTokens(), plenty.BatchTokens())
	}
	if len(lengths) != 3 {
		t.Errorf("lengths %v", lengths)
	}
}

func TestAnAnswerWithoutAnEndIsAnErrorOfItsOwn(t *testing.T) {
	e := loadSmall(t, nil, Options{MaxNewTokens: 20})
	_, samples := refSamples(t)
	for _, mode := range []reward.Mode{reward.ModeAnswer, reward.ModeThink} {
		samples[0].Mode = mode
		results, err := e.Evaluate(t.Context(), samples[:1])
		if err != nil {
			t.Fatal(err)
		}
		r := results[0]
		if !errors.Is(r.Err, reward.ErrAnswerTruncated) || !strings.Contains(r.Err.Error(), "20 tokens") || r.Scores != nil || r.Text != "" {
			t.Errorf("%s: %+v", mode, r)
		}
	}
	if DefaultMaxNewTokens(reward.ModeAnswer) != 2048 || DefaultMaxNewTokens(reward.ModeThink) != 4096 {
		t.Error("other limits than the published")
	}
}

func TestTheParserSeesWhatTheModelGenerated(t *testing.T) {
	e := nanoEvaluator(t, form{small: true, prefixed: true})
	out := answerTensors(e, "Aesthetic score: 0.5</answer>\nPlausibility score: 0.9")
	r := e.result(&prepared{mode: reward.ModeAnswer, prefix: answerPrefix}, out, 0)
	if r.Scores[Plausibility] != 0.9 || r.Scores[Aesthetics] != 0.5 {
		t.Errorf("scores %v of %q", r.Scores, r.Text)
	}
	if !strings.HasPrefix(r.Text, answerPrefix) {
		t.Errorf("text %q", r.Text)
	}
}

func TestMapsThatTheAnswerDoesNotAskForAreMissing(t *testing.T) {
	e := newDictation(t, form{small: true})
	mis, end := e.config.MisalignmentTokenID, e.config.EOSTokenIDs[0]
	rng := rand.New(rand.NewPCG(6, 6))
	for name, test := range map[string]struct {
		answer []int32
		want   []string
	}{
		"none of them": {[]int32{5, 6, end, end}, []string{"misalignment", "artifact"}},
		"one of them":  {[]int32{5, mis, end, end}, []string{"artifact"}},
		"both":         {[]int32{5, mis, e.config.ArtifactTokenID, end}, nil},
	} {
		ready := []*prepared{randomPrompt(rng, e.config, e.tokenizer)}
		b := e.joined(reward.ModeAnswer, ready)
		b.MaxNewTokens = 4
		var ids []int64
		for _, id := range test.answer {
			ids = append(ids, int64(id))
		}
		b.TeacherForced = ort.Int64s([]int64{1, 4}, ids)
		out, err := e.session.Run(t.Context(), e.inputs(b))
		if err != nil {
			t.Fatal(err)
		}
		r := e.result(ready[0], out, 0)
		if got := r.Missing[NumScores:]; !slices.Equal(got, test.want) { // an answer of nothing lacks all scores
			t.Errorf("%s: missing %v, want %v", name, r.Missing, test.want)
		}
	}
}

func TestThinkingUsesCaptionsAsTheyAre(t *testing.T) {
	e := nanoEvaluator(t, form{small: true, prefixed: true})
	for mode, want := range map[reward.Mode]string{reward.ModeAnswer: "[a cat]", reward.ModeThink: "[ a cat... ]"} {
		s := reward.Sample{Image: rewardtest.Image(1, 64, 64), Prompt: " a cat... ", Mode: mode}
		if err := e.Prepare(t.Context(), &s); err != nil {
			t.Fatal(err)
		}
		if prompt := e.tokenizer.Decode(s.Prepared.(*prepared).IDs, false); !strings.Contains(prompt, want) {
			t.Errorf("%s: no %q in %q", mode, want, prompt)
		}
	}
}
