package reward

import "slices"

// AdvantageMethod names a way to make advantages.
type AdvantageMethod string

// The methods. Scalar advantages are (N); the others are maps (N,h,w).
const (
	AdvantageNone           AdvantageMethod = "none"
	AdvantageFlowGRPO       AdvantageMethod = "flowgrpo"        // scalar, per group
	AdvantageDenseFlow      AdvantageMethod = "denseflow"       // scalar advantage times 1-H
	AdvantageDenseFlowPaper AdvantageMethod = "denseflow_paper" // R(1-H) normalised per location
	AdvantageBoxFlow        AdvantageMethod = "boxflow"         // R_D from boxes, normalised per location
	AdvantageGDPO           AdvantageMethod = "gdpo"            // scalar, every score normalised by itself
	AdvantageDenseGRPO      AdvantageMethod = "densegrpo"       // scalar, of the gain in R from step to step
)

// AdvantageMethods lists the methods of the protocol.
func AdvantageMethods() []AdvantageMethod {
	return []AdvantageMethod{
		AdvantageNone, AdvantageFlowGRPO, AdvantageDenseFlow, AdvantageDenseFlowPaper, AdvantageBoxFlow, AdvantageGDPO, AdvantageDenseGRPO,
	}
}

// Valid reports whether m is a method of the protocol.
func (m AdvantageMethod) Valid() bool { return slices.Contains(AdvantageMethods(), m) }

// PerLocation reports whether the method normalises each location over the group,
// whose members' maps must then lie on one grid.
func (m AdvantageMethod) PerLocation() bool {
	return m == AdvantageDenseFlowPaper || m == AdvantageBoxFlow
}

// Dense reports whether the method's advantages are maps.
func (m AdvantageMethod) Dense() bool {
	return m == AdvantageDenseFlow || m == AdvantageDenseFlowPaper || m == AdvantageBoxFlow
}

// Advantage asks for group-relative advantages.
type Advantage struct {
	Method AdvantageMethod
	// GlobalStd divides by the standard deviation over all groups, of the
	// request or of the step, rather than by each group's.
	GlobalStd bool
	// Floor is the least standard deviation that a map is divided by; nil is
	// 0, or 0.1 for boxflow. It goes with the methods that normalise maps.
	Floor *float64
	// Smoothing is the width, in cells, of a Gaussian that advantage maps are
	// convolved with, 0 for none. It goes with the methods that normalise maps.
	Smoothing int
	// Penalty says what boxes cost; nil is DefaultPenalty. It goes with
	// boxflow.
	Penalty *Penalty
	// Steps is how many steps of each sample densegrpo is about: the images come
	// in runs of Steps+1, what the latents before each step and after the last
	// become. It goes with densegrpo.
	Steps int
}

// AllGroups reports whether an advantage depends on all groups of a request, or of
// a step, rather than on its own.
func (a *Advantage) AllGroups() bool { return a.GlobalStd || a.Method == AdvantageGDPO }

// Penalty says what the boxes of an image cost the cells they cover, for an
// importance of 100: Artifact and Misalignment in units of the standard
// deviation of the group's rewards, Min, the least, in units of reward.
type Penalty struct {
	Artifact     float64
	Misalignment float64
	Min          float64
}

// DefaultPenalty is that of the BoxFlow-GRPO paper.
func DefaultPenalty() Penalty { return Penalty{Artifact: 0.5, Misalignment: 0.05} }
