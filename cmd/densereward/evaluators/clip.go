package evaluators

import (
	"context"
	"errors"
	"fmt"

	"github.com/denseflow/densereward/engine/clip"
	"github.com/denseflow/densereward/reward"
)

func pickScore() Kind {
	return clipKind("pickscore", "checkpoint folder", func(m *clip.Model) *clip.Scorer { return clip.NewPickScore(m) })
}

func clipScore() Kind {
	return clipKind("clipscore", "checkpoint folder of CLIP", func(m *clip.Model) *clip.Scorer { return clip.NewCLIPScore(m) })
}

func hpsV2() Kind {
	return clipKind("hpsv2", "the published .pt file, with CLIP's tokenizer.json or bpe_simple_vocab_16e6.txt.gz beside it or as option tokenizer; or a checkpoint folder", func(m *clip.Model) *clip.Scorer { return clip.NewHPSv2(m) })
}

// clipOptions are those of every score on CLIP.
type clipOptions struct {
	// Tokenizer is where the tokenizer lies when it is not beside the weights.
	Tokenizer string `json:"tokenizer"`
	// RelevanceMap adds the experimental map of patches.
	RelevanceMap bool `json:"relevance-map"`
}

// clipKind is a score on top of a CLIP checkpoint alone.
func clipKind(name, source string, scorer func(*clip.Model) *clip.Scorer) Kind {
	return Kind{
		Name: name, Source: source, Everywhere: true,
		Open: func(ctx context.Context, s Spec, at Place) (reward.Evaluator, error) {
			var o clipOptions
			if err := s.Options.Decode(&o); err != nil {
				return nil, err
			}
			m, err := openCLIP(ctx, s, o, at)
			if err != nil {
				return nil, err
			}
			made := scorer(m)
			if o.RelevanceMap {
				if err := made.EnableRelevanceMap(); err != nil {
					return nil, errors.Join(fmt.Errorf("relevance-map: %w", err), made.Close())
				}
			}
			return made, nil
		},
	}
}

// aesthetic needs the checkpoint and, as an option, the file of its head.
func aesthetic() Kind {
	return Kind{
		Name: "aesthetic", Source: "checkpoint folder of CLIP; option head: LAION's predictor, .pth or safetensors", Everywhere: true,
		Open: func(ctx context.Context, s Spec, at Place) (reward.Evaluator, error) {
			var o struct {
				clipOptions
				Head string `json:"head"`
			}
			if err := s.Options.Decode(&o); err != nil {
				return nil, err
			}
			if o.RelevanceMap {
				return nil, errors.New("relevance-map: the aesthetic score does not look at the prompt")
			}
			if o.Head == "" {
				return nil, errors.New("head: required: the file of LAION's predictor")
			}
			head, err := at.Path(ctx, o.Head)
			if err != nil {
				return nil, fmt.Errorf("head: %w", err)
			}
			m, err := openCLIP(ctx, s, o.clipOptions, at)
			if err != nil {
				return nil, err
			}
			scorer, err := clip.NewAesthetic(m, head)
			if err != nil {
				return nil, errors.Join(err, m.Close())
			}
			return scorer, nil
		},
	}
}

func openCLIP(ctx context.Context, s Spec, o clipOptions, at Place) (*clip.Model, error) {
	if s.Source == "" {
		return nil, errors.New("source: want a checkpoint folder")
	}
	dir, err := at.Path(ctx, s.Source)
	if err != nil {
		return nil, err
	}
	tokenizer, err := at.Path(ctx, o.Tokenizer)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	runtime, err := at.Runtime()
	if err != nil {
		return nil, err
	}
	return clip.Load(dir, clip.Options{Runtime: runtime, Provider: at.Provider, Threads: at.Threads, MaxBatch: at.Batch, Tokenizer: tokenizer, Patches: o.RelevanceMap})
}
