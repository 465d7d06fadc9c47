package forward

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/stat"

	"github.com/denseflow/densereward/flowgrpo"
)

// Weighting is how AWM weighs the matching error E = mean((u - v)^2) of noise level t.
type Weighting string

// The weightings of the public code, by its names. The last two are not linear in the
// error and have an image-level form alone.
const (
	Uniform      Weighting = "Uniform" // E
	Linear       Weighting = "t"       // t E
	Quadratic    Weighting = "t**2"    // t^2 E
	Huber        Weighting = "huber"   // t (sqrt(E + 1e-10) - 1e-5)
	GeneralHuber Weighting = "ghuber"  // t ((E + 1e-10)^p - 1e-10^p) / p, p the HuberPower
)

// AWM is the loss of Advantage Weighted Matching (arXiv 2509.25050): the clipped loss
// of Flow-GRPO with the weighted matching error, negated, for a log-probability,
//
//	log p = -weighted(mean((u - v)^2)),
//
// at noise levels that have nothing to do with the sampler's, plus KLBeta mean of
// (v - v_ref)^2. Without an OldModelOutput the policy that sampled is the one that is
// trained, and every ratio is 1. [AWM], [Flow-Factory].
//
// Dense, log p(l) is that of the location, and the ratio one of [flowgrpo.Ratio]; the
// detached form has the image's value and a local gradient.
type AWM struct {
	Ratio         flowgrpo.Ratio
	Weighting     Weighting
	HuberPower    float64 // of GeneralHuber; 0.25 in the public code
	ClipRange     float64
	AdvantageClip float64 // the bound of |A|; 0 for none
	KLBeta        float64
}

// EvaluateAWM computes the loss of a batch and, unless grad is empty, fills it with the
// gradient with respect to the model output. It fails, naming the image, when a number
// comes out as NaN or infinite, or when grad's type cannot hold it. It panics on wrong
// lengths and settings, and for a dense form of a weighting that has none.
func EvaluateAWM[T flowgrpo.Float](a AWM, b *Batch[T], grad []T) (Diagnostics, error) {
	checkAWM(a, b, grad)
	var d Diagnostics
	images, n := float64(b.Shape.Batch), b.Shape.Locations
	errors, old, slopes := make([]float64, n), make([]float64, n), make([]float64, n)
	for image := range b.Shape.Batch {
		b.squareErrors(image, b.ModelOutput, errors)
		copy(old, errors)
		if len(b.OldModelOutput) != 0 {
			b.squareErrors(image, b.OldModelOutput, old)
		}
		policy, ratio, clipped := a.locations(b.Sigma[image], errors, old, slopes, func(l int) float64 {
			return b.At(b.Shape, image, l, a.AdvantageClip)
		})
		kl := b.kl(image)
		for _, v := range []struct {
			name  string
			value float64
		}{{"ratio", ratio}, {"policy loss", policy}, {"KL term", kl}} {
			if !finite(v.value) {
				return Diagnostics{}, fmt.Errorf("forward: %s of image %d is %v", v.name, image, v.value)
			}
		}
		d.PolicyLoss += policy / images
		d.RatioMean += ratio / images
		d.ClipFrac += clipped / images
		d.KL += kl / images
		share := 1 / (images * float64(b.Shape.Channels))
		err := b.fill(grad, image, a.KLBeta, func(l, i int) float64 {
			return -2 * share * slopes[l] * (b.target(i) - float64(b.ModelOutput[i]))
		})
		if err != nil {
			return Diagnostics{}, err
		}
	}
	d.Loss = d.PolicyLoss + a.KLBeta*d.KL
	if !finite(d.Loss) {
		return Diagnostics{}, fmt.Errorf("forward: loss is %v", d.Loss)
	}
	return d, nil
}

// locations returns the mean policy loss of an image, its mean ratio and the share
// that is clipped, and fills slopes with the derivatives of that loss by the square
// errors of its locations.
func (a AWM) locations(t float64, errors, old, slopes []float64, credit func(l int) float64) (policy, ratio, clipped float64) {
	n := float64(len(errors))
	logProb, byError := a.logProb(t, stat.Mean(errors, nil))
	oldLogProb, _ := a.logProb(t, stat.Mean(old, nil))
	r := math.Exp(logProb - oldLogProb)
	for l := range errors {
		if a.Ratio == flowgrpo.DirectRatio {
			logProb, byError = a.logProb(t, errors[l])
			oldLogProb, _ = a.logProb(t, old[l])
			r = math.Exp(logProb - oldLogProb)
		}
		w := credit(l)
		loss := -w * r
		slope := loss * byError // the ratio is its own derivative by log p
		if math.Abs(r-1) > a.ClipRange {
			clipped += 1 / n
			if bound := -w * min(max(r, 1-a.ClipRange), 1+a.ClipRange); bound >= loss {
				loss, slope = bound, 0
			}
		}
		policy += loss / n
		ratio += r / n
		slopes[l] = slope / n
	}
	return policy, ratio, clipped
}

// logProb is the log-probability of a matching error with its derivative.
func (a AWM) logProb(t, e float64) (logProb, byError float64) {
	const eps = 1e-10
	switch a.Weighting {
	case Linear:
		return -t * e, -t
	case Quadratic:
		return -t * t * e, -t * t
	case Huber:
		root := math.Sqrt(e + eps)
		return -t * (root - math.Sqrt(eps)), -t / (2 * root)
	case GeneralHuber:
		p := a.HuberPower
		return -t * (math.Pow(e+eps, p) - math.Pow(eps, p)) / p, -t * math.Pow(e+eps, p-1)
	}
	return -e, -1
}

// checkAWM panics unless settings and batch are such as the loss can be taken of.
func checkAWM[T flowgrpo.Float](a AWM, b *Batch[T], grad []T) {
	checkSetting("clip range", a.ClipRange)
	checkSetting("advantage clip", a.AdvantageClip)
	checkSetting("KL beta", a.KLBeta)
	b.check(a.KLBeta, grad)
	if len(b.OldModelOutput) != 0 {
		b.Shape.CheckLatents("old model output", len(b.OldModelOutput))
	}
	b.Credit.Check(b.Shape)
	switch a.Weighting {
	case Uniform, Linear, Quadratic:
	case Huber, GeneralHuber:
		if a.Ratio != flowgrpo.ImageRatio {
			panic(fmt.Sprintf("forward: the %s weighting has an image ratio alone", a.Weighting))
		}
		if a.Weighting == GeneralHuber && !(a.HuberPower > 0) {
			panic(fmt.Sprintf("forward: a Huber power of %v", a.HuberPower))
		}
	default:
		panic(fmt.Sprintf("forward: unknown weighting %q", a.Weighting))
	}
	switch a.Ratio {
	case flowgrpo.ImageRatio:
		if b.Dense() {
			panic("forward: an image ratio takes neither an advantage map nor a weight")
		}
	case flowgrpo.DetachedRatio, flowgrpo.DirectRatio:
	default:
		panic(fmt.Sprintf("forward: unknown ratio %v", a.Ratio))
	}
}
