package dense

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/stat"
)

// LabelMisalignment is the label of a box where the image contradicts its
// prompt. Every other label, the empty one included, counts as an artifact.
const LabelMisalignment = "misalignment"

// Box is a flawed region.
type Box struct {
	// Coords is [x0,y0,x1,y1] in thousandths of the image's width and height.
	// Parts outside 0 to 1000 are cut off; an inverted box covers nothing.
	Coords [4]float64
	// Label is [LabelMisalignment] or anything else for an artifact.
	Label string
	// Importance is 0 to 100; 100 where the evaluator stated none.
	Importance float64
}

// Penalty says what boxes cost.
type Penalty struct {
	Artifact     float64 // alpha of an artifact of importance 100
	Misalignment float64 // alpha of a misalignment of importance 100
	// Min is the least that a covered cell loses for a label. It is 0 in the
	// paper and in its published run; the trainer's default is 0.02.
	Min float64
}

// DefaultPenalty holds c of the paper, in units of the group's reward standard
// deviation: 0.5 for artifacts and 0.05 for misalignments. [Penalty.Adapt] turns
// it into alpha.
func DefaultPenalty() Penalty { return Penalty{Artifact: 0.5, Misalignment: 0.05} }

// Adapt is the adaptive penalty alpha = c * std of a group, where the receiver
// holds c and groupRewards the scalar rewards of one prompt's images. The
// standard deviation is the sample's (divided by n-1), and 0 for a group of
// one; Min is kept. It fails for an empty group and for rewards that are not
// finite.
func (p Penalty) Adapt(groupRewards []float64) (Penalty, error) {
	if len(groupRewards) == 0 {
		return Penalty{}, fmt.Errorf("dense: an adaptive penalty needs a group of at least one reward")
	}
	for i, r := range groupRewards {
		if !finite(r) {
			return Penalty{}, fmt.Errorf("dense: reward %d of the group is %v", i, r)
		}
	}
	var std float64
	if len(groupRewards) > 1 {
		std = stat.StdDev(groupRewards, nil)
	}
	p.Artifact *= std
	p.Misalignment *= std
	return p, nil
}

// BoxReward fills dst, a map on grid, with
//
//	R_D = R - alpha_art W_art - alpha_mis W_mis
//
// where W is the largest importance/100 among the boxes of the label that cover
// the cell and 0 where there is none. Boxes with one label therefore do not add
// up, and the two labels do. A box covers the cells from floor(x0*Width/1000) up
// to but not including floor(x1*Width/1000), rows likewise; one that is narrower
// than that covers none.
//
// It fails, naming the box, when a coordinate, an importance, a penalty or the
// reward is not finite, and when T cannot hold the reward of a cell; dst is
// unspecified then. It panics if dst does not
// have the grid's length.
func BoxReward[T Float](dst []T, grid Grid, reward float64, boxes []Box, penalty Penalty) error {
	checkMap("dst", len(dst), grid)
	if !finite(reward) || !finite(penalty.Artifact) || !finite(penalty.Misalignment) || !finite(penalty.Min) {
		return fmt.Errorf("dense: reward %v with penalty %+v: all must be finite", reward, penalty)
	}
	for i, box := range boxes {
		if !box.finite() {
			return fmt.Errorf("dense: box %d is %+v: its numbers must be finite", i, box)
		}
	}
	for y := range grid.Height {
		row := dst[y*grid.Width : (y+1)*grid.Width]
		for x := range row {
			row[x] = T(reward)
		}
		if !anyCoversRow(boxes, y, grid) {
			continue
		}
		for x := range row {
			art, mis := coverage(boxes, y, x, grid)
			row[x] = T(reward - penalty.of(penalty.Artifact, art) - penalty.of(penalty.Misalignment, mis))
		}
	}
	for i, v := range dst {
		if !finite(float64(v)) {
			return fmt.Errorf("dense: reward %v with penalty %+v overflows %T at cell %d", reward, penalty, v, i)
		}
	}
	return nil
}

// of is what a cell loses for a label of weight w, negative where uncovered.
func (p Penalty) of(alpha, w float64) float64 {
	if w <= 0 {
		return 0
	}
	return math.Max(math.Max(alpha, p.Min)*w, p.Min)
}

// coverage is the largest importance/100 of each label at a cell, 0 for none.
func coverage(boxes []Box, y, x int, grid Grid) (artifact, misalignment float64) {
	for i := range boxes {
		b := &boxes[i]
		if !covers(b.Coords[1], b.Coords[3], y, grid.Height) || !covers(b.Coords[0], b.Coords[2], x, grid.Width) {
			continue
		}
		if b.Label == LabelMisalignment {
			misalignment = max(misalignment, b.Importance/100)
		} else {
			artifact = max(artifact, b.Importance/100)
		}
	}
	return artifact, misalignment
}

func anyCoversRow(boxes []Box, y int, grid Grid) bool {
	for i := range boxes {
		if covers(boxes[i].Coords[1], boxes[i].Coords[3], y, grid.Height) {
			return true
		}
	}
	return false
}

// covers reports whether the span from lo to hi, in thousandths, covers cell i
// of n. The bounds are rounded down before they are compared.
func covers(lo, hi float64, i, n int) bool {
	cell := float64(i)
	return cell >= math.Floor(lo*float64(n)/1000) && cell < math.Floor(hi*float64(n)/1000)
}

func (b *Box) finite() bool {
	for _, c := range b.Coords {
		if !finite(c) {
			return false
		}
	}
	return finite(b.Importance)
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
