package scoring

import (
	"context"
	"math"
	"slices"

	"github.com/denseflow/densereward/dense"
	"github.com/denseflow/densereward/flowgrpo"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/advantages"
)

// Scored is Mapped with advantages.
type Scored struct {
	*Mapped
	// Advantages is nil without a method; float64 (N) or float32 (N,h,w), NaN
	// where a sample failed. Where the samples' grids differ, maps are in
	// AdvantageMaps instead, N of (h,w).
	Advantages    *reward.Tensor
	AdvantageMaps []*reward.Tensor
}

func (e *Evaluated) method() reward.AdvantageMethod {
	if e.advantage == nil {
		return reward.AdvantageNone
	}
	return e.advantage.Method
}

// rule is the rule of samples whose maps lie on grid, which the methods that
// normalise maps alone look at.
func (e *Evaluated) rule(grid dense.Grid) advantages.Rule {
	a := e.advantage
	u := advantages.Rule{Evaluator: e.Evaluator.Name, Method: a.Method, GlobalStd: a.GlobalStd, Smoothing: a.Smoothing, Steps: a.Steps}
	switch a.Method {
	case reward.AdvantageBoxFlow:
		u.Floor = flowgrpo.BoxNormalization().Floor
		u.Penalty = reward.DefaultPenalty()
	}
	if a.Method.PerLocation() {
		u.Grid = grid
	}
	if a.Floor != nil {
		u.Floor = *a.Floor
	}
	if a.Penalty != nil {
		u.Penalty = *a.Penalty
	}
	return u
}

// members are the samples as their groups need them.
func (m *Mapped) members() []advantages.Member {
	members := make([]advantages.Member, len(m.Outcomes))
	for i := range members {
		one := advantages.Member{Group: m.names[i], Failed: m.Errors[i] != nil, Reward: m.Rewards[i]}
		if m.digests != nil {
			one.Input = m.digests[i]
		}
		if !one.Failed {
			switch m.method() {
			case reward.AdvantageDenseFlowPaper:
				one.Weight = m.Grids.Map(m.Weight, i)
			case reward.AdvantageBoxFlow:
				one.Boxes = denseBoxes(m.Outcomes[i].Boxes)
			case reward.AdvantageGDPO:
				one.Scores, one.ScoreWeights = m.weights.Weighted(m.Outcomes[i].Scores)
			case reward.AdvantageDenseGRPO:
				one.Step = i % (m.advantage.Steps + 1)
				if one.Start = one.Step == 0 || m.Errors[i-1] != nil; !one.Start {
					one.Gain = m.Rewards[i] - m.Rewards[i-1]
				}
			}
		}
		members[i] = one
	}
	return members
}

func denseBoxes(boxes []reward.Box) []dense.Box {
	converted := make([]dense.Box, len(boxes))
	for i, b := range boxes {
		converted[i] = dense.Box(b)
	}
	return converted
}

// MakeAdvantages makes the advantages that are asked for, waiting at barrier for
// the members of other Inputs where groups span them.
func (m *Mapped) MakeAdvantages(ctx context.Context, barrier Barrier) (*Scored, error) {
	if m.method() == reward.AdvantageNone {
		return &Scored{Mapped: m}, nil
	}
	shares, err := m.shares(ctx, barrier)
	if err != nil {
		return nil, err
	}
	return m.withShares(shares), nil
}

// shares computes what each sample gets. Methods that normalise maps compare the
// members of a group location by location: they must lie on one grid.
func (m *Mapped) shares(ctx context.Context, barrier Barrier) ([]advantages.Share, error) {
	grid, same := m.Grids.One()
	spans := m.groups.Step != ""
	switch {
	case spans && barrier == nil:
		return nil, reward.ErrInvalidValue.With("groups.step: groups do not span calls here")
	case m.method().PerLocation() && !same && (spans || m.rule(grid).AllGroups()):
		return nil, reward.ErrGridMismatch.With("grid: method %q compares locations, and the images make maps of different sizes: name a grid by height and width", m.method())
	case spans:
		return barrier.Gather(ctx, &m.groups, m.rule(grid), m.members())
	case !m.method().PerLocation() || same:
		return m.rule(grid).Shares(m.members())
	}
	return m.sharesByGrid()
}

// sharesByGrid takes the groups of each grid by themselves.
func (m *Mapped) sharesByGrid() ([]advantages.Share, error) {
	members := m.members()
	of := map[string]dense.Grid{}
	byGrid := map[dense.Grid][]int{}
	shares := make([]advantages.Share, len(members))
	for i := range members {
		if members[i].Failed {
			shares[i].Advantage = math.NaN()
			continue
		}
		grid, name := m.Grids.Of(i), members[i].Group
		if known, ok := of[name]; ok && known != grid {
			return nil, reward.ErrGridMismatch.With("grid: group %.80q has maps of %s and of %s, which method %q cannot compare: name a grid by height and width",
				name, known, grid, m.method())
		}
		of[name] = grid
		byGrid[grid] = append(byGrid[grid], i)
	}
	for grid, at := range byGrid {
		some := make([]advantages.Member, len(at))
		for k, i := range at {
			some[k] = members[i]
		}
		got, err := m.rule(grid).Shares(some)
		if err != nil {
			return nil, err
		}
		for k, i := range at {
			shares[i] = got[k]
		}
	}
	return shares, nil
}

// withShares makes tensors of the samples' shares, and replaces R_D where the
// method has its own.
func (m *Mapped) withShares(shares []advantages.Share) *Scored {
	n := len(shares)
	if !m.method().Dense() {
		scalars := make([]float64, n)
		for i, s := range shares {
			if scalars[i] = s.Advantage; m.Errors[i] != nil { // its first try may have a share
				scalars[i] = math.NaN()
			}
		}
		return &Scored{Mapped: m, Advantages: reward.Float64Tensor(scalars, n)}
	}
	if m.method() == reward.AdvantageBoxFlow {
		m = &Mapped{m.Evaluated, m.Weight, slices.Clone(m.Reward)}
	}
	maps := make([]float32, m.Grids.Cells())
	for i, s := range shares {
		dst := m.Grids.Map(maps, i)
		switch {
		case m.Errors[i] != nil:
			fillNaN(dst)
		case s.Maps == nil: // denseflow: A (1-H)
			for c, weight := range m.Grids.Map(m.Weight, i) {
				dst[c] = float32(s.Advantage * float64(weight))
			}
		default:
			copy(dst, s.Maps)
		}
		if s.Reward != nil {
			copy(m.Grids.Map(m.Reward, i), s.Reward)
		}
	}
	scored := &Scored{Mapped: m}
	scored.Advantages, scored.AdvantageMaps = m.Grids.Tensors(maps)
	return scored
}
