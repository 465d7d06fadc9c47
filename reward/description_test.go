package reward_test

import (
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/denseflow/densereward/reward"
)

// colours describes an evaluator of one unbounded score and one map of any size.
func colours() reward.Description {
	return reward.Description{
		Name: "colours", Kind: "colours", Fingerprint: "1", Modes: []reward.Mode{reward.ModeAnswer},
		Scores: []reward.ScoreSpec{{Name: "colourfulness", Max: math.Inf(1), Weight: 0.5}, {Name: "contrast", Min: -1, Max: 1, Weight: 2}},
		Maps:   []reward.MapSpec{{Name: "grey", Weight: 1}},
	}
}

func TestWeightsAreFoundByName(t *testing.T) {
	for name, c := range map[string]struct {
		weights *reward.Weights
		scores  []float64
		maps    []float64
		want    float64 // the reward of 3 and 0.5
		err     error
	}{
		"none are the description's":             {nil, []float64{0.5, 2}, []float64{1}, 2.5, nil},
		"a map of nothing leaves nothing":        {&reward.Weights{Scores: map[string]float64{}}, []float64{0, 0}, []float64{1}, 0, nil},
		"what a map leaves out is 0":             {&reward.Weights{Scores: map[string]float64{"contrast": -4}}, []float64{0, -4}, []float64{1}, -2, nil},
		"maps have their own":                    {&reward.Weights{Maps: map[string]float64{"grey": 0.25}}, []float64{0.5, 2}, []float64{0.25}, 2.5, nil},
		"an unknown score is refused":            {&reward.Weights{Scores: map[string]float64{"overall": 1}}, nil, nil, 0, reward.ErrUnknownField},
		"an unknown map is refused":              {&reward.Weights{Maps: map[string]float64{"artifact": 1}}, nil, nil, 0, reward.ErrUnknownField},
		"a score's name is not that of any maps": {&reward.Weights{Maps: map[string]float64{"contrast": 1}}, nil, nil, 0, reward.ErrUnknownField},
	} {
		t.Run(name, func(t *testing.T) {
			about := colours()
			got, err := about.Weighting(c.weights)
			if !errors.Is(err, c.err) {
				t.Fatalf("got %v, want %v", err, c.err)
			}
			if c.err != nil {
				return
			}
			if !slices.Equal(got.Scores, c.scores) || !slices.Equal(got.Maps, c.maps) {
				t.Errorf("got %v, want %v and %v", got, c.scores, c.maps)
			}
			if r := got.Reward([]float64{3, 0.5}); r != c.want {
				t.Errorf("reward %v, want %v", r, c.want)
			}
		})
	}
}

func TestResultsAreHeldAgainstTheDescription(t *testing.T) {
	grey := reward.Map{Height: 1, Width: 2, Data: []float32{0, 1}}
	for name, c := range map[string]struct {
		change func(*reward.Result)
		fine   bool
	}{
		"what was promised":                       {func(*reward.Result) {}, true},
		"a score without an upper bound":          {func(r *reward.Result) { r.Scores[0] = 1e9 }, true},
		"a map of another size":                   {func(r *reward.Result) { r.Maps[0] = reward.Map{Height: 1, Width: 1, Data: []float32{1}} }, true},
		"a missing map of no size":                {func(r *reward.Result) { r.Maps[0], r.Missing = reward.Map{}, []string{"grey"} }, true},
		"a map of no size that is not missing":    {func(r *reward.Result) { r.Maps[0] = reward.Map{} }, false},
		"a map with too few values":               {func(r *reward.Result) { r.Maps[0].Data = r.Maps[0].Data[:1] }, false},
		"a score below its range":                 {func(r *reward.Result) { r.Scores[1] = -2 }, false},
		"an infinite score where Max is infinite": {func(r *reward.Result) { r.Scores[0] = math.Inf(1) }, false},
		"a score that is NaN":                     {func(r *reward.Result) { r.Scores[0] = math.NaN() }, false},
		"a score too few":                         {func(r *reward.Result) { r.Scores = r.Scores[:1] }, false},
		"a map too many":                          {func(r *reward.Result) { r.Maps = append(r.Maps, grey) }, false},
		"a name that the description lacks":       {func(r *reward.Result) { r.Missing = []string{"overall"} }, false},
	} {
		t.Run(name, func(t *testing.T) {
			about := colours()
			r := reward.Result{Scores: []float64{3, 0.5}, Maps: []reward.Map{grey}}
			c.change(&r)
			if err := about.Check(&r); (err == nil) != c.fine || err != nil && !errors.Is(err, reward.ErrEvaluatorFailed) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestADescriptionThatMakesNoSenseIsRefused(t *testing.T) {
	good := colours()
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*reward.Description){
		"no name":                         func(d *reward.Description) { d.Name = "" },
		"no mode":                         func(d *reward.Description) { d.Modes = nil },
		"a mode of its own":               func(d *reward.Description) { d.Modes = []reward.Mode{"shout"} },
		"a score without a name":          func(d *reward.Description) { d.Scores[0].Name = "" },
		"two scores of one name":          func(d *reward.Description) { d.Scores[1].Name = "colourfulness" },
		"a map named like a score":        func(d *reward.Description) { d.Maps[0].Name = "contrast" },
		"a name longer than a key may be": func(d *reward.Description) { d.Maps[0].Name = string(make([]byte, 65)) },
		"an empty range":                  func(d *reward.Description) { d.Scores[1].Max = -1 },
		"a map with one side":             func(d *reward.Description) { d.Maps[0].Height = 3 },
		"weights of maps beyond 1":        func(d *reward.Description) { d.Maps[0].Weight = 1.1 },
	} {
		d := colours()
		change(&d)
		if d.Validate() == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
