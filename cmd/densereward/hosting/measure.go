package hosting

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/denseflow/densereward/cmd/densereward/evaluators"
	"github.com/denseflow/densereward/internal/loadgen"
	"github.com/denseflow/densereward/reward"
)

// Load is what an evaluator is measured with.
type Load struct {
	Batch    int // images of a batch
	Size     int // their width and height
	InFlight int // batches at once on each device
	Rounds   int // batches that are timed, of each in flight
}

// Speed is how fast an evaluator is by itself.
type Speed struct {
	Evaluator    string   `json:"evaluator"`
	Kind         string   `json:"kind"`
	Devices      []string `json:"devices"`
	Batch        int      `json:"batch"`
	InFlight     int      `json:"in_flight"`
	ImagesPerSec float64  `json:"images_per_second"`
	BatchSeconds float64  `json:"batch_seconds"` // mean, of one batch among those in flight
}

// Measure has the evaluator score synthetic images on all its devices, after one
// batch on each that is not timed. No two samples are equal.
func Measure(ctx context.Context, h *evaluators.Hosted, load Load) (Speed, error) {
	images := make([]*reward.Image, load.Batch)
	for i := range images {
		images[i] = loadgen.Photograph(uint64(i), load.Size, load.Size)
	}
	score := func(one reward.Evaluator, batch int) error {
		samples := make([]reward.Sample, len(images))
		for i, image := range images {
			samples[i] = reward.Sample{Image: image, Prompt: fmt.Sprintf("a photograph, number %d of batch %d, with the word \"OPEN\"", i, batch), Mode: h.Description.DefaultMode()}
		}
		results, err := one.Evaluate(ctx, samples)
		for i := range results {
			err = errors.Join(err, results[i].Err)
		}
		return err
	}
	for _, one := range h.Evaluators {
		if err := score(one, -1); err != nil {
			return Speed{}, err
		}
	}
	errs := make([]error, len(h.Evaluators)*load.InFlight)
	began := time.Now()
	var running sync.WaitGroup
	for k := range errs {
		running.Go(func() {
			for round := range load.Rounds {
				if errs[k] = score(h.Evaluators[k%len(h.Evaluators)], k*load.Rounds+round); errs[k] != nil {
					return
				}
			}
		})
	}
	running.Wait()
	took := time.Since(began).Seconds()
	return Speed{
		Evaluator: h.Description.Name, Kind: h.Description.Kind, Devices: h.Devices, Batch: load.Batch, InFlight: load.InFlight,
		ImagesPerSec: float64(len(errs)*load.Rounds*load.Batch) / took,
		BatchSeconds: took / float64(load.Rounds),
	}, errors.Join(errs...)
}
