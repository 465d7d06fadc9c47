package hosting

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"runtime"
	"slices"
	"sync"

	"github.com/denseflow/densereward/cmd/densereward/cli"
	"github.com/denseflow/densereward/cmd/densereward/evaluators"
	"github.com/denseflow/densereward/cmd/densereward/models"
	"github.com/denseflow/densereward/engine/imagedoctor/pocket"
	"github.com/denseflow/densereward/engine/onnx"
	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/engine/ort/provision"
	"github.com/denseflow/densereward/engine/vae"
)

// EngineFlags choose a checkpoint and where it runs.
type EngineFlags struct {
	Model         cli.Name `once:"" placeholder:"DIR" help:"ImageDoctor's checkpoint folder: config.json, *.safetensors, tokenizer.json; or a model of the hub, ORG/NAME[@REVISION]. Short for --evaluator imagedoctor=imagedoctor:DIR. Without either, the embedded pocket ImageDoctor, which knows drawn scenes."`
	Device        []string `placeholder:"DEVICE" default:"cpu" help:"Where to run: cpu, cuda, cuda:N, or several with commas between them, which share the load. [${default}]"`
	NoSpeculative bool     `help:"Decode a token a step, without draft tokens from the answer template; the answers are the same."`
	Operators     string   `placeholder:"NAMES" help:"ImageDoctor on a GPU: the graph's custom operators: all, none, or names with commas between them. [all, or none where the driver takes none]"`
	Precision     string   `enum:"auto,fp8" default:"auto" help:"ImageDoctor: fp8 multiplies in eight bits, which is faster on a Hopper GPU and gives other answers; on a CPU it rounds the same way, slowly. [bfloat16 on a GPU, float32 on a CPU]"`
	Onnxruntime   string   `placeholder:"FILE" help:"ONNX Runtime's shared library. [$$${library_env}, else the cache, else a download]"`
	Offline       bool     `help:"Never download: neither ONNX Runtime nor models of the hub."`
}

// PrecisionFP8 has products computed in eight bits.
const PrecisionFP8 = "fp8"

// Providers are the devices to run on.
func (f *EngineFlags) Providers() ([]ort.Provider, error) {
	var providers []ort.Provider
	for _, name := range f.Device {
		p, err := evaluators.ParseDevice(name)
		if err != nil {
			return nil, cli.Usage("device", err)
		}
		providers = append(providers, p)
	}
	return providers, nil
}

// AskedOperators are the custom operators that a graph must have; nil leaves it to what
// the driver takes.
func (f *EngineFlags) AskedOperators() (*onnx.Operators, error) {
	if f.Operators == "" {
		return nil, nil
	}
	o, err := evaluators.ParseOperators(f.Operators)
	if err != nil {
		return nil, cli.Usage("operators", err)
	}
	return &o, nil
}

// Finder finds models, on this machine or on the hub.
func (f *EngineFlags) Finder(t cli.Terminal) models.Finder {
	return models.Finder{Terminal: t, Offline: f.Offline}
}

// RuntimeOf loads ONNX Runtime at its first call.
func (f *EngineFlags) RuntimeOf(ctx context.Context, t cli.Terminal, cuda bool) func() (*ort.Runtime, error) {
	return sync.OnceValues(func() (*ort.Runtime, error) {
		library, err := provision.Find(ctx, provision.Options{Path: f.Onnxruntime, Offline: f.Offline, CUDA: cuda, Progress: t.Err})
		if err != nil {
			return nil, err
		}
		if err := tried(ctx, t, library); err != nil {
			return nil, err
		}
		return ort.Open(library)
	})
}

// EvaluatorFlags choose evaluators and how they run.
type EvaluatorFlags struct {
	EngineFlags

	Evaluator         []evaluators.Spec `sep:"\n" placeholder:"NAME=KIND:SOURCE" help:"An evaluator; may come several times, the first is the default; in the environment a line each. Kinds: ${evaluator_kinds}."`
	FixedDraft        bool              `help:"Language models: draft tokens by the published wording alone, not by earlier answers. Maps then depend on a batch alone, to the last bit."`
	Threads           int               `placeholder:"N" help:"Threads of each evaluator on the CPU; 0 shares the cores out."`
	Batch             int               `placeholder:"N" default:"16" help:"Most images in one batch. [${default}]"`
	InFlight          int               `placeholder:"N" default:"1" help:"Batches at once on each GPU: two fill its pauses and take more memory. [${default}]"`
	Prefix            *string           `placeholder:"TEXT" help:"ImageDoctor: answer prefix in mode answer; \"\" is none. [the published text]"`
	RepetitionPenalty *float64          `placeholder:"X" help:"ImageDoctor: penalty on tokens that have occurred; 1 is none. [generation_config.json's]"`
	MaxNewTokens      int               `placeholder:"N" help:"ImageDoctor: most tokens of an answer, beyond which it is an error; 0 is 2048, or 4096 in mode think."`
	PromptTokens      int               `placeholder:"N" help:"ImageDoctor: most tokens of a prompt, beyond which it is refused; 0 is 1024."`
	Resize            string            `enum:"square,area" default:"square" help:"ImageDoctor: whether images are squashed to a square (square) or keep their aspect at its area (area). [${default}]"`
	Float32           bool              `name:"float32" help:"ImageDoctor: compute in float32 on a GPU as well, to compare; many times slower."`
}

// Engine is the evaluators, and the decoders of latents, each on its devices.
type Engine struct {
	runtime    func() (*ort.Runtime, error)
	needed     bool // the runtime was loaded
	Evaluators *evaluators.Set
	Decoders   []*vae.Pool
	Footprint  Footprint // of the evaluators, once they are warm
}

// Open loads the evaluators and decoders by their plan, which logger is told.
// The engine must be closed.
func (f *EvaluatorFlags) Open(ctx context.Context, t cli.Terminal, logger *slog.Logger, decoders ...Decoder) (*Engine, error) {
	providers, err := f.Providers()
	if err != nil {
		return nil, err
	}
	_, none := f.AskedOperators()
	if err := cmp.Or(f.check(), none); err != nil {
		return nil, err
	}
	specs, err := f.Specs()
	if err != nil {
		return nil, err
	}
	plan, err := evaluators.Kinds().Plan(specs, evaluators.Defaults{Devices: f.Device, Threads: f.Threads, Batch: f.Batch, InFlight: f.InFlight, FixedDraft: f.FixedDraft}, runtime.GOMAXPROCS(0))
	if err != nil {
		return nil, cli.Usage("evaluator", err)
	}
	evaluators.Log(logger, plan)
	if evaluators.Demonstrates(plan) {
		t.Say("no --model: " + pocket.Note)
	}
	load := f.RuntimeOf(ctx, t, UsesCUDA(providers) || evaluators.UsesCUDA(plan))
	e := &Engine{}
	e.runtime = func() (*ort.Runtime, error) {
		e.needed = true
		return load()
	}
	if err := e.load(ctx, f.Finder(t), plan, f.Threads, providers, decoders); err != nil {
		return nil, errors.Join(err, e.Close())
	}
	e.Evaluators.LogOperators(logger)
	return e, nil
}

func (e *Engine) load(ctx context.Context, finder models.Finder, plan []evaluators.Assignment, threads int, providers []ort.Provider, decoders []Decoder) (err error) {
	if e.Evaluators, err = evaluators.Open(ctx, plan, e.runtime, finder.Path); err != nil {
		return err
	}
	for _, d := range decoders {
		runtime, err := e.runtime()
		if err != nil {
			return err
		}
		dir, err := finder.Path(ctx, d.Dir)
		if err != nil {
			return fmt.Errorf("vae %s: %w", d.Name, err)
		}
		one, err := vae.LoadPool(ctx, dir, d.options(runtime, threads), providers...)
		if err != nil {
			return fmt.Errorf("vae %s: %w", d.Name, err)
		}
		e.Decoders = append(e.Decoders, one)
	}
	return nil
}

// Close frees the sessions, then the runtime.
func (e *Engine) Close() error {
	var errs []error
	if e.Evaluators != nil {
		errs = append(errs, e.Evaluators.Close())
	}
	for _, one := range e.Decoders {
		errs = append(errs, one.Close())
	}
	if e.needed {
		if runtime, err := e.runtime(); err == nil {
			errs = append(errs, runtime.Close())
		}
	}
	return errors.Join(errs...)
}

// One is the only evaluator, for commands that use one.
func (e *Engine) One() (*evaluators.Hosted, error) {
	if n := len(e.Evaluators.Hosted); n != 1 {
		return nil, cli.Usage("evaluator", fmt.Errorf("want one, got %d", n))
	}
	return &e.Evaluators.Hosted[0], nil
}

// Specs are the evaluators that the flags name. What a table of an ImageDoctor
// leaves out, the flags say.
func (f *EvaluatorFlags) Specs() ([]evaluators.Spec, error) {
	specs := slices.Clone(f.Evaluator)
	if f.Model != "" || len(specs) == 0 {
		model := evaluators.Spec{Name: evaluators.KindImageDoctor, Kind: evaluators.KindImageDoctor, Source: string(f.Model)}
		specs = slices.Insert(specs, 0, model)
	}
	for i := range specs {
		if specs[i].Kind != evaluators.KindImageDoctor {
			continue
		}
		text, err := json.Marshal(evaluators.ImageDoctorOptions{
			Prefix: f.Prefix, RepetitionPenalty: f.RepetitionPenalty, MaxNewTokens: f.MaxNewTokens,
			PromptTokens: f.PromptTokens, Resize: f.Resize, Float32: f.Float32, NoSpeculative: f.NoSpeculative, Operators: f.Operators,
			FP8: f.Precision == PrecisionFP8,
		})
		if err != nil {
			return nil, err
		}
		var options evaluators.Options
		if err := json.Unmarshal(text, &options); err != nil {
			return nil, err
		}
		maps.Copy(options, specs[i].Options)
		specs[i].Options = options
	}
	return specs, nil
}

func (f *EvaluatorFlags) check() error {
	if err := cmp.Or(cli.AtLeast("threads", f.Threads, 0), cli.AtLeast("max-new-tokens", f.MaxNewTokens, 0), cli.AtLeast("prompt-tokens", f.PromptTokens, 0), cli.AtLeast("batch", f.Batch, 1), cli.AtLeast("in-flight", f.InFlight, 1)); err != nil {
		return err
	}
	if p := f.RepetitionPenalty; p != nil && (!(*p > 0) || math.IsInf(*p, 1)) {
		return cli.Usage("repetition-penalty", fmt.Errorf("%v is not a positive number", *p))
	}
	return nil
}

// UsesCUDA reports whether there is a CUDA device among providers.
func UsesCUDA(providers []ort.Provider) bool {
	for _, p := range providers {
		if p.Kind == ort.CUDA {
			return true
		}
	}
	return false
}
