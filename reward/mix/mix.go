// Package mix makes one evaluator of several, as trainers mix rewards: members score
// the same images side by side, and the mixture is the weighted sum of their rewards.
//
// With members m, their scalar rewards R_m (each by its own weights) and weights w_m,
// the score mixture is sum_m w_m R_m, and the scalar reward is the mixture. Each R_m
// is a score of its own under the member's name, and each score and map of a member is
// there as MEMBER/NAME, so that a trainer can weigh them anew or normalise each over
// its group (GDPO, arXiv 2601.05242).
//
// A member that fails fails the sample, unless it is Optional: then it is left out, its
// scores and maps are missing, and the mixture is that of the others times
// sum |w| / sum |w of the others|, so that one that failed does not count as 0. A sample
// that no member with a weight scored fails. A member of weight 0 is shown and counts for
// nothing; not all of them are. A member's missing score counts as the 0 it holds, as
// everywhere, and is listed as missing.
package mix

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/denseflow/densereward/reward"
)

// Member is one evaluator of a mixture.
type Member struct {
	Name      string
	Evaluator reward.Evaluator
	Weight    float64 // of its reward
	// MapWeight is its share in the combined map. Where all are 0, members that have
	// maps share alike.
	MapWeight float64
	Optional  bool // whether it is left out of a sample that it fails for
}

// Evaluator is a mixture. It is safe for concurrent use, as its members are.
type Evaluator struct {
	members []member
	about   reward.Description
}

type member struct {
	Member
	about   reward.Description
	weights reward.Weighting
}

var _ reward.Evaluator = (*Evaluator)(nil)

// MixtureScore names the weighted sum.
const MixtureScore = "mixture"

// New makes a mixture called name. Names of members differ and hold no "/". The
// members stay the caller's: closing them is not the mixture's.
func New(name string, members []Member) (*Evaluator, error) {
	if len(members) == 0 {
		return nil, errors.New("mix: no members")
	}
	e := &Evaluator{about: reward.Description{
		Name: name, Kind: "mix",
		Scores: []reward.ScoreSpec{{Name: MixtureScore, Min: math.Inf(-1), Max: math.Inf(1), Weight: 1, Doc: "weighted sum of the members' rewards"}},
	}}
	sum := sha256.New()
	for _, m := range members {
		one, err := newMember(m)
		if err != nil {
			return nil, fmt.Errorf("mix: member %q: %w", m.Name, err)
		}
		if slices.ContainsFunc(e.members, func(other member) bool { return other.Name == m.Name }) {
			return nil, fmt.Errorf("mix: member %q: there are two of this name", m.Name)
		}
		e.members = append(e.members, one)
		fmt.Fprintf(sum, "%q %s %v %v %v\n", m.Name, one.about.Fingerprint, m.Weight, m.MapWeight, m.Optional)
	}
	if !slices.ContainsFunc(e.members, func(m member) bool { return m.Weight != 0 }) {
		return nil, errors.New("mix: all weights are 0: every image would have the reward 0")
	}
	e.about.Fingerprint = hex.EncodeToString(sum.Sum(nil))
	e.describe()
	return e, e.about.Validate()
}

func newMember(m Member) (member, error) {
	switch {
	case m.Name == "" || strings.Contains(m.Name, "/") || m.Name == MixtureScore:
		return member{}, fmt.Errorf("the name is empty, holds a / or is %s", MixtureScore)
	case m.Evaluator == nil:
		return member{}, errors.New("no evaluator")
	case math.IsNaN(m.Weight) || math.IsInf(m.Weight, 0):
		return member{}, fmt.Errorf("weight %v is not finite", m.Weight)
	case !(m.MapWeight >= 0) || math.IsInf(m.MapWeight, 1):
		return member{}, fmt.Errorf("map weight %v is not a number from 0 on", m.MapWeight)
	}
	one := member{Member: m, about: m.Evaluator.Describe()}
	var err error
	one.weights, err = one.about.Weighting(nil)
	return one, err
}

// describe joins what the members describe.
func (e *Evaluator) describe() {
	shares := e.mapShares()
	var notes, resizes []string
	for i := range e.members {
		m := &e.members[i]
		e.about.Scores = append(e.about.Scores, reward.ScoreSpec{
			Name: m.Name, Min: math.Inf(-1), Max: math.Inf(1), Doc: fmt.Sprintf("reward of %s, weight %v in the mixture", m.about.Kind, m.Weight),
		})
		for _, s := range m.about.Scores {
			s.Name, s.Weight = m.Name+"/"+s.Name, 0
			e.about.Scores = append(e.about.Scores, s)
		}
		for k, spec := range m.about.Maps {
			spec.Name, spec.Weight = m.Name+"/"+spec.Name, shares[i]*m.weights.Maps[k]
			e.about.Maps = append(e.about.Maps, spec)
		}
		for _, mode := range m.about.Modes {
			if !slices.Contains(e.about.Modes, mode) {
				e.about.Modes = append(e.about.Modes, mode)
			}
		}
		e.about.Text = e.about.Text || m.about.Text
		e.about.Boxes = e.about.Boxes || m.about.Boxes
		e.about.Demonstration = e.about.Demonstration || m.about.Demonstration
		if limit := m.about.PromptTokens; limit > 0 && (e.about.PromptTokens == 0 || limit < e.about.PromptTokens) {
			e.about.PromptTokens = limit
		}
		if m.about.Resize != "" {
			resizes = append(resizes, m.Name+": "+m.about.Resize)
		}
		if m.about.Note != "" {
			notes = append(notes, m.Name+": "+m.about.Note)
		}
	}
	e.about.Note, e.about.Resize = strings.Join(notes, "; "), strings.Join(resizes, "; ")
}

// mapShares are the members' shares in the combined map, which sum to 1 or are 0.
func (e *Evaluator) mapShares() []float64 {
	shares := make([]float64, len(e.members))
	var sum float64
	for i, m := range e.members {
		if len(m.about.Maps) > 0 {
			shares[i] = m.MapWeight
			sum += m.MapWeight
		}
	}
	for i, m := range e.members {
		switch {
		case sum > 0:
			shares[i] /= sum
		case len(m.about.Maps) > 0:
			shares[i] = 1 / float64(e.withMaps())
		}
	}
	return shares
}

func (e *Evaluator) withMaps() (n int) {
	for _, m := range e.members {
		if len(m.about.Maps) > 0 {
			n++
		}
	}
	return n
}

// Describe lists the mixture's score, then those and the maps of each member.
func (e *Evaluator) Describe() reward.Description { return e.about }

// Evaluate has all members score the samples at the same time.
func (e *Evaluator) Evaluate(ctx context.Context, samples []reward.Sample) ([]reward.Result, error) {
	answers := make([][]reward.Result, len(e.members))
	var running sync.WaitGroup
	for i := range e.members {
		running.Go(func() { answers[i] = e.members[i].evaluate(ctx, samples) })
	}
	running.Wait()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	results := make([]reward.Result, len(samples))
	for i := range samples {
		if mode := samples[i].Mode; mode != "" && !slices.Contains(e.about.Modes, mode) {
			results[i].Err = reward.ErrUnsupportedMode.With("mode: %s does not answer in mode %q", e.about.Name, mode)
			continue
		}
		of := make([]*reward.Result, len(e.members))
		for k := range e.members {
			of[k] = &answers[k][i]
		}
		results[i] = e.join(of)
	}
	return results, nil
}

// evaluate has a member score the samples. What fails as a whole, or panics, fails for
// each of them: it must not take the other members along.
func (m *member) evaluate(ctx context.Context, samples []reward.Sample) (results []reward.Result) {
	failed := func(err error) []reward.Result {
		all := make([]reward.Result, len(samples))
		for i := range all {
			all[i].Err = err
		}
		return all
	}
	defer func() {
		if p := recover(); p != nil {
			results = failed(reward.ErrEvaluatorFailed.With("it panicked: %v", p))
		}
	}()
	own := make([]reward.Sample, len(samples))
	for i, s := range samples {
		s.Prepared = nil // what a member prepares is its own
		if !slices.Contains(m.about.Modes, s.Mode) {
			s.Mode = m.about.DefaultMode()
		}
		own[i] = s
	}
	results, err := m.Evaluator.Evaluate(ctx, own)
	switch {
	case err != nil:
		return failed(err)
	case len(results) != len(samples):
		return failed(reward.ErrEvaluatorFailed.With("%d results for %d samples", len(results), len(samples)))
	}
	for i := range results {
		if results[i].Err == nil {
			if err := m.about.Check(&results[i]); err != nil {
				results[i] = reward.Result{Err: err}
			}
		}
	}
	return results
}

// join makes the result of one sample of what the members found in it.
func (e *Evaluator) join(of []*reward.Result) reward.Result {
	var r reward.Result
	r.Scores = []float64{0}
	var sum, all, there float64
	var failed error
	var texts []string
	for k := range e.members {
		m, found := &e.members[k], of[k]
		all += math.Abs(m.Weight)
		if found.Err != nil {
			if !m.Optional {
				return reward.Result{Err: fmt.Errorf("%s: %w", m.Name, found.Err)}
			}
			if failed == nil && m.Weight != 0 {
				failed = fmt.Errorf("%s: %w", m.Name, found.Err)
			}
			m.leaveOut(&r)
			continue
		}
		there += math.Abs(m.Weight)
		own := m.weights.Reward(found.Scores)
		sum += m.Weight * own
		r.Scores = append(append(r.Scores, own), found.Scores...)
		r.Maps = append(r.Maps, found.Maps...)
		for _, name := range found.Missing {
			r.Missing = append(r.Missing, m.Name+"/"+name)
		}
		r.Boxes = append(r.Boxes, found.Boxes...)
		if found.Text != "" {
			texts = append(texts, m.Name+": "+found.Text)
		}
	}
	if there == 0 {
		return reward.Result{Err: fmt.Errorf("no member with a weight scored it; %w", failed)}
	}
	r.Scores[0] = sum * all / there
	r.Text = strings.Join(texts, "\n\n")
	return r
}

// leaveOut puts in a member's place that it has nothing.
func (m *member) leaveOut(r *reward.Result) {
	r.Scores = append(r.Scores, 0)
	r.Missing = append(r.Missing, m.Name)
	for _, s := range m.about.Scores {
		r.Scores = append(r.Scores, 0)
		r.Missing = append(r.Missing, m.Name+"/"+s.Name)
	}
	for _, spec := range m.about.Maps {
		r.Maps = append(r.Maps, reward.Map{Height: spec.Height, Width: spec.Width, Data: make([]float32, spec.Height*spec.Width)})
		r.Missing = append(r.Missing, m.Name+"/"+spec.Name)
	}
}
