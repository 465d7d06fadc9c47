package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/denseflow/densereward/client"
	"github.com/denseflow/densereward/cmd/densereward/cli"
	"github.com/denseflow/densereward/cmd/densereward/demo"
	"github.com/denseflow/densereward/cmd/densereward/hosting"
	"github.com/denseflow/densereward/reward/batch"
	"github.com/denseflow/densereward/reward/server"
	"github.com/denseflow/densereward/reward/server/front"
)

type demoCommand struct {
	Out string `placeholder:"DIR" help:"Folder for the overlays, made if need be. [densereward-demo in the temporary folder]"`

	hosting.EvaluatorFlags `group:"Evaluator flags:"`
}

func (demoCommand) Help() string {
	return `Starts a server on a free port of this machine and asks it through the Go client, as a trainer would: three prompts with four images each, of which one is right, and then one prompt with four images that are sent as latents, for the server to decode. Prints the scores, rewards and group-relative advantages that come back, writes an overlay for each image and a grid of them all, and stops.

The first run downloads ONNX Runtime, some 20 MB, and keeps it in the user's cache folder.`
}

// Run shows the whole way of a rollout.
func (c *demoCommand) Run(ctx context.Context, t cli.Terminal) (err error) {
	if c.Out == "" {
		c.Out = filepath.Join(os.TempDir(), "densereward-demo")
	}
	if err := os.MkdirAll(c.Out, 0o755); err != nil {
		return err
	}
	images, err := demo.Images()
	if err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "densereward-demo-vae-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	if err := demo.WriteDecoder(folder); err != nil {
		return err
	}
	e, err := c.Open(ctx, t, slog.New(slog.DiscardHandler), hosting.Decoder{Name: demo.Decoder, Dir: folder})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	address, stop, err := startDemo(ctx, e)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	server, err := client.New(address)
	if err != nil {
		return err
	}
	for _, r := range []*demo.Rollout{images, demo.Latents()} {
		if err := c.show(ctx, t, server, r); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(t.Out, "overlays in %s, all images in images.png there\n", c.Out)
	return err
}

// show sends a rollout and prints what comes back.
func (c *demoCommand) show(ctx context.Context, t cli.Terminal, server *client.Client, r *demo.Rollout) error {
	began := time.Now()
	response, err := server.Score(ctx, r.Request)
	if err != nil {
		return err
	}
	for i, err := range response.Errors {
		if err != nil {
			return fmt.Errorf("%s: %w", r.Names[i], err)
		}
	}
	if _, err := fmt.Fprintf(t.Out, "%d images sent as %s, scored by %s in %.2f s\n\n",
		len(r.Names), r.Form, response.Evaluator, time.Since(began).Seconds()); err != nil {
		return err
	}
	if err := r.Print(t.Out, response); err != nil {
		return err
	}
	return r.WriteOverlays(c.Out, response)
}

// startDemo serves on a free loopback port until stop is called.
func startDemo(ctx context.Context, e *hosting.Engine) (address string, stop func() error, err error) {
	quiet := slog.New(slog.DiscardHandler)
	s, err := hosting.NewService(e.Evaluators.Hosted, batch.DefaultConfig(), server.Config{Logger: quiet, Decoders: e.LatentDecoders()}, buildVersion())
	if err != nil {
		return "", nil, err
	}
	listener, err := front.Listen(ctx, "127.0.0.1:0", false, 8, 8)
	if err != nil {
		return "", nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	facing := front.Default()
	facing.Logger = quiet
	stopped := make(chan error, 1)
	go func() { stopped <- facing.Serve(ctx, listener, s.Handler, s.Readiness, s.Shutdown) }()
	return "http://" + listener.Addr().String(), func() error { cancel(); return <-stopped }, nil
}
