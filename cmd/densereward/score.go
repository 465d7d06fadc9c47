package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"slices"

	"github.com/denseflow/densereward/dense"
	"github.com/denseflow/densereward/engine/image"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/batch"
)

type scoreCommand struct {
	Prompt string       `required:"" placeholder:"TEXT" help:"The prompt that the images were generated from."`
	Mode   reward.Mode  `enum:"answer,think" default:"answer" placeholder:"MODE" help:"answer goes straight to the scores, think looks and reasons first: ${enum}. [${default}]"`
	Grid   string       `placeholder:"GRID" help:"Latent grid of NAME.dense.npy: HEIGHTxWIDTH in cells, or a model: sd3, flux, flux2, qwen-image, qwen-image-2.1, sana, wan, z-image. [that of --vae's model or sd3 for images, their own for latents]"`
	Trace  bool         `help:"Add the token ids that went in and came out."`
	Out    string       `placeholder:"DIR" help:"Folder for heatmaps, dense maps and overlays, made if need be."`
	VAE    *decoderFlag `name:"vae" placeholder:"DIR" help:"Decoder of latents, in diffusers' layout."`
	Images []string     `arg:"" name:"image" help:"PNG, JPEG or WebP files; with --vae also latents as .npy or .safetensors."`

	evaluatorFlags `group:"Evaluator flags:"`

	sources []source
	about   reward.Description
}

// Help is the long help.
func (scoreCommand) Help() string {
	return `Prints one JSON object a line, in the order of the images:

	{"image": "cube.png",
	 "scores": {"semantic_alignment", "aesthetics", "plausibility", "overall"},
	 "missing": [names of the scores that the answer lacks; they count as 0],
	 "reward": 0.8 alignment + 0.1 aesthetics + 0.1 plausibility,
	 "text": the generated answer,
	 "boxes": [{"box": [x0,y0,x1,y1] in thousandths, "label", "importance"}],
	 "trace": {"input_ids", "generated_ids"}}

An image that cannot be scored costs the others nothing: its line is {"image", "error"}, and the exit code is 3.

--out writes for each image, under its name without extension,

	NAME.misalignment.npy   where it contradicts the prompt, float32 (288,288) in [0,1]
	NAME.artifact.npy       where it is implausible, float32 (288,288) in [0,1]
	NAME.dense.npy          1-H on the latent grid, H the mean of both, float32
	NAME.overlay.png        the picture beside itself under both heatmaps

Latents are float32, float16 or bfloat16, scaled as the trainer holds them, (N,C,h,w) or packed (N,L,D); of a file with several, sample I is named FILE[I] and its maps NAME-I.

Examples:

	densereward score --model DIR --prompt "a red cube" *.png
	densereward score --model DIR --prompt "a red cube" --mode think --out maps cube.png
	densereward score --model DIR --prompt "a red cube" --vae stable-diffusion-3.5-medium/vae latents.npy
	densereward score --model DIR --prompt "a red cube" cube.png | jq .reward`
}

// record is what is printed for an image that was scored.
type record struct {
	Image   string       `json:"image"`
	Scores  namedScores  `json:"scores"`
	Missing []string     `json:"missing"`
	Reward  float64      `json:"reward"`
	Text    string       `json:"text"`
	Boxes   []boxRecord  `json:"boxes"`
	Trace   *traceRecord `json:"trace,omitempty"`
}

// namedScores is an object of scores by name, in the evaluator's order.
type namedScores []namedScore

type namedScore struct {
	name  string
	value float64
}

// MarshalJSON keeps the order, which a map would not.
func (s namedScores) MarshalJSON() ([]byte, error) {
	text := []byte{'{'}
	for i, one := range s {
		if i > 0 {
			text = append(text, ',')
		}
		name, err := json.Marshal(one.name)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(one.value)
		if err != nil {
			return nil, err
		}
		text = append(append(append(text, name...), ':'), value...)
	}
	return append(text, '}'), nil
}

// UnmarshalJSON reads what MarshalJSON writes.
func (s *namedScores) UnmarshalJSON(text []byte) error {
	*s = nil
	decoder := json.NewDecoder(bytes.NewReader(text))
	if _, err := decoder.Token(); err != nil { // {
		return err
	}
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			return err
		}
		one := namedScore{name: name.(string)} // a key
		if err := decoder.Decode(&one.value); err != nil {
			return err
		}
		*s = append(*s, one)
	}
	return nil
}

type boxRecord struct {
	Box        [4]float64 `json:"box"`
	Label      string     `json:"label"`
	Importance float64    `json:"importance"`
}

type traceRecord struct {
	InputIDs     []int32 `json:"input_ids"`
	GeneratedIDs []int32 `json:"generated_ids"`
}

// failure is what is printed for an image that could not be scored.
type failure struct {
	Image string `json:"image"`
	Error string `json:"error"`
}

// Run scores the images.
func (c *scoreCommand) Run(ctx context.Context, t terminal) (err error) {
	if _, err := dense.ParseGrid(cmp.Or(c.Grid, defaultGrid), anySide, anySide); err != nil {
		return &usageError{"grid", err}
	}
	if c.Out != "" {
		if err := os.MkdirAll(c.Out, 0o755); err != nil {
			return err
		}
	}
	var decoders []decoderFlag
	if c.VAE != nil {
		decoders = append(decoders, *c.VAE)
	}
	e, err := c.open(ctx, t, slog.New(slog.DiscardHandler), decoders...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	if err := c.findSources(e); err != nil {
		return err
	}
	hosted, err := e.one()
	if err != nil {
		return err
	}
	c.about = hosted.Description
	maps := newMapFolder(c.Out, c.sources, c.about, t)
	scheduler, err := batch.New(c.batching(), hosted.Evaluators...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, scheduler.Shutdown(ctx)) }()

	lines := json.NewEncoder(t.out)
	lines.SetEscapeHTML(false)
	failures := 0
	err = c.score(ctx, scheduler, maps, func(i int, r reward.Result) error {
		name := c.sources[i].name
		if r.Err != nil {
			failures++
			t.say("%s: %v", name, explain(r.Err))
			return lines.Encode(failure{name, explain(r.Err).Error()})
		}
		return lines.Encode(c.record(name, r))
	})
	if err == nil && failures > 0 {
		err = fmt.Errorf("%w: %d of %d", errPartial, failures, len(c.sources))
	}
	return err
}

// findSources looks into the files of latents; images are left for later.
func (c *scoreCommand) findSources(e *engine) error {
	s := &sources{files: new(image.Decoder), grid: c.Grid, batch: c.Batch}
	if len(e.decoders) > 0 {
		s.decoder = e.decoders[0]
	}
	for _, path := range c.Images {
		c.sources = append(c.sources, s.of(path)...)
	}
	return nil
}

// anySide stands for an image's size while only the grid's spelling is checked.
const anySide = 512

// batching suits one caller who hands over full batches and wants each image
// judged, the same ones twice included.
func (c *scoreCommand) batching() batch.Config {
	cfg := batch.DefaultConfig()
	cfg.MaxBatch = c.Batch
	cfg.QueueSamples = math.MaxInt
	cfg.CacheBytes = 0
	return cfg
}

// portion is some consecutive images that were judged, their maps written.
type portion struct {
	first    int
	outcomes []batch.Outcome
	err      error
}

// score has a batch of images judged at a time on each device, reading the next
// ones meanwhile, and emits the results in order.
func (c *scoreCommand) score(ctx context.Context, s *batch.Scheduler, maps mapFolder, emit func(i int, r reward.Result) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	portions := make(chan chan portion, 1)
	go func() {
		defer close(portions)
		first := 0
		for part := range slices.Chunk(c.sources, c.Batch*len(c.Device)) {
			answer := make(chan portion, 1)
			select {
			case portions <- answer:
			case <-ctx.Done():
				return
			}
			go func(first int) { answer <- c.scorePortion(ctx, s, maps, first, part) }(first)
			first += len(part)
		}
	}()
	for answer := range portions {
		p := <-answer
		if err := errors.Join(p.err, ctx.Err()); err != nil {
			return err
		}
		for k, o := range p.outcomes {
			if err := emit(p.first+k, o.Result); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

func (c *scoreCommand) scorePortion(ctx context.Context, s *batch.Scheduler, maps mapFolder, first int, part []source) portion {
	p := portion{first: first}
	pictures := make([]*reward.Image, len(part))
	jobs := make([]batch.Job, len(part))
	for k, source := range part {
		jobs[k] = batch.Job{
			Sample: reward.Sample{Prompt: c.Prompt, Mode: c.Mode},
			Load: func(ctx context.Context) (image *reward.Image, err error) {
				if image, err = source.load(ctx); err != nil {
					return nil, err
				}
				pictures[k] = image
				if c.Out != "" { // the maps' grid must fit
					_, err = source.grid(image)
				}
				return image, err
			},
		}
	}
	if p.outcomes, p.err = s.Score(ctx, jobs); p.err == nil {
		p.err = maps.writeAll(first, pictures, p.outcomes)
	}
	return p
}

func (c *scoreCommand) record(path string, r reward.Result) record {
	weights, _ := c.about.Weighting(nil) // only a name can be wrong
	out := record{
		Image:   path,
		Missing: append([]string{}, r.Missing...),
		Reward:  weights.Reward(r.Scores),
		Text:    r.Text,
		Boxes:   []boxRecord{},
	}
	for i, s := range c.about.Scores {
		out.Scores = append(out.Scores, namedScore{s.Name, r.Scores[i]})
	}
	for _, b := range r.Boxes {
		out.Boxes = append(out.Boxes, boxRecord{b.Coords, b.Label, b.Importance})
	}
	if c.Trace {
		out.Trace = &traceRecord{append([]int32{}, r.Trace.InputIDs...), append([]int32{}, r.Trace.GeneratedIDs...)}
	}
	return out
}

// explain is the cause of a protocol error where it has one: on this machine,
// unlike over the wire, the names of files may be told.
func explain(err error) error {
	var e *reward.Error
	if errors.As(err, &e) && errors.Unwrap(e) != nil {
		return errors.Unwrap(e)
	}
	return err
}
