package flowgrpo

import (
	"fmt"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
)

// FusedLoss computes a loss with its diagnostics and gradients in one pass over
// the latents, on several cores. It keeps its working memory between calls: once
// it has seen a batch as large, a call allocates nothing. It is not safe for
// concurrent use.
//
// An image is scored and differentiated by one core while its latents are in
// that core's cache. A batch with fewer images than cores is cut into blocks of
// locations instead, all of which are scored before the first is differentiated.
// The results are the same to the last bit either way.
type FusedLoss[T Float] struct {
	loss    Loss
	workers int

	batch   *Batch[T]
	results *Results[T]
	blocks  int         // blocks of locations in an image
	images  []imageSums // (B)
	sums    []blockSums // (B, blocks)
	logProb []float64   // (B,L): log p, then rho, then the gradient's factor
	single  [1]float64  // an image's ratio, for its statistics

	// distances holds the distances from the mean of as many images as are
	// worked on at once. They are float64 because that is faster than converting
	// them twice, and so exact that a gradient is rounded once.
	distances []float64
	started   atomic.Int64 // how many images' distances workers have taken

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
	farthest            float64 // no distance from the mean is larger
	overflow            string  // the buffer whose type is too small for a value
}

// imageSums are what is known of an image.
type imageSums struct {
	logProb, oldLogProb float64
	ratio               float64 // r
	rho                 float64 // mean over the locations; 0 for an ImageRatio
	kl, policy          float64
}

// NewFusedLoss returns a loss fused into one pass, on the given number of
// cores, all of GOMAXPROCS for 0. It panics if the loss holds a negative number or
// one that is not finite.
func NewFusedLoss[T Float](loss Loss, workers int) *FusedLoss[T] {
	loss.check()
	if workers == 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	f := &FusedLoss[T]{loss: loss, workers: max(workers, 1)}
	f.work = func() {
		f.runTasks()
		f.done.Done()
	}
	return f
}

// Evaluate computes the loss of a batch and fills the buffers that results holds.
//
// It fails, naming the image, when a log-probability, ratio, KL term or loss comes
// out as NaN or infinite, as it does for NaN or infinity in the latents, advantages
// or weights, and when a buffer of float32 cannot hold its value; the buffers are
// unspecified then. It panics on wrong lengths and when
// the batch lacks what the loss needs.
func (f *FusedLoss[T]) Evaluate(batch *Batch[T], results *Results[T]) (Diagnostics, error) {
	batch.check(f.loss)
	results.check(batch.Shape)
	f.batch, f.results = batch, results
	f.blocks = (batch.Shape.Locations + blockLocations - 1) / blockLocations
	f.images = resize(f.images, batch.Shape.Batch)
	f.sums = resize(f.sums, batch.Shape.Batch*f.blocks)
	f.logProb = resize(f.logProb, batch.Shape.MapLen())
	if len(results.GradModelOutput) != 0 {
		f.distances = resize(f.distances, min(f.workers, batch.Shape.Batch)*batch.Shape.Channels*batch.Shape.Locations)
	}

	if batch.Shape.Batch >= f.workers {
		f.spread(wholeImages, len(f.images))
	} else {
		f.spread(scoring, len(f.sums))
		for image := range f.images {
			f.closeScores(image)
		}
		f.spread(differentiating, len(f.sums))
	}
	diagnostics, err := f.summarize()
	f.batch, f.results = nil, nil // the caller's memory is not kept
	return diagnostics, err
}

// resize returns a slice of n elements, the given one if it is large enough.
func resize[S any](s []S, n int) []S {
	if cap(s) < n {
		return make([]S, n)
	}
	return s[:n]
}

// spread does the n tasks of a phase on the cores.
func (f *FusedLoss[T]) spread(phase phase, n int) {
	f.phase, f.tasks = phase, n
	f.next.Store(0)
	f.started.Store(0)
	helpers := min(f.workers, n) - 1
	f.done.Add(helpers)
	for range helpers {
		go f.work()
	}
	f.runTasks()
	f.done.Wait()
}

func (f *FusedLoss[T]) runTasks() {
	worker := int(f.started.Add(1)) - 1
	for {
		task := int(f.next.Add(1)) - 1
		if task >= f.tasks {
			return
		}
		switch f.phase {
		case wholeImages:
			f.evaluateImage(task, f.scratch(worker))
		case scoring:
			f.scoreBlock(task, f.scratch(task/f.blocks))
		case differentiating:
			f.gradientBlock(task, f.scratch(task/f.blocks))
		}
	}
}

// scratch holds the distances of the n-th image that is worked on, nil if none are
// wanted.
func (f *FusedLoss[T]) scratch(n int) []float64 {
	if len(f.results.GradModelOutput) == 0 {
		return nil
	}
	size := f.batch.Shape.Channels * f.batch.Shape.Locations
	return f.distances[n*size : (n+1)*size]
}

func (f *FusedLoss[T]) evaluateImage(image int, distances []float64) {
	first := image * f.blocks
	for block := range f.blocks {
		f.scoreBlock(first+block, distances)
	}
	f.closeScores(image)
	for block := range f.blocks {
		f.gradientBlock(first+block, distances)
	}
}

// block returns the image and the locations of a task's block.
func (f *FusedLoss[T]) block(task int) (image, lo, hi int) {
	lo = task % f.blocks * blockLocations
	return task / f.blocks, lo, min(lo+blockLocations, f.batch.Shape.Locations)
}

// closeScores joins the scores of an image's blocks into its ratio.
func (f *FusedLoss[T]) closeScores(image int) {
	var sum blockSums
	for _, block := range f.sums[image*f.blocks : (image+1)*f.blocks] {
		sum.logProb += block.logProb
		sum.oldLogProb += block.oldLogProb
		sum.square += block.square
	}
	b, step := f.batch, &f.batch.Steps[image]
	locations := float64(b.Shape.Locations)
	s := imageSums{
		logProb:    sum.logProb / locations,
		oldLogProb: sum.oldLogProb / locations,
		kl:         step.KLScale * step.OutputCoef * step.OutputCoef * sum.square / (locations * float64(b.Shape.Channels)),
	}
	if len(b.OldLogProb) != 0 {
		s.oldLogProb = b.OldLogProb[image]
	}
	s.ratio = math.Exp(s.logProb - s.oldLogProb)
	f.images[image] = s
	if len(f.results.LogProb) != 0 {
		f.results.LogProb[image] = s.logProb
	}
	if len(f.results.ImageRatio) != 0 {
		f.results.ImageRatio[image] = s.ratio
	}
}

func (f *FusedLoss[T]) summarize() (Diagnostics, error) {
	var d Diagnostics
	var overImages, overLocations ratioStatistics
	images, locations := float64(len(f.images)), float64(f.batch.Shape.Locations)
	for i := range f.images {
		image := &f.images[i]
		for _, block := range f.sums[i*f.blocks : (i+1)*f.blocks] {
			image.policy += block.policy
			image.rho += block.ratio.mean * (block.ratio.n / locations)
			overLocations.join(block.ratio)
		}
		image.policy /= locations
		if err := image.check(i); err != nil {
			return Diagnostics{}, err
		}
		if err := f.checkOverflow(i); err != nil {
			return Diagnostics{}, err
		}
		f.single[0] = image.ratio
		overImages.join(statisticsOf(f.single[:], f.loss.ClipRange))
		d.PolicyLoss += image.policy / images
		d.KL += image.kl / images
		change := image.logProb - image.oldLogProb
		d.ApproxKL += change * change / (2 * images)
	}
	d.Loss = d.PolicyLoss + f.loss.KLBeta*d.KL
	if !finite(d.Loss) {
		return Diagnostics{}, fmt.Errorf("flowgrpo: loss is %v", d.Loss)
	}

	clipped, ratios := overImages, overLocations
	if f.loss.Ratio == ImageRatio {
		ratios = overImages
	}
	if f.loss.Ratio == DirectRatio {
		clipped = overLocations
	}
	d.ClipFracGtOne, d.ClipFracLtOne = clipped.gtOne/clipped.n, clipped.ltOne/clipped.n
	d.ClipFrac = d.ClipFracGtOne + d.ClipFracLtOne
	d.RatioMean, d.RatioStd = ratios.mean, ratios.std()
	d.RatioMin, d.RatioMax = ratios.min, ratios.max
	return d, nil
}

// checkOverflow fails when a number that is finite in float64 is not so in a
// buffer of the caller's type. It names the ratio where that is the cause.
func (f *FusedLoss[T]) checkOverflow(image int) error {
	s := &f.images[image]
	for _, block := range f.sums[image*f.blocks : (image+1)*f.blocks] {
		switch {
		case block.overflow == "":
		case s.ratio > maxFloat[T]() && f.loss.Ratio != DirectRatio:
			return fmt.Errorf("flowgrpo: ratio of image %d is %v: its log-probability rose by %v, and the %s overflows %T",
				image, s.ratio, s.logProb-s.oldLogProb, block.overflow, T(0))
		case s.rho > maxFloat[T]():
			return fmt.Errorf("flowgrpo: mean ratio of the locations of image %d is %v, and the %s overflows %T", image, s.rho, block.overflow, T(0))
		default:
			return fmt.Errorf("flowgrpo: %s of image %d overflows %T", block.overflow, image, T(0))
		}
	}
	return nil
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
