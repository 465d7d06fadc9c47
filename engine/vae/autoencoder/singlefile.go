package autoencoder

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/denseflow/densereward/engine/safetensors"
	"github.com/denseflow/densereward/internal/modelfile"
)

// singleName is what FLUX's autoencoders are called as single files.
const singleName = "ae.safetensors"

// openSingle opens an autoencoder in one file. A config.json of a decoder beside
// it says what it is; without one, the tensors do where they have the names of
// FLUX's and Stable Diffusion's authors.
func openSingle(path string) (*Model, error) {
	checkpoint, err := safetensors.OpenFile(path)
	if err != nil {
		return nil, err
	}
	m := &Model{Name: strings.TrimSuffix(filepath.Base(path), fileSuffix), parameters: &parameters{Checkpoint: checkpoint}}
	levels := 0
	for _, prefix := range []string{"", "first_stage_model.", "vae."} {
		if levels = countLevels(checkpoint, prefix); levels > 0 {
			m.parameters.original = originalNames(checkpoint, prefix, levels)
			break
		}
	}
	beside := filepath.Join(filepath.Dir(path), configName)
	if m.file, err = modelfile.Read(beside, maxConfigBytes); err == nil {
		m.Config, err = ParseConfig(m.file)
	}
	if err != nil {
		if exists(beside) && levels == 0 {
			return nil, err
		}
		if m.file, err = inferConfig(filepath.Base(path), m.parameters, levels); err != nil {
			return nil, fmt.Errorf("autoencoder: %s: %w", filepath.Base(path), err)
		}
		if m.Config, err = ParseConfig(m.file); err != nil {
			return nil, err
		}
	}
	return m, checkStatistics(m.Config, m.parameters)
}

// countLevels is the number of a decoder's stages by the original names, 0 where
// the file does not have them.
func countLevels(c *safetensors.Checkpoint, prefix string) int {
	levels := 0
	for levels < maxStages {
		if _, ok := c.Tensor(fmt.Sprintf("%sdecoder.up.%d.block.0.conv1.weight", prefix, levels)); !ok {
			break
		}
		levels++
	}
	return levels
}

var (
	residualName = regexp.MustCompile(`^decoder\.up_blocks\.(\d+)\.resnets\.`)
	upsampleName = regexp.MustCompile(`^decoder\.up_blocks\.(\d+)\.upsamplers\.0\.`)
)

// originalNames makes the names that the authors gave a decoder's tensors from
// diffusers', as convert_ldm_vae_checkpoint in its loaders/single_file_utils.py
// does the other way about. Stages are numbered from the image.
func originalNames(c *safetensors.Checkpoint, prefix string, levels int) func(string) string {
	turned := func(number string) int {
		i, _ := strconv.Atoi(number) // the expressions let nothing but digits pass
		return levels - 1 - i
	}
	parts := strings.NewReplacer(
		"mid_block.resnets.0.", "mid.block_1.", "mid_block.resnets.1.", "mid.block_2.",
		"mid_block.attentions.0.to_out.0.", "mid.attn_1.proj_out.",
		"mid_block.attentions.0.group_norm.", "mid.attn_1.norm.",
		"mid_block.attentions.0.to_", "mid.attn_1.",
		"conv_shortcut", "nin_shortcut", "conv_norm_out", "norm_out",
	)
	nested := false // FLUX.2 has it within the decoder
	if _, ok := c.Tensor(prefix + "decoder.post_quant_conv.weight"); ok {
		nested = true
	}
	return func(name string) string {
		if m := residualName.FindStringSubmatch(name); m != nil {
			name = fmt.Sprintf("decoder.up.%d.block.", turned(m[1])) + name[len(m[0]):]
		} else if m := upsampleName.FindStringSubmatch(name); m != nil {
			name = fmt.Sprintf("decoder.up.%d.upsample.", turned(m[1])) + name[len(m[0]):]
		}
		if nested && strings.HasPrefix(name, "post_quant_conv.") {
			name = "decoder." + name
		}
		return prefix + parts.Replace(name)
	}
}

// inferConfig writes the config.json of a decoder with the original names, from
// the shapes of its tensors. How FLUX.1's latents are scaled stands in its
// authors' code alone, as does that of SD3's, so that the file's name decides
// between them.
func inferConfig(file string, p *parameters, levels int) ([]byte, error) {
	if levels == 0 {
		return nil, fmt.Errorf("no tensor decoder.up.0.block.0.conv1.weight, as in FLUX's %s, and no %s of a decoder beside it", singleName, configName)
	}
	var widths []int64
	for i := range levels {
		width, ok := p.dimension(fmt.Sprintf("decoder.up_blocks.%d.resnets.0.conv1.weight", levels-1-i), 0)
		if !ok {
			return nil, fmt.Errorf("decoder.up.%d is missing", i)
		}
		widths = append(widths, width)
	}
	layers := 0
	for layers <= maxLayers {
		if _, ok := p.Tensor(fmt.Sprintf("decoder.up_blocks.0.resnets.%d.conv1.weight", layers)); !ok {
			break
		}
		layers++
	}
	channels, _ := p.dimension("decoder.conv_in.weight", 1)
	_, postQuant := p.Tensor("post_quant_conv.weight")
	_, attention := p.Tensor("decoder.mid_block.attentions.0.to_q.weight")
	config := map[string]any{
		"_class_name": classKL, "block_out_channels": widths, "layers_per_block": layers - 1, "latent_channels": channels,
		"use_post_quant_conv": postQuant, "mid_block_add_attention": attention,
	}
	_, statistics := p.Tensor(batchNormMean)
	switch lower := strings.ToLower(file); {
	case statistics:
		config["_class_name"] = classFlux2
	case channels == 16 && (lower == singleName || strings.Contains(lower, "flux")):
		config["scaling_factor"], config["shift_factor"] = 0.3611, 0.1159
	case channels == 16 && strings.Contains(lower, "sd3"):
		config["scaling_factor"], config["shift_factor"] = 1.5305, 0.0609
	default:
		return nil, fmt.Errorf("%d channels do not say how the latents are scaled: put the decoder's %s beside the file, or call FLUX.1's %s",
			channels, configName, singleName)
	}
	return json.Marshal(config)
}

// dimension is one of a tensor's.
func (p *parameters) dimension(name string, axis int) (int64, bool) {
	t, ok := p.Tensor(name)
	if !ok || axis >= len(t.Shape) {
		return 0, false
	}
	return t.Shape[axis], true
}
