// Package local labels chunks of records with evaluators of this process.
//
// A chunk is one batch, whatever else is in flight: that keeps the bytes of an
// output the same from run to run. Its images are decoded and prepared on all
// cores while earlier chunks are evaluated. A batch that fails or runs out of
// memory is halved until the samples that cannot be evaluated are alone; when
// three chunks in a row fail altogether, the evaluator is taken for lost and the
// run ends.
package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/denseflow/densereward/engine/image"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/batch"
	"github.com/denseflow/densereward/reward/relabel"
	"github.com/denseflow/densereward/reward/scoring"
)

// Options say how records are labelled.
type Options struct {
	Evaluators []reward.Evaluator // of one checkpoint, one for each device
	Files      *image.Decoder
	Mode       reward.Mode // "" is the evaluator's default
	Weights    *reward.Weights
	Grid       reward.GridSpec
	Labels     relabel.Labels
	// Latents reads the bytes of a .npy or .safetensors file, and Decoder decodes
	// them; nil where there is no decoder.
	Latents func(data []byte) (*reward.Tensor, error)
	Decoder reward.LatentDecoder
}

// Evaluator labels chunks. Evaluate is its relabel.Evaluate.
type Evaluator struct {
	o       Options
	about   reward.Description
	idle    chan reward.Evaluator
	workers chan struct{}
	failing atomic.Int32 // chunks in a row that failed altogether
}

// New fails without an evaluator or a decoder, and where the labels want maps that the
// evaluator does not give.
func New(o Options) (*Evaluator, error) {
	if len(o.Evaluators) == 0 || o.Files == nil {
		return nil, errors.New("local: an evaluator and a decoder of images are needed")
	}
	e := &Evaluator{
		o: o, about: o.Evaluators[0].Describe(), idle: make(chan reward.Evaluator, len(o.Evaluators)),
		workers: make(chan struct{}, runtime.GOMAXPROCS(0)),
	}
	for _, one := range o.Evaluators {
		e.idle <- one
	}
	for _, name := range o.Labels.Maps {
		if name != relabel.ColumnDense && e.about.MapIndex(name) < 0 {
			return nil, fmt.Errorf("%s gives no map %q", e.about.Name, name)
		}
	}
	return e, nil
}

// LabelsOf lists what labels of an evaluator hold: all of its scores and what
// else it gives; maps are for the caller to add, "heatmaps" standing for all of
// the evaluator's own.
func LabelsOf(about *reward.Description, maps []string) relabel.Labels {
	labels := relabel.Labels{Text: about.Text, Boxes: about.Boxes}
	for _, s := range about.Scores {
		labels.Scores = append(labels.Scores, s.Name)
	}
	for _, name := range maps {
		if name != "heatmaps" {
			labels.Maps = append(labels.Maps, name)
			continue
		}
		for _, m := range about.Maps {
			labels.Maps = append(labels.Maps, m.Name)
		}
	}
	return labels
}

// Evaluate labels a chunk, in its order. What is wrong with one record is the error of
// its label; the error returned is that of the whole chunk.
func (e *Evaluator) Evaluate(ctx context.Context, chunk []*relabel.Record) ([]relabel.Label, error) {
	labels := make([]relabel.Label, len(chunk))
	loaded := make([]*scoring.Loaded, len(chunk))
	call := &call{evaluator: e}
	e.each(len(chunk), func(i int) {
		var err error
		if loaded[i], err = e.load(chunk[i], scorer{call, i}); err != nil {
			labels[i] = relabel.Failure(err)
		}
	})
	call.expect(loaded)
	var wait sync.WaitGroup
	for i, l := range loaded {
		if l == nil {
			continue
		}
		wait.Go(func() {
			evaluated, err := l.Evaluate(ctx)
			if err == nil && evaluated.Errors[0] != nil {
				err = evaluated.Errors[0]
			}
			if err != nil {
				labels[i] = relabel.Failure(err)
				return
			}
			labels[i] = e.label(evaluated)
		})
	}
	wait.Wait()
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	return labels, call.lost
}

// each calls f for 0 to n-1 on all cores.
func (e *Evaluator) each(n int, f func(i int)) {
	var wait sync.WaitGroup
	for i := range n {
		e.workers <- struct{}{}
		wait.Go(func() {
			defer func() { <-e.workers }()
			f(i)
		})
	}
	wait.Wait()
}

// load reads a record's file, so far that its size is known. Every record is an
// Input of its own, for its grid follows its own size.
func (e *Evaluator) load(r *relabel.Record, s scorer) (*scoring.Loaded, error) {
	if r.Err != nil {
		return nil, r.Err
	}
	data, err := r.Load()
	if err != nil {
		return nil, err
	}
	in := scoring.Input{Prompts: []string{r.Prompt}, Images: []scoring.Image{{Encoded: data}}}
	if r.Metadata != nil {
		in.Metadata = []map[string]any{r.Metadata}
	}
	if isLatents(data) {
		if e.o.Latents == nil || e.o.Decoder == nil {
			return nil, reward.ErrImageUnsupported.With("these are latents, which need a decoder")
		}
		tensor, err := e.o.Latents(data)
		if err != nil {
			return nil, reward.ErrImageCorrupt.With("the latents cannot be read: %v", err)
		}
		in.Images, in.Latents = nil, &scoring.Latents{Tensor: tensor, Decoder: e.o.Decoder}
	}
	p := scoring.Pipeline{Evaluator: e.about, Scorer: s, Files: e.o.Files}
	return p.Load(in, scoring.Options{
		Mode: e.o.Mode, Weights: e.o.Weights, Grid: e.o.Grid,
		Parts: scoring.Parts{Dense: e.wantsDense()},
	})
}

func (e *Evaluator) wantsDense() bool {
	for _, name := range e.o.Labels.Maps {
		if name == relabel.ColumnDense {
			return true
		}
	}
	return false
}

// isLatents tells .npy and .safetensors files from images.
func isLatents(data []byte) bool {
	return bytes.HasPrefix(data, []byte("\x93NUMPY")) || len(data) > 9 && data[7] == 0 && data[8] == '{'
}

func (e *Evaluator) label(evaluated *scoring.Evaluated) relabel.Label {
	r := &evaluated.Outcomes[0].Result
	label := relabel.Label{Reward: evaluated.Rewards[0], Scores: r.Scores, Missing: r.Missing, Text: r.Text}
	if math.IsNaN(label.Reward) || math.IsInf(label.Reward, 0) {
		return relabel.Failure(reward.ErrEvaluatorFailed.With("the reward is %v", label.Reward))
	}
	for _, b := range r.Boxes {
		label.Boxes = append(label.Boxes, relabel.Box{Box: b.Coords, Label: b.Label, Importance: b.Importance})
	}
	var mapped *scoring.Mapped
	if e.wantsDense() {
		mapped = evaluated.MakeMaps()
	}
	for _, name := range e.o.Labels.Maps {
		m := reward.Map{}
		if name == relabel.ColumnDense {
			grid, _ := mapped.Grids.One() // of one image
			m = reward.Map{Height: grid.Height, Width: grid.Width, Data: mapped.Weight}
		} else if k := e.about.MapIndex(name); len(r.Maps[k].Data) > 0 {
			m = r.Maps[k]
		}
		label.Maps = append(label.Maps, relabel.NewMap(m, e.o.Labels.MapType))
	}
	return label
}

// scorer is the Scorer of one record: the records of a call are evaluated as one
// batch, in their order.
type scorer struct {
	call  *call
	index int
}

var _ scoring.Scorer = scorer{}

func (s scorer) Score(ctx context.Context, jobs []batch.Job) ([]batch.Outcome, error) {
	return s.call.score(ctx, s.index, jobs)
}
