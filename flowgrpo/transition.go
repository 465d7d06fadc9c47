package flowgrpo

import "fmt"

// StepMean fills mean with the means of x_{t-1} for a batch: one step per image,
// model output and sample of the given shape. mean may be either of them. It
// panics on wrong lengths.
func StepMean[T Float](mean []T, shape Shape, steps []Step, modelOutput, sample []T) {
	checkTransition(shape, steps, modelOutput, sample)
	checkLen("mean", len(mean), shape.Len(), shape)
	size := shape.Channels * shape.Locations
	for image := range steps {
		step := &steps[image]
		for i := image * size; i < (image+1)*size; i++ {
			mean[i] = T(step.mean(float64(sample[i]), float64(modelOutput[i])))
		}
	}
}

// SampleStep draws x_{t-1} for a batch: the mean plus NoiseStd times a number
// from the image's own source, in the order of the tensor. prevSample may be
// modelOutput or sample. A step without noise draws nothing, so that noise may be
// nil when no step has any.
//
// It panics on wrong lengths and where an image with noise has no source.
func SampleStep[T Float](prevSample []T, shape Shape, steps []Step, modelOutput, sample []T, noise []NormSource) {
	checkTransition(shape, steps, modelOutput, sample)
	checkLen("prev sample", len(prevSample), shape.Len(), shape)
	size := shape.Channels * shape.Locations
	for image := range steps {
		step := &steps[image]
		if step.NoiseStd > 0 && (image >= len(noise) || noise[image] == nil) {
			panic(fmt.Sprintf("flowgrpo: no source of noise for image %d", image))
		}
		for i := image * size; i < (image+1)*size; i++ {
			x := step.mean(float64(sample[i]), float64(modelOutput[i]))
			if step.NoiseStd > 0 {
				x += step.NoiseStd * noise[image].NormFloat64()
			}
			prevSample[i] = T(x)
		}
	}
}

// LogProb scores a given x_{t-1}: logProb (B) receives each image's
// log-probability, the mean over channels and locations, and logProbMap (B,L) the
// mean over channels at each location. Either may be nil. They are the natural
// logarithms of densities, and can be positive.
//
// A NaN in the latents makes the log-probability of its location and image NaN.
// LogProb panics on wrong lengths.
func LogProb[T Float](logProb []float64, logProbMap []T, shape Shape, steps []Step, modelOutput, sample, prevSample []T) {
	checkTransition(shape, steps, modelOutput, sample)
	checkLen("prev sample", len(prevSample), shape.Len(), shape)
	checkOptional("log-prob", len(logProb), shape.Batch, shape)
	checkOptional("log-prob map", len(logProbMap), shape.MapLen(), shape)
	var squares [blockLocations]float64
	for image := range steps {
		step := &steps[image]
		var sum float64
		for lo := 0; lo < shape.Locations; lo += blockLocations {
			block := squares[:min(blockLocations, shape.Locations-lo)]
			squareDistances(block, nil, shape, step, image, lo, modelOutput, sample, prevSample)
			step.logProbs(block, shape.Channels)
			sum += total(block)
			if len(logProbMap) != 0 {
				store(logProbMap[image*shape.Locations+lo:], block)
			}
		}
		if len(logProb) != 0 {
			logProb[image] = sum / float64(shape.Locations)
		}
	}
}

// mean is that of x_{t-1}.
func (s *Step) mean(sample, modelOutput float64) float64 {
	return s.SampleCoef*sample + s.OutputCoef*modelOutput
}

// logProbs turns sums over channels of d^2 into means over channels of
// log-probabilities.
func (s *Step) logProbs(squares []float64, channels int) {
	precision := s.Precision / float64(channels)
	for i, square := range squares {
		squares[i] = s.LogNorm - precision*square
	}
}

// store fills the beginning of a map and reports whether every value is finite
// in its type.
func store[T Float](into []T, values []float64) bool {
	into = into[:len(values)]
	for i, v := range values {
		into[i] = T(v)
	}
	return allFinite(into)
}

// checkTransition panics unless steps and inputs fit the shape.
func checkTransition[T Float](shape Shape, steps []Step, modelOutput, sample []T) {
	shape.Check()
	if len(steps) != shape.Batch {
		panic(fmt.Sprintf("flowgrpo: %d steps for a batch of %d", len(steps), shape.Batch))
	}
	checkLen("model output", len(modelOutput), shape.Len(), shape)
	checkLen("sample", len(sample), shape.Len(), shape)
}
