package evaluators

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/judge"
	"github.com/denseflow/densereward/reward/remote"
)

// endpointOptions are those of every kind that lives elsewhere.
type endpointOptions struct {
	// TokenEnv names the environment variable that holds the bearer token: a
	// configuration file is no place for secrets.
	TokenEnv    string `json:"token-env"`
	Concurrency int    `json:"concurrency"`
	Timeout     string `json:"timeout"` // of one try, such as "90s"
	Tries       int    `json:"tries"`
	Failures    int    `json:"failures"`
	Rest        string `json:"rest"`
}

func (o endpointOptions) at(s Spec) (remote.Options, error) {
	options := remote.Options{Name: s.Name, URL: s.Source, Concurrency: o.Concurrency, Tries: o.Tries, Failures: o.Failures}
	for _, d := range []struct {
		name, text string
		to         *time.Duration
	}{{"timeout", o.Timeout, &options.Timeout}, {"rest", o.Rest, &options.Rest}} {
		if d.text == "" {
			continue
		}
		var err error
		if *d.to, err = time.ParseDuration(d.text); err != nil || *d.to <= 0 {
			return options, fmt.Errorf("%s: %.40q is no time such as 90s", d.name, d.text)
		}
	}
	if o.TokenEnv != "" {
		if options.Token = os.Getenv(o.TokenEnv); options.Token == "" {
			return options, fmt.Errorf("token-env: the environment variable %s is empty", o.TokenEnv)
		}
	}
	return options, nil
}

// anotherServer is an evaluator of another DenseReward server.
func anotherServer() Kind {
	return Kind{
		Name: "remote", Source: "address of another DenseReward server; option evaluator: its name there",
		Open: func(ctx context.Context, s Spec, _ Place) (reward.Evaluator, error) {
			var o struct {
				endpointOptions
				Evaluator string `json:"evaluator"`
			}
			if err := s.Options.Decode(&o); err != nil {
				return nil, err
			}
			options, err := o.at(s)
			if err != nil {
				return nil, err
			}
			return remote.NewServer(ctx, o.Evaluator, options)
		},
	}
}

// remoteJudge is a vision-language model behind an OpenAI-compatible endpoint.
func remoteJudge() Kind {
	return Kind{
		Name: "judge", Source: "base of an OpenAI-compatible endpoint, ending in /v1; options model and file: a judge file",
		Open: func(_ context.Context, s Spec, _ Place) (reward.Evaluator, error) {
			var o struct {
				endpointOptions
				Model string `json:"model"`
				File  string `json:"file"`
			}
			if err := s.Options.Decode(&o); err != nil {
				return nil, err
			}
			if o.Model == "" || o.File == "" {
				return nil, fmt.Errorf("model and file: both are needed; embedded judge files are %v", judge.Names())
			}
			options, err := o.at(s)
			if err != nil {
				return nil, err
			}
			file, err := judge.Load(o.File)
			if err != nil {
				return nil, err
			}
			return remote.NewJudge(file, o.Model, options)
		},
	}
}

// kserveOptions describe a model behind the Open Inference Protocol.
type kserveOptions struct {
	endpointOptions
	Model   string `json:"model"`
	Version string `json:"version"`
	Image   struct {
		Name   string    `json:"name"`
		Size   []int     `json:"size"`   // width, height
		Layout string    `json:"layout"` // "nhwc" or "nchw"
		Type   string    `json:"type"`   // "uint8" or "fp32"
		Mean   []float32 `json:"mean"`
		Std    []float32 `json:"std"`
	} `json:"image"`
	Prompt  string `json:"prompt"`
	Outputs []struct {
		Tensor string  `json:"tensor"`
		Score  string  `json:"score"`
		Factor float64 `json:"factor"`
		Min    float64 `json:"min"`
		Max    float64 `json:"max"`
		Weight float64 `json:"weight"`
	} `json:"outputs"`
}

// imageModel is an image model behind KServe's or Triton's protocol.
func imageModel() Kind {
	return Kind{
		Name: "kserve", Source: "address of a server of the Open Inference Protocol (KServe v2, Triton); options model, image, prompt, outputs",
		Open: func(_ context.Context, s Spec, _ Place) (reward.Evaluator, error) {
			var o kserveOptions
			if err := s.Options.Decode(&o); err != nil {
				return nil, err
			}
			model, err := o.inference()
			if err != nil {
				return nil, err
			}
			options, err := o.at(s)
			if err != nil {
				return nil, err
			}
			return remote.NewKServe(model, options)
		},
	}
}

func (o *kserveOptions) inference() (remote.Inference, error) {
	in := o.Image
	m := remote.Inference{Model: o.Model, Version: o.Version, Prompt: o.Prompt}
	switch {
	case len(in.Size) != 2:
		return m, fmt.Errorf("image.size: %v is not a width and a height", in.Size)
	case !slices.Contains([]string{"", "nhwc", "nchw"}, in.Layout):
		return m, fmt.Errorf("image.layout: %.20q is neither nhwc nor nchw", in.Layout)
	case !slices.Contains([]string{"", "uint8", "fp32"}, in.Type):
		return m, fmt.Errorf("image.type: %.20q is neither uint8 nor fp32", in.Type)
	case len(in.Mean) != 0 && len(in.Mean) != 3, len(in.Std) != 0 && len(in.Std) != 3:
		return m, fmt.Errorf("image.mean and image.std: %v and %v are not three numbers", in.Mean, in.Std)
	}
	m.Image = remote.Tensor{
		Name: in.Name, Width: in.Size[0], Height: in.Size[1],
		Floats: in.Type == "fp32", ChannelsFirst: in.Layout == "nchw", Std: [3]float32{1, 1, 1},
	}
	copy(m.Image.Mean[:], in.Mean)
	copy(m.Image.Std[:], in.Std)
	for _, out := range o.Outputs {
		m.Outputs = append(m.Outputs, remote.Output{Tensor: out.Tensor, Score: out.Score, Factor: out.Factor, Min: out.Min, Max: out.Max, Weight: out.Weight})
	}
	return m, nil
}
