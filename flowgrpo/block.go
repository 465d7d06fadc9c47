package flowgrpo

// blockLocations is the number of locations that are worked on at a time: their
// sums stay in the first-level cache, while a run of one channel is long enough
// for memory to be read ahead. Sums over an image are taken block by block in
// order, so that results do not depend on how blocks are spread over cores.
const blockLocations = 4096

// squareDistances fills squares, one value per location of an image from lo on,
// with the sum over channels of d^2, d the distance of x_{t-1} from its mean.
// distances, unless nil, has the size of an image and receives every d at its
// place.
func squareDistances[T Float](squares, distances []float64, shape Shape, step *Step, image, lo int, modelOutput, sample, prevSample []T) {
	base := image * shape.Channels * shape.Locations
	if shape.Packed {
		for i := range squares {
			from, to := shape.row(image, 0, lo+i, lo+i+1)
			squares[i] = rowSquare(row(distances, from-base, to-base), step, modelOutput[from:to], sample[from:to], prevSample[from:to])
		}
		return
	}
	clear(squares)
	for channel := range shape.Channels {
		from, to := shape.row(image, channel, lo, lo+len(squares))
		addSquares(squares, row(distances, from-base, to-base), step, modelOutput[from:to], sample[from:to], prevSample[from:to])
	}
}

// row is values[from:to], and nil where there are none.
func row(values []float64, from, to int) []float64 {
	if values == nil {
		return nil
	}
	return values[from:to]
}

// addSquares adds one channel's d^2 to a block of locations. Most of its time goes
// into converting float32 to float64; taking several locations or channels at a
// time is no faster.
func addSquares[T Float](squares, distances []float64, step *Step, modelOutput, sample, prevSample []T) {
	a, b := step.SampleCoef, step.OutputCoef
	modelOutput, sample, prevSample = modelOutput[:len(squares)], sample[:len(squares)], prevSample[:len(squares)]
	if distances == nil {
		for i, v := range modelOutput {
			d := float64(prevSample[i]) - (a*float64(sample[i]) + b*float64(v))
			squares[i] += d * d
		}
		return
	}
	distances = distances[:len(squares)]
	for i, v := range modelOutput {
		d := float64(prevSample[i]) - (a*float64(sample[i]) + b*float64(v))
		squares[i] += d * d
		distances[i] = d
	}
}

// rowSquare is the sum of d^2 over the channels of one token.
func rowSquare[T Float](distances []float64, step *Step, modelOutput, sample, prevSample []T) float64 {
	a, b := step.SampleCoef, step.OutputCoef
	sample, prevSample = sample[:len(modelOutput)], prevSample[:len(modelOutput)]
	var square float64
	for i, v := range modelOutput {
		d := float64(prevSample[i]) - (a*float64(sample[i]) + b*float64(v))
		square += d * d
		if distances != nil {
			distances[i] = d
		}
	}
	return square
}
