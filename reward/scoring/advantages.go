package scoring

import (
	"context"
	"errors"
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
	// where a sample failed. Where the samples' grids differ, maps are in
	// AdvantageMaps instead, N of (h,w).
	Advantages    *reward.Tensor
	AdvantageMaps []*reward.Tensor
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
	Steps     int        // of densegrpo
}

// AllGroups reports whether a share depends on all groups of a call or a step.
func (u Rule) AllGroups() bool {
	return (&reward.Advantage{Method: u.Method, GlobalStd: u.GlobalStd}).AllGroups()
}

// Member is what a sample brings to its group.
type Member struct {
	Group  string
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

// Equal reports whether two members bring the same.
func (m *Member) Equal(other *Member) bool {
	if m.Failed || other.Failed {
		return m.Failed == other.Failed
	}
	return m.Group == other.Group && m.Reward == other.Reward && m.Step == other.Step && m.Gain == other.Gain && m.Start == other.Start &&
		slices.Equal(m.Weight, other.Weight) && slices.Equal(m.Boxes, other.Boxes) &&
		slices.Equal(m.Scores, other.Scores) && slices.Equal(m.ScoreWeights, other.ScoreWeights)
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

// rule is the rule of samples whose maps lie on grid, which the methods that
// normalise maps alone look at.
func (e *Evaluated) rule(grid dense.Grid) Rule {
	a := e.advantage
	u := Rule{Evaluator: e.Evaluator.Name, Method: a.Method, GlobalStd: a.GlobalStd, Smoothing: a.Smoothing, Steps: a.Steps}
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
func (m *Mapped) members() []Member {
	members := make([]Member, len(m.Outcomes))
	for i := range members {
		one := Member{Group: m.names[i], Failed: m.Errors[i] != nil, Reward: m.Rewards[i]}
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
func (m *Mapped) shares(ctx context.Context, barrier Barrier) ([]Share, error) {
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
func (m *Mapped) sharesByGrid() ([]Share, error) {
	members := m.members()
	of := map[string]dense.Grid{}
	byGrid := map[dense.Grid][]int{}
	shares := make([]Share, len(members))
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
		some := make([]Member, len(at))
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
func (m *Mapped) withShares(shares []Share) *Scored {
	n := len(shares)
	if !m.method().Dense() {
		scalars := make([]float64, n)
		for i, s := range shares {
			scalars[i] = s.Advantage
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
