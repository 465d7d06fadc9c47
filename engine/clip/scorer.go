package clip

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/denseflow/densereward/reward"
)

// Scorer is an evaluator on top of a Model. It is safe for concurrent use.
type Scorer struct {
	model *Model
	about reward.Description
	// score is the score of an image with a prompt, whose embedding is nil where
	// the score does not look at the prompt.
	score     func(image, text []float32) float64
	usesTexts bool
	relevance bool // with the experimental map
}

var (
	_ reward.Evaluator = (*Scorer)(nil)
	_ reward.Preparer  = (*Scorer)(nil)
)

// The divisors that bring a cosine times the logit scale to about 1, as flow_grpo
// has them.
const (
	pickScoreDivisor = 26
	clipScoreDivisor = 30
)

// NewPickScore scores by PickScore. It takes the model over, as all of these do.
func NewPickScore(m *Model) *Scorer {
	return newCosine(m, "pickscore", m.LogitScale()/pickScoreDivisor, "exp(logit_scale) * cosine of image and prompt / 26")
}

// NewCLIPScore scores by the agreement of image and prompt.
func NewCLIPScore(m *Model) *Scorer {
	return newCosine(m, "clipscore", m.LogitScale()/clipScoreDivisor, "exp(logit_scale) * cosine of image and prompt / 30")
}

// NewHPSv2 scores by Human Preference Score v2.
func NewHPSv2(m *Model) *Scorer {
	m.preprocessor.fit = fitPad
	return newCosine(m, "hpsv2", 1, "cosine of image and prompt")
}

func newCosine(m *Model, kind string, factor float64, doc string) *Scorer {
	s := newScorer(m, kind, m.fingerprint)
	// Rounding may take a cosine a little past 1.
	most := factor * 1.001
	s.about.Scores = []reward.ScoreSpec{{Name: kind, Min: -most, Max: most, Weight: 1, Doc: doc}}
	s.score = func(image, text []float32) float64 { return factor * cosine(image, text) }
	s.usesTexts = true
	return s
}

func newScorer(m *Model, kind, fingerprint string) *Scorer {
	return &Scorer{model: m, about: reward.Description{
		Name: kind, Kind: kind, Fingerprint: fingerprint, Modes: []reward.Mode{reward.ModeAnswer},
		Note: fmt.Sprintf("prompts are cut after %d tokens", m.config.Positions),
	}}
}

func (s *Scorer) Describe() reward.Description { return s.about }

// Close frees the model.
func (s *Scorer) Close() error { return s.model.Close() }

// square is what Prepare leaves in a sample.
type square []uint8

// Prepare resizes the sample's image.
func (s *Scorer) Prepare(ctx context.Context, sample *reward.Sample) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if _, done := sample.Prepared.(square); done {
		return nil
	}
	if err := sample.Check(); err != nil {
		return err
	}
	sample.Prepared = square(s.model.Preprocess(sample.Image))
	return nil
}

// Evaluate scores the samples, Options.MaxBatch at a time. Prompts that are alike
// or were seen lately cost nothing.
func (s *Scorer) Evaluate(ctx context.Context, samples []reward.Sample) ([]reward.Result, error) {
	results := make([]reward.Result, len(samples))
	var at []int
	var squares [][]uint8
	var prompts []string
	samples = slices.Clone(samples)
	errs := reward.PrepareAll(ctx, s, samples)
	for i, sample := range samples {
		if mode := sample.Mode; mode != "" && mode != reward.ModeAnswer {
			results[i].Err = reward.ErrUnsupportedMode.With("mode: %s does not answer in mode %q", s.about.Name, mode)
			continue
		}
		if err := errs[i]; err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			results[i].Err = err
			continue
		}
		at, squares, prompts = append(at, i), append(squares, sample.Prepared.(square)), append(prompts, sample.Prompt)
	}
	if err := ctx.Err(); err != nil || len(at) == 0 {
		return results, err
	}
	var images [][]float32
	var patches [][][]float32
	var err error
	if s.relevance {
		images, patches, err = s.model.Patches(ctx, squares)
	} else {
		images, err = s.model.Images(ctx, squares)
	}
	if err != nil {
		return nil, err
	}
	texts := make([][]float32, len(at))
	if s.usesTexts {
		if texts, err = s.model.Texts(ctx, prompts); err != nil {
			return nil, err
		}
	}
	for k, i := range at {
		results[i].Scores = []float64{s.score(images[k], texts[k])}
		if s.relevance {
			sides := samples[i].Image
			results[i].Maps = []reward.Map{irrelevance(patches[k], texts[k], s.model.config.Grid(), sides.Width, sides.Height)}
		}
	}
	return results, nil
}

// NewAesthetic scores by LAION's aesthetic predictor, whose layers lie in the file
// at path: safetensors or a torch file with the names layers.N.weight and
// layers.N.bias.
func NewAesthetic(m *Model, path string) (*Scorer, error) {
	h, err := loadHead(path)
	if err != nil {
		return nil, err
	}
	if h[0].in != m.config.ProjectionDim {
		return nil, fmt.Errorf("clip: aesthetic head takes %d values, the model's embedding has %d", h[0].in, m.config.ProjectionDim)
	}
	s := newScorer(m, "aesthetic", m.fingerprint+h.fingerprint())
	s.about.Note = "the prompt is not looked at"
	s.about.Scores = []reward.ScoreSpec{{
		Name: "aesthetic", Min: math.Inf(-1), Max: math.Inf(1), Weight: 1,
		Doc: "LAION's aesthetic predictor, about 1 to 10",
	}}
	s.score = func(image, _ []float32) float64 { return h.apply(image) }
	return s, nil
}
