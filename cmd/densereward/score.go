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
	"sync"
	"time"

	"github.com/denseflow/densereward/dense"
	"github.com/denseflow/densereward/engine/image"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/batch"
	"github.com/denseflow/densereward/reward/scoring"
)

type scoreCommand struct {
	Prompt   string            `required:"" placeholder:"TEXT" help:"The prompt that the images were generated from."`
	Mode     reward.Mode       `enum:"answer,think" default:"answer" placeholder:"MODE" help:"answer goes straight to the scores, think looks and reasons first: ${enum}. [${default}]"`
	Metadata map[string]string `placeholder:"KEY=VALUE" help:"What else the evaluator may want to know of the images, such as text=OPEN for ocr; several with semicolons between them."`
	Grid     string            `placeholder:"GRID" help:"Latent grid of NAME.dense.npy: HEIGHTxWIDTH in cells, or a model: sd3, flux, flux2, qwen-image, qwen-image-2.1, sana, wan, z-image. [that of --vae's model or sd3 for images, their own for latents]"`
	Trace    bool              `help:"Add the token ids that went in and came out."`
	Out      string            `placeholder:"DIR" help:"Folder for heatmaps, dense maps and overlays, made if need be."`
	VAE      *decoderFlag      `name:"vae" placeholder:"PATH" help:"Decoder of latents: a folder that diffusers saved, of the decoder or of a whole pipeline, or a single file such as ae.safetensors."`
	Images   []string          `arg:"" name:"image" help:"PNG, JPEG or WebP files; with --vae also latents as .npy or .safetensors."`

	evaluatorFlags `group:"Evaluator flags:"`

	parts   []part
	about   reward.Description
	decoder reward.DecoderDescription // of --vae
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
	NAME.overlay.png        the image beside itself under both heatmaps

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
	if _, err := dense.ParseGrid(cmp.Or(c.Grid, scoring.DefaultPreset), anySide, anySide); err != nil {
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
	hosted, err := e.one()
	if err != nil {
		return err
	}
	c.about = hosted.Description
	c.findParts(e)
	maps := newMapFolder(c.Out, c.parts, c.about, t)
	scheduler, err := batch.New(c.batching(), hosted.Evaluators...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, scheduler.Shutdown(ctx)) }()

	lines := json.NewEncoder(t.out)
	lines.SetEscapeHTML(false)
	failures := 0
	samples := 0
	err = c.score(ctx, scheduler, len(hosted.Evaluators), maps, func(name string, r reward.Result) error {
		samples++
		if r.Err != nil {
			failures++
			t.say("%s: %v", name, explain(r.Err))
			return lines.Encode(failure{name, explain(r.Err).Error()})
		}
		return lines.Encode(c.record(name, r))
	})
	if err == nil && failures > 0 {
		err = fmt.Errorf("%w: %d of %d", errPartial, failures, samples)
	}
	return err
}

// findParts looks into the files of latents; images are left for later.
func (c *scoreCommand) findParts(e *engine) {
	r := &partReader{prompt: c.Prompt, grid: c.gridSpec(), batch: c.Batch}
	if c.Metadata != nil {
		r.metadata = map[string]any{}
		for key, value := range c.Metadata {
			r.metadata[key] = value
		}
	}
	if len(e.decoders) > 0 {
		r.decoder = e.decoders[0]
		c.decoder = r.decoder.Describe()
	}
	for _, path := range c.Images {
		c.parts = append(c.parts, r.of(path)...)
	}
}

// gridSpec is the grid of the flag, which was checked before.
func (c *scoreCommand) gridSpec() reward.GridSpec {
	if grid, err := dense.ParseGrid(c.Grid, 0, 0); err == nil {
		return reward.GridSpec{Height: grid.Height, Width: grid.Width}
	}
	return reward.GridSpec{Preset: c.Grid}
}

// anySide stands for an image's size while only the grid's spelling is checked.
const anySide = 512

// batching suits one caller who hands over full batches and wants each image
// scored, the same ones twice included. A batch waits for what is being decoded,
// and for nothing else.
func (c *scoreCommand) batching() batch.Config {
	cfg := batch.DefaultConfig()
	cfg.MaxBatch = c.Batch
	cfg.MaxDelay, cfg.Eager = time.Second, true
	cfg.QueueSamples = math.MaxInt
	cfg.CacheBytes = 0
	return cfg
}

// portion is some consecutive parts that were scored, their maps written.
type portion struct {
	parts   []part
	results [][]reward.Result // of each part, one a sample
	err     error
}

// score has a batch of images scored at a time on each device, reading the next
// ones meanwhile, and emits the results in order.
func (c *scoreCommand) score(ctx context.Context, scorer scoring.Scorer, devices int, maps mapFolder, emit func(name string, r reward.Result) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	pipeline := &scoring.Pipeline{Evaluator: c.about, Scorer: scorer, Files: image.NewDecoder(image.Limits{}), Logger: slog.New(slog.DiscardHandler)}
	pipeline.Cells = map[string]int{c.decoder.Name: c.decoder.GridScale}
	portions := make(chan chan portion, 1)
	go func() {
		defer close(portions)
		for rest := c.parts; len(rest) > 0; {
			n := portionLen(rest, c.Batch*devices)
			answer := make(chan portion, 1)
			select {
			case portions <- answer:
			case <-ctx.Done():
				return
			}
			go func(parts []part) { answer <- c.scorePortion(ctx, pipeline, maps, parts) }(rest[:n])
			rest = rest[n:]
		}
	}()
	for answer := range portions {
		p := <-answer
		if err := errors.Join(p.err, ctx.Err()); err != nil {
			return err
		}
		for k, part := range p.parts {
			for i, r := range p.results[k] {
				if err := emit(part.names[i], r); err != nil {
					return err
				}
			}
		}
	}
	return ctx.Err()
}

// portionLen is how many parts make up so many samples.
func portionLen(parts []part, samples int) int {
	n := 0
	for i, p := range parts {
		if n += len(p.names); n >= samples {
			return i + 1
		}
	}
	return len(parts)
}

// scorePortion scores parts side by side.
func (c *scoreCommand) scorePortion(ctx context.Context, pipeline *scoring.Pipeline, maps mapFolder, parts []part) portion {
	p := portion{parts: parts, results: make([][]reward.Result, len(parts))}
	errs := make([]error, len(parts))
	var scoring sync.WaitGroup
	for k, part := range parts {
		scoring.Go(func() { p.results[k], errs[k] = c.scorePart(ctx, pipeline, maps, part) })
	}
	scoring.Wait()
	p.err = errors.Join(errs...)
	return p
}

// scorePart gives the results of a part's samples. What fails because of the
// part alone is an error of its samples.
func (c *scoreCommand) scorePart(ctx context.Context, pipeline *scoring.Pipeline, maps mapFolder, p part) ([]reward.Result, error) {
	results := make([]reward.Result, len(p.names))
	fail := func(err error) []reward.Result {
		for i := range results {
			results[i].Err = err
		}
		return results
	}
	in, err := p.input()
	if err != nil {
		return fail(err), nil
	}
	images := make([]*reward.Image, len(p.names))
	o := scoring.Options{Mode: c.Mode, Grid: c.gridSpec(), Patient: true}
	if in.Latents == nil && c.Grid == "" {
		o.Grid.Preset = c.decoder.Name // "" without --vae
	}
	if maps.dir != "" {
		o.Parts = scoring.Parts{Dense: true, Heatmaps: true, Optional: true}
		o.OnImage = func(i int, image *reward.Image) error { images[i] = image; return nil }
	}
	scored, err := pipeline.Score(ctx, in, o, nil)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.As(err, new(*reward.Error)) && !errors.Is(err, batch.ErrClosed):
		return fail(err), nil
	case err != nil:
		return nil, err
	}
	for i := range results {
		results[i] = scored.Outcomes[i].Result
		if e := scored.Errors[i]; e != nil {
			results[i] = reward.Result{Err: e}
			continue
		}
		if err := maps.write(p.stems[i], images[i], scored, i); err != nil {
			return nil, err
		}
	}
	return results, nil
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

// explain is a protocol error without its code, or the cause of one where there
// is one: on this machine, unlike over the wire, the names of files may be told.
func explain(err error) error {
	var e *reward.Error
	switch {
	case !errors.As(err, &e):
		return err
	case errors.Unwrap(e) != nil:
		return errors.Unwrap(e)
	}
	return errors.New(e.Message())
}
