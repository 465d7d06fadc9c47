package forward

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/floats"

	"github.com/denseflow/densereward/flowgrpo"
)

// DiffusionDPO is the loss of Diffusion-DPO (arXiv 2311.12908, equation 14) with the
// velocity for a target, as flow models have it: of pairs of a chosen and a rejected
// image, noised to one level with one noise,
//
//	L = mean of -log sigmoid(-Beta/2 ((E_w - E_w,ref) - (E_l - E_l,ref))),
//	E = mean of w (u - v)^2,
//
// with w the weight of each location, 1 without one: a map says where the chosen image
// is better, and where the rejected one is worse. [Flow-Factory], [verl-omni].
type DiffusionDPO struct {
	Beta float64 // 2,000 to 5,000 in the public code
}

// EvaluateDPO computes the loss of pairs: image i of chosen and of rejected. Both need
// a RefModelOutput; of their credit only the Weight is taken. Unless they are empty,
// gradChosen and gradRejected are filled with the gradients with respect to the model
// outputs.
//
// It fails, naming the pair, when a number comes out as NaN or infinite, or when a
// gradient's type cannot hold it. It panics on wrong lengths, differing shapes and a
// negative Beta.
func EvaluateDPO[T flowgrpo.Float](p DiffusionDPO, chosen, rejected *Batch[T], gradChosen, gradRejected []T) (Diagnostics, error) {
	checkSetting("beta", p.Beta)
	checkPairs(chosen, rejected, gradChosen, gradRejected)
	var d Diagnostics
	pairs, n := float64(chosen.Shape.Batch), chosen.Shape.Locations
	errors := make([]float64, n)
	for pair := range chosen.Shape.Batch {
		win, lose := chosen.advance(pair, errors), rejected.advance(pair, errors)
		inside := -0.5 * p.Beta * (win - lose)
		if !finite(inside) {
			return Diagnostics{}, fmt.Errorf("forward: preference of pair %d is %v", pair, inside)
		}
		d.Loss += softplus(-inside) / pairs
		d.Margin += inside / pairs
		if inside > 0 {
			d.Accuracy += 1 / pairs
		}
		// -log sigmoid(x) falls by sigmoid(-x), and x by Beta/2 as an error rises.
		slope := 0.5 * p.Beta / (1 + math.Exp(inside)) / pairs
		if err := chosen.descend(gradChosen, pair, slope); err != nil {
			return Diagnostics{}, err
		}
		if err := rejected.descend(gradRejected, pair, -slope); err != nil {
			return Diagnostics{}, err
		}
	}
	d.PolicyLoss = d.Loss
	return d, nil
}

// advance is how much larger the policy's error is than the reference's.
func (b *Batch[T]) advance(image int, errors []float64) float64 {
	var advance float64
	for _, side := range []struct {
		output []T
		sign   float64
	}{{b.ModelOutput, 1}, {b.RefModelOutput, -1}} {
		b.squareErrors(image, side.output, errors)
		for l := range errors {
			errors[l] *= b.weight(image, l)
		}
		advance += side.sign * floats.Sum(errors) / float64(len(errors))
	}
	return advance
}

// descend fills an image's gradient of slope times its weighted error.
func (b *Batch[T]) descend(grad []T, image int, slope float64) error {
	size := float64(b.Shape.Channels * b.Shape.Locations)
	return b.fill(grad, image, 0, func(l, i int) float64 {
		return slope * b.weight(image, l) * -2 * (b.target(i) - float64(b.ModelOutput[i])) / size
	})
}

func (b *Batch[T]) weight(image, location int) float64 {
	if len(b.Weight) == 0 {
		return 1
	}
	return float64(b.Weight[image*b.Shape.Locations+location])
}

// softplus is log(1 + exp(x)) without overflow.
func softplus(x float64) float64 { return math.Max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }

// checkPairs panics unless the two batches are of pairs.
func checkPairs[T flowgrpo.Float](chosen, rejected *Batch[T], gradChosen, gradRejected []T) {
	chosen.check(0, gradChosen)
	rejected.check(0, gradRejected)
	if chosen.Shape != rejected.Shape {
		panic(fmt.Sprintf("forward: chosen images of shape %s and rejected ones of shape %s", chosen.Shape, rejected.Shape))
	}
	for _, b := range []*Batch[T]{chosen, rejected} {
		b.Shape.CheckLatents("ref model output", len(b.RefModelOutput))
		if len(b.Weight) != 0 {
			b.Shape.CheckMap("weight", len(b.Weight))
		}
	}
}
