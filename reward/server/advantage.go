package server

import (
	"context"
	"math"

	"github.com/denseflow/densereward/dense"
	"github.com/denseflow/densereward/flowgrpo"
	"github.com/denseflow/densereward/reward"
)

// rule is how the advantages of a group are made. Requests of one group must
// have equal rules.
type rule struct {
	method    reward.AdvantageMethod
	globalStd bool
	floor     float64
	smoothing int
	penalty   reward.Penalty
	grid      dense.Grid // of the methods that normalise maps
}

// member is what a sample brings to its group.
type member struct {
	group  string
	failed bool // takes a place, and no part in the statistics
	reward float64
	weight []float32   // 1-H, for denseflow_paper
	boxes  []dense.Box // for boxflow
}

// share is what a sample gets from its group.
type share struct {
	advantage float64   // of the scalar methods
	maps      []float32 // advantages at each location, for the others
	reward    []float32 // R_D, for boxflow
}

func (r *rollout) rule() rule {
	a := r.q.Advantage
	u := rule{method: a.Method, globalStd: a.GlobalStd, smoothing: a.Smoothing}
	switch a.Method {
	case reward.AdvantageBoxFlow:
		u.floor = flowgrpo.BoxNormalization().Floor
		u.penalty = reward.DefaultPenalty()
		u.grid = r.grid
	case reward.AdvantageDenseFlowPaper:
		u.grid = r.grid
	}
	if a.Floor != nil {
		u.floor = *a.Floor
	}
	if a.Penalty != nil {
		u.penalty = *a.Penalty
	}
	return u
}

// members are the request's samples as their groups need them.
func (r *rollout) members() []member {
	members := make([]member, len(r.outcomes))
	for i := range members {
		m := member{group: r.q.GroupName(i), failed: r.errs[i] != nil, reward: r.rewards[i]}
		if !m.failed {
			switch r.method() {
			case reward.AdvantageDenseFlowPaper:
				m.weight = r.cells(r.weight, i)
			case reward.AdvantageBoxFlow:
				m.boxes = denseBoxes(r.outcomes[i].Boxes)
			}
		}
		members[i] = m
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

// makeAdvantages makes the advantages that the request asks for, waiting for
// the members of other requests where its groups span them.
func (r *rollout) makeAdvantages(ctx context.Context, g *gatherer) error {
	if r.method() == reward.AdvantageNone {
		return nil
	}
	var shares []share
	var err error
	if r.q.Groups.Step == "" {
		shares, err = r.rule().shares(r.members())
	} else {
		shares, err = g.gather(ctx, &r.q.Groups, r.rule(), r.members())
	}
	if err != nil {
		return err
	}
	r.useShares(shares)
	return nil
}

// useShares makes the response's tensors of the samples' shares.
func (r *rollout) useShares(shares []share) {
	n := len(shares)
	if r.method() == reward.AdvantageFlowGRPO {
		scalars := make([]float64, n)
		for i, s := range shares {
			scalars[i] = s.advantage
		}
		r.advantages = reward.Float64Tensor(scalars, n)
		return
	}
	maps := make([]float32, n*r.grid.Cells())
	for i, s := range shares {
		dst := r.cells(maps, i)
		switch {
		case r.errs[i] != nil:
			fillNaN(dst)
		case s.maps == nil: // denseflow: A (1-H)
			for c, weight := range r.cells(r.weight, i) {
				dst[c] = float32(s.advantage * float64(weight))
			}
		default:
			copy(dst, s.maps)
		}
		if s.reward != nil {
			copy(r.cells(r.denseReward, i), s.reward)
		}
	}
	r.advantages = reward.Float32Tensor(maps, n, r.grid.Height, r.grid.Width)
}

// shares computes what each member of complete groups gets. Failed members get
// NaN.
func (u rule) shares(members []member) ([]share, error) {
	names := make([]string, len(members))
	for i, m := range members {
		names[i] = m.group
	}
	groups := flowgrpo.GroupBy(names).Keep(func(i int) bool { return !members[i].failed })
	shares := make([]share, len(members))
	var err error
	switch {
	case len(groups) == 0:
		// No member was scored.
	case u.method == reward.AdvantageFlowGRPO || u.method == reward.AdvantageDenseFlow:
		err = u.scalarShares(shares, members, groups)
	default:
		err = u.mapShares(shares, members, groups)
	}
	if err != nil {
		return nil, reward.ErrInternal.Wrap(err)
	}
	for i, m := range members {
		if m.failed {
			shares[i] = share{advantage: math.NaN()}
		}
	}
	return shares, nil
}

func (u rule) scalarShares(shares []share, members []member, groups flowgrpo.Groups) error {
	values := make([]float64, len(members))
	for i, m := range members {
		values[i] = m.reward
	}
	err := flowgrpo.GroupAdvantages(values, values, groups, flowgrpo.FlowNormalization(u.globalStd))
	for i := range shares {
		shares[i].advantage = values[i]
	}
	return err
}

func (u rule) mapShares(shares []share, members []member, groups flowgrpo.Groups) error {
	cells := u.grid.Cells()
	maps := make([]float32, len(members)*cells)
	norm := flowgrpo.FlowNormalization(u.globalStd)
	if u.method == reward.AdvantageBoxFlow {
		norm = flowgrpo.BoxNormalization()
		norm.GlobalStd = u.globalStd
	}
	norm.Floor = u.floor
	for _, group := range groups {
		if err := u.denseRewards(maps, members, group); err != nil {
			return err
		}
	}
	if u.method == reward.AdvantageBoxFlow {
		for i := range shares {
			shares[i].reward = append([]float32(nil), maps[i*cells:(i+1)*cells]...)
		}
	}
	err := flowgrpo.MapAdvantages(maps, maps, cells, groups, norm)
	flowgrpo.SmoothMaps(maps, u.grid.Height, u.grid.Width, u.smoothing)
	for i := range shares {
		shares[i].maps = maps[i*cells : (i+1)*cells : (i+1)*cells]
	}
	return err
}

// denseRewards writes R_D of a group's members to maps.
func (u rule) denseRewards(maps []float32, members []member, group []int) error {
	cells := u.grid.Cells()
	at := func(i int) []float32 { return maps[i*cells : (i+1)*cells] }
	if u.method == reward.AdvantageDenseFlowPaper {
		for _, i := range group {
			for c, weight := range members[i].weight {
				at(i)[c] = float32(members[i].reward * float64(weight))
			}
		}
		return nil
	}
	rewards := make([]float64, len(group))
	for k, i := range group {
		rewards[k] = members[i].reward
	}
	penalty, err := dense.Penalty(u.penalty).Adapt(rewards)
	if err != nil {
		return err
	}
	for _, i := range group {
		if err := dense.BoxReward(at(i), u.grid, members[i].reward, members[i].boxes, penalty); err != nil {
			return err
		}
	}
	return nil
}
