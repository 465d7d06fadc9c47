// Package bench measures the ImageDoctor evaluator on synthetic prompts and images:
// each stage by itself, and batches one behind the other as the server has them.
package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/denseflow/densereward/engine/imagedoctor"
	"github.com/denseflow/densereward/engine/onnx"
	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/engine/qwenvl"
	"github.com/denseflow/densereward/engine/qwenvl/draft"
)

// Options say what Measure measures. The zero value of each is the default
// in brackets.
type Options struct {
	Providers     []ort.Provider // one for each device, all of a kind [the CPU]
	Batch         int            // images in a batch [32]
	PromptTokens  int            // tokens of each prompt, the image's included [671]
	NewTokens     int            // tokens of each answer [60]
	NoSpeculative bool           // decode a token a step, without draft tokens
	// RepetitionPenalty is the decoder's: 0 is the checkpoint's own, as serving has
	// it, and 1 none.
	RepetitionPenalty float64
	Operators         *onnx.Operators // this project's own that the graph has on a GPU [those that load]
	FP8               bool            // products in eight bits
	Rounds            int             // batches that are timed, for each in flight on each device [4]
	InFlight          int             // batches at once on each device [1]
	NoStages          bool            // times whole batches alone
}

// Measurement is what the engine did. A batch has Batch images.
type Measurement struct {
	Batch        int    `json:"batch"`
	InFlight     int    `json:"in_flight"`
	PromptTokens int    `json:"prompt_tokens"`
	NewTokens    int    `json:"new_tokens"`
	Speculation  bool   `json:"speculation"`
	Operators    string `json:"operators"`
	FP8          bool   `json:"fp8"`
	Steps        int    `json:"decoding_steps"` // a batch takes behind its prompts

	Devices      []Device `json:"devices"`
	ImagesPerSec float64  `json:"images_per_second"` // on all devices together
	TokensPerSec float64  `json:"new_tokens_per_second"`

	LoadSeconds     float64 `json:"load_seconds"`
	BatchSeconds    float64 `json:"seconds_a_batch"`                    // of one device, with all devices busy
	RooflineSeconds float64 `json:"roofline_seconds_a_batch,omitempty"` // on an H100; 0 where no GPU was measured
	Stages          []Stage `json:"stages"`
}

// Device is one device's part of a Measurement.
type Device struct {
	Device       string  `json:"device"` // as the command line names it
	Name         string  `json:"name,omitempty"`
	ImagesPerSec float64 `json:"images_per_second"`
	// PeakBytes is the most memory of the device that was held at any time, of
	// MemoryBytes, what other processes hold and what lies idle in the session's
	// arena included; 0 where it cannot be known.
	PeakBytes   int64 `json:"peak_memory_bytes,omitempty"`
	MemoryBytes int64 `json:"memory_bytes,omitempty"`
}

type measuring struct {
	o       Options
	runtime *ort.Runtime
	w       *imagedoctor.Workbench
	dtype   onnx.DType // of the model's activations
	// operators are those of the graph, of which there are none on a CPU.
	operators onnx.Operators
	graph     *onnx.Graph
	draft     *draft.Machine // nil where a step is one token
	rng       *rand.Rand
}

// Measure loads the checkpoint folder dir on every device and times the engine
// on synthetic prompts and images: each stage by itself on the first device, then
// batches one behind the other on all devices, with the host's work beside them.
//
// Answers are teacher-forced to the published form with random scores, so that random
// weights do the work of trained ones: every step runs in full, only its outcome
// is replaced.
func Measure(ctx context.Context, runtime *ort.Runtime, dir string, o Options) (Measurement, error) {
	m, err := newMeasuring(runtime, dir, o)
	if err != nil {
		return Measurement{}, err
	}
	out := Measurement{
		Batch: m.o.Batch, InFlight: m.o.InFlight, PromptTokens: m.o.PromptTokens, NewTokens: m.o.NewTokens,
		Speculation: !m.o.NoSpeculative, Operators: m.operators.String(), FP8: m.o.FP8,
	}
	var host, parts []Stage
	if !o.NoStages {
		if host, err = m.hostStages(); err != nil {
			return out, err
		}
		if parts, err = m.partStages(ctx); err != nil {
			return out, fmt.Errorf("bench: measuring the parts of the graph: %w", err)
		}
	}
	began := time.Now()
	sessions, err := m.open()
	defer closeAll(sessions)
	if err != nil {
		return out, err
	}
	out.LoadSeconds = time.Since(began).Seconds()
	memory := watchMemory(m.o.Providers)
	defer memory.stop()
	if !o.NoStages {
		if out.Stages, err = m.wholeStages(ctx, sessions[0], parts); err != nil {
			return out, fmt.Errorf("bench: measuring the graph: %w", err)
		}
		out.Stages = append(host, out.Stages...)
	}
	if err := m.throughput(ctx, sessions, &out); err != nil {
		return out, fmt.Errorf("bench: measuring batches: %w", err)
	}
	for i, peak := range memory.stop() {
		out.Devices[i].PeakBytes, out.Devices[i].MemoryBytes = peak.held, peak.total
	}
	if m.o.Providers[0].Kind == ort.CUDA {
		out.RooflineSeconds = m.roofline(out.Steps)
	}
	return out, nil
}

func newMeasuring(runtime *ort.Runtime, dir string, o Options) (*measuring, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	operators, _ := qwenvl.UsableOperators(runtime, o.Providers[0], o.Operators) // the measurement names them
	w, err := imagedoctor.OpenWorkbench(dir, imagedoctor.Options{
		Provider: o.Providers[0], MaxNewTokens: o.NewTokens, NoSpeculative: o.NoSpeculative, RepetitionPenalty: o.RepetitionPenalty,
		Operators: &operators, FP8: o.FP8,
	})
	if err != nil {
		return nil, err
	}
	if least := w.ImageStart() + w.Config().ImageTokens() + 1; o.PromptTokens < least {
		return nil, fmt.Errorf("bench: prompts of %d tokens, the least is %d", o.PromptTokens, least)
	}
	m := &measuring{o: o, operators: operators, runtime: runtime, w: w, draft: w.Draft(), rng: rand.New(rand.NewPCG(1, 2))}
	m.dtype, _ = w.DTypes()
	if m.graph, err = w.Graph(); err != nil {
		return nil, err
	}
	return m, nil
}

// complete fills in the defaults.
func (o *Options) complete() error {
	for _, d := range []struct {
		name     string
		field    *int
		fallback int
	}{
		{"batch", &o.Batch, 32}, {"prompt tokens", &o.PromptTokens, 671}, {"new tokens", &o.NewTokens, 60},
		{"rounds", &o.Rounds, 4}, {"batches in flight", &o.InFlight, 1},
	} {
		if *d.field == 0 {
			*d.field = d.fallback
		}
		if *d.field < 0 {
			return fmt.Errorf("bench: %d %s, want at least 1", *d.field, d.name)
		}
	}
	if len(o.Providers) == 0 {
		o.Providers = []ort.Provider{{}}
	}
	for _, p := range o.Providers {
		if p.Kind != o.Providers[0].Kind {
			return fmt.Errorf("bench: %v and %v run different graphs", o.Providers[0], p)
		}
	}
	return nil
}

// open makes a session of the whole graph on every device. Those it returns must
// be closed, whether or not it fails.
func (m *measuring) open() ([]*qwenvl.Session, error) {
	var sessions []*qwenvl.Session
	for _, p := range m.o.Providers {
		s, err := m.session(m.graph, p)
		if err != nil {
			return sessions, fmt.Errorf("bench: loading the graph on %v: %w", p, err)
		}
		sessions = append(sessions, s)
	}
	return sessions, nil
}

// closeAll frees sessions that were only read from: an error loses nothing.
func closeAll(sessions []*qwenvl.Session) {
	for _, s := range sessions {
		_ = s.Close()
	}
}

func (m *measuring) session(g *onnx.Graph, p ort.Provider) (*qwenvl.Session, error) {
	return qwenvl.OpenSession(m.runtime, g, m.w.Checkpoint().Weights, ort.SessionOptions{Provider: qwenvl.Provider(p, m.dtype)})
}

// best is the least time of some runs, in seconds; the first is not counted.
func (m *measuring) best(ctx context.Context, s *qwenvl.Session, inputs map[string]ort.Tensor) (float64, error) {
	const runs = 3
	least := 0.0
	for i := range runs {
		began := time.Now()
		if _, err := s.Run(ctx, inputs); err != nil {
			return 0, err
		}
		if took := time.Since(began).Seconds(); i == 1 || i > 1 && took < least {
			least = took
		}
	}
	return least, nil
}
