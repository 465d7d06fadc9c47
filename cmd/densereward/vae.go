package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/engine/vae"
	"github.com/denseflow/densereward/reward"
)

// latentFlags choose the decoders that a server has for latents.
type latentFlags struct {
	VAE     []decoderFlag `name:"vae" placeholder:"NAME=PATH" help:"A decoder for requests that send latents: a folder that diffusers saved, of the decoder or of a whole pipeline, or a single file such as ae.safetensors; may come several times."`
	VAEHalf bool          `name:"vae-half" help:"Run the decoders in float16, with --device cuda. Those that overflow in it stay in float32, and the log says so."`
}

// decoderFlags are the decoders to load on the devices.
func (f *latentFlags) decoderFlags(devices []string) ([]decoderFlag, error) {
	for _, device := range devices {
		if f.VAEHalf && !strings.HasPrefix(device, "cuda") {
			return nil, &usageError{"vae-half", errors.New("needs --device cuda")}
		}
	}
	taken := map[string]bool{}
	for i, d := range f.VAE {
		if taken[d.name] {
			return nil, &usageError{"vae", fmt.Errorf("two decoders are called %q; NAME=PATH tells them apart", d.name)}
		}
		taken[d.name] = true
		f.VAE[i].half = f.VAEHalf
	}
	return f.VAE, nil
}

// decoderFlag names a decoder of latents and its folder.
type decoderFlag struct {
	name, dir string
	half      bool // float16, on CUDA
}

// UnmarshalText reads NAME=PATH, or PATH for the folder's or file's own name.
func (d *decoderFlag) UnmarshalText(text []byte) error {
	var named bool
	if d.name, d.dir, named = strings.Cut(string(text), "="); !named {
		d.name, d.dir = strings.TrimSuffix(filepath.Base(string(text)), ".safetensors"), string(text)
	}
	if d.name == "" || d.dir == "" {
		return fmt.Errorf("%q is neither NAME=PATH nor PATH", text)
	}
	return nil
}

// options say how the decoder runs.
func (d decoderFlag) options(runtime *ort.Runtime, threads int) vae.Options {
	o := vae.Options{Runtime: runtime, Threads: threads, Name: d.name}
	if d.half {
		o.Precision = vae.Float16
	}
	return o
}

// latentDecoders are the decoders as the server takes them.
func (e *engine) latentDecoders() []reward.LatentDecoder {
	decoders := make([]reward.LatentDecoder, len(e.decoders))
	for i, one := range e.decoders {
		decoders[i] = one
	}
	return decoders
}
