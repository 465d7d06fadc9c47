package offline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/denseflow/densereward/cmd/densereward/cli"
	"github.com/denseflow/densereward/reward/metrics/report"
	"github.com/denseflow/densereward/reward/relabel/table"
)

// Evaluate is the command that measures scores.
type Evaluate struct {
	In []string `arg:"" name:"in" help:"Labelled shards: .jsonl, .csv, .parquet, .tar or folders of them; paths or s3:// addresses."`

	Truth       []string `placeholder:"FILE" help:"Shards with human labels, found by their keys. [the same rows, where --pair, --map or --boxes names their columns]"`
	Against     []string `placeholder:"FILE" help:"Labelled shards of another model on the same prompts, found by their keys."`
	Preferences string   `placeholder:"FILE" type:"existingfile" help:"JSONL of {\"better\": KEY, \"worse\": KEY}."`
	Key         string   `placeholder:"NAME" help:"Column that tells rows apart. [key, id, file_name, image or path; the key of a tar's sample]"`
	By          string   `placeholder:"NAME" help:"Column whose values make groups."`
	Score       []string `placeholder:"NAME" help:"Columns of scores; the first orders the examples. [those that relabel wrote, or reward and the usual names that are there]"`
	Pair        []string `placeholder:"NAME=TRUTH" help:"Score and the truth's column for it. [with --truth: scores that both have]"`
	Map         []string `placeholder:"NAME=TRUTH" help:"Heatmap and the truth's: a map as relabel stores it, .npy, its path, or rows of numbers. [with --truth: misalignment and artifact, where both have them]"`
	Boxes       string   `placeholder:"NAME=TRUTH" help:"Boxes and the truth's. [with --truth: boxes, where both have them]"`
	Fixation    float64  `placeholder:"X" help:"A cell of a true map above this is fixated, for NSS and AUC-Judd. [0]"`

	Level  float64 `default:"0.95" placeholder:"X" help:"Of confidence intervals. [${default}]"`
	Rounds int     `default:"1000" placeholder:"N" help:"Of the bootstrap. [${default}]"`
	Seed   uint64  `default:"1" placeholder:"N" help:"Of the bootstrap. [${default}]"`

	Markdown bool   `help:"Print Markdown rather than JSON." xor:"form"`
	HTML     string `name:"html" placeholder:"FILE" help:"Write one page with histograms and the best and worst images as well."`
	Examples int    `default:"6" placeholder:"N" help:"Of the best, and of the worst, images on the page. [${default}]"`
	Images   string `placeholder:"DIR" help:"Where the paths in JSONL, CSV and folders' outputs begin: a folder or an s3:// address. [where relabel read the shard]"`

	made relabelled
}

func (Evaluate) Help() string {
	return `Measures what relabel, score or anything else wrote: the mean of each score with its confidence interval, by group; with --against two models on the same prompts (paired bootstrap, win rates); with human labels PLCC, SRCC and Kendall of scores, MSE, CC, KLD, SIM, NSS and AUC-Judd of heatmaps, presence of flaws at 0, 0.1 and 0.33, boxes at IoU 0.5, and how often preferences are predicted.

The page shows the images themselves where they are in the rows (Parquet, tar) or can be found by their paths: from the shard, from where relabel read it, or from --images. A row of latents, or of an image that cannot be found, is on the page with its numbers alone.

Rows with an error_code are counted and left out. Definitions and sources: go doc github.com/denseflow/densereward/reward/metrics.

Examples:

	densereward evaluate labelled --by category --markdown
	densereward evaluate ours.jsonl --against theirs.jsonl --key prompt --html page.html
	densereward evaluate predictions.jsonl --truth human.jsonl --key file_name
	densereward evaluate labelled/*.parquet --pair semantic_alignment=human_alignment --map artifact=human_artifact_map`
}

// Run reads the rows and prints what was measured.
func (c *Evaluate) Run(ctx context.Context, t cli.Terminal) error {
	if err := c.check(); err != nil {
		return err
	}
	truth, err := c.readTruth(ctx)
	if err != nil {
		return err
	}
	c.made = readRelabelled(ctx, c.In, os.Getenv)
	first, err := firstScored(ctx, c.In, c.made.prefix)
	if err != nil {
		return err
	}
	o, err := c.options(ctx, first, truth)
	if err != nil {
		return err
	}
	b := report.NewBuilder(o)
	err = table.Read(ctx, c.In, os.Getenv, func(row *table.Row) error { return b.Add(row, truth.of(row, c.Key)) })
	if err != nil {
		return err
	}
	other, err := c.readOther(ctx, o)
	if err != nil {
		return err
	}
	preferences, err := readPreferences(c.Preferences)
	if err != nil {
		return err
	}
	r, err := b.Finish(other, preferences)
	if err != nil {
		return err
	}
	return c.write(t, r)
}

func (c *Evaluate) check() error {
	if !(c.Level > 0 && c.Level < 1) {
		return cli.Usage("level", fmt.Errorf("%v lies outside (0,1)", c.Level))
	}
	if err := cli.AtLeast("rounds", c.Rounds, 1); err != nil {
		return err
	}
	return cli.AtLeast("examples", c.Examples, 0)
}

// truths are rows by their keys; nil where each row holds its own.
type truths map[string]*table.Row

func (t truths) of(row *table.Row, key string) *table.Row {
	if t == nil {
		return row
	}
	text, ok := row.KeyOf(key)
	if !ok {
		return nil
	}
	return t[text]
}

func (c *Evaluate) readTruth(ctx context.Context) (truths, error) {
	if len(c.Truth) == 0 {
		return nil, nil
	}
	all := truths{}
	maps, err := pairs("map", c.Map)
	if err != nil {
		return nil, err
	}
	var wanted []string // that might have an image's name
	for _, pair := range maps {
		wanted = append(wanted, pair.Truth)
	}
	err = table.Read(ctx, c.Truth, os.Getenv, func(row *table.Row) error {
		key, ok := row.KeyOf(c.Key)
		if !ok {
			return fmt.Errorf("%s has no key; --key names its column", row.Name())
		}
		if all[key] != nil {
			return fmt.Errorf("%s: %q is the key of two rows", row.Name(), key)
		}
		row.DropImages(wanted)
		all[key] = row
		return nil
	})
	return all, err
}

var errFound = errors.New("found")

// firstScored is the first row without an error, whose columns stand for all.
func firstScored(ctx context.Context, in []string, prefix string) (*table.Row, error) {
	var first *table.Row
	err := table.Read(ctx, in, os.Getenv, func(row *table.Row) error {
		if row.ErrorCode(prefix) != "" {
			return nil
		}
		first = row
		return errFound
	})
	if first == nil && err == nil {
		err = errors.New("no row was scored")
	}
	if errors.Is(err, errFound) {
		err = nil
	}
	return first, err
}

// options completes what the flags leave out from the columns that are there.
func (c *Evaluate) options(ctx context.Context, first *table.Row, truth truths) (report.Options, error) {
	o := report.Options{
		Prefix: c.made.prefix, Scores: c.Score, By: c.By, Key: c.Key, Fixation: c.Fixation, Level: c.Level, Rounds: c.Rounds, Seed: c.Seed,
	}
	if c.HTML != "" {
		find, err := c.made.finder(ctx, c.Images, os.Getenv)
		if err != nil {
			return o, cli.Usage("images", err)
		}
		o.Examples = c.Examples
		o.Draw = func(row *table.Row) *report.Image { return drawExample(row, c.made.prefix, find(row.Shard)) }
	}
	if len(o.Scores) == 0 {
		o.Scores = c.usualScores(first)
	}
	if len(o.Scores) == 0 {
		return o, cli.Usage("score", errors.New("no usual column of scores is there; name them"))
	}
	var err error
	if o.Truth, err = pairs("pair", c.Pair); err != nil {
		return o, err
	}
	if o.Maps, err = pairs("map", c.Map); err != nil {
		return o, err
	}
	boxes, err := pairs("boxes", nonEmpty(c.Boxes))
	if err != nil {
		return o, err
	}
	if len(boxes) > 0 {
		o.Boxes = &boxes[0]
	}
	for _, sample := range truth {
		return o, c.usualPairs(&o, first, sample)
	}
	return o, nil
}

func nonEmpty(text string) []string {
	if text == "" {
		return nil
	}
	return []string{text}
}

// usualScores are the columns that relabel says it wrote, or those of usual
// names.
func (c *Evaluate) usualScores(first *table.Row) []string {
	names := []string{"reward", "semantic_alignment", "aesthetics", "plausibility", "overall"}
	if len(c.made.scores) > 0 {
		names = c.made.scores
	}
	return slices.DeleteFunc(names, func(name string) bool {
		_, there := first.Float(name)
		return !there
	})
}

// usualPairs holds against the truth what both have under one name.
func (c *Evaluate) usualPairs(o *report.Options, first, truth *table.Row) error {
	if len(c.Pair) == 0 {
		for _, name := range o.Scores {
			if _, there := truth.Float(name); there {
				o.Truth = append(o.Truth, report.Pair{Predicted: name, Truth: name})
			}
		}
	}
	if len(c.Map) == 0 {
		for _, name := range []string{"misalignment", "artifact"} {
			_, mine, err1 := first.Map(name)
			_, theirs, err2 := truth.Map(name)
			if err := errors.Join(err1, err2); err != nil {
				return err
			}
			if mine && theirs {
				o.Maps = append(o.Maps, report.Pair{Predicted: name, Truth: name})
			}
		}
	}
	if c.Boxes == "" {
		if _, there, err := truth.Boxes("boxes"); err == nil && there {
			o.Boxes = &report.Pair{Predicted: "boxes", Truth: "boxes"}
		}
	}
	return nil
}

// pairs reads NAME=TRUTH, or NAME for both.
func pairs(flag string, texts []string) ([]report.Pair, error) {
	var all []report.Pair
	for _, text := range texts {
		predicted, truth, both := strings.Cut(text, "=")
		if !both {
			truth = predicted
		}
		if predicted == "" || truth == "" {
			return nil, cli.Usage(flag, fmt.Errorf("%q is not NAME=TRUTH", text))
		}
		all = append(all, report.Pair{Predicted: predicted, Truth: truth})
	}
	return all, nil
}

// readOther takes the rows of the other model, of which the scores alone count.
func (c *Evaluate) readOther(ctx context.Context, o report.Options) (*report.Builder, error) {
	if len(c.Against) == 0 {
		return nil, nil
	}
	b := report.NewBuilder(report.Options{Scores: o.Scores, Key: o.Key, Level: o.Level, Rounds: o.Rounds})
	return b, table.Read(ctx, c.Against, os.Getenv, func(row *table.Row) error { return b.Add(row, nil) })
}

func readPreferences(path string) (pairs [][2]string, err error) {
	if path == "" {
		return nil, nil
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	for d := json.NewDecoder(file); ; {
		var pair struct{ Better, Worse string }
		if err := d.Decode(&pair); errors.Is(err, io.EOF) {
			return pairs, nil
		} else if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		pairs = append(pairs, [2]string{pair.Better, pair.Worse})
	}
}

func (c *Evaluate) write(t cli.Terminal, r *report.Report) error {
	if c.HTML != "" {
		file, err := os.Create(c.HTML)
		if err != nil {
			return err
		}
		if err := errors.Join(r.HTML(file), file.Close()); err != nil {
			return err
		}
	}
	if c.Markdown {
		return r.Markdown(t.Out)
	}
	lines := json.NewEncoder(t.Out)
	lines.SetIndent("", "  ")
	return lines.Encode(r)
}
