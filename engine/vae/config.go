package vae

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
)

// The classes of diffusers whose decoders are built here.
const (
	classKL   = "AutoencoderKL"
	classTiny = "AutoencoderTiny"
)

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
	Class          string
	LatentChannels int
	// A trainer's latents are (z-ShiftFactor)*ScalingFactor, z being what the
	// decoder takes. Where LatentsMean and LatentsStd are given, one number a
	// channel, they are (z-LatentsMean)*ScalingFactor/LatentsStd instead.
	ScalingFactor, ShiftFactor float64
	LatentsMean, LatentsStd    []float64

	// Widths are the channels of each stage in the order of the decoder, from
	// the latents to the picture; Layers the residual blocks of each.
	Widths, Layers []int
	// Upsampling is how much a stage, all but the last, enlarges.
	Upsampling int

	// AutoencoderKL alone.
	Groups        int // of channels that are normalised together
	Attention     bool
	PostQuantConv bool
}

// configFile is config.json as it is written.
type configFile struct {
	Class          string    `json:"_class_name"`
	LatentChannels *int      `json:"latent_channels"`
	OutChannels    *int      `json:"out_channels"`
	ActFn          *string   `json:"act_fn"`
	ScalingFactor  *float64  `json:"scaling_factor"`
	ShiftFactor    *float64  `json:"shift_factor"`
	LatentsMean    []float64 `json:"latents_mean"`
	LatentsStd     []float64 `json:"latents_std"`

	BlockOutChannels []int    `json:"block_out_channels"`
	UpBlockTypes     []string `json:"up_block_types"`
	LayersPerBlock   *int     `json:"layers_per_block"`
	NormNumGroups    *int     `json:"norm_num_groups"`
	MidAttention     *bool    `json:"mid_block_add_attention"`
	PostQuantConv    *bool    `json:"use_post_quant_conv"`

	DecoderWidths []int   `json:"decoder_block_out_channels"`
	DecoderBlocks []int   `json:"num_decoder_blocks"`
	Upsampling    *int    `json:"upsampling_scaling_factor"`
	UpsampleFn    *string `json:"upsample_fn"`
}

// readConfig reads config.json in dir.
func readConfig(dir string) (Config, []byte, error) {
	f, err := os.Open(filepath.Join(dir, "config.json"))
	if err != nil {
		return Config{}, nil, fmt.Errorf("vae: %w", err)
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxConfigBytes+1))
	if err != nil {
		return Config{}, nil, fmt.Errorf("vae: %w", err)
	}
	if len(data) > maxConfigBytes {
		return Config{}, nil, fmt.Errorf("vae: config.json is larger than %d bytes", maxConfigBytes)
	}
	c, err := ParseConfig(data)
	return c, data, err
}

// ParseConfig reads the contents of diffusers' config.json. A decoder that
// cannot be built is an error that names the key.
func ParseConfig(data []byte) (Config, error) {
	var f configFile
	if err := json.Unmarshal(data, &f); err != nil {
		return Config{}, fmt.Errorf("vae: config.json: %w", err)
	}
	var c Config
	var err error
	switch f.Class {
	case classKL:
		c, err = f.kl()
	case classTiny:
		c, err = f.tiny()
	default:
		err = fmt.Errorf("_class_name: %.80q is not one of %s, %s", f.Class, classKL, classTiny)
	}
	if err == nil {
		err = c.check(f)
	}
	if err != nil {
		return Config{}, fmt.Errorf("vae: config.json: %w", err)
	}
	return c, nil
}

func (f configFile) kl() (Config, error) {
	for i, kind := range f.UpBlockTypes {
		if kind != "UpDecoderBlock2D" {
			return Config{}, fmt.Errorf("up_block_types[%d]: %.80q is not UpDecoderBlock2D", i, kind)
		}
	}
	if act := or(f.ActFn, "silu"); act != "silu" && act != "swish" {
		return Config{}, fmt.Errorf("act_fn: %.80q is not silu", act)
	}
	widths := f.BlockOutChannels
	if widths == nil {
		widths = []int{64}
	}
	widths = slices.Clone(widths)
	slices.Reverse(widths) // the file has the encoder's order
	c := Config{
		Class: classKL, LatentChannels: or(f.LatentChannels, 4),
		ScalingFactor: or(f.ScalingFactor, 0.18215), ShiftFactor: or(f.ShiftFactor, 0),
		LatentsMean: f.LatentsMean, LatentsStd: f.LatentsStd,
		Widths: widths, Upsampling: 2, Groups: or(f.NormNumGroups, 32),
		Attention: or(f.MidAttention, true), PostQuantConv: or(f.PostQuantConv, true),
	}
	for range widths {
		c.Layers = append(c.Layers, or(f.LayersPerBlock, 1)+1)
	}
	if c.Groups < 1 {
		return Config{}, fmt.Errorf("norm_num_groups: %d", c.Groups)
	}
	for _, w := range widths {
		if w%c.Groups != 0 {
			return Config{}, fmt.Errorf("block_out_channels: %d is not a multiple of norm_num_groups %d", w, c.Groups)
		}
	}
	return c, nil
}

func (f configFile) tiny() (Config, error) {
	if act := or(f.ActFn, "relu"); act != "relu" {
		return Config{}, fmt.Errorf("act_fn: %.80q is not relu", act)
	}
	if up := or(f.UpsampleFn, "nearest"); up != "nearest" {
		return Config{}, fmt.Errorf("upsample_fn: %.80q is not nearest", up)
	}
	c := Config{
		Class: classTiny, LatentChannels: or(f.LatentChannels, 4),
		ScalingFactor: or(f.ScalingFactor, 1), ShiftFactor: or(f.ShiftFactor, 0),
		Widths: f.DecoderWidths, Layers: f.DecoderBlocks, Upsampling: or(f.Upsampling, 2),
	}
	if c.Widths == nil {
		c.Widths = []int{64, 64, 64, 64}
	}
	if c.Layers == nil {
		c.Layers = []int{3, 3, 3, 1}
	}
	for _, w := range c.Widths {
		if w != c.Widths[0] {
			return Config{}, fmt.Errorf("decoder_block_out_channels: %v are not all equal", c.Widths)
		}
	}
	return c, nil
}

// or is what p points at, or the default where the key is absent.
func or[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}

// check bounds what both classes have.
func (c Config) check(f configFile) error {
	if len(c.Widths) < 1 || len(c.Widths) > maxStages || len(c.Layers) != len(c.Widths) {
		return fmt.Errorf("%d widths and %d layer counts: want as many of both, 1 to %d", len(c.Widths), len(c.Layers), maxStages)
	}
	for i, w := range c.Widths {
		if w < 1 || w > maxWidth {
			return fmt.Errorf("a stage has %d channels: want 1 to %d", w, maxWidth)
		}
		if c.Layers[i] < 1 || c.Layers[i] > maxLayers {
			return fmt.Errorf("a stage has %d layers: want 1 to %d", c.Layers[i], maxLayers)
		}
	}
	if c.LatentChannels < 1 || c.LatentChannels > maxWidth {
		return fmt.Errorf("latent_channels: %d: want 1 to %d", c.LatentChannels, maxWidth)
	}
	if n := or(f.OutChannels, 3); n != 3 {
		return fmt.Errorf("out_channels: %d: want 3", n)
	}
	if c.Upsampling < 1 || c.Upsampling > 4 {
		return fmt.Errorf("upsampling_scaling_factor: %d: want 1 to 4", c.Upsampling)
	}
	if c.ScalingFactor == 0 {
		return errors.New("scaling_factor: 0")
	}
	if (c.LatentsMean == nil) != (c.LatentsStd == nil) ||
		c.LatentsMean != nil && (len(c.LatentsMean) != c.LatentChannels || len(c.LatentsStd) != c.LatentChannels) {
		return fmt.Errorf("latents_mean and latents_std: %d and %d numbers for %d channels", len(c.LatentsMean), len(c.LatentsStd), c.LatentChannels)
	}
	return nil
}

// PixelScale is how many picture pixels one latent cell is wide and high.
func (c Config) PixelScale() int {
	scale := 1
	for range len(c.Widths) - 1 {
		scale *= c.Upsampling
	}
	return scale
}
