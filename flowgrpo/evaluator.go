package flowgrpo

import (
	"fmt"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
)

// Evaluator computes a loss with its diagnostics and gradients in one pass over
// the latents, on several cores. It keeps its working memory between calls: once
// it has seen a batch as large, a call allocates nothing. It is not safe for
// concurrent use.
//
// An image is scored and differentiated by one core while its latents are in
// that core's cache. A batch with fewer images than cores is cut into blocks of
// locations instead, all of which are scored before the first is differentiated.
// The results are the same to the last bit either way.
type Evaluator[T Float] struct {
	loss    Loss
	workers int

	batch   *Batch[T]
	results *Results[T]
	blocks  int         // blocks of locations in an image
	images  []imageSums // (B)
	sums    []blockSums // (B, blocks)
	logProb []float64   // (B,L): log p, then rho, then the gradient's factor

	// distances has room for the distances from the mean of as many images as are
	// worked on at once. They are float64 because that is faster than converting
	// them twice, and so exact that a gradient is rounded once.
	distances []float64
	places    atomic.Int64 // how many of these rooms workers have taken

	phase phase
	tasks int
	next  atomic.Int64
	done  sync.WaitGroup
	work  func() // a worker's body, made once so that starting one allocates nothing
}

// phase is what the cores are doing.
type phase int

const (
	wholeImages     phase = iota // all the work on each image
	scoring                      // log-probabilities of each block
	differentiating              // policy loss and gradients of each block
)

// blockSums are sums over the locations of a block.
type blockSums struct {
	logProb, oldLogProb float64
	square              float64 // of v - v_ref, over channels too
	policy              float64
	ratio               ratioStatistics
}

// imageSums are what is known of an image.
type imageSums struct {
	logProb, oldLogProb float64
	ratio               float64 // r
	rho                 float64 // mean over the locations; 0 for an ImageRatio
	kl, policy          float64
}

// NewEvaluator returns an evaluator of a loss that uses the given number of
// cores, all of GOMAXPROCS for 0. It panics if the loss holds a negative number or
// one that is not finite.
func NewEvaluator[T Float](loss Loss, workers int) *Evaluator[T] {
	loss.check()
	if workers == 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	e := &Evaluator[T]{loss: loss, workers: max(workers, 1)}
	e.work = func() {
		e.runTasks()
		e.done.Done()
	}
	return e
}

// Evaluate computes the loss of a batch and fills the buffers that results holds.
//
// It fails, naming the image, when a log-probability, ratio, KL term or loss comes
// out as NaN or infinite, as it does for NaN or infinity in the latents, advantages
// or weights; the buffers are unspecified then. It panics on wrong lengths and when
// the batch lacks what the loss needs.
func (e *Evaluator[T]) Evaluate(batch *Batch[T], results *Results[T]) (Diagnostics, error) {
	batch.check(e.loss)
	results.check(batch.Shape)
	e.batch, e.results = batch, results
	e.blocks = (batch.Shape.Locations + blockLocations - 1) / blockLocations
	e.images = resize(e.images, batch.Shape.Batch)
	e.sums = resize(e.sums, batch.Shape.Batch*e.blocks)
	e.logProb = resize(e.logProb, batch.Shape.MapLen())
	if len(results.GradModelOutput) != 0 {
		e.distances = resize(e.distances, min(e.workers, batch.Shape.Batch)*batch.Shape.Channels*batch.Shape.Locations)
	}

	if batch.Shape.Batch >= e.workers {
		e.spread(wholeImages, len(e.images))
	} else {
		e.spread(scoring, len(e.sums))
		for image := range e.images {
			e.closeScores(image)
		}
		e.spread(differentiating, len(e.sums))
	}
	diagnostics, err := e.summarize()
	e.batch, e.results = nil, nil // the caller's memory is not kept
	return diagnostics, err
}

// resize returns a slice of n elements, the given one if it is large enough.
func resize[S any](s []S, n int) []S {
	if cap(s) < n {
		return make([]S, n)
	}
	return s[:n]
}

// spread does the n tasks of a phase on the evaluator's cores.
func (e *Evaluator[T]) spread(phase phase, n int) {
	e.phase, e.tasks = phase, n
	e.next.Store(0)
	e.places.Store(0)
	helpers := min(e.workers, n) - 1
	e.done.Add(helpers)
	for range helpers {
		go e.work()
	}
	e.runTasks()
	e.done.Wait()
}

func (e *Evaluator[T]) runTasks() {
	place := int(e.places.Add(1)) - 1
	for {
		task := int(e.next.Add(1)) - 1
		if task >= e.tasks {
			return
		}
		switch e.phase {
		case wholeImages:
			e.evaluateImage(task, e.room(place))
		case scoring:
			e.scoreBlock(task, e.room(task/e.blocks))
		case differentiating:
			e.gradientBlock(task, e.room(task/e.blocks))
		}
	}
}

// room is the n-th of the rooms for an image's distances, nil if none are wanted.
func (e *Evaluator[T]) room(n int) []float64 {
	if len(e.results.GradModelOutput) == 0 {
		return nil
	}
	size := e.batch.Shape.Channels * e.batch.Shape.Locations
	return e.distances[n*size : (n+1)*size]
}

// evaluateImage does all the work on an image.
func (e *Evaluator[T]) evaluateImage(image int, distances []float64) {
	first := image * e.blocks
	for block := range e.blocks {
		e.scoreBlock(first+block, distances)
	}
	e.closeScores(image)
	for block := range e.blocks {
		e.gradientBlock(first+block, distances)
	}
}

// block returns the image and the locations of a task's block.
func (e *Evaluator[T]) block(task int) (image, lo, hi int) {
	lo = task % e.blocks * blockLocations
	return task / e.blocks, lo, min(lo+blockLocations, e.batch.Shape.Locations)
}

// closeScores joins the scores of an image's blocks into its ratio.
func (e *Evaluator[T]) closeScores(image int) {
	var sum blockSums
	for _, block := range e.sums[image*e.blocks : (image+1)*e.blocks] {
		sum.logProb += block.logProb
		sum.oldLogProb += block.oldLogProb
		sum.square += block.square
	}
	b, step := e.batch, &e.batch.Steps[image]
	locations := float64(b.Shape.Locations)
	s := imageSums{
		logProb:    sum.logProb / locations,
		oldLogProb: sum.oldLogProb / locations,
		kl:         step.klScale * step.OutputCoef * step.OutputCoef * sum.square / (locations * float64(b.Shape.Channels)),
	}
	if len(b.OldLogProb) != 0 {
		s.oldLogProb = b.OldLogProb[image]
	}
	s.ratio = math.Exp(s.logProb - s.oldLogProb)
	e.images[image] = s
	if len(e.results.LogProb) != 0 {
		e.results.LogProb[image] = s.logProb
	}
	if len(e.results.ImageRatio) != 0 {
		e.results.ImageRatio[image] = s.ratio
	}
}

// summarize joins everything into the diagnostics.
func (e *Evaluator[T]) summarize() (Diagnostics, error) {
	var d Diagnostics
	var overImages, overLocations ratioStatistics
	images, locations := float64(len(e.images)), float64(e.batch.Shape.Locations)
	for i := range e.images {
		image := &e.images[i]
		for _, block := range e.sums[i*e.blocks : (i+1)*e.blocks] {
			image.policy += block.policy
			image.rho += block.ratio.mean * (block.ratio.n / locations)
			overLocations.join(block.ratio)
		}
		image.policy /= locations
		if err := image.check(i); err != nil {
			return Diagnostics{}, err
		}
		overImages.join(statisticsOf([]float64{image.ratio}, e.loss.ClipRange))
		d.PolicyLoss += image.policy / images
		d.KL += image.kl / images
		change := image.logProb - image.oldLogProb
		d.ApproxKL += change * change / (2 * images)
	}
	d.Loss = d.PolicyLoss + e.loss.KLBeta*d.KL

	clipped, ratios := overImages, overLocations
	if e.loss.Ratio == ImageRatio {
		ratios = overImages
	}
	if e.loss.Ratio == DirectRatio {
		clipped = overLocations
	}
	d.ClipFracGtOne, d.ClipFracLtOne = clipped.gtOne/clipped.n, clipped.ltOne/clipped.n
	d.ClipFrac = d.ClipFracGtOne + d.ClipFracLtOne
	d.RatioMean, d.RatioStd = ratios.mean, ratios.std()
	d.RatioMin, d.RatioMax = ratios.min, ratios.max
	return d, nil
}

// check fails when the image's share of the loss is not a number.
func (s *imageSums) check(image int) error {
	switch {
	case !finite(s.logProb):
		return fmt.Errorf("flowgrpo: log-probability of image %d is %v", image, s.logProb)
	case !finite(s.oldLogProb):
		return fmt.Errorf("flowgrpo: old log-probability of image %d is %v", image, s.oldLogProb)
	case !finite(s.ratio):
		return fmt.Errorf("flowgrpo: ratio of image %d is %v: its log-probability rose by %v", image, s.ratio, s.logProb-s.oldLogProb)
	case !finite(s.rho): // the clipped loss may well be finite
		return fmt.Errorf("flowgrpo: mean ratio of the locations of image %d is %v", image, s.rho)
	case !finite(s.kl):
		return fmt.Errorf("flowgrpo: KL term of image %d is %v", image, s.kl)
	case !finite(s.policy):
		return fmt.Errorf("flowgrpo: policy loss of image %d is %v", image, s.policy)
	}
	return nil
}
