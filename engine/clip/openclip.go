package clip

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"regexp"
	"strconv"

	"github.com/denseflow/densereward/engine/safetensors"
	"github.com/denseflow/densereward/internal/modelfile"
)

const openCLIPConfigFile = "open_clip_config.json"

// openCLIPJSON is open_clip_config.json with open_clip's defaults where it is
// silent.
type openCLIPJSON struct {
	Model struct {
		EmbedDim  int  `json:"embed_dim"`
		QuickGELU bool `json:"quick_gelu"`
		Vision    struct {
			Width     int             `json:"width"`
			Layers    json.RawMessage `json:"layers"` // a list for ResNets
			HeadWidth int             `json:"head_width"`
			MLPRatio  float64         `json:"mlp_ratio"`
			PatchSize int             `json:"patch_size"`
			ImageSize json.RawMessage `json:"image_size"`
			Timm      string          `json:"timm_model_name"`
		} `json:"vision_cfg"`
		Text struct {
			Width    int     `json:"width"`
			Layers   int     `json:"layers"`
			Heads    int     `json:"heads"`
			MLPRatio float64 `json:"mlp_ratio"`
			Context  int     `json:"context_length"`
			Vocab    int     `json:"vocab_size"`
			HF       string  `json:"hf_model_name"`
		} `json:"text_cfg"`
	} `json:"model_cfg"`
	Preprocess struct {
		Mean []float32 `json:"mean"`
		Std  []float32 `json:"std"`
	} `json:"preprocess_cfg"`
}

// isOpenCLIP reports whether a checkpoint's tensors have open_clip's names.
func isOpenCLIP(lookup func(name string) (safetensors.Tensor, bool)) bool {
	_, ok := lookup("visual.conv1.weight")
	return ok
}

// openCLIPEpsilon is that of torch's LayerNorm.
const openCLIPEpsilon = 1e-5

// loadOpenCLIPConfig reads the open_clip_config.json of a folder.
func loadOpenCLIPConfig(dir string) (Config, *Preprocessor, error) {
	path := filepath.Join(dir, openCLIPConfigFile)
	data, err := modelfile.Read(path, maxFileBytes)
	if err != nil {
		return Config{}, nil, fmt.Errorf("clip: %w", err)
	}
	c, p, err := parseOpenCLIPConfig(data)
	if err != nil {
		return Config{}, nil, fmt.Errorf("clip: %s: %w", path, err)
	}
	return c, p, nil
}

func parseOpenCLIPConfig(data []byte) (Config, *Preprocessor, error) {
	var j openCLIPJSON
	if err := json.Unmarshal(data, &j); err != nil {
		return Config{}, nil, err
	}
	v, t := j.Model.Vision, j.Model.Text
	if v.Timm != "" || t.HF != "" {
		return Config{}, nil, fmt.Errorf("timm_model_name %q and hf_model_name %q are not supported, only open_clip's own towers", v.Timm, t.HF)
	}
	layers, side := 12, 224
	if v.Layers != nil && json.Unmarshal(v.Layers, &layers) != nil {
		return Config{}, nil, fmt.Errorf("vision_cfg: layers is %s: only vision transformers are supported", v.Layers)
	}
	if v.ImageSize != nil && json.Unmarshal(v.ImageSize, &side) != nil {
		return Config{}, nil, fmt.Errorf("vision_cfg: image_size is %s, only a square by one number is supported", v.ImageSize)
	}
	activation := "gelu"
	if j.Model.QuickGELU {
		activation = "quick_gelu"
	}
	tower := func(width, layers, heads int, ratio float64) Tower {
		return Tower{
			HiddenSize: width, IntermediateSize: int(float64(width) * cmp.Or(ratio, 4)), Layers: layers, Heads: heads,
			Activation: activation, LayerNormEps: openCLIPEpsilon,
		}
	}
	width := cmp.Or(v.Width, 768)
	c := Config{
		Vision:        tower(width, layers, width/max(1, cmp.Or(v.HeadWidth, 64)), v.MLPRatio),
		Text:          tower(cmp.Or(t.Width, 512), cmp.Or(t.Layers, 12), cmp.Or(t.Heads, 8), t.MLPRatio),
		ProjectionDim: j.Model.EmbedDim, VocabSize: cmp.Or(t.Vocab, 49408), Positions: cmp.Or(t.Context, 77),
		EOSTokenID: legacyEOS, ImageSize: side, PatchSize: cmp.Or(v.PatchSize, 16),
	}
	if err := c.check(); err != nil {
		return Config{}, nil, err
	}
	p := defaultPreprocessor(side)
	p.fit = fitCropEven
	if err := p.statistics("mean", j.Preprocess.Mean, &p.mean); err != nil {
		return Config{}, nil, err
	}
	if err := p.statistics("std", j.Preprocess.Std, &p.std); err != nil {
		return Config{}, nil, err
	}
	return c, p, nil
}

// headWidths are the widths of attention heads in open_clip's vision towers of a
// width, for those that OpenAI has not published: of the others no shape tells
// which activation they were trained with.
var headWidths = map[int]int{1280: 80, 1408: 88, 1664: 104} // ViT-H, ViT-g, ViT-bigG

// configOfShapes is the configuration of open_clip's ViT-H, ViT-g and ViT-bigG, as
// HPSv2 is, by the shapes of their tensors.
func configOfShapes(c *safetensors.Checkpoint) (Config, error) {
	shape := func(name string, rank int) ([]int, error) {
		t, ok := c.Tensor(name)
		if !ok || len(t.Shape) != rank {
			return nil, fmt.Errorf("tensor %s of %d dimensions is missing to tell the configuration", name, rank)
		}
		sizes := make([]int, rank)
		for i, n := range t.Shape {
			if n < 1 || n > maxVocab {
				return nil, fmt.Errorf("tensor %s has shape %v", name, t.Shape)
			}
			sizes[i] = int(n)
		}
		return sizes, nil
	}
	var found [7][]int
	for i, want := range []struct {
		name string
		rank int
	}{
		{"visual.conv1.weight", 4}, {"visual.positional_embedding", 2}, {"visual.transformer.resblocks.0.mlp.c_fc.bias", 1},
		{"token_embedding.weight", 2}, {"positional_embedding", 2}, {"transformer.resblocks.0.mlp.c_fc.bias", 1}, {"text_projection", 2},
	} {
		var err error
		if found[i], err = shape(want.name, want.rank); err != nil {
			return Config{}, err
		}
	}
	patches, places, visionMLP, tokens, positions, textMLP, projection := found[0], found[1], found[2], found[3], found[4], found[5], found[6]
	width := patches[0]
	headWidth, known := headWidths[width]
	if !known {
		return Config{}, fmt.Errorf("a vision tower of width %d may have been trained with either activation", width)
	}
	grid := int(math.Sqrt(float64(places[0] - 1)))
	config := Config{
		Vision: Tower{HiddenSize: width, IntermediateSize: visionMLP[0], Layers: blocks(c, visionBlock), Heads: width / headWidth,
			Activation: "gelu", LayerNormEps: openCLIPEpsilon},
		Text: Tower{HiddenSize: tokens[1], IntermediateSize: textMLP[0], Layers: blocks(c, textBlock), Heads: max(1, tokens[1]/64),
			Activation: "gelu", LayerNormEps: openCLIPEpsilon},
		ProjectionDim: projection[1], VocabSize: tokens[0], Positions: positions[0], EOSTokenID: legacyEOS,
		ImageSize: grid * patches[3], PatchSize: patches[3],
	}
	return config, config.check()
}

var (
	visionBlock = regexp.MustCompile(`^visual\.transformer\.resblocks\.(\d{1,4})\.attn\.in_proj_weight$`)
	textBlock   = regexp.MustCompile(`^transformer\.resblocks\.(\d{1,4})\.attn\.in_proj_weight$`)
)

// blocks is one more than the largest number of a block.
func blocks(c *safetensors.Checkpoint, pattern *regexp.Regexp) int {
	n := 0
	for _, name := range c.Names() {
		if m := pattern.FindStringSubmatch(name); m != nil {
			number, _ := strconv.Atoi(m[1]) // four digits at most
			n = max(n, number+1)
		}
	}
	return n
}
