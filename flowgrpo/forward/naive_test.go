package forward

import (
	"math"

	"github.com/denseflow/densereward/flowgrpo"
)

func naiveDPO(b *Batch[float64]) float64 {
	weighted := func(image int, output []float64) (e float64) {
		for l := range b.Shape.Locations {
			for c := range b.Shape.Channels {
				i := b.Shape.Index(image, c, l)
				w := 1.0
				if b.Weight != nil {
					w = b.Weight[image*b.Shape.Locations+l]
				}
				e += w * math.Pow(output[i]-(b.Noise[i]-b.Clean[i]), 2) / float64(b.Shape.Channels*b.Shape.Locations)
			}
		}
		return e
	}
	var loss float64
	half := b.Shape.Batch / 2
	for i := range half {
		win := weighted(i, b.ModelOutput) - weighted(i, b.RefModelOutput)
		lose := weighted(half+i, b.ModelOutput) - weighted(half+i, b.RefModelOutput)
		loss -= math.Log(1/(1+math.Exp(0.5*dpoBeta*(win-lose)))) / float64(half)
	}
	return loss
}

func naiveNFT(n DiffusionNFT, b, frozen *Batch[float64]) float64 {
	noised := make([]float64, b.Shape.Len())
	Noised(noised, b.Shape, b.Sigma, b.Clean, b.Noise)
	size := float64(b.Shape.Channels * b.Shape.Locations)
	predicted := func(image, i int, v, old float64) (plus, minus float64) {
		t := b.Sigma[image]
		return noised[i] - t*(n.Beta*v+(1-n.Beta)*old), noised[i] - t*((1+n.Beta)*old-n.Beta*v)
	}
	var loss float64
	for image := range b.Shape.Batch {
		var plusScale, minusScale float64
		b.each(image, func(_, i int) {
			plus, minus := predicted(image, i, frozen.ModelOutput[i], b.OldModelOutput[i])
			plusScale += math.Abs(plus-b.Clean[i]) / size
			minusScale += math.Abs(minus-b.Clean[i]) / size
		})
		b.each(image, func(l, i int) {
			plus, minus := predicted(image, i, b.ModelOutput[i], b.OldModelOutput[i])
			a := b.At(b.Shape, image, l, n.AdvantageClip)
			r := math.Min(math.Max(a/n.AdvantageClip/2+0.5, 0), 1)
			pull := (plus - b.Clean[i]) * (plus - b.Clean[i]) / plusScale
			push := (minus - b.Clean[i]) * (minus - b.Clean[i]) / minusScale
			loss += n.AdvantageClip * (r*pull + (1-r)*push) / n.Beta / float64(b.Shape.Len())
		})
	}
	return loss + n.KLBeta*naiveKL(b)
}

func naiveKL(b *Batch[float64]) (kl float64) {
	for i, v := range b.ModelOutput {
		kl += (v - b.RefModelOutput[i]) * (v - b.RefModelOutput[i]) / float64(len(b.ModelOutput))
	}
	return kl
}

func naiveAWM(a AWM, b, frozen *Batch[float64]) float64 {
	logs := func(image int, output []float64) (all []float64, mean float64) {
		t := b.Sigma[image]
		weigh := func(e float64) float64 {
			return map[Weighting]float64{
				Uniform: -e, Linear: -t * e, Quadratic: -t * t * e, Huber: -t * (math.Sqrt(e+1e-10) - 1e-5),
				GeneralHuber: -t * (math.Pow(e+1e-10, a.HuberPower) - math.Pow(1e-10, a.HuberPower)) / a.HuberPower,
			}[a.Weighting]
		}
		errors, total := make([]float64, b.Shape.Locations), 0.0
		b.each(image, func(l, i int) {
			e := math.Pow(output[i]-(b.Noise[i]-b.Clean[i]), 2) / float64(b.Shape.Channels)
			errors[l] += e
			total += e / float64(b.Shape.Locations)
		})
		for _, e := range errors {
			all = append(all, weigh(e))
		}
		return all, weigh(total)
	}
	var loss float64
	for image := range b.Shape.Batch {
		logProb, mean := logs(image, b.ModelOutput)
		sg, sgMean := logs(image, frozen.ModelOutput)
		old, oldMean := logs(image, b.OldModelOutput)
		for l := range logProb {
			ratio := map[flowgrpo.Ratio]float64{
				flowgrpo.ImageRatio:    math.Exp(mean - oldMean),
				flowgrpo.DetachedRatio: math.Exp(sgMean-oldMean) * math.Exp(logProb[l]) / math.Exp(sg[l]),
				flowgrpo.DirectRatio:   math.Exp(logProb[l] - old[l]),
			}[a.Ratio]
			w := b.At(b.Shape, image, l, a.AdvantageClip)
			loss += math.Max(-w*ratio, -w*math.Max(1-a.ClipRange, math.Min(1+a.ClipRange, ratio))) / float64(b.Shape.MapLen())
		}
	}
	return loss + a.KLBeta*naiveKL(b)
}
