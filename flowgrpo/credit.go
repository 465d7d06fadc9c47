package flowgrpo

import "fmt"

// Credit says how much of its reward each image or location is trained on: A, w
// and the step's weight in
//
//	clamp(A) w stepWeight,
//
// the factor of the loss at a location. Every dense map enters a loss here.
type Credit[T Float] struct {
	// Exactly one of an advantage per image (B) and per location (B,L).
	Advantages   []float64
	AdvantageMap []T

	// Weight (B,L) multiplies the clamped advantage of each location: 1-H, or an
	// external mask ([MaskAdvantages]). nil for 1 everywhere.
	Weight []T
	// StepWeights (B), at least 0, multiply the clamped advantage of each image's
	// step, as [NoiseWeights] gives them. nil for 1.
	StepWeights []float64
}

// Check panics unless the credit fits the shape.
func (c *Credit[T]) Check(s Shape) {
	checkOptional("advantages", len(c.Advantages), s.Batch, s)
	checkOptional("advantage map", len(c.AdvantageMap), s.MapLen(), s)
	checkOptional("weight", len(c.Weight), s.MapLen(), s)
	checkOptional("step weights", len(c.StepWeights), s.Batch, s)
	if (len(c.Advantages) == 0) == (len(c.AdvantageMap) == 0) {
		panic("flowgrpo: a loss needs either advantages or an advantage map")
	}
	for i, w := range c.StepWeights {
		if w < 0 {
			panic(fmt.Sprintf("flowgrpo: step weight %d is %v, below 0", i, w))
		}
	}
}

// Dense reports whether locations differ.
func (c *Credit[T]) Dense() bool { return len(c.AdvantageMap) != 0 || len(c.Weight) != 0 }

// At is the factor of a location, with |A| at most bound unless that is 0.
func (c *Credit[T]) At(s Shape, image, location int, bound float64) float64 {
	l := image*s.Locations + location
	var a float64
	if len(c.AdvantageMap) != 0 {
		a = clamp(float64(c.AdvantageMap[l]), bound)
	} else {
		a = clamp(c.Advantages[image], bound)
	}
	if len(c.Weight) != 0 {
		a *= float64(c.Weight[l])
	}
	if len(c.StepWeights) != 0 {
		a *= c.StepWeights[image]
	}
	return a
}
