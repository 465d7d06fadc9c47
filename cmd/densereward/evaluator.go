package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/denseflow/densereward/engine/imagedoctor"
	"github.com/denseflow/densereward/engine/imagedoctor/nano"
	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/engine/ort/provision"
	"github.com/denseflow/densereward/engine/vae"
	"github.com/denseflow/densereward/reward"
)

// engineFlags choose a checkpoint and where it runs.
type engineFlags struct {
	Model         string   `placeholder:"DIR" help:"Checkpoint folder: config.json, *.safetensors, tokenizer.json. Without it, the embedded demonstration checkpoint."`
	Device        []string `placeholder:"DEVICE" default:"cpu" help:"Where to run: cpu, cuda, cuda:N, or several with commas between them, which share the load. [${default}]"`
	NoSpeculative bool     `help:"Decode a token a step, without draft tokens from the answer template; the answers are the same."`
	Onnxruntime   string   `placeholder:"FILE" help:"ONNX Runtime's shared library. [$$${library_env}, else the cache, else a download]"`
	Offline       bool     `help:"Never download ONNX Runtime."`
}

// providers are the devices to run on.
func (f *engineFlags) providers() ([]ort.Provider, error) {
	var providers []ort.Provider
	for _, name := range f.Device {
		p, err := parseDevice(name)
		if err != nil {
			return nil, &usageError{"device", err}
		}
		providers = append(providers, p)
	}
	return providers, nil
}

// openRuntime loads ONNX Runtime and names the checkpoint's folder. Without one
// that is the demonstration's, of which it says what becomes of it.
func (f *engineFlags) openRuntime(ctx context.Context, t terminal, providers []ort.Provider, demonstration string) (dir string, runtime *ort.Runtime, err error) {
	if dir = f.Model; dir == "" {
		t.say("no --model: the embedded miniature checkpoint %s", demonstration)
		if dir, err = nano.Open(""); err != nil {
			return "", nil, err
		}
	}
	library, err := provision.Find(ctx, provision.Options{
		Path: f.Onnxruntime, Offline: f.Offline, CUDA: usesCUDA(providers), Progress: t.err,
	})
	if err != nil {
		return "", nil, err
	}
	runtime, err = ort.Open(library)
	return dir, runtime, err
}

// evaluatorFlags choose an evaluator and how it runs.
type evaluatorFlags struct {
	engineFlags

	Threads           int      `placeholder:"N" help:"Threads of the CPU; 0 is one a core."`
	Batch             int      `placeholder:"N" default:"16" help:"Most pictures in one batch. [${default}]"`
	Prefix            *string  `placeholder:"TEXT" help:"What answers are forced to begin with in mode answer; \"\" forces nothing. [the published text]"`
	RepetitionPenalty *float64 `placeholder:"X" help:"Penalty on tokens that have occurred; 1 is none. [generation_config.json's]"`
	MaxNewTokens      int      `placeholder:"N" help:"Most tokens of an answer; 0 is 256, or 2048 in mode think."`
	Float32           bool     `name:"float32" help:"Compute in float32 on a GPU as well, to compare; many times slower."`
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
		return nil, err
	}
	options, err := f.options()
	if err != nil {
		return nil, err
	}
	options.Demonstration = f.Model == ""
	dir, runtime, err := f.openRuntime(ctx, t, providers, "answers, a demonstration that is not fit for training")
	if err != nil {
		return nil, err
	}
	e := &engine{runtime: runtime}
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
		Float32: f.Float32, NoSpeculative: f.NoSpeculative,
	}
	if err := cmp.Or(atLeast("threads", f.Threads, 0), atLeast("max-new-tokens", f.MaxNewTokens, 0), atLeast("batch", f.Batch, 1)); err != nil {
		return o, err
	}
	if p := f.RepetitionPenalty; p != nil {
		if !(*p > 0) || math.IsInf(*p, 1) {
			return o, &usageError{"repetition-penalty", fmt.Errorf("%v is not a positive number", *p)}
		}
		o.RepetitionPenalty = *p
	}
	return o, nil
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
