package main

import (
	"context"
	"fmt"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/denseflow/densereward/cmd/densereward/cli"
	"github.com/denseflow/densereward/cmd/densereward/models"
	"github.com/denseflow/densereward/engine/imagedoctor"
	"github.com/denseflow/densereward/engine/imagedoctor/attach"
	"github.com/denseflow/densereward/engine/imagedoctor/synthetic"
)

// modelCommand fetches and makes checkpoints.
type modelCommand struct {
	Fetch  modelFetchCommand  `cmd:"" help:"Download a model of the Hugging Face hub."`
	Init   modelInitCommand   `cmd:"" help:"Make an ImageDoctor of a plain Qwen2.5-VL, to train."`
	Random modelRandomCommand `cmd:"" help:"Write a checkpoint with random weights, to measure with."`
}

type modelInitCommand struct {
	Qwen string `arg:"" placeholder:"QWEN" help:"Folder of a Qwen2.5-VL checkpoint: config.json, tokenizer.json, preprocessor_config.json, *.safetensors; or a model of the hub."`
	Dir  string `arg:"" placeholder:"DIR" help:"Folder to write to; it must not exist or be empty."`

	HeadWidth int    `default:"768" placeholder:"N" help:"Width of the heatmap heads' tokens; the default is the released one. [${default}]"`
	HeadMLP   int    `name:"head-mlp" default:"2048" placeholder:"N" help:"Width inside the heads' transformer. [${default}]"`
	Seed      uint64 `default:"1" placeholder:"N" help:"Equal seeds write equal files. [${default}]"`
}

func (modelInitCommand) Help() string {
	return `Adds the two tokens that ask for heatmaps, and untrained heads that draw them, to a plain Qwen2.5-VL: where a training of one's own begins. The trunk is copied as it is, under the released names of tensors; rows of the two tokens are the mean of the embedding's. Weights are streamed.

Example:

	densereward model init Qwen/Qwen2.5-VL-3B-Instruct /data/doctor`
}

func (c *modelInitCommand) Run(ctx context.Context, t cli.Terminal) error {
	plain, err := models.Finder{Terminal: t}.Path(ctx, c.Qwen)
	if err != nil {
		return err
	}
	options := attach.Options{Heads: imagedoctor.HeadWidths{Width: c.HeadWidth, MLP: c.HeadMLP}, Seed: c.Seed}
	if err := attach.Attach(ctx, plain, c.Dir, options); err != nil {
		return err
	}
	_, err = fmt.Fprintf(t.Out, "%s: %s with untrained heatmap heads, seed %d\n", c.Dir, c.Qwen, c.Seed)
	return err
}

type modelRandomCommand struct {
	Dir string `arg:"" placeholder:"DIR" help:"Folder to write to, made if need be; it must be empty."`

	Like string `enum:"released,nano" required:"" placeholder:"NAME" help:"The checkpoint whose shapes it has: released, the published one, 7.6 GB; or nano, the embedded miniature, 1.6 MB."`
	Seed uint64 `default:"1" placeholder:"N" help:"Equal seeds write equal files. [${default}]"`
}

func (modelRandomCommand) Help() string {
	return `Writes a whole checkpoint folder, configuration, tokenizer and weights, in the shapes of another one. What it answers means nothing; how fast it answers is as the trained one: "densereward bench --engine" measures with it, and nothing need be downloaded.

Examples:

	densereward model random --like released /data/random
	densereward bench --engine --model /data/random --device cuda`
}

func (c *modelRandomCommand) Run(ctx context.Context, t cli.Terminal) error {
	began := time.Now()
	var size int64
	said := int64(0) // tenths
	progress := func(written, total int64) {
		size = total
		if tenth := 10 * written / total; tenth > said && total >= 1<<30 {
			said = tenth
			t.Say("%s of %s", humanize.BytesN(uint64(written), 3), humanize.BytesN(uint64(total), 3))
		}
	}
	if err := synthetic.Write(ctx, c.Dir, synthetic.Like(c.Like), c.Seed, progress); err != nil {
		return err
	}
	_, err := fmt.Fprintf(t.Out, "%s: %s of random weights like the %s checkpoint, seed %d, in %.1f s\n",
		c.Dir, humanize.BytesN(uint64(size), 3), c.Like, c.Seed, time.Since(began).Seconds())
	return err
}
