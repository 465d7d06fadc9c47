package mix

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/rewardtest"
)

// single is a fake with one score in [0,1] and no maps.
func single(name string) *rewardtest.Fake {
	return &rewardtest.Fake{Name: name, Fingerprint: name, Scores: []reward.ScoreSpec{{Name: name, Max: 1, Weight: 1}}, Maps: []reward.MapSpec{}}
}

func mixed(tb testing.TB, members ...Member) *Evaluator {
	tb.Helper()
	e, err := New("mix", members)
	if err != nil {
		tb.Fatal(err)
	}
	return e
}

func TestAMixtureConforms(t *testing.T) {
	rewardtest.Run(t, func() reward.Evaluator {
		return mixed(t, Member{Name: "doctor", Evaluator: &rewardtest.Fake{}, Weight: 1}, Member{Name: "pick", Evaluator: single("pick"), Weight: 0.5})
	})
}

func samples() []reward.Sample {
	return []reward.Sample{
		{Image: rewardtest.Image(1, 32, 32), Prompt: "a", Mode: reward.ModeAnswer},
		{Image: rewardtest.Image(2, 32, 32), Prompt: "b", Mode: reward.ModeThink},
	}
}

func evaluate(t *testing.T, e reward.Evaluator, s []reward.Sample) []reward.Result {
	t.Helper()
	results, err := e.Evaluate(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return results
}

func TestTheMixtureIsTheWeightedSumAndEveryComponentIsThere(t *testing.T) {
	doctor, pick := &rewardtest.Fake{}, single("pick")
	e := mixed(t, Member{Name: "doctor", Evaluator: doctor, Weight: 1}, Member{Name: "pick", Evaluator: pick, Weight: -0.5})
	about := e.Describe()
	weights, err := about.Weighting(nil)
	if err != nil {
		t.Fatal(err)
	}
	ofDoctor, ofPick := evaluate(t, doctor, samples()), evaluate(t, pick, samples())
	doctorAbout := doctor.Describe()
	own, err := doctorAbout.Weighting(nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range evaluate(t, e, samples()) {
		if err := about.Check(&r); err != nil {
			t.Fatal(err)
		}
		want := own.Reward(ofDoctor[i].Scores) - 0.5*ofPick[i].Scores[0]
		if got := weights.Reward(r.Scores); math.Abs(got-want) > 1e-12 {
			t.Errorf("sample %d: mixture %v, want %v", i, got, want)
		}
		for name, want := range map[string]float64{
			"doctor": own.Reward(ofDoctor[i].Scores), "doctor/plausibility": ofDoctor[i].Scores[2], "pick": ofPick[i].Scores[0], "pick/pick": ofPick[i].Scores[0],
		} {
			if got := r.Scores[about.ScoreIndex(name)]; got != want {
				t.Errorf("sample %d: %s is %v, want %v", i, name, got, want)
			}
		}
		if at := about.MapIndex("doctor/artifact"); !slices.Equal(r.Maps[at].Data, ofDoctor[i].Maps[doctorAbout.MapIndex("artifact")].Data) {
			t.Errorf("sample %d: another map", i)
		}
	}
}

func TestMapsAreCombinedByTheStatedShares(t *testing.T) {
	maps := func(shares ...float64) []float64 {
		members := []Member{{Name: "a", Evaluator: &rewardtest.Fake{}, Weight: 1, MapWeight: shares[0]}, {Name: "b", Evaluator: &rewardtest.Fake{}, MapWeight: shares[1]}, {Name: "c", Evaluator: single("c"), MapWeight: 7}}
		about := mixed(t, members...).Describe()
		w, err := about.Weighting(nil)
		if err != nil {
			t.Fatal(err)
		}
		return w.Maps
	}
	if got, want := maps(0, 0), []float64{0.25, 0.25, 0.25, 0.25}; !slices.Equal(got, want) {
		t.Errorf("nothing stated: %v, want %v", got, want)
	}
	if got, want := maps(3, 1), []float64{0.375, 0.375, 0.125, 0.125}; !slices.Equal(got, want) {
		t.Errorf("3 to 1: %v, want %v", got, want)
	}
}

func TestAMemberThatFailsFailsTheSampleOrIsLeftOut(t *testing.T) {
	broken := errors.New("told to")
	for _, c := range []struct {
		name  string
		fault func(f *rewardtest.Fake)
		whole bool // all samples, rather than the one whose prompt is b
	}{
		{"for one sample", func(f *rewardtest.Fake) {
			f.Fail = func(s reward.Sample) error {
				if s.Prompt == "b" {
					return broken
				}
				return nil
			}
		}, false},
		{"as a whole", func(f *rewardtest.Fake) { f.Before = func(context.Context, []reward.Sample) error { return broken } }, true},
		{"by a panic", func(f *rewardtest.Fake) { f.Before = func(context.Context, []reward.Sample) error { panic("told to") } }, true},
	} {
		for _, optional := range []bool{false, true} {
			bad := single("bad")
			c.fault(bad)
			good := single("good")
			e := mixed(t, Member{Name: "good", Evaluator: good, Weight: 2}, Member{Name: "bad", Evaluator: bad, Weight: 1, Optional: optional})
			about := e.Describe()
			for i, r := range evaluate(t, e, samples()) {
				fails := c.whole || i == 1
				if !fails {
					if r.Err != nil {
						t.Errorf("%s: a neighbour failed: %v", c.name, r.Err)
					}
					continue
				}
				if !optional {
					if r.Err == nil || !strings.Contains(r.Err.Error(), "bad: ") || r.Scores != nil {
						t.Errorf("%s: %v, scores %v; want the member's error alone", c.name, r.Err, r.Scores)
					}
					continue
				}
				if r.Err != nil || !slices.Equal(r.Missing, []string{"bad", "bad/bad"}) {
					t.Errorf("%s, left out: %v, missing %v", c.name, r.Err, r.Missing)
					continue
				}
				// The other's reward counts for both: 2 R * 3/2.
				if want := 3 * r.Scores[about.ScoreIndex("good")]; math.Abs(r.Scores[0]-want) > 1e-12 {
					t.Errorf("%s, left out: mixture %v, want %v", c.name, r.Scores[0], want)
				}
			}
		}
	}
}

func TestASampleThatNobodyScoredFails(t *testing.T) {
	bad := single("bad")
	bad.Fail = func(reward.Sample) error { return errors.New("told to") }
	for i, r := range evaluate(t, mixed(t, Member{Name: "bad", Evaluator: bad, Weight: 1, Optional: true}), samples()) {
		if r.Err == nil || r.Scores != nil {
			t.Errorf("sample %d: scores %v", i, r.Scores)
		}
	}
}

// What is left has no weight, and 0 would be no one's reward.
func TestASampleThatNobodyWithAWeightScoredFails(t *testing.T) {
	bad := single("bad")
	bad.Fail = func(reward.Sample) error { return errors.New("told to") }
	e := mixed(t, Member{Name: "shown", Evaluator: single("shown")}, Member{Name: "bad", Evaluator: bad, Weight: 1, Optional: true})
	for i, r := range evaluate(t, e, samples()) {
		if r.Err == nil || !strings.Contains(r.Err.Error(), "bad: ") || r.Scores != nil {
			t.Errorf("sample %d: scores %v, error %v", i, r.Scores, r.Err)
		}
	}
}

func TestAMixtureOfMixturesIsTheSumOfItsParts(t *testing.T) {
	inner := mixed(t, Member{Name: "a", Evaluator: single("a"), Weight: 1}, Member{Name: "b", Evaluator: single("b"), Weight: -2})
	outer := mixed(t, Member{Name: "inner", Evaluator: inner, Weight: 3}, Member{Name: "c", Evaluator: single("c"), Weight: 1})
	about := outer.Describe()
	for i, r := range evaluate(t, outer, samples()) {
		if err := about.Check(&r); err != nil {
			t.Fatal(err)
		}
		of := func(name string) float64 { return r.Scores[about.ScoreIndex(name)] }
		if want := 3*(of("inner/a")-2*of("inner/b")) + of("c"); r.Err != nil || math.Abs(r.Scores[0]-want) > 1e-12 || of("inner/mixture") != of("inner") {
			t.Errorf("sample %d: %v of %v, want %v", i, r.Scores[0], r.Scores, want)
		}
	}
}

func TestMixturesThatCannotBeAreRefused(t *testing.T) {
	fake := &rewardtest.Fake{}
	for name, members := range map[string][]Member{
		"no members":                 nil,
		"no name":                    {{Evaluator: fake}},
		"a name with a slash":        {{Name: "a/b", Evaluator: fake}},
		"the mixture's own name":     {{Name: "mixture", Evaluator: fake}},
		"no evaluator":               {{Name: "a"}},
		"a weight that is no number": {{Name: "a", Evaluator: fake, Weight: math.NaN()}},
		"a map weight below 0":       {{Name: "a", Evaluator: fake, MapWeight: -1}},
		"weights of nothing but 0":   {{Name: "a", Evaluator: fake}, {Name: "b", Evaluator: fake}},
		"an infinite weight":         {{Name: "a", Evaluator: fake, Weight: math.Inf(-1)}},
		"two of one name":            {{Name: "a", Evaluator: fake}, {Name: "a", Evaluator: fake}},
	} {
		if _, err := New("mix", members); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
