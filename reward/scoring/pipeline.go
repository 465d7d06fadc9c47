package scoring

import (
	"cmp"
	"context"
	"log/slog"
	"slices"

	"github.com/denseflow/densereward/engine/image"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/batch"
)

// A Scorer scores the samples of one call among those of others. Score returns
// one outcome a job, in order, and calls each job's Release once nothing reads
// its image any more. It is safe for concurrent use.
type Scorer interface {
	Score(ctx context.Context, jobs []batch.Job) ([]batch.Outcome, error)
}

var _ Scorer = (*batch.Scheduler)(nil)

// Limits bound one Input. 0 means no limit.
type Limits struct {
	ImagePixels int // of each decoded image
	MapCells    int // samples times cells of the grid
}

// Pipeline is an evaluator behind what forms its batches. It is safe for
// concurrent use.
type Pipeline struct {
	Evaluator reward.Description
	Scorer    Scorer
	Files     *image.Decoder // decodes image files, within its own limits
	Limits    Limits
	// Missing is the policy of Options that name none; "" is reward.MissingZero.
	Missing reward.MissingPolicy
	// Cells are the pixels a side of a cell of the grids that a preset may name
	// besides those of package dense: of the models of latent decoders.
	Cells  map[string]int
	Logger *slog.Logger // is told of decoders that fail; nil means slog.Default
}

// Score takes in through all steps. Groups that span Inputs meet at barrier,
// which is needed for nothing else.
func (p *Pipeline) Score(ctx context.Context, in Input, o Options, barrier Barrier) (*Scored, error) {
	loaded, err := p.Load(in, o)
	if err != nil {
		return nil, err
	}
	evaluated, err := loaded.Evaluate(ctx)
	if err != nil {
		return nil, err
	}
	return evaluated.MakeMaps().MakeAdvantages(ctx, barrier)
}

// Loaded is an Input that can be evaluated: what it asks for is what the
// evaluator gives, and the sizes of its images are known.
type Loaded struct {
	pipeline *Pipeline
	in       Input
	o        Options
	weights  reward.Weighting
	samples  []sample
	latents  *latents        // nil for an Input of images
	errs     []*reward.Error // N, nil where the sample is fine so far
	grids    Grids           // of no sample where no maps are asked for

	continuation reward.Continuation // of Generate
}

// Load checks in against the evaluator and the limits, and reads the headers of
// its files. Its errors, each an *reward.Error, concern all samples.
func (p *Pipeline) Load(in Input, o Options) (*Loaded, error) {
	about := &p.Evaluator
	l := &Loaded{pipeline: p, in: in, o: o}
	l.o.Missing = cmp.Or(o.Missing, p.Missing)
	if err := in.check(); err != nil {
		return nil, err
	}
	if l.o.Mode == "" {
		l.o.Mode = about.DefaultMode()
	}
	if !slices.Contains(about.Modes, l.o.Mode) {
		return nil, reward.ErrUnsupportedMode.With("mode: %s does not answer in mode %q", about.Name, l.o.Mode)
	}
	if l.o.Missing != "" && !l.o.Missing.Valid() {
		return nil, reward.ErrInvalidValue.With("missing: %q is neither %q nor %q", l.o.Missing, reward.MissingZero, reward.MissingError)
	}
	var err error
	if l.weights, err = about.Weighting(o.Weights); err != nil {
		return nil, err
	}
	if err := l.checkParts(); err != nil {
		return nil, err
	}
	if err := l.checkSteps(); err != nil {
		return nil, err
	}
	if in.Latents != nil {
		if l.latents, err = p.newLatents(in.Latents, o.Grid); err != nil {
			return nil, err
		}
	}
	l.load()
	if err := l.chooseGrids(); err != nil {
		return nil, err
	}
	return l, nil
}

// check fails where the lists of in differ in length.
func (in *Input) check() error {
	n := len(in.Prompts)
	images := len(in.Images)
	if in.Latents != nil {
		if images > 0 || len(in.Latents.Tensor.Shape) == 0 {
			return reward.ErrInvalidValue.With("latents: give images or latents, not both, and of a known shape")
		}
		images = in.Latents.Tensor.Shape[0]
	}
	for _, c := range []struct {
		field   string
		present bool
		n       int
	}{
		{"images", true, images},
		{"metadata", in.Metadata != nil, len(in.Metadata)},
		{"groups", in.Groups.Names != nil, len(in.Groups.Names)},
		{"groups.members", in.Groups.Members != nil, len(in.Groups.Members)},
	} {
		if n == 0 || c.present && c.n != n {
			return reward.ErrImageCountMismatch.With("%s: %d for %d prompts", c.field, c.n, n)
		}
	}
	return nil
}

// checkParts fails where more is asked for than the evaluator gives.
func (l *Loaded) checkParts() error {
	about, parts := &l.pipeline.Evaluator, &l.o.Parts
	lacks := func(asked *bool, gives bool, what string) error {
		if !*asked || gives {
			return nil
		}
		if parts.Optional {
			*asked = false
			return nil
		}
		return reward.ErrInvalidValue.With("return: %s gives no %s", about.Name, what)
	}
	maps := len(about.Maps) > 0
	for _, c := range []struct {
		asked *bool
		gives bool
		what  string
	}{
		{&parts.Dense, maps, "maps"},
		{&parts.Heatmaps, maps, "maps"},
		{&parts.Text, about.Text, "text"},
		{&parts.Boxes, about.Boxes, "boxes"},
	} {
		if err := lacks(c.asked, c.gives, c.what); err != nil {
			return err
		}
	}
	switch method := l.o.method(); {
	case method.Dense() && !maps:
		return reward.ErrInvalidValue.With("advantage.method: %q needs maps, %s gives none", method, about.Name)
	case method == reward.AdvantageBoxFlow && !about.Boxes:
		return reward.ErrInvalidValue.With("advantage.method: %q needs boxes, %s gives none", method, about.Name)
	}
	return nil
}

// checkSteps fails where densegrpo's runs of images are not whole or of one group.
func (l *Loaded) checkSteps() error {
	if l.o.method() != reward.AdvantageDenseGRPO {
		return nil
	}
	run, n := l.o.Advantage.Steps+1, len(l.in.Prompts)
	if run < 2 || n%run != 0 {
		return reward.ErrInvalidValue.With("advantage.steps: %d samples do not divide into runs of %d, one before each step and one after the last", n, run)
	}
	for i := range n {
		if first := i - i%run; l.in.groupName(i) != l.in.groupName(first) {
			return reward.ErrInvalidValue.With("groups: samples %d and %d are of one run and of two groups", first, i)
		}
	}
	return nil
}

func (p *Pipeline) logger() *slog.Logger {
	if p.Logger == nil {
		return slog.Default()
	}
	return p.Logger
}

func (p *Pipeline) imageLimits() image.Limits { return image.Limits{MaxPixels: p.Limits.ImagePixels} }
