package wire

import (
	"math"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/wire/bounded"
)

func (r *reader) mode() (reward.Mode, error) {
	s, err := r.Text(bounded.MaxKeyBytes)
	if err != nil {
		return "", err
	}
	if !reward.Mode(s).Valid() {
		return "", r.Fail(reward.ErrInvalidValue, "%q: want %q or %q", s, reward.ModeAnswer, reward.ModeThink)
	}
	return reward.Mode(s), nil
}

func (r *reader) missingPolicy() (reward.MissingPolicy, error) {
	s, err := r.Text(bounded.MaxKeyBytes)
	if err == nil && !reward.MissingPolicy(s).Valid() {
		err = r.Fail(reward.ErrInvalidValue, "%q: want %q or %q", s, reward.MissingZero, reward.MissingError)
	}
	return reward.MissingPolicy(s), err
}

// grid reads {preset} or {height, width}.
func (r *reader) grid(limits Limits) (reward.GridSpec, error) {
	var g reward.GridSpec
	err := r.Fields(func(key string) (known bool, err error) {
		switch key {
		case "preset":
			g.Preset, err = r.Text(bounded.MaxKeyBytes)
		case "height":
			g.Height, err = r.Int(1, limits.MapCells)
		case "width":
			g.Width, err = r.Int(1, limits.MapCells)
		default:
			return false, nil
		}
		return true, err
	})
	if err != nil {
		return g, err
	}
	sides := g.Height > 0 && g.Width > 0
	if (g.Preset != "") == sides || (g.Height > 0) != (g.Width > 0) {
		return g, r.Fail(reward.ErrInvalidValue, "want either preset or height and width")
	}
	return g, nil
}

// groups reads an array of names, or {step, size, names, members, count}.
func (r *reader) groups(limits Limits) (reward.Groups, error) {
	var g reward.Groups
	if err := r.Expect(bounded.KindArray, bounded.KindMap); err != nil {
		return g, err
	}
	if k, _ := r.Peek(); k == bounded.KindArray {
		n, err := r.samples(limits)
		if err != nil {
			return g, err
		}
		g.Names, err = r.texts(n, limits.NameBytes)
		return g, err
	}
	err := r.Fields(func(key string) (known bool, err error) {
		switch key {
		case "step":
			g.Step, err = r.Text(limits.NameBytes)
		case "size":
			g.Size, err = r.Int(1, limits.GroupSize)
		case "names":
			g.Names, err = r.prompts(limits)
		case "members":
			g.Members, err = r.members(limits)
		case "count":
			g.Count, err = r.Int(1, limits.GroupSize)
		default:
			return false, nil
		}
		return true, err
	})
	if err == nil && (g.Step == "" || g.Size == 0) {
		err = r.Fail(reward.ErrMissingField, "a map needs step and size")
	}
	return g, err
}

func (r *reader) members(limits Limits) ([]int, error) {
	n, err := r.samples(limits)
	if err != nil {
		return nil, err
	}
	members := make([]int, n)
	for i := range members {
		r.PushIndex(i)
		m, err := r.Int(0, limits.GroupSize-1)
		r.Pop()
		if err != nil {
			return nil, err
		}
		members[i] = m
	}
	return members, nil
}

// maxSmoothing bounds the work that a request can ask for at each cell.
const maxSmoothing = 63

// maxSteps is more than any sampler takes.
const maxSteps = 10_000

func (r *reader) advantage() (*reward.Advantage, error) {
	a := &reward.Advantage{}
	err := r.Fields(func(key string) (known bool, err error) {
		switch key {
		case "method":
			var s string
			s, err = r.Text(bounded.MaxKeyBytes)
			a.Method = reward.AdvantageMethod(s)
			if err == nil && !a.Method.Valid() {
				err = r.Fail(reward.ErrInvalidValue, "%q is not one of %v", s, reward.AdvantageMethods())
			}
		case "global_std":
			a.GlobalStd, err = r.Bool()
		case "floor":
			a.Floor = new(float64)
			*a.Floor, err = r.coefficient()
		case "smoothing":
			a.Smoothing, err = r.Int(0, maxSmoothing)
		case "penalty":
			a.Penalty = new(reward.Penalty)
			*a.Penalty, err = r.penalty()
		case "steps":
			a.Steps, err = r.Int(1, maxSteps)
		default:
			return false, nil
		}
		return true, err
	})
	if err != nil {
		return nil, err
	}
	switch {
	case a.Method == "":
		err = r.Fail(reward.ErrMissingField, "method is required")
	case a.Penalty != nil && a.Method != reward.AdvantageBoxFlow:
		err = r.Fail(reward.ErrInvalidValue, "penalty goes with method %q", reward.AdvantageBoxFlow)
	case (a.Floor != nil || a.Smoothing != 0) && a.Method != reward.AdvantageBoxFlow && a.Method != reward.AdvantageDenseFlowPaper:
		err = r.Fail(reward.ErrInvalidValue, "floor and smoothing go with methods %q and %q", reward.AdvantageDenseFlowPaper, reward.AdvantageBoxFlow)
	}
	if err == nil {
		err = r.checkMethod(a)
	}
	return a, err
}

// checkMethod holds the settings of gdpo and densegrpo against their methods.
func (r *reader) checkMethod(a *reward.Advantage) error {
	switch {
	case a.Method == reward.AdvantageGDPO && a.GlobalStd:
		return r.Fail(reward.ErrInvalidValue, "global_std does not go with method %q, which is over all groups anyway", a.Method)
	case a.Method == reward.AdvantageDenseGRPO && a.Steps == 0:
		return r.Fail(reward.ErrMissingField, "steps is required with method %q", a.Method)
	case a.Method != reward.AdvantageDenseGRPO && a.Steps != 0:
		return r.Fail(reward.ErrInvalidValue, "steps goes with method %q", reward.AdvantageDenseGRPO)
	}
	return nil
}

// penalty reads {artifact, misalignment, min}; what it leaves out keeps its
// default.
func (r *reader) penalty() (reward.Penalty, error) {
	p := reward.DefaultPenalty()
	err := r.Fields(func(key string) (known bool, err error) {
		switch key {
		case "artifact":
			p.Artifact, err = r.coefficient()
		case "misalignment":
			p.Misalignment, err = r.coefficient()
		case "min":
			p.Min, err = r.coefficient()
		default:
			return false, nil
		}
		return true, err
	})
	return p, err
}

// maxCoefficient keeps sums of weighted scores far from overflow, in float32
// maps as well.
const maxCoefficient = 1e6

// coefficient reads a number in [0, maxCoefficient].
func (r *reader) coefficient() (float64, error) {
	f, err := r.Float()
	if err == nil && (f < 0 || f > maxCoefficient) {
		err = r.Fail(reward.ErrInvalidValue, "%v is not in [0,%v]", f, float64(maxCoefficient))
	}
	return f, err
}

// weights reads {scores: {name: w}, heatmaps: {name: w}}. Which names there are
// depends on the evaluator, so they are checked later.
func (r *reader) weights() (*reward.Weights, error) {
	w := &reward.Weights{}
	err := r.Fields(func(key string) (known bool, err error) {
		switch key {
		case "scores":
			w.Scores, err = r.weightsByName(r.scoreWeight)
		case "heatmaps":
			w.Maps, err = r.mapWeights()
		default:
			return false, nil
		}
		return true, err
	})
	return w, err
}

func (r *reader) weightsByName(weight func() (float64, error)) (map[string]float64, error) {
	named := map[string]float64{}
	err := r.Fields(func(key string) (known bool, err error) {
		named[key], err = weight()
		return true, err
	})
	return named, err
}

// scoreWeight reads a number whose size is at most maxCoefficient.
func (r *reader) scoreWeight() (float64, error) {
	f, err := r.Float()
	if err == nil && math.Abs(f) > maxCoefficient {
		err = r.Fail(reward.ErrInvalidValue, "%v is not in [%v,%v]", f, float64(-maxCoefficient), float64(maxCoefficient))
	}
	return f, err
}

// weightSlack admits the rounding of weights that are meant to sum to one.
const weightSlack = 1e-9

func (r *reader) mapWeights() (map[string]float64, error) {
	named, err := r.weightsByName(r.Float)
	if err != nil {
		return nil, err
	}
	var sum float64
	negative := false
	for _, weight := range named {
		sum += weight
		negative = negative || weight < 0
	}
	if negative || sum > 1+weightSlack {
		return nil, r.Fail(reward.ErrInvalidValue, "want weights of at least 0 with a sum of at most 1")
	}
	return named, nil
}

func (r *reader) returns() ([]Return, error) {
	asked := []Return{}
	err := r.Elements(bounded.MaxKeys, func(int) error {
		s, err := r.Text(bounded.MaxKeyBytes)
		if err != nil {
			return err
		}
		if !Return(s).Valid() {
			return r.Fail(reward.ErrInvalidValue, "%q is not one of %v", s, Returns())
		}
		asked = append(asked, Return(s))
		return nil
	})
	return asked, err
}
