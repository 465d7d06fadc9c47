// Package files scores image files and files of latents, and writes what comes
// of them into a folder.
package files

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/denseflow/densereward/dense"
	"github.com/denseflow/densereward/engine/image"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/batch"
	"github.com/denseflow/densereward/reward/scoring"
)

// Job scores files, each with the same prompt.
type Job struct {
	Paths    []string // images, and latents as .npy or .safetensors
	Prompt   string   // of all
	Metadata map[string]any
	Mode     reward.Mode
	Grid     reward.GridSpec // of dense maps; the zero value follows the file
	Out      string          // folder for maps and overlays, "" for none

	Evaluator reward.Description
	Scorer    scoring.Scorer
	Decoder   reward.LatentDecoder // nil if there are no latents
	Together  int                  // samples handed over at a time
	Latents   int                  // samples of a file of latents that make one part

	// Say is told what people should know.
	Say func(format string, args ...any)
}

// ParseGrid reads a grid: HEIGHTxWIDTH in cells, or a preset; "" is the zero
// value.
func ParseGrid(text string) (reward.GridSpec, error) {
	if text == "" || slices.Contains(dense.Presets(), text) {
		return reward.GridSpec{Preset: text}, nil
	}
	const anySide = 512 // pixels, which an explicit grid does not look at
	grid, err := dense.ParseGrid(text, anySide, anySide)
	return reward.GridSpec{Height: grid.Height, Width: grid.Width}, err
}

// parts looks into the files of latents; images are left for later.
func (j *Job) parts() []part {
	r := &partReader{prompt: j.Prompt, metadata: j.Metadata, decoder: j.Decoder, grid: j.Grid, batch: j.Latents}
	var parts []part
	for _, path := range j.Paths {
		parts = append(parts, r.of(path)...)
	}
	return parts
}

// decoder describes the decoder of latents; the zero value if there is none.
func (j *Job) decoder() reward.DecoderDescription {
	if j.Decoder == nil {
		return reward.DecoderDescription{}
	}
	return j.Decoder.Describe()
}

// Batching suits one caller who hands over full batches and wants each image
// scored, the same ones twice included. A batch waits for what is being decoded,
// and for nothing else.
func Batching(most int) batch.Config {
	cfg := batch.DefaultConfig()
	cfg.MaxBatch = most
	cfg.MaxDelay, cfg.Eager = time.Second, true
	cfg.QueueSamples = math.MaxInt
	cfg.CacheBytes = 0
	return cfg
}

// portion is some consecutive parts that were scored, their maps written.
type portion struct {
	parts   []part
	results [][]reward.Result // of each part, one a sample
	err     error
}

// Run scores the files, the first sample alone and then Together samples at a
// time, reading the next ones meanwhile, and emits the results in their order.
func (j *Job) Run(ctx context.Context, emit func(name string, r reward.Result) error) error {
	parts := j.parts()
	return j.score(ctx, parts, newMapFolder(j.Out, parts, j.Evaluator, j.Say), emit)
}

func (j *Job) score(ctx context.Context, parts []part, maps mapFolder, emit func(name string, r reward.Result) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	pipeline := &scoring.Pipeline{Evaluator: j.Evaluator, Scorer: j.Scorer, Files: image.NewDecoder(image.Limits{}), Logger: slog.New(slog.DiscardHandler)}
	decoder := j.decoder()
	pipeline.Cells = map[string]int{decoder.Name: decoder.GridScale}
	portions := make(chan chan portion, 1)
	go func() {
		defer close(portions)
		// The first portion is one sample, alone, so that there soon is something to see.
		for rest, samples := parts, 1; len(rest) > 0; samples = j.Together {
			n := portionLen(rest, samples)
			parts, answer := rest[:n], make(chan portion, 1)
			select {
			case portions <- answer:
			case <-ctx.Done():
				return
			}
			var scoring sync.WaitGroup
			scoring.Go(func() { answer <- j.scorePortion(ctx, pipeline, maps, parts) })
			if samples == 1 {
				scoring.Wait()
			}
			rest = rest[n:]
		}
	}()
	for answer := range portions {
		p := <-answer
		if err := errors.Join(p.err, ctx.Err()); err != nil {
			return err
		}
		for k, part := range p.parts {
			for i, r := range p.results[k] {
				if err := emit(part.names[i], r); err != nil {
					return err
				}
			}
		}
	}
	return ctx.Err()
}

// portionLen is how many parts make up so many samples.
func portionLen(parts []part, samples int) int {
	n := 0
	for i, p := range parts {
		if n += len(p.names); n >= samples {
			return i + 1
		}
	}
	return len(parts)
}

// scorePortion scores parts side by side.
func (j *Job) scorePortion(ctx context.Context, pipeline *scoring.Pipeline, maps mapFolder, parts []part) portion {
	p := portion{parts: parts, results: make([][]reward.Result, len(parts))}
	errs := make([]error, len(parts))
	var scoring sync.WaitGroup
	for k, part := range parts {
		scoring.Go(func() { p.results[k], errs[k] = j.scorePart(ctx, pipeline, maps, part) })
	}
	scoring.Wait()
	p.err = errors.Join(errs...)
	return p
}

// scorePart gives the results of a part's samples. What fails because of the
// part alone is an error of its samples.
func (j *Job) scorePart(ctx context.Context, pipeline *scoring.Pipeline, maps mapFolder, p part) ([]reward.Result, error) {
	results := make([]reward.Result, len(p.names))
	fail := func(err error) []reward.Result {
		for i := range results {
			results[i].Err = err
		}
		return results
	}
	in, err := p.input()
	if err != nil {
		return fail(err), nil
	}
	images := make([]*reward.Image, len(p.names))
	o := scoring.Options{Mode: j.Mode, Grid: j.Grid, Patient: true}
	if in.Latents == nil && o.Grid == (reward.GridSpec{}) {
		o.Grid.Preset = j.decoder().Name // "" without a decoder
	}
	if maps.dir != "" {
		o.Parts = scoring.Parts{Dense: true, Heatmaps: true, Optional: true}
		o.OnImage = func(i int, image *reward.Image) error { images[i] = image; return nil }
	}
	scored, err := pipeline.Score(ctx, in, o, nil)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.As(err, new(*reward.Error)) && !errors.Is(err, batch.ErrClosed):
		return fail(err), nil
	case err != nil:
		return nil, err
	}
	for i := range results {
		results[i] = scored.Outcomes[i].Result
		if e := scored.Errors[i]; e != nil {
			results[i] = reward.Result{Err: e}
			continue
		}
		if err := maps.write(p.stems[i], images[i], scored, i); err != nil {
			return nil, err
		}
	}
	return results, nil
}
