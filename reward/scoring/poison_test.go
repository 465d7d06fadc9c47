package scoring_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/batch"
	"github.com/denseflow/densereward/reward/rewardtest"
	"github.com/denseflow/densereward/reward/scoring"

	"context"
)

// poisoner spoils numbers of some results: it stands for a model whose weights
// overflow, or a remote one that is broken.
type poisoner struct {
	*rewardtest.Fake
	spoil func(prompt string, r *reward.Result)
}

func (p *poisoner) Evaluate(ctx context.Context, samples []reward.Sample) ([]reward.Result, error) {
	results, err := p.Fake.Evaluate(ctx, samples)
	for i := range results {
		p.spoil(samples[i].Prompt, &results[i])
	}
	return results, err
}

// poisons are numbers that must not enter a statistic.
var poisons = []float64{math.NaN(), math.Inf(1), math.Inf(-1), -0.01, 1.01, math.MaxFloat32}

// put puts a poison somewhere into the scores, the maps or the boxes of a result.
func put(r *rand.Rand, poison float64, what int, result *reward.Result) {
	switch what {
	case 0:
		result.Scores[r.IntN(len(result.Scores))] = poison
	case 1:
		m := result.Maps[r.IntN(len(result.Maps))]
		m.Data[r.IntN(len(m.Data))] = float32(poison)
	case 2:
		if poison >= -1 && poison <= math.MaxFloat32 { // boxes may lie beyond the image
			poison = math.NaN()
		}
		result.Boxes = []reward.Box{{Coords: [4]float64{0, 0, 500, poison}, Label: "artifact", Importance: 50}}
	}
}

// Whatever an evaluator gives that is not a number in its range, the sample fails
// with an error of its own and NaN everywhere, and its neighbours are as they would
// be without it.
func TestNoNumberOutOfRangeReachesAnAdvantage(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	methods := []reward.AdvantageMethod{
		reward.AdvantageFlowGRPO, reward.AdvantageDenseFlow, reward.AdvantageDenseFlowPaper, reward.AdvantageBoxFlow, reward.AdvantageGDPO,
	}
	for round := range 120 {
		n := 2 + r.IntN(6)
		bad := r.IntN(n)
		poison, what, method := poisons[r.IntN(len(poisons))], r.IntN(3), methods[r.IntN(len(methods))]
		global := r.IntN(2) == 0 && method != reward.AdvantageGDPO
		spoil := func(prompt string, result *reward.Result) {
			if prompt == fmt.Sprint("prompt ", bad) {
				put(r, poison, what, result)
			}
		}
		score := func(keep []int) *scoring.Scored {
			t.Helper()
			p := newPipeline(t, &rewardtest.Fake{Side: 8}, nil)
			scheduler, err := batch.New(batch.DefaultConfig(), &poisoner{&rewardtest.Fake{Side: 8}, spoil})
			if err != nil {
				t.Fatal(err)
			}
			p.Scorer = scheduler
			in := scoring.Input{}
			for _, i := range keep {
				in.Prompts = append(in.Prompts, fmt.Sprint("prompt ", i))
				in.Images = append(in.Images, scoring.Image{Decoded: rewardtest.Image(uint64(i), 32, 16)})
				in.Groups.Names = append(in.Groups.Names, fmt.Sprint(i%2))
			}
			scored, err := p.Score(t.Context(), in, scoring.Options{
				Mode: reward.ModeThink, Advantage: &reward.Advantage{Method: method, GlobalStd: global}, Parts: scoring.Parts{Dense: true},
			}, nil)
			if err != nil {
				t.Fatalf("round %d, %s: %v", round, method, err)
			}
			return scored
		}
		var all, good []int
		for i := range n {
			all = append(all, i)
			if i != bad {
				good = append(good, i)
			}
		}
		with, without := score(all), score(good)
		for i := range n {
			got := perSample(t, with, i)
			if i == bad {
				if with.Errors[i] == nil || !math.IsNaN(with.Rewards[i]) || slices.ContainsFunc(got, func(v float64) bool { return !math.IsNaN(v) }) {
					t.Fatalf("round %d: %v in part %d of sample %d, %s: error %v, reward %v, numbers %v", round, poison, what, i, method, with.Errors[i], with.Rewards[i], got)
				}
				continue
			}
			want := perSample(t, without, slices.Index(good, i))
			if with.Errors[i] != nil || slices.ContainsFunc(got, math.IsNaN) || !slices.Equal(got, want) {
				t.Fatalf("round %d: %v in part %d of sample %d, %s: its neighbour %d has %v (%v), without it %v", round, poison, what, bad, method, i, got, with.Errors[i], want)
			}
		}
	}
}

// perSample are the advantages, weights and dense rewards of a sample.
func perSample(t *testing.T, s *scoring.Scored, i int) []float64 {
	t.Helper()
	values, err := s.Advantages.Float64s()
	if err != nil {
		single, err := s.Advantages.Float32s()
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range single {
			values = append(values, float64(v))
		}
	}
	each := len(values) / len(s.Errors)
	all := slices.Clone(values[i*each : (i+1)*each])
	for _, maps := range [][]float32{s.Weight, s.Reward} {
		for _, v := range s.Grids.Map(maps, i) {
			all = append(all, float64(v))
		}
	}
	return all
}

func TestWhatIsMissingIsZeroOrAnErrorAsTheCallerSays(t *testing.T) {
	p := newPipeline(t, &rewardtest.Fake{Side: 8}, nil)
	scheduler, err := batch.New(batch.DefaultConfig(), &poisoner{&rewardtest.Fake{Side: 8}, func(prompt string, r *reward.Result) {
		if prompt == "lacking" {
			r.Scores[0], r.Missing = 0, []string{"semantic_alignment", "artifact"}
			clear(r.Maps[1].Data)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	p.Scorer = scheduler
	in := images(2)
	in.Prompts = []string{"whole", "lacking"}
	for policy, fails := range map[reward.MissingPolicy]bool{"": false, reward.MissingZero: false, reward.MissingError: true} {
		scored, err := p.Score(t.Context(), in, scoring.Options{Missing: policy}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if scored.Errors[0] != nil {
			t.Errorf("%q: the neighbour failed: %v", policy, scored.Errors[0])
		}
		if !fails && (scored.Errors[1] != nil || len(scored.Outcomes[1].Missing) != 2) {
			t.Errorf("%q: %v, missing %v", policy, scored.Errors[1], scored.Outcomes[1].Missing)
		}
		if fails && (scored.Errors[1] == nil || scored.Errors[1].Code() != reward.ErrPartMissing.Code() || !math.IsNaN(scored.Rewards[1])) {
			t.Errorf("%q: %v, reward %v", policy, scored.Errors[1], scored.Rewards[1])
		}
	}
	if _, err := p.Score(t.Context(), in, scoring.Options{Missing: "guess"}, nil); err == nil {
		t.Error("a policy that is none was taken")
	}
}

func TestForgottenGroupsAreWarnedOf(t *testing.T) {
	p := newPipeline(t, &rewardtest.Fake{}, nil)
	for name, c := range map[string]struct {
		prompts []string
		groups  reward.Groups
		method  reward.AdvantageMethod
		warns   bool
	}{
		"a prompt each":                 {[]string{"a", "b"}, reward.Groups{}, reward.AdvantageFlowGRPO, true},
		"one sample":                    {[]string{"a"}, reward.Groups{}, reward.AdvantageDenseFlow, true},
		"groups of one by name":         {[]string{"a", "a"}, reward.Groups{Names: []string{"x", "y"}}, reward.AdvantageFlowGRPO, true},
		"a prompt that comes twice":     {[]string{"a", "a", "b"}, reward.Groups{}, reward.AdvantageFlowGRPO, false},
		"a run of steps each":           {[]string{"a", "a", "b", "b"}, reward.Groups{}, reward.AdvantageDenseGRPO, true},
		"two runs of one prompt":        {[]string{"a", "a", "a", "a"}, reward.Groups{}, reward.AdvantageDenseGRPO, false},
		"no advantages asked for":       {[]string{"a", "b"}, reward.Groups{}, reward.AdvantageNone, false},
		"prompts that share their name": {[]string{"a", "b"}, reward.Groups{Names: []string{"x", "x"}}, reward.AdvantageFlowGRPO, false},
	} {
		in := images(len(c.prompts))
		in.Prompts, in.Groups = c.prompts, c.groups
		a := &reward.Advantage{Method: c.method}
		if c.method == reward.AdvantageDenseGRPO {
			a.Steps = 1
		}
		scored, err := p.Score(t.Context(), in, scoring.Options{Advantage: a}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := len(scored.Warnings) > 0; got != c.warns {
			t.Errorf("%s: warnings %q", name, scored.Warnings)
		}
	}
}

func TestFloatsOfAnotherRangeFailTheirSampleUnlessClamped(t *testing.T) {
	p := newPipeline(t, &rewardtest.Fake{}, nil)
	in := images(2)
	values := make([]float32, 16*32*3)
	for i := range values {
		values[i] = float32(i%3) - 1
	}
	in.Images[1] = scoring.Image{Tensor: reward.Float32Tensor(values, 16, 32, 3)}
	for _, clamp := range []bool{false, true} {
		scored, err := p.Score(t.Context(), in, scoring.Options{Clamp: clamp}, nil)
		if err != nil || scored.Errors[0] != nil {
			t.Fatal(err, scored.Errors[0])
		}
		failed := scored.Errors[1] != nil && scored.Errors[1].Code() == reward.ErrPixelRange.Code() && strings.Contains(scored.Errors[1].Message(), "clamp: true")
		if failed == clamp {
			t.Errorf("clamp %v: %v", clamp, scored.Errors[1])
		}
	}
}

// An evaluator whose scores have no bounds, as a remote one's, may say what no float32
// and no variance holds.
func TestAScoreBeyondAllStatisticsFailsItsSampleAlone(t *testing.T) {
	fake := &rewardtest.Fake{Side: 8, Scores: []reward.ScoreSpec{{Name: "any", Min: math.Inf(-1), Max: math.Inf(1), Weight: 1}}}
	for _, method := range reward.AdvantageMethods() {
		for _, huge := range []float64{math.MaxFloat64, -math.MaxFloat64, 1e200, 1e39, -1e31} {
			p := newPipeline(t, fake, nil)
			scheduler, err := batch.New(batch.DefaultConfig(), &poisoner{fake, func(prompt string, r *reward.Result) {
				r.Scores[0] = map[string]float64{"usual": 1, "huge": huge, "large": reward.MaxMagnitude, "another": 2}[prompt]
			}})
			if err != nil {
				t.Fatal(err)
			}
			p.Scorer = scheduler
			in := images(4)
			in.Prompts, in.Groups.Names = []string{"usual", "huge", "large", "another"}, slices.Repeat([]string{"g"}, 4)
			advantage := &reward.Advantage{Method: method, GlobalStd: method != reward.AdvantageGDPO}
			switch method {
			case reward.AdvantageDenseGRPO:
				advantage.Steps = 1
			case reward.AdvantageBoxFlow:
				advantage.Penalty = &reward.Penalty{Artifact: 1e6, Misalignment: 1e6, Min: 1e6}
			}
			scored, err := p.Score(t.Context(), in, scoring.Options{Mode: reward.ModeThink, Advantage: advantage, Parts: scoring.Parts{Dense: true}}, nil)
			if err != nil {
				t.Fatalf("%s, %v: %v", method, huge, err)
			}
			for i, failure := range scored.Errors {
				if (failure != nil) != (i == 1) {
					t.Errorf("%s, %v: sample %d: error %v", method, huge, i, failure)
				}
				if method == reward.AdvantageNone {
					continue
				}
				for _, v := range perSample(t, scored, i) {
					if math.IsNaN(v) != (i == 1) || math.IsInf(v, 0) {
						t.Fatalf("%s, %v: sample %d has %v", method, huge, i, v)
					}
				}
			}
		}
	}
}
