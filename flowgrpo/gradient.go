package flowgrpo

import "math"

// scoreBlock computes the log-probabilities of a block and what the ratio of its
// image needs. The distances from the mean are left where their gradients will be.
func (e *Evaluator[T]) scoreBlock(task int) {
	image, lo, hi := e.place(task)
	b, step := e.batch, &e.batch.Steps[image]
	at := image * b.Shape.Locations
	logProb := e.logProb[at+lo : at+hi]
	squareDistances(logProb, e.results.GradModelOutput, b.Shape, step, image, lo, b.ModelOutput, b.Sample, b.PrevSample)

	var sums blockSums
	for i, square := range logProb {
		logProb[i] = step.logProb(square / float64(b.Shape.Channels))
		sums.logProb += logProb[i]
	}
	if len(e.results.LogProbMap) != 0 {
		for i, v := range logProb {
			e.results.LogProbMap[at+lo+i] = T(v)
		}
	}
	if len(b.OldLogProb) == 0 {
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
	e.sums[task] = sums
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
func (e *Evaluator[T]) gradientBlock(task int) {
	image, lo, hi := e.place(task)
	at := image * e.batch.Shape.Locations
	e.policyBlock(&e.sums[task], image, at+lo, at+hi)
	if len(e.results.GradModelOutput) == 0 {
		return
	}
	factors := e.logProb[at+lo : at+hi]
	e.scaleDistances(factors, image, lo)
	if e.loss.KLBeta != 0 {
		e.addKLGradient(image, lo, hi)
	}
}

// policyBlock adds up the policy loss of the locations lo to hi, counted through
// the batch, and replaces each log-probability by the factor that turns a distance
// from the mean into the derivative of the policy loss by the model output.
func (e *Evaluator[T]) policyBlock(sums *blockSums, image, lo, hi int) {
	b, step := e.batch, &e.batch.Steps[image]
	low, high := 1-e.loss.ClipRange, 1+e.loss.ClipRange
	share := 1 / (float64(b.Shape.Batch) * float64(b.Shape.Locations))
	// log p is logNorm - precision mean(d^2), and d falls by OutputCoef as v rises.
	byOutput := 2 * step.precision * step.OutputCoef / float64(b.Shape.Channels)
	var policy float64
	ratios := noRatios()
	for l := lo; l < hi; l++ {
		ratio := e.ratio(image, l)
		ratios.add(ratio, e.loss.ClipRange)
		advantage := e.weightedAdvantage(image, l)
		loss := -advantage * ratio
		slope := loss * share // the derivative of every ratio by log p is itself
		if !(ratio >= low && ratio <= high) {
			if clipped := -advantage * min(max(ratio, low), high); clipped >= loss {
				loss, slope = clipped, 0
			}
		}
		policy += loss
		e.logProb[l] = slope * byOutput
		if len(e.results.GradLogProbMap) != 0 {
			e.results.GradLogProbMap[l] = T(slope)
		}
		if len(e.results.RatioMap) != 0 {
			e.results.RatioMap[l] = T(ratio)
		}
	}
	sums.policy, sums.ratio = policy, ratios
}

// ratio is rho at location l, counted through the batch.
func (e *Evaluator[T]) ratio(image, l int) float64 {
	switch e.loss.Ratio {
	case DirectRatio:
		return math.Exp(e.logProb[l] - float64(e.batch.OldLogProbMap[l]))
	case DetachedRatio:
		// r p/(p+eps) with p = exp(log p), written so that no p overflows.
		return e.images[image].ratio / (1 + detachedEpsilon*math.Exp(-e.logProb[l]))
	}
	return e.images[image].ratio
}

// weightedAdvantage is A w at location l, counted through the batch.
func (e *Evaluator[T]) weightedAdvantage(image, l int) float64 {
	var advantage float64
	if len(e.batch.AdvantageMap) != 0 {
		advantage = float64(e.batch.AdvantageMap[l])
	} else {
		advantage = e.batch.Advantages[image]
	}
	if bound := e.loss.AdvantageClip; bound != 0 {
		advantage = min(max(advantage, -bound), bound)
	}
	if len(e.batch.Weight) != 0 {
		advantage *= float64(e.batch.Weight[l])
	}
	return advantage
}

// scaleDistances multiplies the distances of a block by its locations' factors.
func (e *Evaluator[T]) scaleDistances(factors []float64, image, lo int) {
	shape, grad := e.batch.Shape, e.results.GradModelOutput
	if shape.Packed {
		from, _ := shape.row(image, 0, lo, lo)
		for _, factor := range factors {
			for i := from; i < from+shape.Channels; i++ {
				grad[i] = T(factor * float64(grad[i]))
			}
			from += shape.Channels
		}
		return
	}
	for channel := range shape.Channels {
		from, to := shape.row(image, channel, lo, lo+len(factors))
		scaleRow(grad[from:to], factors)
	}
}

// scaleRow multiplies one channel of a block by the locations' factors.
func scaleRow[T Float](grad []T, factors []float64) {
	factors = factors[:len(grad)]
	for i, d := range grad {
		grad[i] = T(factors[i] * float64(d))
	}
}

// addKLGradient adds the derivative of KLBeta KL to a block.
func (e *Evaluator[T]) addKLGradient(image, lo, hi int) {
	b, step := e.batch, &e.batch.Steps[image]
	factor := 2 * e.loss.KLBeta * step.klScale * step.OutputCoef * step.OutputCoef / float64(b.Shape.Len())
	for n := range b.Shape.rows() {
		from, to := b.Shape.row(image, n, lo, hi)
		addScaledDifference(e.results.GradModelOutput[from:to], factor, b.ModelOutput[from:to], b.RefModelOutput[from:to])
	}
}

// addScaledDifference adds factor (v - v_ref) to a row of the gradient.
func addScaledDifference[T Float](grad []T, factor float64, modelOutput, ref []T) {
	modelOutput, ref = modelOutput[:len(grad)], ref[:len(grad)]
	for i, g := range grad {
		grad[i] = T(float64(g) + factor*(float64(modelOutput[i])-float64(ref[i])))
	}
}
