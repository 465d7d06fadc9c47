package flowgrpo

import (
	"math"

	"gonum.org/v1/gonum/floats"
)

// scoreBlock computes the log-probabilities of a block and what the ratio of its
// image needs, and keeps the distances from the mean for its gradient.
func (f *FusedLoss[T]) scoreBlock(task int, distances []float64) {
	image, lo, hi := f.block(task)
	b, step := f.batch, &f.batch.Steps[image]
	at := image * b.Shape.Locations
	logProb := f.logProb[at+lo : at+hi]
	squareDistances(logProb, distances, b.Shape, step, image, lo, b.ModelOutput, b.Sample, b.PrevSample)

	var sums blockSums
	if distances != nil {
		sums.farthest = math.Sqrt(floats.Sum(logProb))
	}
	step.logProbs(logProb, b.Shape.Channels)
	sums.logProb = floats.Sum(logProb)
	if len(f.results.LogProbMap) != 0 && !store(f.results.LogProbMap[at+lo:], logProb) {
		sums.overflow = "log-prob map"
	}
	if len(b.OldLogProb) == 0 { // the mean of the map stands in for it
		for _, v := range b.OldLogProbMap[at+lo : at+hi] {
			sums.oldLogProb += float64(v)
		}
	}
	if len(b.RefModelOutput) != 0 {
		for n := range b.Shape.rows() {
			from, to := b.Shape.row(image, n, lo, hi)
			sums.square += squareDifference(b.ModelOutput[from:to], b.RefModelOutput[from:to])
		}
	}
	f.sums[task] = sums
}

// squareDifference is the sum of (v - v_ref)^2.
func squareDifference[T Float](modelOutput, ref []T) float64 {
	ref = ref[:len(modelOutput)]
	var sum float64
	for i, v := range modelOutput {
		d := float64(v) - float64(ref[i])
		sum += d * d
	}
	return sum
}

// gradientBlock computes the ratios, the policy loss and the gradients of a block
// whose image has been scored.
func (f *FusedLoss[T]) gradientBlock(task int, distances []float64) {
	image, lo, hi := f.block(task)
	at := image * f.batch.Shape.Locations
	block, sums := f.logProb[at+lo:at+hi], &f.sums[task]
	f.ratios(block, image, at+lo)
	if f.loss.Ratio != ImageRatio {
		sums.ratio = statisticsOf(block, f.loss.ClipRange)
	}
	if len(f.results.RatioMap) != 0 && !store(f.results.RatioMap[at+lo:], block) {
		sums.overflow = "ratio map"
	}
	sums.policy = f.policy(block, image, at+lo)
	if len(f.results.GradLogProbMap) != 0 && !store(f.results.GradLogProbMap[at+lo:], block) {
		sums.overflow = "gradient of the log-prob map"
	}
	if distances != nil && !f.chain(block, distances, image, lo, sums) {
		sums.overflow = "gradient of the model output"
	}
}

// ratios replaces the log-probabilities of a block, which begins at location l
// counted through the batch, by rho.
func (f *FusedLoss[T]) ratios(block []float64, image, l int) {
	r := f.images[image].ratio
	switch f.loss.Ratio {
	case ImageRatio:
		for i := range block {
			block[i] = r
		}
	case DetachedRatio:
		// r p/(p+eps) with p = exp(log p), written so that no p overflows.
		for i, logProb := range block {
			block[i] = r / (1 + detachedEpsilon*math.Exp(-logProb))
		}
	case DirectRatio:
		old := f.batch.OldLogProbMap[l : l+len(block)]
		for i, logProb := range block {
			block[i] = math.Exp(logProb - float64(old[i]))
		}
	}
}

// policy returns the sum of the policy loss over a block of ratios that begins at
// location l counted through the batch, and replaces each ratio by the derivative
// of the policy loss with respect to the location's log-probability.
func (f *FusedLoss[T]) policy(block []float64, image, l int) float64 {
	b, n := f.batch, len(block)
	low, high, bound := 1-f.loss.ClipRange, 1+f.loss.ClipRange, f.loss.AdvantageClip
	share := 1 / (float64(b.Shape.Batch) * float64(b.Shape.Locations))
	stepWeight := 1.0
	if len(b.StepWeights) != 0 {
		stepWeight = b.StepWeights[image]
	}
	var advantage float64
	var advantages, weight []T
	if len(b.AdvantageMap) != 0 {
		advantages = b.AdvantageMap[l : l+n]
	} else {
		advantage = stepWeight * clamp(b.Advantages[image], bound)
	}
	if len(b.Weight) != 0 {
		weight = b.Weight[l : l+n]
	}
	var sum float64
	for i, ratio := range block {
		if advantages != nil {
			advantage = stepWeight * clamp(float64(advantages[i]), bound)
		}
		weighted := advantage
		if weight != nil {
			weighted *= float64(weight[i])
		}
		loss := -weighted * ratio
		slope := loss * share // rho is its own derivative by log p in every form
		if !(ratio >= low && ratio <= high) {
			if clipped := -weighted * min(max(ratio, low), high); clipped >= loss {
				loss, slope = clipped, 0
			}
		}
		sum += loss
		block[i] = slope
	}
	return sum
}

// clamp bounds |v|, unless the bound is 0. NaN stays NaN.
func clamp(v, bound float64) float64 {
	if bound == 0 || !(v > bound || v < -bound) {
		return v
	}
	return math.Copysign(bound, v)
}

// chain turns the distances of an image from its mean, in a block, into the
// derivative of the loss by the model output, given the derivative of the policy
// loss by the block's log-probabilities. It reports whether all of it is finite.
func (f *FusedLoss[T]) chain(slopes, distances []float64, image, lo int, sums *blockSums) bool {
	b, step, grad := f.batch, &f.batch.Steps[image], f.results.GradModelOutput
	// log p is LogNorm - Precision mean(d^2), and d falls by OutputCoef as v rises.
	byOutput := 2 * step.Precision * step.OutputCoef / float64(b.Shape.Channels)
	floats.Scale(byOutput, slopes)
	kl := 2 * f.loss.KLBeta * step.KLScale * step.OutputCoef * step.OutputCoef / float64(b.Shape.Len())
	// No element is larger than this, so that most blocks need no second look.
	bound := math.Sqrt(floats.Dot(slopes, slopes))*sums.farthest + math.Abs(kl)*math.Sqrt(sums.square)
	within := bound <= maxFloat[T]()/2
	base := image * b.Shape.Channels * b.Shape.Locations
	if b.Shape.Packed {
		for i := range slopes {
			from, to := b.Shape.row(image, 0, lo+i, lo+i+1)
			if kl == 0 {
				scaleToken(grad[from:to], distances[from-base:to-base], slopes[i])
			} else {
				scaleTokenAndAdd(grad[from:to], distances[from-base:to-base], slopes[i], kl, b.ModelOutput[from:to], b.RefModelOutput[from:to])
			}
		}
		from, to := b.Shape.row(image, 0, lo, lo+len(slopes))
		return within || allFinite(grad[from:to])
	}
	all := true
	for channel := range b.Shape.Channels {
		from, to := b.Shape.row(image, channel, lo, lo+len(slopes))
		if kl == 0 {
			scaleRow(grad[from:to], distances[from-base:to-base], slopes)
		} else {
			scaleRowAndAdd(grad[from:to], distances[from-base:to-base], slopes, kl, b.ModelOutput[from:to], b.RefModelOutput[from:to])
		}
		all = all && (within || allFinite(grad[from:to]))
	}
	return all
}

// scaleRow multiplies the distances of one channel by their locations' factors.
func scaleRow[T Float](grad []T, distances, factors []float64) {
	grad, factors = grad[:len(distances)], factors[:len(distances)]
	for i, d := range distances {
		grad[i] = T(factors[i] * d)
	}
}

// scaleRowAndAdd is scaleRow with kl (v - v_ref) on top.
func scaleRowAndAdd[T Float](grad []T, distances, factors []float64, kl float64, modelOutput, ref []T) {
	grad, factors = grad[:len(distances)], factors[:len(distances)]
	modelOutput, ref = modelOutput[:len(distances)], ref[:len(distances)]
	for i, d := range distances {
		grad[i] = T(factors[i]*d + kl*(float64(modelOutput[i])-float64(ref[i])))
	}
}

// scaleToken multiplies the distances of one token by its factor.
func scaleToken[T Float](grad []T, distances []float64, factor float64) {
	grad = grad[:len(distances)]
	for i, d := range distances {
		grad[i] = T(factor * d)
	}
}

// scaleTokenAndAdd is scaleToken with kl (v - v_ref) on top.
func scaleTokenAndAdd[T Float](grad []T, distances []float64, factor, kl float64, modelOutput, ref []T) {
	grad, modelOutput, ref = grad[:len(distances)], modelOutput[:len(distances)], ref[:len(distances)]
	for i, d := range distances {
		grad[i] = T(factor*d + kl*(float64(modelOutput[i])-float64(ref[i])))
	}
}
