package autoencoder

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/denseflow/densereward/engine/onnx"
)

// The classes of diffusers whose decoders are built here.
const (
	classKL          = "AutoencoderKL"
	classFlux2       = "AutoencoderKLFlux2"
	classQwenImage   = "AutoencoderKLQwenImage"
	classQwenImage21 = "AutoencoderKLQwenImage21"
	classWan         = "AutoencoderKLWan"
	classDC          = "AutoencoderDC"
	classTiny        = "AutoencoderTiny"
)

// patch is how many cells a side of the latents one packed token of FLUX.1 and
// Qwen-Image holds, and how many of its decoder's one of FLUX.2's latents.
const patch = 2

// Limits of what a config.json may ask for. Published decoders stay far below.
const (
	maxConfigBytes = 1 << 20
	maxStages      = 8
	maxLayers      = 32
	maxWidth       = 1 << 14
)

// Config is what diffusers' config.json says of a decoder. Absent keys have
// diffusers' defaults.
type Config struct {
	Class string

	// LatentChannels is C of the latents (N,C,h,w) that a trainer holds.
	LatentChannels int
	// Those are (z-ShiftFactor)*ScalingFactor, z being what the decoder takes.
	// Where LatentsMean and LatentsStd are given, one number a channel, they are
	// (z-LatentsMean)*ScalingFactor/LatentsStd instead.
	ScalingFactor, ShiftFactor float64
	LatentsMean, LatentsStd    []float64
	// Where BatchNormEps is not 0, they are 2x2 cells of z joined to one of four
	// times the channels, less the checkpoint's bn.running_mean, over the root of
	// its bn.running_var plus BatchNormEps.
	BatchNormEps float64

	// TokenSide is how many cells a side of the latents one packed token holds.
	TokenSide int
	// GridSide is how many cells a side of the latents one cell of the dense grid
	// holds: TokenSide where the model's pipeline is known to pack them, else 1.
	GridSide int

	// Float32Only says why the decoder does not compute in float16; empty where
	// it does.
	Float32Only string

	network architecture
}

// An architecture is the decoder of one class. It has two parts: the global one,
// whose attention sees the whole image, at a low resolution; and the local one,
// of which a pixel sees only what is near, so that it can be run on tiles.
type architecture interface {
	// scale is how many image pixels a side one cell of z becomes.
	scale() int
	// hidden is what global makes of z: its channels, and the cells a side that
	// one of z becomes. Without a global part, global returns z itself and
	// channels is 0.
	hidden() (channels, scale int)
	// groupNorms is the number of normalisations in local that go by statistics
	// of the whole image, and of the groups of each.
	groupNorms() (norms, groups int)

	// global writes the first part, z (N,C,h,w) to (N,channels,scale*h,scale*w).
	global(n *network, z onnx.Value) onnx.Value
	// local writes the rest, to an image of about [-1,1] with 3 channels or more.
	local(n *network, x onnx.Value) onnx.Value
	// clamps tells whether diffusers' decode limits the image to [-1,1].
	clamps() bool
}

// PixelScale is how many image pixels one cell of the latents is wide and high.
func (c Config) PixelScale() int {
	if c.patchified() {
		return patch * c.network.scale()
	}
	return c.network.scale()
}

// patchified tells whether a cell of the latents holds 2x2 of the decoder's.
func (c Config) patchified() bool { return c.BatchNormEps != 0 }

func (c Config) decoderChannels() int {
	if c.patchified() {
		return c.LatentChannels / patch / patch
	}
	return c.LatentChannels
}

// Hidden is what the decoder's global part makes of the latents: its channels, and
// the cells a side that one of the latents becomes.
func (c Config) Hidden() (channels, scale int) {
	channels, scale = c.network.hidden()
	if channels == 0 {
		channels = c.decoderChannels()
	}
	if c.patchified() {
		scale *= patch
	}
	return channels, scale
}

// HasGlobal tells whether the decoder has a global part, which must see the whole
// image; without one, its local part takes the latents themselves.
func (c Config) HasGlobal() bool {
	channels, _ := c.network.hidden()
	return channels != 0 || c.patchified()
}

// GroupNorms is the number of normalisations in the local part that go by
// statistics of the whole image, 0 where there are none, and of the groups of each.
func (c Config) GroupNorms() (norms, groups int) { return c.network.groupNorms() }

// ParseConfig reads the contents of diffusers' config.json. A decoder that
// cannot be built is an error that names the key.
func ParseConfig(data []byte) (Config, error) {
	c, err := parseConfig(data)
	if err != nil {
		return Config{}, fmt.Errorf("autoencoder: config.json: %w", err)
	}
	return c, nil
}

func parseConfig(data []byte) (Config, error) {
	var class struct {
		Name string `json:"_class_name"`
	}
	if err := decodeJSON(data, &class); err != nil {
		return Config{}, err
	}
	parse, ok := map[string]func([]byte) (Config, error){
		classKL: parseKL, classFlux2: parseFlux2, classTiny: parseTiny, classDC: parseDC,
		classWan: parseWan, classQwenImage: parseQwenImage, classQwenImage21: parseQwenImage21,
	}[class.Name]
	if !ok {
		return Config{}, fmt.Errorf("_class_name: %.80q is not one of %s, %s, %s, %s, %s, %s, %s", class.Name,
			classKL, classFlux2, classQwenImage, classQwenImage21, classWan, classDC, classTiny)
	}
	c, err := parse(data)
	if err != nil {
		return Config{}, err
	}
	c.Class = class.Name
	c.GridSide = 1
	if c.Class == classQwenImage { // others share their class with models that do not pack
		c.GridSide = c.TokenSide
	}
	return c, c.check()
}

// check bounds what all classes have.
func (c Config) check() error {
	if c.LatentChannels < 1 || c.LatentChannels > maxWidth {
		return fmt.Errorf("latent_channels or z_dim: %d: want 1 to %d", c.decoderChannels(), maxWidth)
	}
	if c.ScalingFactor == 0 {
		return fmt.Errorf("scaling_factor: 0")
	}
	if c.LatentsMean == nil && c.LatentsStd == nil {
		return nil
	}
	if len(c.LatentsMean) != c.LatentChannels || len(c.LatentsStd) != c.LatentChannels {
		return fmt.Errorf("latents_mean and latents_std: %d and %d numbers for %d channels", len(c.LatentsMean), len(c.LatentsStd), c.LatentChannels)
	}
	for i, s := range c.LatentsStd {
		if !(s > 0) {
			return fmt.Errorf("latents_std[%d]: %g is not positive", i, s)
		}
	}
	return nil
}

// stages checks the widths of a decoder's stages and how many layers each has,
// at least least; key is what the file calls the widths.
func stages(key string, widths, layers []int, least int) error {
	if len(widths) < 1 || len(widths) > maxStages || len(layers) != len(widths) {
		return fmt.Errorf("%s: %d widths and %d layer counts: want as many of both, 1 to %d", key, len(widths), len(layers), maxStages)
	}
	for i, w := range widths {
		if w < 1 || w > maxWidth {
			return fmt.Errorf("%s: a stage has %d channels: want 1 to %d", key, w, maxWidth)
		}
		if layers[i] < least || layers[i] > maxLayers {
			return fmt.Errorf("%s: a stage has %d layers: want %d to %d", key, layers[i], least, maxLayers)
		}
	}
	return nil
}

// outputChannels checks how many channels an image has: red, green, blue, and
// perhaps a fourth, which is opacity and not read.
func outputChannels(key string, n int) error {
	if n != 3 && n != 4 {
		return fmt.Errorf("%s: %d: want 3, or 4 with opacity", key, n)
	}
	return nil
}

// or is what p points at, or the default where the key is absent.
func or[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}

// decodeJSON reads JSON as Python writes it. NaN and Infinity, which JSON does
// not have, become strings, so that the error names the key that has them.
func decodeJSON(data []byte, into any) error {
	return json.Unmarshal(quoteConstants(data), into)
}

// quoteConstants puts the constants that Python writes between quotation marks.
func quoteConstants(data []byte) []byte {
	if !bytes.Contains(data, []byte("NaN")) && !bytes.Contains(data, []byte("Infinity")) {
		return data
	}
	quoted := make([]byte, 0, len(data)+64)
	inside := false
	for i := 0; i < len(data); i++ {
		rest := data[i:]
		constant := 0
		for _, name := range []string{"NaN", "Infinity", "-Infinity"} {
			if !inside && bytes.HasPrefix(rest, []byte(name)) {
				constant = len(name)
			}
		}
		switch {
		case constant > 0:
			quoted = append(append(append(quoted, '"'), rest[:constant]...), '"')
			i += constant - 1
			continue
		case inside && data[i] == '\\' && len(rest) > 1:
			quoted = append(quoted, data[i])
			i++
		case data[i] == '"':
			inside = !inside
		}
		quoted = append(quoted, data[i])
	}
	return quoted
}
