package hosting

import (
	"errors"
	"fmt"
	"strings"

	"github.com/denseflow/densereward/cmd/densereward/cli"
	"github.com/denseflow/densereward/cmd/densereward/models"
	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/engine/vae"
	"github.com/denseflow/densereward/reward"
)

// LatentFlags choose the decoders that a server has for latents.
type LatentFlags struct {
	VAE     []Decoder `name:"vae" placeholder:"NAME=PATH" help:"A decoder for requests that send latents: a folder that diffusers saved, of the decoder or of a whole pipeline, or a single file such as ae.safetensors, or a model of the hub; may come several times."`
	VAEHalf bool      `name:"vae-half" help:"Run the decoders in float16, with --device cuda. Those that overflow in it stay in float32, and the log says so."`
}

// Decoders are what --vae names, for all devices. A name that comes twice, or half
// precision without CUDA, is a usage error.
func (f *LatentFlags) Decoders(devices []string) ([]Decoder, error) {
	for _, device := range devices {
		if f.VAEHalf && !strings.HasPrefix(device, "cuda") {
			return nil, cli.Usage("vae-half", errors.New("needs --device cuda"))
		}
	}
	taken := map[string]bool{}
	for i, d := range f.VAE {
		if taken[d.Name] {
			return nil, cli.Usage("vae", fmt.Errorf("two decoders are called %q; NAME=PATH tells them apart", d.Name))
		}
		taken[d.Name] = true
		f.VAE[i].half = f.VAEHalf
	}
	return f.VAE, nil
}

// Decoder names a decoder of latents and its folder.
type Decoder struct {
	Name, Dir string
	half      bool // float16, on CUDA
}

// UnmarshalText reads NAME=PATH, or PATH for the folder's, file's or model's own name.
func (d *Decoder) UnmarshalText(text []byte) error {
	var named bool
	if d.Name, d.Dir, named = strings.Cut(string(text), "="); !named {
		d.Name, d.Dir = models.NameOf(string(text)), string(text)
	}
	if d.Name == "" || d.Dir == "" {
		return fmt.Errorf("%q is neither NAME=PATH nor PATH", text)
	}
	return nil
}

// options say how the decoder runs.
func (d Decoder) options(runtime *ort.Runtime, threads int) vae.Options {
	o := vae.Options{Runtime: runtime, Threads: threads, Name: d.Name}
	if d.half {
		o.Precision = vae.Float16
	}
	return o
}

// LatentDecoders are the decoders as the server takes them.
func (e *Engine) LatentDecoders() []reward.LatentDecoder {
	decoders := make([]reward.LatentDecoder, len(e.Decoders))
	for i, one := range e.Decoders {
		decoders[i] = one
	}
	return decoders
}
