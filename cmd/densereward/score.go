package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/denseflow/densereward/cmd/densereward/cli"
	"github.com/denseflow/densereward/cmd/densereward/files"
	"github.com/denseflow/densereward/cmd/densereward/hosting"
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
	VAE      *hosting.Decoder  `name:"vae" placeholder:"PATH" help:"Decoder of latents: a folder that diffusers saved, of the decoder or of a whole pipeline, or a single file such as ae.safetensors."`
	Images   []string          `arg:"" name:"image" help:"PNG, JPEG or WebP files; with --vae also latents as .npy or .safetensors."`

	hosting.EvaluatorFlags `group:"Evaluator flags:"`

	about reward.Description
}

func (scoreCommand) Help() string {
	return `Prints one JSON object a line, in the order of the images:

	{"image": "cube.png",
	 "scores": {the evaluator's; of ImageDoctor "semantic_alignment", "aesthetics", "plausibility", "overall"},
	 "missing": [names of the scores and maps that the answer lacks; they count as 0],
	 "reward": their sum by the evaluator's weights; of ImageDoctor 0.8 alignment + 0.1 aesthetics + 0.1 plausibility,
	 "text": the generated answer,
	 "boxes": [{"box": [x0,y0,x1,y1] in thousandths, "label", "importance"}],
	 "trace": {"input_ids", "generated_ids"}}

An image that cannot be scored costs the others nothing: its line is {"image", "error"}, and the exit code is 3.

--out writes for each image, under its name without extension,

	NAME.MAP.npy            each of the evaluator's maps, float32 (h,w) in [0,1], 1 means flawed; of ImageDoctor
	                        misalignment, where it contradicts the prompt, and artifact, where it is implausible
	NAME.dense.npy          1-H on the latent grid, H the maps by their weights, float32; if there are maps
	NAME.overlay.png        the image beside itself under its maps

Latents are float32, float16 or bfloat16, scaled as the trainer holds them, (N,C,h,w) or packed (N,L,D); of a file with several, sample I is named FILE[I] and its maps NAME-I.

Examples:

	densereward score --model DIR --prompt "a red cube" *.png
	densereward score --model DIR --prompt "a red cube" --mode think --out maps cube.png
	densereward score --model DIR --prompt "a red cube" --vae stable-diffusion-3.5-medium/vae latents.npy
	densereward score --evaluator signs=ocr --metadata text=OPEN --prompt "a shop" shop.png
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

func (c *scoreCommand) Run(ctx context.Context, t cli.Terminal) (err error) {
	if _, err := files.ParseGrid(c.Grid); err != nil {
		return cli.Usage("grid", err)
	}
	if c.Out != "" {
		if err := os.MkdirAll(c.Out, 0o755); err != nil {
			return err
		}
	}
	var decoders []hosting.Decoder
	if c.VAE != nil {
		decoders = append(decoders, *c.VAE)
	}
	e, err := c.Open(ctx, t, slog.New(slog.DiscardHandler), decoders...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	hosted, err := e.One()
	if err != nil {
		return err
	}
	c.about = hosted.Description
	scheduler, err := batch.New(files.Batching(c.Batch), hosted.Scheduled()...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, scheduler.Shutdown(ctx)) }()

	lines := json.NewEncoder(t.Out)
	lines.SetEscapeHTML(false)
	failures := 0
	samples := 0
	job := c.job(e, scheduler, len(hosted.Scheduled()))
	job.Say = t.Say
	err = job.Run(ctx, func(name string, r reward.Result) error {
		samples++
		if r.Err != nil {
			failures++
			t.Say("%s: %v", name, explain(r.Err))
			return lines.Encode(failure{name, explain(r.Err).Error()})
		}
		return lines.Encode(c.record(name, r))
	})
	if err == nil && failures > 0 {
		err = fmt.Errorf("%w: %d of %d", cli.ErrPartial, failures, samples)
	}
	return err
}

// job is the files with what is to be done with them.
func (c *scoreCommand) job(e *hosting.Engine, scorer scoring.Scorer, devices int) *files.Job {
	grid, _ := files.ParseGrid(c.Grid) // was checked before
	j := &files.Job{
		Paths: c.Images, Prompt: c.Prompt, Mode: c.Mode, Grid: grid, Out: c.Out,
		Evaluator: c.about, Scorer: scorer, Together: c.Batch * devices, Latents: c.Batch,
	}
	if c.Metadata != nil {
		j.Metadata = map[string]any{}
		for key, value := range c.Metadata {
			j.Metadata[key] = value
		}
	}
	if len(e.Decoders) > 0 {
		j.Decoder = e.Decoders[0]
	}
	return j
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
