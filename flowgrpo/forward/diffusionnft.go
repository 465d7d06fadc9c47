package forward

import (
	"fmt"
	"math"

	"github.com/denseflow/densereward/flowgrpo"
)

// DiffusionNFT is the loss of DiffusionNFT (arXiv 2509.16117, equation 5 and
// algorithm 1). The advantage becomes a preference of 0 to 1,
//
//	r  = clamp(A w / (2 AdvantageClip) + 1/2, 0, 1),  |A| at most AdvantageClip,
//
// and pulls the policy's velocity towards the sample and an implicit negative one
// away from it,
//
//	v+ = Beta v + (1-Beta) v_old,   v- = (1+Beta) v_old - Beta v,
//	L  = AdvantageClip / Beta mean of (r |x+ - x_0|^2 / c+ + (1-r) |x- - x_0|^2 / c-)
//	     + KLBeta mean of (v - v_ref)^2,
//
// where x = x_t - t v is the image that a velocity predicts and c, through which no
// gradient flows, is an image's mean |x - x_0|, at least 1e-5. Dense, r is that of the
// location. [DiffusionNFT].
type DiffusionNFT struct {
	Beta          float64 // above 0
	AdvantageClip float64 // above 0; 5 in the public code
	KLBeta        float64
}

// leastError keeps the adaptive weight from zero, as in the public code.
const leastError = 1e-5

// EvaluateNFT computes the loss of a batch, which needs an OldModelOutput, and, unless
// grad is empty, fills it with the gradient with respect to the model output. It
// fails, naming the image, when a number comes out as NaN or infinite, or when grad's
// type cannot hold it. It panics on wrong lengths and settings.
func EvaluateNFT[T flowgrpo.Float](n DiffusionNFT, b *Batch[T], grad []T) (Diagnostics, error) {
	checkSetting("beta", n.Beta)
	checkSetting("advantage clip", n.AdvantageClip)
	checkSetting("KL beta", n.KLBeta)
	if n.Beta == 0 || n.AdvantageClip == 0 {
		panic(fmt.Sprintf("forward: DiffusionNFT with beta %v and advantage clip %v", n.Beta, n.AdvantageClip))
	}
	b.check(n.KLBeta, grad)
	b.Shape.CheckLatents("old model output", len(b.OldModelOutput))
	b.Credit.Check(b.Shape)
	var d Diagnostics
	images := float64(b.Shape.Batch)
	for image := range b.Shape.Batch {
		policy, positive, negative, err := nftImage(n, b, image, grad)
		if err != nil {
			return Diagnostics{}, err
		}
		d.PolicyLoss += policy / images
		d.PositiveLoss += positive / images
		d.NegativeLoss += negative / images
		d.KL += b.kl(image) / images
	}
	d.Loss = d.PolicyLoss + n.KLBeta*d.KL
	if !finite(d.Loss) {
		return Diagnostics{}, fmt.Errorf("forward: loss is %v", d.Loss)
	}
	return d, nil
}

// nftImage is the policy loss of one image with its two parts unweighted, and fills
// its gradient. x - x_0 of a velocity v is t (u - v).
func nftImage[T flowgrpo.Float](n DiffusionNFT, b *Batch[T], image int, grad []T) (policy, positive, negative float64, err error) {
	t, size := b.Sigma[image], float64(b.Shape.Channels*b.Shape.Locations)
	towards := func(i int) (plus, minus float64) {
		v, old, u := float64(b.ModelOutput[i]), float64(b.OldModelOutput[i]), b.target(i)
		return t * (u - (n.Beta*v + (1-n.Beta)*old)), t * (u - ((1+n.Beta)*old - n.Beta*v))
	}
	var meanPlus, meanMinus float64
	b.each(image, func(_, i int) {
		plus, minus := towards(i)
		meanPlus += math.Abs(plus) / size
		meanMinus += math.Abs(minus) / size
	})
	meanPlus, meanMinus = max(meanPlus, leastError), max(meanMinus, leastError)
	preference := make([]float64, b.Shape.Locations)
	for l := range preference {
		preference[l] = clampUnit(b.At(b.Shape, image, l, n.AdvantageClip)/n.AdvantageClip/2 + 0.5)
	}
	b.each(image, func(l, i int) {
		plus, minus := towards(i)
		pull, push, r := plus*plus/meanPlus/size, minus*minus/meanMinus/size, preference[l]
		positive += pull
		negative += push
		policy += (r*pull + (1-r)*push) / n.Beta * n.AdvantageClip
	})
	if !finite(policy) {
		return 0, 0, 0, fmt.Errorf("forward: policy loss of image %d is %v", image, policy)
	}
	share := 2 * n.AdvantageClip * t / (size * float64(b.Shape.Batch))
	err = b.fill(grad, image, n.KLBeta, func(l, i int) float64 {
		plus, minus := towards(i)
		r := preference[l]
		return share * ((1-r)*minus/meanMinus - r*plus/meanPlus)
	})
	return policy, positive, negative, err
}
