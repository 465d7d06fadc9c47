package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"text/tabwriter"

	"github.com/dustin/go-humanize"

	"github.com/denseflow/densereward/cmd/densereward/cli"
	"github.com/denseflow/densereward/cmd/densereward/evaluators"
	"github.com/denseflow/densereward/cmd/densereward/hosting"
	"github.com/denseflow/densereward/engine/imagedoctor/bench"
	"github.com/denseflow/densereward/engine/imagedoctor/pocket"
)

// engineBenchFlags measure the engine by itself, without a server.
type engineBenchFlags struct {
	Engine            bool    `help:"Measure the engine by itself, without a server. \"densereward model random\" makes checkpoints for it."`
	PromptTokens      int     `default:"671" placeholder:"N" help:"Tokens of every prompt, the image's included. [${default}]"`
	NewTokens         int     `default:"60" placeholder:"N" help:"Tokens of every answer. [${default}]"`
	RepetitionPenalty float64 `placeholder:"X" help:"Penalty on tokens that have occurred; 1 is none. [generation_config.json's]"`
	InFlight          int     `default:"1" placeholder:"N" help:"Batches at once on a device. [${default}]"`
	NoStages          bool    `help:"Time whole batches alone, not each stage by itself."`
	Rounds            int     `default:"4" placeholder:"N" help:"Batches that are timed, for each in flight on each device. [${default}]"`

	hosting.EngineFlags
}

// check finds what bench.Measure would take for "the default".
func (f *engineBenchFlags) check() error {
	return cmp.Or(
		cli.AtLeast("prompt-tokens", f.PromptTokens, 1), cli.AtLeast("new-tokens", f.NewTokens, 1),
		f.checkPenalty(), cli.AtLeast("in-flight", f.InFlight, 1), cli.AtLeast("rounds", f.Rounds, 1),
	)
}

// checkPenalty allows the numbers above 0, and 0 for the checkpoint's own.
func (f *engineBenchFlags) checkPenalty() error {
	if !(f.RepetitionPenalty >= 0) || math.IsInf(f.RepetitionPenalty, 1) {
		return cli.Usage("repetition-penalty", fmt.Errorf("%v is not a number above 0", f.RepetitionPenalty))
	}
	return nil
}

// measure runs the measurement with batches of so many images.
func (f *engineBenchFlags) measure(ctx context.Context, t cli.Terminal, batch int) (m bench.Measurement, err error) {
	if err := f.check(); err != nil {
		return m, err
	}
	providers, err := f.Providers()
	if err != nil {
		return m, err
	}
	operators, err := f.AskedOperators()
	if err != nil {
		return m, err
	}
	dir, err := f.Finder(t).Path(ctx, string(f.Model))
	if err != nil {
		return m, err
	}
	if dir == "" {
		t.Say("no --model: the embedded pocket checkpoint is measured, which is hundreds of times smaller than the real one")
		if dir, err = pocket.Checkpoint().Open(""); err != nil {
			return m, err
		}
	}
	runtime, err := f.RuntimeOf(ctx, t, hosting.UsesCUDA(providers))()
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, runtime.Close()) }()
	return bench.Measure(ctx, runtime, dir, bench.Options{
		Providers: providers, Batch: batch, PromptTokens: f.PromptTokens, NewTokens: f.NewTokens,
		NoSpeculative: f.NoSpeculative, RepetitionPenalty: f.RepetitionPenalty, InFlight: f.InFlight, Rounds: f.Rounds,
		Operators: operators, FP8: f.Precision == hosting.PrecisionFP8, NoStages: f.NoStages,
	})
}

// runEngine measures the engine and prints what it came to.
func (c *benchCommand) runEngine(ctx context.Context, t cli.Terminal) error {
	m, err := c.measure(ctx, t, *c.Batch)
	if err != nil {
		return err
	}
	if c.JSON {
		e := json.NewEncoder(t.Out)
		e.SetIndent("", "  ")
		return e.Encode(m)
	}
	return writeMeasurement(t.Out, m)
}

// runEvaluator measures an evaluator of any kind and prints what it came to.
func (c *benchCommand) runEvaluator(ctx context.Context, t cli.Terminal) (err error) {
	var spec evaluators.Spec
	if err := spec.UnmarshalText([]byte(c.Evaluator)); err != nil {
		return cli.Usage("evaluator", err)
	}
	if err := cmp.Or(c.check(), c.checkSize()); err != nil {
		return err
	}
	flags := hosting.EvaluatorFlags{EngineFlags: c.EngineFlags, Evaluator: []evaluators.Spec{spec}, Batch: *c.Batch, InFlight: 1}
	e, err := flags.Open(ctx, t, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	hosted, err := e.One()
	if err != nil {
		return err
	}
	speed, err := hosting.Measure(ctx, hosted, hosting.Load{Batch: *c.Batch, Size: c.Size, InFlight: c.InFlight, Rounds: c.Rounds})
	switch {
	case err != nil:
		return err
	case c.JSON:
		return json.NewEncoder(t.Out).Encode(speed)
	}
	_, err = fmt.Fprintf(t.Out, "%s (%s): %.2f images a second, %.3f s a batch of %d images of %dx%d, %d in flight on each device\n",
		speed.Evaluator, speed.Kind, speed.ImagesPerSec, speed.BatchSeconds, speed.Batch, c.Size, c.Size, speed.InFlight)
	return err
}

func writeMeasurement(w io.Writer, m bench.Measurement) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(format string, values ...any) {
		_, _ = fmt.Fprintf(t, format+"\n", values...) // Flush reports
	}
	line("images\t%.2f a second", m.ImagesPerSec)
	line("new tokens\t%.0f a second", m.TokensPerSec)
	how := "a token a step"
	if m.Speculation {
		how = "speculative"
	}
	line("load\t%d images a batch, %d in flight on each device, prompts of %d tokens, %d new tokens in %d steps, %s",
		m.Batch, m.InFlight, m.PromptTokens, m.NewTokens, m.Steps+1, how)
	roofline := ""
	if m.RooflineSeconds > 0 {
		roofline = fmt.Sprintf(", %.2f times the %.3f s that an H100's peaks allow", m.BatchSeconds/m.RooflineSeconds, m.RooflineSeconds)
	}
	line("batch\t%.3f s%s", m.BatchSeconds, roofline)
	line("loading\t%.1f s", m.LoadSeconds)
	for _, d := range m.Devices {
		line("%s\t%.2f images a second, memory %s%s", d.Device, d.ImagesPerSec, peakMemory(d), named(d.Name))
	}
	if len(m.Stages) == 0 {
		return t.Flush()
	}
	line("")
	line("stage\twhere\ts a batch\tms an image\tof the batch")
	for _, s := range m.Stages {
		line("%s\t%s\t%.4f\t%.2f\t%.1f %%", s.Name, s.Where, s.Seconds, 1000*s.Seconds/float64(m.Batch), 100*s.Seconds/m.BatchSeconds)
	}
	line("")
	line("Stages are timed by themselves; the host's are of one core and run beside the device's.")
	return t.Flush()
}

// peakMemory is the most memory that was held on a device.
func peakMemory(d bench.Device) string {
	if d.PeakBytes == 0 {
		return "unknown"
	}
	return fmt.Sprintf("%s at most of %s", humanize.BytesN(uint64(d.PeakBytes), 3), humanize.BytesN(uint64(d.MemoryBytes), 3))
}

func named(device string) string {
	if device == "" {
		return ""
	}
	return ", " + device
}
