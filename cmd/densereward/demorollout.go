package main

import (
	"embed"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"text/tabwriter"

	"github.com/denseflow/densereward/cmd/densereward/overlay"
	"github.com/denseflow/densereward/engine/image"
	"github.com/denseflow/densereward/engine/vae/autoencoder"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/wire"
)

// demoFiles are the images of the demo.
//
//go:embed demo/*.png
var demoFiles embed.FS

// demoRollout is what the demo asks after a rollout, as a trainer would. Samples
// of a prompt stand together.
type demoRollout struct {
	form    string   // how the images travel
	names   []string // of the samples
	request *wire.Request
}

func demoPrompts() []string {
	return []string{"a red circle on a plain background", "a green square on a plain background"}
}

func demoNames() []string {
	return []string{"circle", "circle-flawed", "square", "square-flawed"}
}

// demoFilesRollout is each prompt with all four images, as PNG files.
func demoFilesRollout() (*demoRollout, error) {
	r := &demoRollout{form: "PNG files", request: demoRequest(wire.ReturnDense, wire.ReturnHeatmaps)}
	for _, prompt := range demoPrompts() {
		for _, name := range demoNames() {
			file, err := demoFiles.ReadFile("demo/" + name + ".png")
			if err != nil {
				return nil, err
			}
			r.names = append(r.names, name)
			r.request.Prompts = append(r.request.Prompts, prompt)
			r.request.Images = append(r.request.Images, wire.Image{Encoded: file})
		}
	}
	return r, nil
}

func demoRequest(parts ...wire.Return) *wire.Request {
	return &wire.Request{Advantage: &reward.Advantage{Method: reward.AdvantageFlowGRPO}, Return: parts}
}

// demoDecoder is the name of the decoder for the demo's latents.
const demoDecoder = "demo"

// The shape of the demo's latents, (N,C,h,w), for images of 512x512.
const (
	demoSamples  = 4
	demoChannels = 16
	demoSide     = 64
)

// demoSeed makes the decoder's weights and the latents the same every time.
const demoSeed = 15

// writeDemoDecoder writes a small decoder with random weights: what it makes of
// latents is abstract art, but all steps are those of a real one.
func writeDemoDecoder(dir string) error {
	config := fmt.Sprintf(`{"_class_name": "AutoencoderTiny", "latent_channels": %d, "scaling_factor": 1, "shift_factor": 0,
 "decoder_block_out_channels": [16, 16, 16, 16], "num_decoder_blocks": [1, 1, 1, 1]}`, demoChannels)
	return autoencoder.WriteRandom(dir, []byte(config), rand.New(rand.NewPCG(demoSeed, 0)))
}

// demoLatents is one prompt with four samples as latents: waves of random
// lengths and directions.
func demoLatents() *demoRollout {
	shape := []int{demoSamples, demoChannels, demoSide, demoSide}
	r := &demoRollout{form: fmt.Sprintf("latents %v to a decoder with random weights", shape), request: demoRequest(wire.ReturnDense, wire.ReturnHeatmaps, wire.ReturnImages)}
	random := rand.New(rand.NewPCG(demoSeed, 1))
	var values []float32
	for i := range demoSamples {
		r.names = append(r.names, fmt.Sprintf("latents-%d", i))
		r.request.Prompts = append(r.request.Prompts, demoPrompts()[0])
		for range demoChannels {
			values = append(values, wave(random)...)
		}
	}
	r.request.Latents, r.request.VAE = reward.Float32Tensor(values, shape...), demoDecoder
	return r
}

// wave is one channel of latents (h,w), about as large as a model's.
func wave(random *rand.Rand) []float32 {
	const turns = 1 // of a typical wave over the image
	x, y := turns*random.NormFloat64()/demoSide, turns*random.NormFloat64()/demoSide
	phase := random.Float64()
	channel := make([]float32, 0, demoSide*demoSide)
	for row := range demoSide {
		for column := range demoSide {
			angle := 2 * math.Pi * (phase + x*float64(column) + y*float64(row))
			channel = append(channel, float32(2*math.Sin(angle)))
		}
	}
	return channel
}

// print writes a table for each prompt.
func (r *demoRollout) print(w io.Writer, response *wire.Response) error {
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
	for i, prompt := range r.request.Prompts {
		if i == 0 || prompt != r.request.Prompts[i-1] {
			fmt.Fprintf(table, "%s\n", prompt)
			fmt.Fprint(table, "image\t")
			for _, s := range response.Scores {
				fmt.Fprintf(table, "%s\t", s.Name)
			}
			fmt.Fprintf(table, "reward\tadvantage\tmean of 1-H on %dx%d\t\n", response.Dense.Height, response.Dense.Width)
		}
		fmt.Fprintf(table, "%s\t", r.names[i])
		for _, s := range response.Scores {
			fmt.Fprintf(table, "%.2f\t", s.Values[i])
		}
		fmt.Fprintf(table, "%.3f\t%+.3f\t%.3f\t\n", response.Rewards[i], advantages[i], overlay.Mean(weights[i*cells:(i+1)*cells]))
	}
	fmt.Fprintln(table)
	return table.Flush()
}

// writeOverlays writes an image for each sample to dir.
func (r *demoRollout) writeOverlays(dir string, response *wire.Response) error {
	maps, err := mapsBySample(response)
	if err != nil {
		return err
	}
	prompt := 0
	for i, name := range r.names {
		if i == 0 || r.request.Prompts[i] != r.request.Prompts[i-1] {
			prompt++
		}
		image, err := image.Decode(r.file(response, i), image.Limits{})
		if err != nil {
			return err
		}
		panels, err := overlay.PNG(image, maps[i]...)
		if err != nil {
			return err
		}
		path := filepath.Join(dir, fmt.Sprintf("prompt%d-%s.overlay.png", prompt, name))
		if err := os.WriteFile(path, panels, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// file is the image of sample i, as it was sent or as the server decoded it.
func (r *demoRollout) file(response *wire.Response, i int) []byte {
	if r.request.Images != nil {
		return r.request.Images[i].Encoded
	}
	return response.Images[i]
}

// mapsBySample takes apart the tensors (N,h,w) of the evaluator's maps.
func mapsBySample(response *wire.Response) ([][]overlay.Map, error) {
	samples := make([][]overlay.Map, len(response.Rewards))
	for _, h := range response.Heatmaps {
		values, err := h.Maps.Float32s()
		if err != nil {
			return nil, err
		}
		height, width := h.Maps.Shape[1], h.Maps.Shape[2]
		size := height * width
		for i := range samples {
			one := reward.Map{Height: height, Width: width, Data: values[i*size : (i+1)*size]}
			samples[i] = append(samples[i], overlay.Map{Name: h.Name, Map: one})
		}
	}
	return samples, nil
}
