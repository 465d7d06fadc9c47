package scoring

import (
	"context"
	"math"
	"slices"

	"github.com/denseflow/densereward/dense"
	"github.com/denseflow/densereward/flowgrpo"
	"github.com/denseflow/densereward/reward"
)

// Scored is Mapped with advantages.
type Scored struct {
	*Mapped
	// Advantages is nil without a method; float64 (N) or float32 (N,h,w), NaN
	// where a sample failed.
	Advantages *reward.Tensor
}

// Rule is how the advantages of a group are made. Members of one group must
// have equal rules.
type Rule struct {
	Evaluator string // groups of different evaluators never meet
	Method    reward.AdvantageMethod
	GlobalStd bool
	Floor     float64
	Smoothing int
	Penalty   reward.Penalty
	Grid      dense.Grid // of the methods that normalise maps
}

// Member is what a sample brings to its group.
type Member struct {
	Group  string
	Failed bool // takes a place, and no part in the statistics
	Reward float64
	Weight []float32   // 1-H, for denseflow_paper
	Boxes  []dense.Box // for boxflow
}

// Share is what a sample gets from its group.
type Share struct {
	Advantage float64   // of the scalar methods
	Maps      []float32 // advantages at each location, for the others
	Reward    []float32 // R_D, for boxflow
}

func (e *Evaluated) method() reward.AdvantageMethod {
	if e.advantage == nil {
		return reward.AdvantageNone
	}
	return e.advantage.Method
}

func (e *Evaluated) rule() Rule {
	a := e.advantage
	u := Rule{Evaluator: e.Evaluator.Name, Method: a.Method, GlobalStd: a.GlobalStd, Smoothing: a.Smoothing}
	switch a.Method {
	case reward.AdvantageBoxFlow:
		u.Floor = flowgrpo.BoxNormalization().Floor
		u.Penalty = reward.DefaultPenalty()
		u.Grid = e.Grid
	case reward.AdvantageDenseFlowPaper:
		u.Grid = e.Grid
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
func (m *Mapped) members() []Member {
	members := make([]Member, len(m.Outcomes))
	for i := range members {
		one := Member{Group: m.names[i], Failed: m.Errors[i] != nil, Reward: m.Rewards[i]}
		if !one.Failed {
			switch m.method() {
			case reward.AdvantageDenseFlowPaper:
				one.Weight = m.cells(m.Weight, i)
			case reward.AdvantageBoxFlow:
				one.Boxes = denseBoxes(m.Outcomes[i].Boxes)
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
	var shares []Share
	var err error
	switch {
	case m.groups.Step == "":
		shares, err = m.rule().Shares(m.members())
	case barrier == nil:
		err = reward.ErrInvalidValue.With("groups.step: groups do not span calls here")
	default:
		shares, err = barrier.Gather(ctx, &m.groups, m.rule(), m.members())
	}
	if err != nil {
		return nil, err
	}
	return m.withShares(shares), nil
}

// withShares makes tensors of the samples' shares, and replaces R_D where the
// method has its own.
func (m *Mapped) withShares(shares []Share) *Scored {
	n := len(shares)
	if m.method() == reward.AdvantageFlowGRPO {
		scalars := make([]float64, n)
		for i, s := range shares {
			scalars[i] = s.Advantage
		}
		return &Scored{m, reward.Float64Tensor(scalars, n)}
	}
	if m.method() == reward.AdvantageBoxFlow {
		m = &Mapped{m.Evaluated, m.Weight, slices.Clone(m.Reward)}
	}
	maps := make([]float32, n*m.Grid.Cells())
	for i, s := range shares {
		dst := m.cells(maps, i)
		switch {
		case m.Errors[i] != nil:
			fillNaN(dst)
		case s.Maps == nil: // denseflow: A (1-H)
			for c, weight := range m.cells(m.Weight, i) {
				dst[c] = float32(s.Advantage * float64(weight))
			}
		default:
			copy(dst, s.Maps)
		}
		if s.Reward != nil {
			copy(m.cells(m.Reward, i), s.Reward)
		}
	}
	return &Scored{m, reward.Float32Tensor(maps, n, m.Grid.Height, m.Grid.Width)}
}

// Shares computes what each member of complete groups gets. Failed members get
// NaN.
func (u Rule) Shares(members []Member) ([]Share, error) {
	names := make([]string, len(members))
	for i, m := range members {
		names[i] = m.Group
	}
	groups := flowgrpo.GroupBy(names).Keep(func(i int) bool { return !members[i].Failed })
	shares := make([]Share, len(members))
	var err error
	switch {
	case len(groups) == 0:
		// No member was scored.
	case u.Method == reward.AdvantageFlowGRPO || u.Method == reward.AdvantageDenseFlow:
		err = u.scalarShares(shares, members, groups)
	default:
		err = u.mapShares(shares, members, groups)
	}
	if err != nil {
		return nil, reward.ErrInternal.Wrap(err)
	}
	for i, m := range members {
		if m.Failed {
			shares[i] = Share{Advantage: math.NaN()}
		}
	}
	return shares, nil
}

func (u Rule) scalarShares(shares []Share, members []Member, groups flowgrpo.Groups) error {
	values := make([]float64, len(members))
	for i, m := range members {
		values[i] = m.Reward
	}
	err := flowgrpo.GroupAdvantages(values, values, groups, flowgrpo.FlowNormalization(u.GlobalStd))
	for i := range shares {
		shares[i].Advantage = values[i]
	}
	return err
}

func (u Rule) mapShares(shares []Share, members []Member, groups flowgrpo.Groups) error {
	cells := u.Grid.Cells()
	maps := make([]float32, len(members)*cells)
	norm := flowgrpo.FlowNormalization(u.GlobalStd)
	if u.Method == reward.AdvantageBoxFlow {
		norm = flowgrpo.BoxNormalization()
		norm.GlobalStd = u.GlobalStd
	}
	norm.Floor = u.Floor
	for _, group := range groups {
		if err := u.denseRewards(maps, members, group); err != nil {
			return err
		}
	}
	if u.Method == reward.AdvantageBoxFlow {
		for i := range shares {
			shares[i].Reward = append([]float32(nil), maps[i*cells:(i+1)*cells]...)
		}
	}
	err := flowgrpo.MapAdvantages(maps, maps, cells, groups, norm)
	dense.SmoothMaps(maps, u.Grid.Height, u.Grid.Width, u.Smoothing)
	for i := range shares {
		shares[i].Maps = maps[i*cells : (i+1)*cells : (i+1)*cells]
	}
	return err
}

// denseRewards writes R_D of a group's members to maps.
func (u Rule) denseRewards(maps []float32, members []Member, group []int) error {
	cells := u.Grid.Cells()
	at := func(i int) []float32 { return maps[i*cells : (i+1)*cells] }
	if u.Method == reward.AdvantageDenseFlowPaper {
		for _, i := range group {
			for c, weight := range members[i].Weight {
				at(i)[c] = float32(members[i].Reward * float64(weight))
			}
		}
		return nil
	}
	rewards := make([]float64, len(group))
	for k, i := range group {
		rewards[k] = members[i].Reward
	}
	penalty, err := dense.Penalty(u.Penalty).Adapt(rewards)
	if err != nil {
		return err
	}
	for _, i := range group {
		if err := dense.BoxReward(at(i), u.Grid, members[i].Reward, members[i].Boxes, penalty); err != nil {
			return err
		}
	}
	return nil
}
