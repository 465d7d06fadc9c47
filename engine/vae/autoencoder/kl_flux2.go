package autoencoder

import (
	"errors"
	"fmt"
	"math"

	"github.com/denseflow/densereward/engine/safetensors"
	"github.com/denseflow/densereward/internal/floats"
)

// The statistics of an AutoencoderKLFlux2's latents, float32 (4*C) in its
// checkpoint. They are those of a batch normalisation without weights.
const (
	batchNormMean = "bn.running_mean"
	batchNormVar  = "bn.running_var"
)

// parseFlux2 reads an AutoencoderKLFlux2: AutoencoderKL's decoder, whose widths
// may differ from its encoder's, for latents of which 2x2 cells are joined to one
// of four times the channels and normalised by the statistics of a batch
// normalisation (pipelines/flux2/pipeline_flux2.py, the end of __call__).
func parseFlux2(data []byte) (Config, error) {
	var f klFile
	if err := decodeJSON(data, &f); err != nil {
		return Config{}, err
	}
	widths := []int{128, 256, 512, 512}
	if f.BlockOutChannels != nil {
		widths = f.BlockOutChannels
	}
	if len(f.DecoderBlockOutChannels) > 0 {
		widths = f.DecoderBlockOutChannels
	}
	if f.PatchSize != nil && (len(f.PatchSize) != 2 || f.PatchSize[0] != patch || f.PatchSize[1] != patch) {
		return Config{}, fmt.Errorf("patch_size: %v is not [%d %d]", f.PatchSize, patch, patch)
	}
	d, err := f.decoder(widths, or(f.LatentChannels, 32), or(f.LayersPerBlock, 2))
	if err != nil {
		return Config{}, err
	}
	c := Config{
		LatentChannels: d.channels * patch * patch, ScalingFactor: 1,
		BatchNormEps: or(f.BatchNormEps, 1e-4), TokenSide: 1, network: d,
	}
	if !(c.BatchNormEps > 0) {
		return Config{}, fmt.Errorf("batch_norm_eps: %g is not positive", c.BatchNormEps)
	}
	return c, nil
}

// checkStatistics reads the statistics that a checkpoint has for its latents.
// Those that are not finite would make every image so.
func checkStatistics(c Config, p *parameters) error {
	if !c.patchified() {
		return nil
	}
	for _, name := range []string{batchNormMean, batchNormVar} {
		data, dtype, err := p.read(name)
		if errors.Is(err, safetensors.ErrNoTensor) {
			continue // the graph's check names it
		}
		if err != nil {
			return err
		}
		values, err := numbers(data, dtype)
		if err != nil {
			return fmt.Errorf("autoencoder: tensor %s: %w", name, err)
		}
		for i, v := range values {
			if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) || name == batchNormVar && v < 0 {
				return fmt.Errorf("autoencoder: tensor %s: element %d is %g", name, i, v)
			}
		}
	}
	return nil
}

// numbers converts a tensor's bytes.
func numbers(data []byte, dtype safetensors.DType) ([]float32, error) {
	switch dtype {
	case safetensors.F32:
		values := make([]float32, len(data)/4)
		floats.Float32s(values, data)
		return values, nil
	case safetensors.F16:
		values := make([]float32, len(data)/2)
		floats.Float16s(values, data)
		return values, nil
	case safetensors.BF16:
		values := make([]float32, len(data)/2)
		floats.BFloat16s(values, data)
		return values, nil
	}
	return nil, fmt.Errorf("%v; BF16, F16 and F32 can be used", dtype)
}
