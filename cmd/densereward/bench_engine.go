package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/denseflow/densereward/engine/imagedoctor"
	"github.com/denseflow/densereward/engine/imagedoctor/nano"
	"github.com/denseflow/densereward/engine/ort"
)

// engineBenchFlags measure the engine by itself, without a server.
type engineBenchFlags struct {
	Engine       bool     `help:"Measure the engine by itself, without a server."`
	Model        string   `placeholder:"DIR" help:"Checkpoint folder; \"densereward model random\" makes one. [the embedded demonstration checkpoint]"`
	Device       []string `placeholder:"DEVICE" default:"cpu" help:"Where to run: cpu, cuda, cuda:N, or several with commas between them, which share the load. [${default}]"`
	PromptTokens int      `default:"671" placeholder:"N" help:"Tokens of every prompt, the picture's included. [${default}]"`
	NewTokens    int      `default:"60" placeholder:"N" help:"Tokens of every answer. [${default}]"`
	OneByOne     bool     `help:"Decode a token a step, without guessing along the answer's wording."`
	InFlight     int      `default:"1" placeholder:"N" help:"Batches at once on a device. [${default}]"`
	Rounds       int      `default:"4" placeholder:"N" help:"Batches that are timed, for each in flight on each device. [${default}]"`
	Onnxruntime  string   `placeholder:"FILE" help:"ONNX Runtime's shared library. [$$${library_env}, else the cache, else a download]"`
	Offline      bool     `help:"Never download ONNX Runtime."`
}

// check finds what imagedoctor.Measure would take for "the default".
func (f *engineBenchFlags) check() error {
	for _, flag := range []struct {
		name  string
		value int
	}{{"prompt-tokens", f.PromptTokens}, {"new-tokens", f.NewTokens}, {"in-flight", f.InFlight}, {"rounds", f.Rounds}} {
		if flag.value < 1 {
			return &usageError{flag.name, errors.New("want at least 1")}
		}
	}
	return nil
}

// providers are the devices to run on.
func (f *engineBenchFlags) providers() ([]ort.Provider, error) {
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

// measure runs the measurement with batches of so many pictures.
func (f *engineBenchFlags) measure(ctx context.Context, t terminal, batch int) (m imagedoctor.Measurement, err error) {
	if err := f.check(); err != nil {
		return m, err
	}
	providers, err := f.providers()
	if err != nil {
		return m, err
	}
	dir := f.Model
	if dir == "" {
		t.say("no --model: the embedded miniature checkpoint is measured, which is thousands of times smaller than the real one")
		if dir, err = nano.Open(""); err != nil {
			return m, err
		}
	}
	library, err := ort.Provision(ctx, ort.ProvisionOptions{
		Path: f.Onnxruntime, Offline: f.Offline, CUDA: usesCUDA(providers), Progress: t.err,
	})
	if err != nil {
		return m, err
	}
	runtime, err := ort.Open(library)
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, runtime.Close()) }()
	return imagedoctor.Measure(ctx, runtime, dir, imagedoctor.MeasureOptions{
		Provider: providers[0], Batch: batch, PromptTokens: f.PromptTokens, NewTokens: f.NewTokens,
		OneByOne: f.OneByOne, InFlight: f.InFlight, Rounds: f.Rounds,
	})
}

// runEngine measures the engine and prints what it came to.
func (c *benchCommand) runEngine(ctx context.Context, t terminal) error {
	m, err := c.measure(ctx, t, *c.Batch)
	if err != nil {
		return err
	}
	if c.JSON {
		e := json.NewEncoder(t.out)
		e.SetIndent("", "  ")
		return e.Encode(m)
	}
	return writeMeasurement(t.out, m)
}

// writeMeasurement writes a measurement for people.
func writeMeasurement(w io.Writer, m imagedoctor.Measurement) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(format string, values ...any) {
		_, _ = fmt.Fprintf(t, format+"\n", values...) // Flush reports
	}
	batch := float64(m.Batch) / m.ImagesPerSec
	line("images\t%.1f a second\t%.2f s a batch of %d", m.ImagesPerSec, batch, m.Batch)
	line("new tokens\t%.0f a second\t", m.TokensPerSec)
	line("loading\t%.1f s", m.LoadSeconds)
	for _, s := range m.Stages {
		line("%s\t%.4f s\t%.0f %%\t%s", s.Name, s.Seconds, 100*s.Seconds/batch, s.Where)
	}
	return t.Flush()
}
