package offline

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/denseflow/densereward/cmd/densereward/cli"
	"github.com/denseflow/densereward/cmd/densereward/files"
	"github.com/denseflow/densereward/cmd/densereward/hosting"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/relabel"
	"github.com/denseflow/densereward/reward/relabel/inputs"
	"github.com/denseflow/densereward/reward/relabel/store"
	"github.com/denseflow/densereward/reward/scoring"
)

// serverTimeout is the default of --server-timeout: a server can be restarted in it.
const serverTimeout = 5 * time.Minute

// Relabel is the command that labels data sets.
type Relabel struct {
	In  []string `arg:"" name:"in" help:"Shards: .parquet, .tar (WebDataset), .jsonl, .csv, these with .gz or .zst, a folder of them or of images; paths or s3:// addresses."`
	Out string   `required:"" placeholder:"DIR" help:"Where the labelled shards go: a folder or an s3:// address."`

	ImageColumn  string           `placeholder:"NAME" help:"Column of the images or their paths; in a tar the extension. [the first usual name]"`
	PromptColumn string           `placeholder:"NAME" help:"Column of the prompts; in a tar an extension or a member of the .json. [the first usual name]"`
	Metadata     []string         `placeholder:"NAME" help:"Columns that the evaluator may read, such as text for ocr."`
	ColumnPrefix string           `placeholder:"TEXT" help:"Put before the names of the new columns. [none, or densereward_ where the first shard has a column of one of their names]"`
	Maps         []string         `placeholder:"NAME" help:"Maps to store: in columns of Parquet, and in .npy files in a tar or beside JSONL, CSV and a folder: dense (1-H on the grid), heatmaps (all of the evaluator's), or names of heatmaps."`
	MapType      relabel.MapType  `enum:"float16,uint8" default:"float16" placeholder:"TYPE" help:"How maps are stored: ${enum}. [${default}]"`
	Mode         reward.Mode      `enum:"answer,think" default:"answer" placeholder:"MODE" help:"${enum}. [${default}]"`
	Grid         string           `placeholder:"GRID" help:"Latent grid of dense maps: HEIGHTxWIDTH in cells, sd3, flux or qwen-image. [sd3]"`
	VAE          *hosting.Decoder `name:"vae" placeholder:"PATH" help:"Decoder of latents, which are read from .npy and .safetensors."`

	Shard       string `placeholder:"I/N" help:"Label this share of the shards; N alone takes I from JOB_COMPLETION_INDEX or SLURM_ARRAY_TASK_ID. [all]"`
	RetryFailed bool   `help:"Evaluate samples that failed before again."`
	Overwrite   bool   `help:"Replace what another configuration has written to --out."`
	State       string `placeholder:"DIR" help:"Folder of the journals. [in --out, or the user's cache for s3://]"`

	Server          []string      `placeholder:"URL" help:"Ask these servers rather than evaluators of this process."`
	ServerEvaluator string        `placeholder:"NAME" help:"With --server: which of its evaluators. [the first]"`
	Token           string        `env:"DENSEREWARD_TOKEN" placeholder:"TOKEN" help:"With --server: bearer token. [$$${env}]"`
	ServerTimeout   time.Duration `default:"5m" placeholder:"TIME" help:"With --server: how long a batch may take, the time included in which all of them are lost. [${default}]"`
	Concurrency     int           `placeholder:"N" help:"Batches in flight. [two for each device and one, or four for each server]"`

	hosting.EvaluatorFlags `group:"Evaluator flags:"`

	first relabel.Shard // of all machines
}

func (Relabel) Help() string {
	return `Scores data sets: for each input shard it writes one of the same kind and name to --out, with all of its columns or files and

	reward, one column for each score, missing, text, boxes, error_code, error_message,

and with --maps the maps. Where the first shard already has a column of one of these names, such as captions in a column text, all new names begin with densereward_ (or --column-prefix), which the summary and the manifest say. What can be read by datasets or webdataset is still so afterwards. Images are in a column image (bytes, or a struct with bytes), under .jpg, .png and so on in a tar, or a path, relative to the shard, in JSONL, CSV and a column of strings; prompts in prompt, caption or text, or .txt.

It can be killed at any time: a rerun skips shards that are finished and resumes the others from their journals, and the output has the same bytes as if nothing had happened (from --server, if that gives the same maps to the last bit, which no server promises). A sample that fails has an error_code and costs the others nothing; a shard that cannot be read has no output and is named at the end; the exit code is then 3. A lost device, or a full disk, ends the run, and nothing is lost; so does a server that is lost for longer than --server-timeout (all of --server being tried), with exit code 1, while one that comes back is not noticed.

The journals of s3:// outputs lie on this machine, in --state: if it is lost with them, finished shards are safe in the bucket and a rerun elsewhere begins the others anew.

Progress is a bar on a terminal and elsewhere a JSON line every half minute; the summary is a JSON object. OUT/.densereward/manifest.json holds the configuration and the counts of each shard.

Examples:

	densereward relabel data/*.parquet --out labelled --model DIR --maps dense
	densereward relabel s3://bucket/shards --out s3://bucket/labelled --server http://gpu1:8080,http://gpu2:8080
	densereward relabel data --out labelled --shard 8      # in a job array of 8`
}

func (c *Relabel) Run(ctx context.Context, t cli.Terminal) (err error) {
	// Most of the heap is images that soon are garbage.
	defer debug.SetGCPercent(debug.SetGCPercent(relabelGCPercent))
	job, err := c.plan(ctx)
	if err != nil {
		return err
	}
	close, err := c.chooseEvaluator(ctx, t, &job)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, close()) }()
	meter := newRelabelMeter(t, job.Now)
	job.Progress = meter.report
	summary, err := relabel.Run(ctx, job)
	meter.finish()
	for _, e := range summary.ShardErrors {
		t.Say("%v", e)
	}
	if err != nil {
		t.Say("what was labelled is kept: the same command goes on from there")
		return err
	}
	if err := json.NewEncoder(t.Out).Encode(newRelabelSummary(&summary, job.Config.Labels.Prefix)); err != nil {
		return err
	}
	if summary.Failed > 0 || summary.Unreadable > 0 {
		return fmt.Errorf("%w: %d samples and %d shards failed", cli.ErrPartial, summary.Failed, summary.Unreadable)
	}
	return nil
}

// relabelGCPercent trades a little of the processor's time for half of the memory.
const relabelGCPercent = 40

// plan is the job without its evaluator.
func (c *Relabel) plan(ctx context.Context) (relabel.Job, error) {
	job := relabel.Job{RetryFailed: c.RetryFailed, Overwrite: c.Overwrite, Now: time.Now, MaxBytes: 256 << 20, State: c.State}
	if _, err := files.ParseGrid(c.Grid); err != nil {
		return job, cli.Usage("grid", err)
	}
	if err := cmp.Or(cli.AtLeast("batch", c.Batch, 1), cli.AtLeast("concurrency", c.Concurrency, 0)); err != nil {
		return job, err
	}
	share, err := relabel.ShareOf(c.Shard, os.Getenv)
	if err != nil {
		return job, cli.Usage("shard", err)
	}
	if err := c.openOutput(&job); err != nil {
		return job, err
	}
	shards, err := inputs.Find(ctx, c.In, os.Getenv)
	if err != nil {
		return job, err
	}
	if shards = relabel.Outside(shards, job.Output); len(shards) == 0 {
		return job, fmt.Errorf("there are no shards in %q but those of --out", c.In)
	}
	c.first = shards[0]
	job.Shards = share.Of(shards)
	return job, nil
}

// openOutput finds the places of the output and the journals.
func (c *Relabel) openOutput(job *relabel.Job) error {
	if !store.IsS3(c.Out) {
		job.Output = store.Folder(c.Out)
		job.State = cmp.Or(c.State, filepath.Join(c.Out, ".densereward", "journals"))
		return nil
	}
	bucket, err := store.OpenBucket(c.Out, os.Getenv)
	if err != nil {
		return err
	}
	job.Output = bucket
	if c.State == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return fmt.Errorf("a place for the journals: %w; --state names one", err)
		}
		sum := sha256.Sum256([]byte(bucket.String()))
		job.State = filepath.Join(cache, "densereward", "relabel", hex.EncodeToString(sum[:8]))
	}
	return nil
}

// config is the job's, for an evaluator and the labels that it gives.
func (c *Relabel) config(about *reward.Description, labels relabel.Labels) relabel.Config {
	return relabel.Config{
		Evaluator: about.Name, Fingerprint: about.Fingerprint, Demonstration: about.Demonstration, Mode: string(c.Mode),
		ChunkSize: c.Batch,
		Columns:   c.columns(),
		Labels:    labels,
		Options:   map[string]string{"grid": cmp.Or(c.Grid, scoring.DefaultPreset)},
	}
}

func (c *Relabel) columns() relabel.Columns {
	return relabel.Columns{Image: c.ImageColumn, Prompt: c.PromptColumn, Metadata: c.Metadata}
}
