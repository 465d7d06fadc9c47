// Package demo is what the demo asks of a server: images of three prompts, and latents of
// one.
package demo

import (
	"embed"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"

	"github.com/denseflow/densereward/cmd/densereward/overlay"
	"github.com/denseflow/densereward/engine/image"
	"github.com/denseflow/densereward/engine/vae/autoencoder"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/wire"
)

// files are the images of the demo.
//
//go:embed *.png
var files embed.FS

// Rollout is what the demo asks after a rollout, as a trainer would. Samples
// of a prompt stand together.
type Rollout struct {
	Name    string   // of the file with its grid
	Form    string   // how the images travel
	Names   []string // of the samples
	Request *wire.Request
}

// group is a prompt and the names of its images, whose files are NAME.png. The
// first is right.
type group struct {
	prompt string
	names  []string
}

// groups show flaws, wrong captions and wrong relations.
func groups() []group {
	return []group{
		{"a red circle", []string{"circle", "circle-warped", "circle-bleeding", "circle-noise"}},
		{"a green triangle", []string{"triangle", "triangle-colour", "triangle-shape", "triangle-extra"}},
		{"a yellow star to the left of a blue square", []string{"star", "star-swapped", "star-below", "star-colours"}},
	}
}

// Prompts are the prompts of the images, in their order.
func Prompts() []string {
	var all []string
	for _, g := range groups() {
		all = append(all, g.prompt)
	}
	return all
}

// Names are the names of a prompt's images, whose files are NAME.png; the first
// image is right.
func Names(prompt string) []string {
	for _, g := range groups() {
		if g.prompt == prompt {
			return g.names
		}
	}
	return nil
}

// Images is each prompt with its four images, as PNG files.
func Images() (*Rollout, error) {
	r := &Rollout{Name: "images", Form: "PNG files", Request: request(wire.ReturnDense, wire.ReturnHeatmaps)}
	for _, g := range groups() {
		for _, name := range g.names {
			file, err := files.ReadFile(name + ".png")
			if err != nil {
				return nil, err
			}
			r.Names = append(r.Names, name)
			r.Request.Prompts = append(r.Request.Prompts, g.prompt)
			r.Request.Images = append(r.Request.Images, wire.Image{Encoded: file})
		}
	}
	return r, nil
}

func request(parts ...wire.Return) *wire.Request {
	return &wire.Request{Advantage: &reward.Advantage{Method: reward.AdvantageFlowGRPO}, Return: parts}
}

// Decoder is the name of the decoder for the demo's latents.
const Decoder = "demo"

// The shape of the demo's latents, (N,C,h,w), for images of 512x512.
const (
	samples  = 4
	channels = 16
	side     = 64
)

// seed makes the decoder's weights and the latents the same every time.
const seed = 15

// WriteDecoder writes a small decoder with random weights: what it makes of
// latents is abstract art, but all steps are those of a real one.
func WriteDecoder(dir string) error {
	config := fmt.Sprintf(`{"_class_name": "AutoencoderTiny", "latent_channels": %d, "scaling_factor": 1, "shift_factor": 0,
 "decoder_block_out_channels": [16, 16, 16, 16], "num_decoder_blocks": [1, 1, 1, 1]}`, channels)
	return autoencoder.WriteRandom(dir, []byte(config), rand.New(rand.NewPCG(seed, 0)))
}

// Latents is one prompt with four samples as latents: waves of random
// lengths and directions.
func Latents() *Rollout {
	shape := []int{samples, channels, side, side}
	r := &Rollout{Name: "latents", Form: fmt.Sprintf("latents %v to a decoder with random weights", shape), Request: request(wire.ReturnDense, wire.ReturnHeatmaps, wire.ReturnImages)}
	random := rand.New(rand.NewPCG(seed, 1))
	var values []float32
	for i := range samples {
		r.Names = append(r.Names, fmt.Sprintf("latents-%d", i))
		r.Request.Prompts = append(r.Request.Prompts, Prompts()[0])
		for range channels {
			values = append(values, wave(random)...)
		}
	}
	r.Request.Latents, r.Request.VAE = reward.Float32Tensor(values, shape...), Decoder
	return r
}

// wave is one channel of latents (h,w), about as large as a model's.
func wave(random *rand.Rand) []float32 {
	const turns = 1 // of a typical wave over the image
	x, y := turns*random.NormFloat64()/side, turns*random.NormFloat64()/side
	phase := random.Float64()
	channel := make([]float32, 0, side*side)
	for row := range side {
		for column := range side {
			angle := 2 * math.Pi * (phase + x*float64(column) + y*float64(row))
			channel = append(channel, float32(2*math.Sin(angle)))
		}
	}
	return channel
}

// Print writes a table for each prompt.
func (r *Rollout) Print(w io.Writer, response *wire.Response) error {
	advantages, err := response.Advantages.Float64s()
	if err != nil {
		return err
	}
	weights, err := response.Dense.Weight.Float32s()
	if err != nil {
		return err
	}
	cells := response.Dense.Height * response.Dense.Width
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	for i, prompt := range r.Request.Prompts {
		if i == 0 || prompt != r.Request.Prompts[i-1] {
			fmt.Fprintf(table, "%s\n", prompt)
			fmt.Fprint(table, "image\t")
			for _, s := range response.Scores {
				fmt.Fprintf(table, "%s\t", s.Name)
			}
			fmt.Fprintf(table, "reward\tadvantage\tmean of 1-H on %dx%d\t\n", response.Dense.Height, response.Dense.Width)
		}
		fmt.Fprintf(table, "%s\t", r.Names[i])
		for _, s := range response.Scores {
			fmt.Fprintf(table, "%.2f\t", s.Values[i])
		}
		fmt.Fprintf(table, "%.3f\t%+.3f\t%.3f\t\n", response.Rewards[i], advantages[i], overlay.Mean(weights[i*cells:(i+1)*cells]))
	}
	fmt.Fprintln(table)
	return table.Flush()
}

// WriteOverlays writes an image for each sample to dir, and one of them all,
// Name.png.
func (r *Rollout) WriteOverlays(dir string, response *wire.Response) error {
	maps, err := mapsBySample(response)
	if err != nil {
		return err
	}
	advantages, err := response.Advantages.Float64s()
	if err != nil {
		return err
	}
	var rows []overlay.Row
	for i, name := range r.Names {
		prompt := r.Request.Prompts[i]
		if i == 0 || prompt != r.Request.Prompts[i-1] {
			rows = append(rows, overlay.Row{Title: prompt})
		}
		image, err := image.Decode(r.file(response, i), image.Limits{})
		if err != nil {
			return err
		}
		panels, err := overlay.PNG(image, maps[i]...)
		if err != nil {
			return err
		}
		path := filepath.Join(dir, fmt.Sprintf("prompt%d-%s.overlay.png", len(rows), name))
		if err := os.WriteFile(path, panels, 0o644); err != nil {
			return err
		}
		row := &rows[len(rows)-1]
		label := fmt.Sprintf("reward %.2f, advantage %+.2f", response.Rewards[i], advantages[i])
		row.Cells = append(row.Cells, overlay.Cell{Image: image, Map: greatest(maps[i]), Label: label})
	}
	grid, err := overlay.Grid(rows)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, r.Name+".png"), grid, 0o644)
}

// greatest is the greatest value at each place of maps of one size.
func greatest(maps []overlay.Map) reward.Map {
	all := reward.Map{Height: maps[0].Height, Width: maps[0].Width, Data: slices.Clone(maps[0].Data)}
	for _, m := range maps[1:] {
		for i := range min(len(all.Data), len(m.Data)) {
			all.Data[i] = max(all.Data[i], m.Data[i])
		}
	}
	return all
}

// file is the image of sample i, as it was sent or as the server decoded it.
func (r *Rollout) file(response *wire.Response, i int) []byte {
	if r.Request.Images != nil {
		return r.Request.Images[i].Encoded
	}
	return response.Images[i]
}

// mapsBySample takes apart the tensors (N,h,w) of the evaluator's maps.
func mapsBySample(response *wire.Response) ([][]overlay.Map, error) {
	samples := make([][]overlay.Map, len(response.Rewards))
	for _, h := range response.Heatmaps {
		for i := range samples {
			t := wire.OfSample(h.Maps, h.Each, i)
			values, err := t.Float32s()
			if err != nil {
				return nil, err
			}
			one := reward.Map{Height: t.Shape[0], Width: t.Shape[1], Data: values}
			samples[i] = append(samples[i], overlay.Map{Name: h.Name, Map: one})
		}
	}
	return samples, nil
}
