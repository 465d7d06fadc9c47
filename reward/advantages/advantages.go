// Package advantages compares the members of groups: what each sample brings, by which
// rule it is held against the others of its group, and what it gets for it. Whether the
// members came in one request or met at package groups' barrier makes no difference.
package advantages

import (
	"crypto/sha256"
	"errors"
	"math"
	"slices"

	"github.com/denseflow/densereward/dense"
	"github.com/denseflow/densereward/flowgrpo"
	"github.com/denseflow/densereward/reward"
)

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
	Steps     int        // of densegrpo
}

// AllGroups reports whether a share depends on all groups of a call or a step.
func (u Rule) AllGroups() bool {
	return (&reward.Advantage{Method: u.Method, GlobalStd: u.GlobalStd}).AllGroups()
}

// Member is what a sample brings to its group.
type Member struct {
	Group string
	// Input tells a member that comes again from another one in its place: a digest of
	// all that it was made of. What it brings may differ in the last bits.
	Input  [sha256.Size]byte
	Failed bool // takes a place, and no part in the statistics
	Reward float64
	Weight []float32   // 1-H, for denseflow_paper
	Boxes  []dense.Box // for boxflow
	// For gdpo, the scores and their weights, those of weight 0 left out.
	Scores, ScoreWeights []float64
	// For densegrpo, the number of steps before the image and what the last of
	// them gained; Start is set where no step, or one from a failed image, led to it.
	Step  int
	Gain  float64
	Start bool
}

// Share is what a sample gets from its group.
type Share struct {
	Advantage float64   // of the scalar methods
	Maps      []float32 // advantages at each location, for the others
	Reward    []float32 // R_D, for boxflow
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
	case u.Method == reward.AdvantageGDPO:
		err = scoreShares(shares, members, groups)
	case u.Method == reward.AdvantageDenseGRPO:
		err = u.stepShares(shares, members, groups)
	default:
		err = u.mapShares(shares, members, groups)
	}
	var conflict *reward.Error
	if errors.As(err, &conflict) {
		return nil, conflict
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

// scoreShares are GDPO's: each score normalised over its group, and their sum, in
// which the scores' weights count, over all members.
func scoreShares(shares []Share, members []Member, groups flowgrpo.Groups) error {
	weights := members[groups[0][0]].ScoreWeights
	if len(weights) == 0 {
		return nil // every weight is 0
	}
	rewards := make([][]float64, len(weights))
	for k := range rewards {
		rewards[k] = make([]float64, len(members))
	}
	for i, m := range members {
		if !m.Failed && !slices.Equal(m.ScoreWeights, weights) {
			return reward.ErrGroupConflict.With("weights: the requests of a step differ in theirs")
		}
		for k, score := range m.Scores {
			rewards[k][i] = score
		}
	}
	values := make([]float64, len(members))
	err := flowgrpo.GDPOAdvantages(values, rewards, weights, 1, groups, flowgrpo.GDPONormalization())
	for i := range shares {
		shares[i].Advantage = values[i]
	}
	return err
}

// stepShares are DenseGRPO's: the gains of a step normalised over the group.
func (u Rule) stepShares(shares []Share, members []Member, groups flowgrpo.Groups) error {
	values := make([]float64, len(members))
	for step := 1; step <= u.Steps; step++ {
		taken := groups.Keep(func(i int) bool { return members[i].Step == step && !members[i].Start })
		if len(taken) == 0 {
			continue
		}
		gains := make([]float64, len(members))
		for i, m := range members {
			gains[i] = m.Gain
		}
		if err := flowgrpo.GroupAdvantages(gains, gains, taken, flowgrpo.FlowNormalization(u.GlobalStd)); err != nil {
			return err
		}
		for _, group := range taken {
			for _, i := range group {
				values[i] = gains[i]
			}
		}
	}
	for i := range shares {
		shares[i].Advantage = values[i]
	}
	return nil
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
