package flowgrpo

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/denseflow/densereward/internal/numtest"
)

func TestAdvantagesEqualTheReference(t *testing.T) {
	for i, c := range readCases(t).Advantages {
		for name, want := range c.Out {
			t.Run(fmt.Sprintf("case %d %s", i, name), func(t *testing.T) {
				kind, global := AdvantageType(name), strings.HasSuffix(name, "_true")
				if strings.HasPrefix(name, "grpo") {
					kind = GRPO
				}
				tracker := NewStatTracker(global)
				got := make([]float64, len(c.Rewards))
				if err := tracker.Update(got, kind, c.Prompts, c.Rewards); err != nil {
					t.Fatal(err)
				}
				numtest.Slice(t, "tracker", got, want, exact64)
				numtest.Value(t, "group size", tracker.GroupSize(), c.GroupSize, exact64)
				if tracker.TrainedPrompts() != c.TrainedPrompts {
					t.Errorf("%d trained prompts, want %d", tracker.TrainedPrompts(), c.TrainedPrompts)
				}
				if kind != GRPO || len(c.Rewards) != len(c.Prompts) {
					return
				}
				groups := GroupBy(c.Prompts)
				if err := GroupAdvantages(got, c.Rewards, groups, FlowNormalization(global)); err != nil {
					t.Fatal(err)
				}
				numtest.Slice(t, "without a tracker", got, want, exact64)
			})
		}
	}
}

func TestZeroStdEqualsTheReference(t *testing.T) {
	for i, c := range readCases(t).ZeroStd {
		ratio, mean, err := ZeroStd(c.Rewards, GroupBy(c.Prompts))
		if err != nil {
			t.Fatal(err)
		}
		numtest.Value(t, fmt.Sprintf("case %d ratio", i), ratio, c.ZeroStdRatio, exact64)
		numtest.Value(t, fmt.Sprintf("case %d mean", i), mean, c.RewardStdMean, exact64)
	}
}

func TestBoxAdvantagesEqualTheReference(t *testing.T) {
	for i, c := range readCases(t).BoxMaps {
		t.Run(fmt.Sprintf("case %d", i), func(t *testing.T) {
			norm := BoxNormalization()
			if norm.Floor != c.SigmaMin {
				t.Fatalf("floor %v, the reference has %v", norm.Floor, c.SigmaMin)
			}
			groups := GroupBy(make([]string, len(c.Rewards))) // one prompt
			locations := c.LatentSize * c.LatentSize
			got := make([]float64, len(c.RewardMap))
			if err := MapAdvantages(got, c.RewardMap, locations, groups, norm); err != nil {
				t.Fatal(err)
			}
			numtest.Slice(t, "float64", got, c.AdvantageMap, exact64)

			got32 := make([]float32, len(c.RewardMap))
			if err := MapAdvantages(got32, convert[float32](c.RewardMap), locations, groups, norm); err != nil {
				t.Fatal(err)
			}
			numtest.Slice(t, "float32", got32, c.AdvantageMap, exact32)
		})
	}
}

// randomGroups returns names of up to five groups for n samples.
func randomGroups(rng *rand.Rand, n int) []int {
	names := make([]int, n)
	for i := range names {
		names[i] = rng.IntN(5)
	}
	return names
}

func TestAdvantageLaws(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 1))
	tol := numtest.Tolerance{Abs: 1e-9, Rel: 1e-9}
	for _, norm := range []Normalization{FlowNormalization(false), FlowNormalization(true), BoxNormalization(), {SampleStd: true, GlobalStd: true}} {
		t.Run(fmt.Sprintf("%+v", norm), func(t *testing.T) {
			for range 20 {
				n, locations := 1+rng.IntN(20), 1+rng.IntN(6)
				groups := GroupBy(randomGroups(rng, n))
				rewards := numtest.Normals(rng, n*locations)
				base := make([]float64, len(rewards))
				if err := MapAdvantages(base, rewards, locations, groups, norm); err != nil {
					t.Fatal(err)
				}
				for _, members := range groups {
					for at := range locations {
						var sum float64
						for _, sample := range members {
							sum += base[sample*locations+at]
						}
						numtest.Value(t, "sum over a group", sum, 0, tol)
					}
				}

				moved, got := make([]float64, len(rewards)), make([]float64, len(rewards))
				for i, r := range rewards {
					moved[i] = r + 3
				}
				if err := MapAdvantages(got, moved, locations, groups, norm); err != nil {
					t.Fatal(err)
				}
				numtest.Slice(t, "a constant added to all rewards", got, base, tol)

				bare := Normalization{GlobalStd: norm.GlobalStd, SampleStd: norm.SampleStd}
				if err := MapAdvantages(base, rewards, locations, groups, bare); err != nil {
					t.Fatal(err)
				}
				for i, r := range rewards {
					moved[i] = 8 * r
				}
				if err := MapAdvantages(got, moved, locations, groups, bare); err != nil {
					t.Fatal(err)
				}
				numtest.Slice(t, "scaled rewards without epsilon and floor", got, base, tol)
			}
		})
	}
}

func TestAdvantagesPermuteWithTheirSamples(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 2))
	const n, locations = 12, 3
	names, rewards := randomGroups(rng, n), numtest.Normals(rng, n*locations)
	want, got := make([]float64, n*locations), make([]float64, n*locations)
	if err := MapAdvantages(want, rewards, locations, GroupBy(names), FlowNormalization(false)); err != nil {
		t.Fatal(err)
	}
	perm := rng.Perm(n)
	movedNames, moved := make([]int, n), make([]float64, n*locations)
	for to, from := range perm {
		movedNames[to] = names[from]
		copy(moved[to*locations:(to+1)*locations], rewards[from*locations:(from+1)*locations])
	}
	if err := MapAdvantages(got, moved, locations, GroupBy(movedNames), FlowNormalization(false)); err != nil {
		t.Fatal(err)
	}
	for to, from := range perm {
		numtest.Slice(t, "moved sample", got[to*locations:(to+1)*locations], want[from*locations:(from+1)*locations],
			numtest.Tolerance{Rel: 1e-12, Abs: 1e-12})
	}
}

func TestAdvantagesOfDegenerateGroupsAreZero(t *testing.T) {
	tests := []struct {
		name    string
		rewards []float64
		groups  Groups
	}{
		{"a group of one", []float64{5}, Groups{{0}}},
		{"two groups of one", []float64{5, 0.1}, Groups{{0}, {1}}},
		{"equal rewards whose mean would round", []float64{0.7, 0.7, 0.7}, Groups{{0, 1, 2}}},
	}
	for _, test := range tests {
		for _, norm := range []Normalization{{}, FlowNormalization(false), FlowNormalization(true), BoxNormalization(), {SampleStd: true}} {
			t.Run(fmt.Sprintf("%s with %+v", test.name, norm), func(t *testing.T) {
				dst := []float64{9, 9, 9}[:len(test.rewards)]
				if err := GroupAdvantages(dst, test.rewards, test.groups, norm); err != nil {
					t.Fatal(err)
				}
				numtest.Slice(t, "advantages", dst, make([]float64, len(dst)), numtest.Tolerance{})
			})
		}
	}
}

func TestAdvantagesInPlaceAndOfSomeSamples(t *testing.T) {
	values := []float64{1, 42, 3}
	groups := GroupBy([]string{"a", "a", "a"}).Keep(func(sample int) bool { return sample != 1 })
	if err := GroupAdvantages(values, values, groups, Normalization{}); err != nil {
		t.Fatal(err)
	}
	numtest.Slice(t, "advantages", values, []float64{-1, 42, 1}, numtest.Tolerance{Rel: 1e-15})
}

func TestAdvantagesRefuseBadRewards(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	pair := Groups{{0, 1}}
	tests := []struct {
		name      string
		rewards   []float64
		locations int
		groups    Groups
		want      string
	}{
		{"NaN", []float64{1, nan}, 1, pair, "reward of sample 1 is NaN"},
		{"infinity", []float64{-inf, 1}, 1, pair, "reward of sample 0 is -Inf"},
		{"NaN in a map", []float64{1, 2, 3, nan}, 2, pair, "reward of sample 1 is NaN at location 1"},
		{"no groups", []float64{1, 2}, 1, nil, "at least one group"},
		{"an empty group", []float64{1, 2}, 1, Groups{{0}, {}}, "group 1 is empty"},
		{"rewards whose sum overflows", []float64{1e308, 1.5e308}, 1, pair, "overflows"},
		{"rewards whose squares overflow", []float64{1e200, -1e200}, 1, pair, "overflows"},
	}
	for _, test := range tests {
		for _, global := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, global %v", test.name, global), func(t *testing.T) {
				dst := make([]float64, len(test.rewards))
				err := MapAdvantages(dst, test.rewards, test.locations, test.groups, FlowNormalization(global))
				if err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("error %v, want one with %q", err, test.want)
				}
			})
		}
	}
	if err := GroupAdvantages([]float64{0, 0}, []float64{1, nan}, Groups{{0}}, Normalization{}); err != nil {
		t.Errorf("a NaN outside every group is refused: %v", err)
	}
	if _, _, err := ZeroStd([]float64{nan}, Groups{{0}}); err == nil {
		t.Error("ZeroStd accepts NaN")
	}
}

// normals draws n standard normal numbers.
