package offline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/denseflow/densereward/client"
	"github.com/denseflow/densereward/cmd/densereward/cli"
	"github.com/denseflow/densereward/cmd/densereward/files"
	"github.com/denseflow/densereward/cmd/densereward/hosting"
	"github.com/denseflow/densereward/engine/image"
	"github.com/denseflow/densereward/engine/vae"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/relabel"
	"github.com/denseflow/densereward/reward/relabel/local"
	"github.com/denseflow/densereward/reward/relabel/remote"
)

// chooseEvaluator completes the job with evaluators of this process or servers.
func (c *Relabel) chooseEvaluator(ctx context.Context, t cli.Terminal, job *relabel.Job) (close func() error, err error) {
	if len(c.Server) > 0 {
		return func() error { return nil }, c.useServers(ctx, job)
	}
	var decoders []hosting.Decoder
	if c.VAE != nil {
		decoders = append(decoders, *c.VAE)
	}
	c.FixedDraft = true // a run that was interrupted gives the same bytes
	e, err := c.Open(ctx, t, slog.New(slog.DiscardHandler), decoders...)
	if err != nil {
		return nil, err
	}
	if err := c.useEngine(ctx, e, job); err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return e.Close, nil
}

func (c *Relabel) useEngine(ctx context.Context, e *hosting.Engine, job *relabel.Job) error {
	hosted := e.Evaluators.Hosted[0]
	grid, err := files.ParseGrid(c.Grid)
	if err != nil {
		return err
	}
	o := local.Options{
		Evaluators: hosted.Scheduled(), Files: new(image.Decoder), Mode: c.Mode, Grid: grid,
		Labels: c.labels(ctx, &hosted.Description),
	}
	job.Config = c.config(&hosted.Description, o.Labels)
	if len(e.Decoders) > 0 {
		decoder := e.Decoders[0]
		o.Decoder = decoder
		o.Latents = func(data []byte) (*reward.Tensor, error) { return readLatents(data, decoder.Describe().Channels) }
		job.Config.Options["vae"] = decoder.Describe().Fingerprint
	}
	evaluator, err := local.New(o)
	if err != nil {
		return cli.Usage("maps", err)
	}
	job.Evaluate = evaluator.Evaluate
	job.Concurrency = cmp.Or(c.Concurrency, 2*len(o.Evaluators)+1)
	return nil
}

func (c *Relabel) labels(ctx context.Context, about *reward.Description) relabel.Labels {
	labels := local.LabelsOf(about, c.Maps)
	labels.Prefix, labels.MapType = c.ColumnPrefix, c.MapType
	if c.first.Format != nil { // rank has no shard
		labels.Fit(ctx, &c.first, c.columns())
	}
	return labels
}

func readLatents(data []byte, channels int) (t *reward.Tensor, err error) {
	extension := ".safetensors"
	if data[0] == '\x93' {
		extension = ".npy"
	}
	file, err := os.CreateTemp("", "latents*"+extension)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.Remove(file.Name())) }()
	_, err = file.Write(data)
	if err := errors.Join(err, file.Close()); err != nil {
		return nil, err
	}
	return vae.ReadLatents(file.Name(), channels, files.MaxLatents)
}

func (c *Relabel) useServers(ctx context.Context, job *relabel.Job) error {
	if c.VAE != nil {
		return cli.Usage("vae", errors.New("decodes latents in this process, not on a --server"))
	}
	if c.ServerTimeout <= 0 {
		return cli.Usage("server-timeout", fmt.Errorf("%v is not above 0", c.ServerTimeout))
	}
	servers, err := client.New(c.Server[0], client.WithServers(c.Server[1:]...), client.WithToken(c.Token), client.WithTimeout(c.ServerTimeout))
	if err != nil {
		return cli.Usage("server", err)
	}
	models, err := servers.Models(ctx)
	if err != nil {
		return err
	}
	about, err := describe(models, c.ServerEvaluator)
	if err != nil {
		return cli.Usage("server-evaluator", err)
	}
	grid, err := files.ParseGrid(c.Grid)
	if err != nil {
		return err
	}
	labels := c.labels(ctx, about)
	for _, name := range labels.Maps {
		if name != relabel.ColumnDense && about.MapIndex(name) < 0 {
			return cli.Usage("maps", fmt.Errorf("%s gives no map %q", about.Name, name))
		}
	}
	job.Config = c.config(about, labels)
	job.Evaluate = remote.New(remote.Options{Client: servers, Evaluator: about.Name, Mode: c.Mode, Grid: grid, Labels: labels}).Evaluate
	job.Concurrency = cmp.Or(c.Concurrency, 4*len(c.Server))
	return nil
}

// describe finds an evaluator of a server, the first where no name is given.
func describe(models *client.Models, name string) (*reward.Description, error) {
	for _, e := range models.Evaluators {
		if name != "" && e.Name != name {
			continue
		}
		about := &reward.Description{
			Name: e.Name, Kind: e.Kind, Fingerprint: e.Fingerprint, Modes: e.Modes, Text: e.Text, Boxes: e.Boxes, Demonstration: e.Demonstration,
		}
		for _, s := range e.Scores {
			about.Scores = append(about.Scores, reward.ScoreSpec{Name: s.Name, Weight: s.Weight})
		}
		for _, m := range e.Maps {
			about.Maps = append(about.Maps, reward.MapSpec{Name: m.Name, Height: m.Height, Width: m.Width, Weight: m.Weight})
		}
		return about, nil
	}
	return nil, fmt.Errorf("the server has no evaluator %q", name)
}
