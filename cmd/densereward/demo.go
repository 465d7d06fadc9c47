package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/denseflow/densereward/client"
	"github.com/denseflow/densereward/engine/pixels"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/batch"
	"github.com/denseflow/densereward/reward/server"
)

type demoCommand struct {
	Out string `placeholder:"DIR" help:"Folder for the overlays, made if need be. [densereward-demo in the temporary folder]"`

	evaluatorFlags `group:"Evaluator flags:"`
}

// Help is the long help.
func (demoCommand) Help() string {
	return `Starts a server on a free port of this machine, sends it two prompts with four pictures each through the Go client, as a trainer would, prints the scores, rewards and group-relative advantages that come back, writes an overlay for each picture, and stops.

The first run downloads ONNX Runtime, some 20 MB, and keeps it in the user's cache folder.`
}

// The demo's groups: each prompt with all four pictures.
var (
	//go:embed demo/*.png
	demoFiles embed.FS
)

func demoPrompts() []string {
	return []string{"a red circle on a plain background", "a green square on a plain background"}
}

func demoPictures() []string {
	return []string{"circle", "circle-flawed", "square", "square-flawed"}
}

// Run shows the whole way of a rollout.
func (c *demoCommand) Run(ctx context.Context, t terminal) (err error) {
	if c.Out == "" {
		c.Out = filepath.Join(os.TempDir(), "densereward-demo")
	}
	q, err := demoRequest()
	if err != nil {
		return err
	}
	e, err := c.open(ctx, t)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	address, stop, err := startDemo(ctx, e, c.Batch)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	dr, err := client.New(address)
	if err != nil {
		return err
	}
	began := time.Now()
	response, err := dr.Score(ctx, q)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(t.out, "%d pictures judged by %s at %s in %.2f s\n\n",
		len(q.Prompts), response.Evaluator, address, time.Since(began).Seconds()); err != nil {
		return err
	}
	if err := printDemo(t.out, q, response); err != nil {
		return err
	}
	return c.writeOverlays(t, q, response)
}

// demoRequest asks what a trainer asks after a rollout.
func demoRequest() (*reward.Request, error) {
	q := &reward.Request{
		Advantage: &reward.Advantage{Method: reward.AdvantageFlowGRPO},
		Return:    []reward.Return{reward.ReturnDense, reward.ReturnHeatmaps},
	}
	for _, prompt := range demoPrompts() {
		for _, name := range demoPictures() {
			file, err := demoFiles.ReadFile("demo/" + name + ".png")
			if err != nil {
				return nil, err
			}
			q.Prompts = append(q.Prompts, prompt)
			q.Images = append(q.Images, reward.Picture{Encoded: file})
		}
	}
	return q, nil
}

// startDemo serves on a free loopback port until stop is called.
func startDemo(ctx context.Context, e *engine, most int) (address string, stop func() error, err error) {
	quiet := slog.New(slog.DiscardHandler)
	scheduling := batch.DefaultConfig()
	scheduling.MaxBatch = most
	s, err := newService(e.judges(), scheduling, server.Config{Logger: quiet, Decoders: e.latentDecoders()})
	if err != nil {
		return "", nil, err
	}
	listener, err := server.Listen(ctx, "127.0.0.1:0", false, 8)
	if err != nil {
		return "", nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	front := server.DefaultFront()
	front.Logger = quiet
	stopped := make(chan error, 1)
	go func() { stopped <- front.Serve(ctx, listener, s.handler, s.readiness, s.scheduler.Shutdown) }()
	return "http://" + listener.Addr().String(), func() error { cancel(); return <-stopped }, nil
}

// printDemo prints a table for each prompt.
func printDemo(w io.Writer, q *reward.Request, r *reward.Response) error {
	advantages, err := r.Advantages.Float64s()
	if err != nil {
		return err
	}
	weights, err := r.Dense.Weight.Float32s()
	if err != nil {
		return err
	}
	cells := r.Dense.Height * r.Dense.Width
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	for i, prompt := range q.Prompts {
		if i%len(demoPictures()) == 0 {
			fmt.Fprintf(table, "%s\n", prompt)
			fmt.Fprintf(table, "picture\talignment\taesthetics\tplausibility\toverall\treward\tadvantage\tmean of 1-H on %dx%d\t\n", r.Dense.Height, r.Dense.Width)
		}
		if r.Errors[i] != nil {
			return r.Errors[i]
		}
		fmt.Fprintf(table, "%s\t", demoPictures()[i%len(demoPictures())])
		for s := range r.Scores {
			fmt.Fprintf(table, "%.2f\t", r.Scores[s][i])
		}
		fmt.Fprintf(table, "%.3f\t%+.3f\t%.3f\t\n", r.Rewards[i], advantages[i], mean(weights[i*cells:(i+1)*cells]))
	}
	return table.Flush()
}

// writeOverlays writes a picture for each sample.
func (c *demoCommand) writeOverlays(t terminal, q *reward.Request, r *reward.Response) error {
	if err := os.MkdirAll(c.Out, 0o755); err != nil {
		return err
	}
	misalignment, err := heatmaps(r.Heatmaps.Misalignment)
	if err != nil {
		return err
	}
	artifact, err := heatmaps(r.Heatmaps.Artifact)
	if err != nil {
		return err
	}
	for i := range q.Prompts {
		picture, err := pixels.Decode(q.Images[i].Encoded, pixels.Limits{})
		if err != nil {
			return err
		}
		overlay, err := overlayPNG((*reward.Image)(picture), misalignment[i], artifact[i])
		if err != nil {
			return err
		}
		name := fmt.Sprintf("prompt%d-%s.overlay.png", i/len(demoPictures())+1, demoPictures()[i%len(demoPictures())])
		if err := os.WriteFile(filepath.Join(c.Out, name), overlay, 0o644); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(t.out, "\n%d overlays in %s\n", len(q.Prompts), c.Out)
	return err
}

// heatmaps takes apart a tensor (N,h,w).
func heatmaps(t *reward.Tensor) ([]reward.Heatmap, error) {
	values, err := t.Float32s()
	if err != nil {
		return nil, err
	}
	maps := make([]reward.Heatmap, t.Shape[0])
	size := t.Shape[1] * t.Shape[2]
	for i := range maps {
		maps[i] = reward.Heatmap{Height: t.Shape[1], Width: t.Shape[2], Data: values[i*size : (i+1)*size]}
	}
	return maps, nil
}
