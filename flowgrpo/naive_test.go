package flowgrpo

import "math"

// naive is the loss as one would write it down: a tensor for every intermediate
// value, one thing at a time, on one core. It stays as the oracle of
// [FusedLoss].
//
// frozen stands for what the reference detaches: the log-probability maps from
// which DetachedRatio takes r and sg(p). It is nil for those of the batch itself;
// central differences hold it fixed.
func naive[T Float](loss Loss, b *Batch[T], frozen []float64) (Diagnostics, *Results[T]) {
	results := allResults[T](b.Shape)
	logProbMap := naiveLogProbMap(b)
	if frozen == nil {
		frozen = logProbMap
	}
	logProb, oldLogProb := naiveMeans(logProbMap, b.Shape), b.OldLogProb
	if oldLogProb == nil {
		oldLogProb = naiveMeans(toFloat64(b.OldLogProbMap), b.Shape)
	}
	imageRatio := make([]float64, b.Shape.Batch)
	for i := range imageRatio {
		imageRatio[i] = math.Exp(logProb[i] - oldLogProb[i])
	}
	ratio := naiveRatio(loss, b, logProbMap, frozen, oldLogProb)
	policy, slope := naivePolicy(loss, b, ratio)
	d := Diagnostics{PolicyLoss: policy, KL: naiveKL(b)}
	d.Loss = d.PolicyLoss + loss.KLBeta*d.KL
	naiveStatistics(&d, loss, imageRatio, ratio, logProb, oldLogProb)

	copy(results.LogProb, logProb)
	copy(results.ImageRatio, imageRatio)
	copy(results.LogProbMap, convert[T](logProbMap))
	copy(results.RatioMap, convert[T](ratio))
	copy(results.GradLogProbMap, convert[T](slope))
	copy(results.GradModelOutput, convert[T](naiveGradient(loss, b, slope)))
	return d, results
}

func toFloat64[T Float](values []T) []float64 {
	out := make([]float64, len(values))
	for i, v := range values {
		out[i] = float64(v)
	}
	return out
}

// eachLatent visits every value of a tensor with the index of its map.
func eachLatent(s Shape, visit func(image, i, l int)) {
	for i := range s.Len() {
		image, rest := i/(s.Channels*s.Locations), i%(s.Channels*s.Locations)
		location := rest % s.Locations
		if s.Packed {
			location = rest / s.Channels
		}
		visit(image, i, image*s.Locations+location)
	}
}

// naiveDistances is x_{t-1} - mean.
func naiveDistances[T Float](b *Batch[T]) []float64 {
	mean := make([]float64, b.Shape.Len())
	StepMean(mean, b.Shape, b.Steps, toFloat64(b.ModelOutput), toFloat64(b.Sample))
	for i, x := range b.PrevSample {
		mean[i] = float64(x) - mean[i]
	}
	return mean
}

func naiveLogProbMap[T Float](b *Batch[T]) []float64 {
	distances := naiveDistances(b)
	logProbMap := make([]float64, b.Shape.MapLen())
	eachLatent(b.Shape, func(image, i, l int) {
		step, d := b.Steps[image], distances[i]
		logProb := -d * d
		if step.Method == SDE && step.NoiseStd > 0 {
			logProb = -d*d/(2*step.NoiseStd*step.NoiseStd) - math.Log(step.NoiseStd) - logSqrtTwoPi
		}
		logProbMap[l] += logProb / float64(b.Shape.Channels)
	})
	return logProbMap
}

func naiveMeans(values []float64, s Shape) []float64 {
	means := make([]float64, s.Batch)
	for l, v := range values {
		means[l/s.Locations] += v / float64(s.Locations)
	}
	return means
}

func naiveRatio[T Float](loss Loss, b *Batch[T], logProbMap, frozen, oldLogProb []float64) []float64 {
	logProb, frozenMean := naiveMeans(logProbMap, b.Shape), naiveMeans(frozen, b.Shape)
	ratio := make([]float64, len(logProbMap))
	for l := range ratio {
		image := l / b.Shape.Locations
		switch loss.Ratio {
		case ImageRatio:
			ratio[l] = math.Exp(logProb[image] - oldLogProb[image])
		case DetachedRatio:
			ratio[l] = math.Exp(frozenMean[image]-oldLogProb[image]) * math.Exp(logProbMap[l]) / (math.Exp(frozen[l]) + 1e-10)
		case DirectRatio:
			ratio[l] = math.Exp(logProbMap[l] - float64(b.OldLogProbMap[l]))
		}
	}
	return ratio
}

// naivePolicy is the policy loss with its derivative by the log-probability map.
func naivePolicy[T Float](loss Loss, b *Batch[T], ratio []float64) (float64, []float64) {
	slope := make([]float64, len(ratio))
	var sum float64
	for l, rho := range ratio {
		image := l / b.Shape.Locations
		var advantage float64
		if b.AdvantageMap != nil {
			advantage = float64(b.AdvantageMap[l])
		} else {
			advantage = b.Advantages[image]
		}
		if loss.AdvantageClip > 0 {
			advantage = math.Max(-loss.AdvantageClip, math.Min(loss.AdvantageClip, advantage))
		}
		if b.Weight != nil {
			advantage *= float64(b.Weight[l])
		}
		if b.StepWeights != nil {
			advantage *= b.StepWeights[image]
		}
		unclipped := -advantage * rho
		clipped := -advantage * math.Max(1-loss.ClipRange, math.Min(1+loss.ClipRange, rho))
		sum += math.Max(unclipped, clipped) / float64(len(ratio))
		if unclipped > clipped || math.Abs(rho-1) <= loss.ClipRange {
			slope[l] = unclipped / float64(len(ratio))
		}
	}
	return sum, slope
}

func naiveKL[T Float](b *Batch[T]) float64 {
	if b.RefModelOutput == nil {
		return 0
	}
	mean, ref := make([]float64, b.Shape.Len()), make([]float64, b.Shape.Len())
	StepMean(mean, b.Shape, b.Steps, toFloat64(b.ModelOutput), toFloat64(b.Sample))
	StepMean(ref, b.Shape, b.Steps, toFloat64(b.RefModelOutput), toFloat64(b.Sample))
	var kl float64
	eachLatent(b.Shape, func(image, i, _ int) {
		kl += (mean[i] - ref[i]) * (mean[i] - ref[i]) / naiveKLScale(b.Steps[image]) / float64(b.Shape.Len())
	})
	return kl
}

func naiveKLScale(step Step) float64 {
	if step.Method == SDE && step.NoiseStd > 0 {
		return 2 * step.StdDev * step.StdDev
	}
	return 1
}

func naiveStatistics(d *Diagnostics, loss Loss, imageRatio, ratio, logProb, oldLogProb []float64) {
	for i := range logProb {
		d.ApproxKL += 0.5 * (logProb[i] - oldLogProb[i]) * (logProb[i] - oldLogProb[i]) / float64(len(logProb))
	}
	clipped, ratios := imageRatio, ratio
	if loss.Ratio == DirectRatio {
		clipped = ratio
	}
	if loss.Ratio == ImageRatio {
		ratios = imageRatio
	}
	for _, r := range clipped {
		if r-1 > loss.ClipRange {
			d.ClipFracGtOne += 1 / float64(len(clipped))
		}
		if 1-r > loss.ClipRange {
			d.ClipFracLtOne += 1 / float64(len(clipped))
		}
	}
	d.ClipFrac = d.ClipFracGtOne + d.ClipFracLtOne
	d.RatioMean, d.RatioStd = moments(ratios, true)
	d.RatioMin, d.RatioMax = math.Inf(1), math.Inf(-1)
	for _, r := range ratios {
		d.RatioMin, d.RatioMax = math.Min(d.RatioMin, r), math.Max(d.RatioMax, r)
	}
}

// naiveGradient chains the slope of the log-probability map to the model output
// and adds the KL term's.
func naiveGradient[T Float](loss Loss, b *Batch[T], slope []float64) []float64 {
	distances := naiveDistances(b)
	grad := make([]float64, b.Shape.Len())
	eachLatent(b.Shape, func(image, i, l int) {
		step := b.Steps[image]
		byMean := 2 * distances[i]
		if step.Method == SDE && step.NoiseStd > 0 {
			byMean = distances[i] / (step.NoiseStd * step.NoiseStd)
		}
		grad[i] = slope[l] * byMean * step.OutputCoef / float64(b.Shape.Channels)
		if b.RefModelOutput != nil {
			apart := step.OutputCoef * (float64(b.ModelOutput[i]) - float64(b.RefModelOutput[i]))
			grad[i] += loss.KLBeta * 2 * apart * step.OutputCoef / naiveKLScale(step) / float64(b.Shape.Len())
		}
	})
	return grad
}
