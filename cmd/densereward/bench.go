package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/denseflow/densereward/cmd/densereward/cli"
	"github.com/denseflow/densereward/engine/image"
	"github.com/denseflow/densereward/internal/loadgen"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/wire"
)

// benchCommand puts a load on a server, or on the engine alone.
type benchCommand struct {
	URL string `arg:"" optional:"" placeholder:"URL" help:"The server, as in http://127.0.0.1:8080; none with --engine."`

	Concurrency int           `default:"8" placeholder:"N" help:"Requests in flight: always, or with --rate at most. [${default}]"`
	Rate        float64       `placeholder:"X" help:"Requests a second, whatever the answers do; 0 sends the next when an answer is there."`
	Random      bool          `help:"With --rate: random arrivals (Poisson) rather than even ones."`
	Seed        uint64        `default:"1" placeholder:"N" help:"Of the random arrivals and of the images. [${default}]"`
	Batch       *int          `placeholder:"N" help:"Images in a request, or with --engine in a batch. [16, or 32]"`
	Form        string        `enum:"raw,png,jpeg,file" default:"raw" placeholder:"FORM" help:"How images travel: ${enum}; file sends the images as they are. [${default}]"`
	Image       []string      `placeholder:"FILE" type:"existingfile" help:"Images to send. [16 synthetic ones, which compress as photographs do]"`
	Size        int           `default:"512" placeholder:"N" help:"Width and height of synthetic images. [${default}]"`
	Evaluator   string        `placeholder:"NAME" help:"The server's evaluator to ask; with --engine, the evaluator to measure as NAME=KIND:SOURCE. [the server's first; ImageDoctor]"`
	Mode        reward.Mode   `enum:"answer,think" default:"answer" placeholder:"MODE" help:"What to ask for: ${enum}. [${default}]"`
	Return      []string      `default:"dense" placeholder:"NAME" help:"What to ask for beside scores: dense, heatmaps, text, boxes; \"\" is nothing. [${default}]"`
	Warmup      time.Duration `default:"2s" placeholder:"TIME" help:"Load before the measurement. [${default}]"`
	Duration    time.Duration `default:"10s" placeholder:"TIME" help:"Length of the measurement. [${default}]"`
	Timeout     time.Duration `default:"60s" placeholder:"TIME" help:"Of each request. [${default}]"`
	Token       string        `env:"DENSEREWARD_TOKEN" placeholder:"TOKEN" help:"Bearer token. [$$${env}]"`
	CA          string        `placeholder:"FILE" type:"existingfile" help:"Certificates to trust for https, instead of the system's."`
	JSON        bool          `help:"Print JSON rather than a table."`

	engineBenchFlags `group:"Flags of --engine:"`
}

func (benchCommand) Help() string {
	return `Loads a server of protocol version 1 and prints images a second, percentiles of the latency, bytes, and the answers by their error codes. Prompts never repeat, so that no answer comes from the server's cache. The server's own processor time is shown if its /metrics can be read.

Without --rate so many requests are always in flight: how much can it do? With --rate requests come at their times whether or not the server keeps up, and a latency counts from the moment the request was due: how long do clients wait at this load?

With --engine there is no server: a checkpoint is loaded and images go through the engine, from their PNG files to their heatmaps. It prints images a second, the time of each stage for a batch, the memory of the device, and the time that the arithmetic alone would take on an H100. Answers are teacher-forced to the published form, so that a checkpoint with random weights does the work of a trained one.

Examples:

	densereward bench http://127.0.0.1:8080
	densereward bench http://127.0.0.1:8080 --form jpeg --concurrency 32 --duration 1m
	densereward bench http://127.0.0.1:8080 --rate 5 --random --concurrency 500 --json
	densereward bench --engine --model /data/random --device cuda --batch 64
	densereward bench --engine --evaluator pick=pickscore:/models/PickScore --device cuda`
}

// Run measures what the flags ask for.
func (c *benchCommand) Run(ctx context.Context, t cli.Terminal) error {
	if err := c.complete(); err != nil {
		return err
	}
	switch {
	case c.Engine && c.Evaluator != "":
		return c.runEvaluator(ctx, t)
	case c.Engine:
		return c.runEngine(ctx, t)
	}
	return c.runLoad(ctx, t)
}

// complete checks what is to be measured and fills in what depends on it.
func (c *benchCommand) complete() error {
	usual := 16
	switch {
	case c.Engine && c.URL != "":
		return cli.Usage("engine", errors.New("measures the engine alone, it goes without a URL"))
	case c.Engine:
		usual = 32
	case c.URL == "":
		return cli.Usage("engine", errors.New("expected it or a URL"))
	}
	if c.Batch == nil {
		c.Batch = &usual
	}
	return cli.AtLeast("batch", *c.Batch, 1)
}

// runLoad runs the load and prints what it came to.
func (c *benchCommand) runLoad(ctx context.Context, t cli.Terminal) error {
	c.URL = strings.TrimSuffix(c.URL, "/")
	client, err := c.client()
	if err != nil {
		return err
	}
	images, err := c.images()
	if err != nil {
		return err
	}
	label := time.Now().UTC().Format(time.RFC3339Nano)
	target := loadgen.Score(c.URL, client, label, *c.Batch, images, c.ask)
	target.Token = c.Token
	load := loadgen.Load{
		Concurrency: c.Concurrency, Rate: c.Rate, Random: c.Random, Seed: c.Seed,
		Warmup: c.Warmup, Duration: c.Duration, Timeout: c.Timeout,
	}
	meter := &loadgen.Meter{URL: c.URL + "/metrics", Token: c.Token, Client: client}
	if meter.Works(ctx) {
		load.ServerCPU = meter.CPU
	}
	report, err := loadgen.Run(ctx, load, target)
	if err != nil {
		return err
	}
	write := report.WriteTable
	if c.JSON {
		write = report.WriteJSON
	}
	if err := write(t.Out); err != nil {
		return err
	}
	if report.Codes[loadgen.OK] == 0 {
		return errors.New("no request was answered as it should be")
	}
	return nil
}

func (c *benchCommand) ask(q *wire.Request) {
	q.Mode, q.Evaluator = c.Mode, c.Evaluator
	q.Return = []wire.Return{}
	for _, name := range c.Return {
		if name != "" {
			q.Return = append(q.Return, wire.Return(name))
		}
	}
}

// client trusts the certificates of --ca.
func (c *benchCommand) client() (*http.Client, error) {
	client := loadgen.NewClient(max(c.Concurrency, 1))
	if c.CA == "" {
		return client, nil
	}
	pem, err := os.ReadFile(c.CA)
	if err != nil {
		return nil, cli.Usage("ca", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, cli.Usage("ca", fmt.Errorf("%s holds no certificate", c.CA))
	}
	client.Transport.(*http.Transport).TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	return client, nil
}

// checkSize bounds the synthetic images.
func (c *benchCommand) checkSize() error {
	if c.Size < 1 || c.Size > 8192 {
		return cli.Usage("size", errors.New("want 1 to 8192"))
	}
	return nil
}

// syntheticImages is how many images are made without --image.
const syntheticImages = 16

// images are those of --image, or synthetic ones, in the form of --form.
func (c *benchCommand) images() ([]wire.Image, error) {
	const sent = "file" // as they are
	if c.Form == sent && len(c.Image) == 0 {
		return nil, cli.Usage("form", errors.New("file goes with --image"))
	}
	var images []*reward.Image
	var encoded []wire.Image
	for _, path := range c.Image {
		file, err := os.ReadFile(path)
		if err != nil {
			return nil, cli.Usage("image", err)
		}
		if c.Form == sent {
			encoded = append(encoded, wire.Image{Encoded: file})
			continue
		}
		rgb, err := image.Decode(file, image.Limits{})
		if err != nil {
			return nil, cli.Usage("image", fmt.Errorf("%s: %w", path, err))
		}
		images = append(images, rgb)
	}
	if len(c.Image) == 0 {
		if err := c.checkSize(); err != nil {
			return nil, err
		}
		for i := range uint64(syntheticImages) {
			images = append(images, loadgen.Photograph(c.Seed*syntheticImages+i, c.Size, c.Size))
		}
	}
	for _, im := range images {
		p, err := loadgen.Encode(im, loadgen.Form(c.Form))
		if err != nil {
			return nil, err
		}
		encoded = append(encoded, p)
	}
	return encoded, nil
}
