package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/denseflow/densereward/engine/imagedoctor"
	"github.com/denseflow/densereward/engine/imagedoctor/nano"
	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/engine/vae"
	"github.com/denseflow/densereward/reward"
)

// evaluatorFlags choose an evaluator and how it runs.
type evaluatorFlags struct {
	Model             string   `placeholder:"DIR" help:"Checkpoint folder: config.json, *.safetensors, tokenizer.json. Without it, the embedded demonstration checkpoint."`
	Device            []string `placeholder:"DEVICE" default:"cpu" help:"Where to run: cpu, cuda, cuda:N, or several with commas between them. [${default}]"`
	Threads           int      `placeholder:"N" help:"Threads of the CPU; 0 is one a core."`
	Batch             int      `placeholder:"N" default:"16" help:"Most pictures in one batch. [${default}]"`
	Prefix            *string  `placeholder:"TEXT" help:"What answers are forced to begin with in mode answer; \"\" forces nothing. [the published text]"`
	RepetitionPenalty *float64 `placeholder:"X" help:"Penalty on tokens that have occurred; 1 is none. [generation_config.json's]"`
	MaxNewTokens      int      `placeholder:"N" help:"Most tokens of an answer; 0 is 256, or 2048 in mode think."`
	Float32           bool     `name:"float32" help:"Compute in float32 on a GPU as well, to compare; many times slower."`
	OneByOne          bool     `help:"Decode a token a step, without guessing along the answer's wording; the answers are the same."`
	Onnxruntime       string   `placeholder:"FILE" help:"ONNX Runtime's shared library. [$$${library_env}, else the cache, else a download]"`
	Offline           bool     `help:"Never download ONNX Runtime."`
}

// engine is what judges pictures: one checkpoint and the decoders of latents,
// loaded once for each device.
type engine struct {
	runtime    *ort.Runtime
	evaluators []*imagedoctor.Evaluator
	decoders   []*vae.Pool
}

// open loads the checkpoint on every device, and the decoders. The engine must
// be closed.
func (f *evaluatorFlags) open(ctx context.Context, t terminal, decoders ...decoderFlag) (*engine, error) {
	providers, err := f.providers()
	if err != nil {
		return nil, &usageError{"device", err}
	}
	options, err := f.options()
	if err != nil {
		return nil, err
	}
	dir := f.Model
	if dir == "" {
		t.say("no --model: the embedded miniature checkpoint answers, a demonstration that is not fit for training")
		options.Demonstration = true
		if dir, err = nano.Open(""); err != nil {
			return nil, err
		}
	}
	library, err := ort.Provision(ctx, ort.ProvisionOptions{
		Path: f.Onnxruntime, Offline: f.Offline, CUDA: usesCUDA(providers), Progress: t.err,
	})
	if err != nil {
		return nil, err
	}
	e := &engine{}
	if e.runtime, err = ort.Open(library); err != nil {
		return nil, err
	}
	if err := e.load(ctx, dir, options, providers, decoders); err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return e, nil
}

func (e *engine) load(ctx context.Context, dir string, o imagedoctor.Options, providers []ort.Provider, decoders []decoderFlag) error {
	for _, p := range providers {
		o.Provider = p
		one, err := imagedoctor.Load(e.runtime, dir, o)
		if err != nil {
			return err
		}
		e.evaluators = append(e.evaluators, one)
	}
	for _, d := range decoders {
		one, err := vae.LoadPool(ctx, d.dir, d.options(e.runtime, o.Threads), providers...)
		if err != nil {
			return fmt.Errorf("vae %s: %w", d.name, err)
		}
		e.decoders = append(e.decoders, one)
	}
	return nil
}

// Close frees the sessions, then the runtime.
func (e *engine) Close() error {
	var errs []error
	for _, one := range e.evaluators {
		errs = append(errs, one.Close())
	}
	for _, one := range e.decoders {
		errs = append(errs, one.Close())
	}
	return errors.Join(append(errs, e.runtime.Close())...)
}

// judges are the evaluators as the scheduler takes them.
func (e *engine) judges() []reward.Evaluator {
	judges := make([]reward.Evaluator, len(e.evaluators))
	for i, one := range e.evaluators {
		judges[i] = one
	}
	return judges
}

func (f *evaluatorFlags) options() (imagedoctor.Options, error) {
	o := imagedoctor.Options{
		Threads: f.Threads, Prefix: f.Prefix, MaxNewTokens: f.MaxNewTokens, MaxBatch: f.Batch,
		Float32: f.Float32, OneByOne: f.OneByOne,
	}
	for name, n := range map[string]int{"threads": f.Threads, "max-new-tokens": f.MaxNewTokens, "batch": f.Batch - 1} {
		if n < 0 {
			return o, &usageError{name, errors.New("too small")}
		}
	}
	if p := f.RepetitionPenalty; p != nil {
		if !(*p > 0) || math.IsInf(*p, 1) {
			return o, &usageError{"repetition-penalty", fmt.Errorf("%v is not a positive number", *p)}
		}
		o.RepetitionPenalty = *p
	}
	return o, nil
}

func (f *evaluatorFlags) providers() ([]ort.Provider, error) {
	var providers []ort.Provider
	for _, name := range f.Device {
		p, err := parseDevice(name)
		if err != nil {
			return nil, err
		}
		providers = append(providers, p)
	}
	return providers, nil
}

// parseDevice reads cpu, cuda or cuda:N.
func parseDevice(name string) (ort.Provider, error) {
	kind, index, numbered := strings.Cut(name, ":")
	n, err := strconv.Atoi(index)
	switch {
	case name == "cpu":
		return ort.Provider{Kind: ort.CPU}, nil
	case kind == "cuda" && !numbered:
		return ort.Provider{Kind: ort.CUDA}, nil
	case kind == "cuda" && err == nil && n >= 0:
		return ort.Provider{Kind: ort.CUDA, Device: n}, nil
	}
	return ort.Provider{}, fmt.Errorf("%q is none of cpu, cuda and cuda:N", name)
}

func usesCUDA(providers []ort.Provider) bool {
	for _, p := range providers {
		if p.Kind == ort.CUDA {
			return true
		}
	}
	return false
}
