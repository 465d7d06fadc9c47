package evaluators

import (
	"context"
	"errors"

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
	return clipKind("hpsv2", "the published .pt file, with CLIP's tokenizer.json or bpe_simple_vocab_16e6.txt.gz beside it; or a checkpoint folder", func(m *clip.Model) *clip.Scorer { return clip.NewHPSv2(m) })
}

// clipKind is a score on top of a CLIP checkpoint alone.
func clipKind(name, source string, scorer func(*clip.Model) *clip.Scorer) Kind {
	return Kind{
		Name: name, Source: source, Everywhere: true,
		Open: func(_ context.Context, s Spec, at Place) (reward.Evaluator, error) {
			if err := s.Options.Decode(&struct{}{}); err != nil {
				return nil, err
			}
			m, err := openCLIP(s, at)
			if err != nil {
				return nil, err
			}
			return scorer(m), nil
		},
	}
}

// aesthetic needs the checkpoint and, as an option, the file of its head.
func aesthetic() Kind {
	return Kind{
		Name: "aesthetic", Source: "checkpoint folder of CLIP; option head: LAION's predictor, .pth or safetensors", Everywhere: true,
		Open: func(_ context.Context, s Spec, at Place) (reward.Evaluator, error) {
			var o struct {
				Head string `json:"head"`
			}
			if err := s.Options.Decode(&o); err != nil {
				return nil, err
			}
			if o.Head == "" {
				return nil, errors.New("head: required: the file of LAION's predictor")
			}
			m, err := openCLIP(s, at)
			if err != nil {
				return nil, err
			}
			scorer, err := clip.NewAesthetic(m, o.Head)
			if err != nil {
				return nil, errors.Join(err, m.Close())
			}
			return scorer, nil
		},
	}
}

func openCLIP(s Spec, at Place) (*clip.Model, error) {
	if s.Source == "" {
		return nil, errors.New("source: want a checkpoint folder")
	}
	runtime, err := at.Runtime()
	if err != nil {
		return nil, err
	}
	return clip.Load(s.Source, clip.Options{Runtime: runtime, Provider: at.Provider, Threads: at.Threads, MaxBatch: at.Batch})
}
