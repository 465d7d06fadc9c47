package main

import (
	"context"
	"fmt"

	"github.com/dustin/go-humanize"

	"github.com/denseflow/densereward/cmd/densereward/cli"
	"github.com/denseflow/densereward/cmd/densereward/models"
	"github.com/denseflow/densereward/internal/hub"
)

type modelFetchCommand struct {
	Model    hub.Reference `arg:"" placeholder:"MODEL" help:"ORG/NAME, ORG/NAME@REVISION, or hf://ORG/NAME[@REVISION]/PATH for a folder or a file."`
	Revision string        `placeholder:"REVISION" help:"Branch, tag or commit; as behind the @."`
	All      bool          `help:"All files of the repository, not just those that evaluators and decoders read."`
}

func (modelFetchCommand) Help() string {
	return `Downloads what is missing of a model into the cache that huggingface_hub keeps, so that either program uses what the other fetched, and prints where it lies. A download that broke off is taken up where it ended; files are held against the hub's digests.

Wherever a command takes a checkpoint's folder or file (--model, --evaluator, --vae, model init) it takes a model of the hub by the same names. Those commands use what the cache has of a branch and download only what it lacks; "model fetch" asks whether the branch has moved on. A commit as the revision pins a model for good.

HF_ENDPOINT is the hub or a mirror, HF_TOKEN or the file that "hf auth login" writes the token, HF_HUB_CACHE or HF_HOME the cache; HF_HUB_OFFLINE=1 forbids downloads.

Examples:

	densereward model fetch GYX97/ImageDoctor
	densereward model fetch yuvalkirstain/PickScore_v1@main
	densereward model fetch hf://xswu/HPSv2/HPS_v2.1_compressed.pt
	densereward serve --model GYX97/ImageDoctor --vae flux=black-forest-labs/FLUX.1-dev`
}

func (c *modelFetchCommand) Run(ctx context.Context, t cli.Terminal) error {
	reference := c.Model
	if c.Revision != "" {
		var err error
		if reference, err = reference.At(c.Revision); err != nil {
			return cli.Usage("revision", err)
		}
	}
	store, err := models.Store(t, false)
	if err != nil {
		return err
	}
	pick := hub.Pick(models.Needed)
	if c.All {
		pick = func(names []string, _ func(string) ([]byte, error)) ([]string, error) { return names, nil }
	}
	found, err := store.Fetch(ctx, reference, pick)
	if err != nil {
		return err
	}
	t.Say("%s at %s: %d files, %s downloaded", reference, found.Commit, found.Files, humanize.BytesN(uint64(found.Fetched), 3))
	_, err = fmt.Fprintln(t.Out, found.Path)
	return err
}
