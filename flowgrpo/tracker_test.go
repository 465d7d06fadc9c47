package flowgrpo

import (
	"math"
	"strings"
	"testing"

	"github.com/denseflow/densereward/internal/numtest"
)

func update(t *testing.T, tracker *StatTracker, kind AdvantageType, prompts []string, rewards ...float64) []float64 {
	t.Helper()
	dst := make([]float64, len(rewards))
	if err := tracker.Update(dst, kind, prompts, rewards); err != nil {
		t.Fatal(err)
	}
	return dst
}

func TestStatisticsAreKeptWithinAnEpoch(t *testing.T) {
	tracker := NewStatTracker(false)
	update(t, tracker, GRPO, []string{"a", "a"}, 1, 3)
	got := update(t, tracker, GRPO, []string{"a", "b"}, 8, 5)
	// The mean and deviation of 1, 3 and 8.
	numtest.Value(t, "advantage", got[0], (8-4.0)/(math.Sqrt(26.0/3)+1e-4), exact64)
	numtest.Value(t, "advantage of a new prompt", got[1], 0, numtest.Tolerance{})
	numtest.Value(t, "group size", tracker.GroupSize(), 2, exact64)

	tracker.Clear()
	if tracker.GroupSize() != 0 || tracker.TrainedPrompts() != 2 {
		t.Errorf("after Clear: group size %v, %d prompts", tracker.GroupSize(), tracker.TrainedPrompts())
	}
	got = update(t, tracker, GRPO, []string{"a"}, 8)
	numtest.Value(t, "advantage after Clear", got[0], 0, numtest.Tolerance{})
}

func TestAGlobalDeviationIsThatOfTheBatch(t *testing.T) {
	tracker := NewStatTracker(true)
	update(t, tracker, GRPO, []string{"a", "a"}, 100, -100)
	got := update(t, tracker, GRPO, []string{"a", "b"}, 1, 3)
	numtest.Slice(t, "advantages", got, []float64{(1 - 1.0/3) / (1 + 1e-4), 0}, exact64)
}

func TestPreferencesOfTies(t *testing.T) {
	tests := []struct {
		name    string
		kind    AdvantageType
		prompts []string
		rewards []float64
		want    []float64
	}{
		{"SFT takes all of the best", SFT, []string{"a", "a", "a"}, []float64{2, 1, 2}, []float64{1, 0, 1}},
		{"SFT takes a single image", SFT, []string{"a"}, []float64{-1}, []float64{1}},
		{"DPO takes the first best and the first worst", DPO, []string{"a", "a", "a", "a"}, []float64{1, 2, 2, 1}, []float64{-1, 1, 0, 0}},
		{"DPO of equal rewards prefers the second, as the reference does", DPO, []string{"b", "a", "a", "b", "a"},
			[]float64{1, 7, 7, 2, 7}, []float64{-1, -1, 1, 1, 0}},
		{"DPO of a single image has no pair", DPO, []string{"a"}, []float64{3}, []float64{0}},
		{"RWR passes rewards on", RWR, []string{"a", "b"}, []float64{3, -4}, []float64{3, -4}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			numtest.Slice(t, "advantages", update(t, NewStatTracker(false), test.kind, test.prompts, test.rewards...), test.want, numtest.Tolerance{})
			inPlace := append([]float64(nil), test.rewards...)
			if err := NewStatTracker(false).Update(inPlace, test.kind, test.prompts, inPlace); err != nil {
				t.Fatal(err)
			}
			numtest.Slice(t, "in place", inPlace, test.want, numtest.Tolerance{})
		})
	}
}

// The embeddings of prompt a lie at 0, 60 and 90 degrees.
func TestGARDO(t *testing.T) {
	prompts := []string{"a", "b", "a", "a"}
	embeddings := []float64{2, 0, 1, 1, 0.5, math.Sqrt(3) / 2, 0, 3}
	rewards := []float64{4, 9, 1, 1}
	got := make([]float64, 4)
	if err := NewStatTracker(false).UpdateGARDO(got, prompts, rewards, embeddings); err != nil {
		t.Fatal(err)
	}
	// The nearest distances within "a" are 1-cos 60, 1-cos 30 and 1-cos 30.
	near := 1 - math.Sqrt(3)/2
	factor := 0.5 / ((0.5 + 2*near) / 3)
	numtest.Slice(t, "advantages", got, []float64{2 * factor, 0, -1, -1}, exact64)

	same := []float64{1, 2, 1, 2, 2, 4, 3, 6}
	if err := NewStatTracker(false).UpdateGARDO(got, prompts, rewards, same); err != nil {
		t.Fatal(err)
	}
	numtest.Slice(t, "with one embedding", got, []float64{2, 0, -1, -1}, numtest.Tolerance{Abs: 1e-12})

	columns := make([]float64, 8)
	if err := NewStatTracker(false).UpdateGARDO(columns, prompts, []float64{4, 0, 9, 0, 1, 0, 1, 3}, embeddings); err != nil {
		t.Fatal(err)
	}
	numtest.Slice(t, "two columns", columns, []float64{2 * factor, -1, 0, 0, -1, -1, -1, 2 * near / ((0.5 + 2*near) / 3)}, exact64)
}

func TestTrackerRefusesBadBatches(t *testing.T) {
	nan := math.NaN()
	tests := []struct {
		name       string
		kind       AdvantageType
		prompts    []string
		rewards    []float64
		embeddings []float64
		want       string
	}{
		{"an empty batch", GRPO, nil, nil, nil, "at least one group"},
		{"NaN", GRPO, []string{"a", "b"}, []float64{1, nan}, nil, "reward of sample 1 is NaN"},
		{"infinity in a second column", SFT, []string{"a"}, []float64{1, math.Inf(1)}, nil, "reward of sample 0 is +Inf"},
		{"overflow", GRPO, []string{"a", "a"}, []float64{1e308, -1e308}, nil, `prompt "a" overflows`},
		{"an unknown type", "ppo", []string{"a"}, []float64{1}, nil, `type "ppo"`},
		{"GARDO without embeddings", GARDO, []string{"a"}, []float64{1}, nil, `type "gardo"`},
		{"an embedding of zeros", GARDO, []string{"a", "b"}, []float64{1, 2}, []float64{1, 2, 0, 0}, "embedding of sample 1 has length 0"},
		{"an embedding with NaN", GARDO, []string{"a"}, []float64{1}, []float64{nan}, "embedding of sample 0 has length NaN"},
		{"overflow in GARDO", GARDO, []string{"a", "a"}, []float64{1e308, -1e308}, []float64{1, 1}, `prompt "a" overflows`},
		{"NaN in GARDO", GARDO, []string{"a"}, []float64{nan}, []float64{1}, "reward of sample 0 is NaN"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			tracker, dst := NewStatTracker(false), make([]float64, len(test.rewards))
			var err error
			if test.embeddings != nil {
				err = tracker.UpdateGARDO(dst, test.prompts, test.rewards, test.embeddings)
			} else {
				err = tracker.Update(dst, test.kind, test.prompts, test.rewards)
			}
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
}

func TestABadBatchIsNotRecorded(t *testing.T) {
	tracker := NewStatTracker(false)
	if err := tracker.Update(make([]float64, 2), GRPO, []string{"a", "a"}, []float64{1, math.NaN()}); err == nil {
		t.Fatal("NaN is accepted")
	}
	if tracker.GroupSize() != 0 || tracker.TrainedPrompts() != 0 {
		t.Errorf("group size %v, %d prompts", tracker.GroupSize(), tracker.TrainedPrompts())
	}
}
