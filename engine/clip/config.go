package clip

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"path/filepath"

	"github.com/denseflow/densereward/internal/modelfile"
)

// Config describes both towers of a checkpoint.
type Config struct {
	Text, Vision  Tower
	ProjectionDim int // of the common space

	// Of the text tower.
	VocabSize int
	Positions int // most tokens of a text, those around it included
	// EOSTokenID ends a text; the state at its first place is the text's. Old
	// configurations name 2, which no tokenizer uses: the largest id is then meant.
	EOSTokenID int32

	// Of the vision tower.
	ImageSize, PatchSize int // pixels
}

// Tower describes one transformer.
type Tower struct {
	HiddenSize, IntermediateSize int
	Layers, Heads                int
	Activation                   string // "quick_gelu" or "gelu"
	LayerNormEps                 float64
}

// Grid is the number of patches along a side.
func (c Config) Grid() int { return c.ImageSize / c.PatchSize }

const configFile = "config.json"

// configJSON is config.json with transformers' defaults where it is silent.
type configJSON struct {
	ModelType     string     `json:"model_type"`
	ProjectionDim int        `json:"projection_dim"`
	Text          textJSON   `json:"text_config"`
	Vision        visionJSON `json:"vision_config"`
}

type towerJSON struct {
	HiddenSize       int     `json:"hidden_size"`
	IntermediateSize int     `json:"intermediate_size"`
	Layers           int     `json:"num_hidden_layers"`
	Heads            int     `json:"num_attention_heads"`
	Activation       string  `json:"hidden_act"`
	LayerNormEps     float64 `json:"layer_norm_eps"`
}

type textJSON struct {
	towerJSON
	VocabSize int   `json:"vocab_size"`
	Positions int   `json:"max_position_embeddings"`
	EOS       int32 `json:"eos_token_id"`
}

type visionJSON struct {
	towerJSON
	ImageSize int `json:"image_size"`
	PatchSize int `json:"patch_size"`
	Channels  int `json:"num_channels"`
}

func defaultConfigJSON() configJSON {
	return configJSON{
		ModelType:     "clip",
		ProjectionDim: 512,
		Text: textJSON{
			towerJSON: towerJSON{HiddenSize: 512, IntermediateSize: 2048, Layers: 12, Heads: 8, Activation: "quick_gelu", LayerNormEps: 1e-5},
			VocabSize: 49408, Positions: 77, EOS: 49407,
		},
		Vision: visionJSON{
			towerJSON: towerJSON{HiddenSize: 768, IntermediateSize: 3072, Layers: 12, Heads: 12, Activation: "quick_gelu", LayerNormEps: 1e-5},
			ImageSize: 224, PatchSize: 32, Channels: 3,
		},
	}
}

// LoadConfig reads the config.json of a folder.
func LoadConfig(dir string) (Config, error) {
	data, err := modelfile.Read(filepath.Join(dir, configFile), maxFileBytes)
	if err != nil {
		return Config{}, fmt.Errorf("clip: %w", err)
	}
	c, err := parseConfig(data)
	if err != nil {
		return Config{}, fmt.Errorf("clip: %s: %w", filepath.Join(dir, configFile), err)
	}
	return c, nil
}

func parseConfig(data []byte) (Config, error) {
	j := defaultConfigJSON()
	if err := json.Unmarshal(data, &j); err != nil {
		return Config{}, err
	}
	if j.ModelType != "clip" {
		return Config{}, fmt.Errorf("model_type is %q, only \"clip\" is supported", j.ModelType)
	}
	if j.Vision.Channels != 3 {
		return Config{}, fmt.Errorf("vision_config: num_channels is %d, only 3 is supported", j.Vision.Channels)
	}
	c := Config{
		Text: Tower(j.Text.towerJSON), Vision: Tower(j.Vision.towerJSON), ProjectionDim: j.ProjectionDim,
		VocabSize: j.Text.VocabSize, Positions: j.Text.Positions, EOSTokenID: j.Text.EOS,
		ImageSize: j.Vision.ImageSize, PatchSize: j.Vision.PatchSize,
	}
	return c, c.check()
}

// Bounds on what a configuration may ask for, far above any published model.
const (
	maxWidth     = 1 << 16
	maxLayers    = 1 << 8
	maxVocab     = 1 << 22
	maxPositions = 1 << 12
	maxImageSize = 1 << 12
)

func (c Config) check() error {
	within := func(name string, v, most int) error {
		if v < 1 || v > most {
			return fmt.Errorf("%s is %d, not in 1 to %d", name, v, most)
		}
		return nil
	}
	err := errors.Join(
		c.Text.check("text_config"), c.Vision.check("vision_config"),
		within("projection_dim", c.ProjectionDim, maxWidth),
		within("text_config: vocab_size", c.VocabSize, maxVocab),
		within("text_config: max_position_embeddings", c.Positions, maxPositions),
		within("vision_config: image_size", c.ImageSize, maxImageSize),
		within("vision_config: patch_size", c.PatchSize, maxImageSize),
	)
	switch {
	case err != nil:
		return err
	case c.Positions < 2:
		return fmt.Errorf("text_config: max_position_embeddings is %d: no room for the tokens around a text", c.Positions)
	case c.PatchSize > c.ImageSize:
		return fmt.Errorf("vision_config: patch_size is %d, image_size %d", c.PatchSize, c.ImageSize)
	}
	return nil
}

func (t Tower) check(name string) error {
	for _, v := range []struct {
		key     string
		v, most int
	}{
		{"hidden_size", t.HiddenSize, maxWidth}, {"intermediate_size", t.IntermediateSize, maxWidth},
		{"num_hidden_layers", t.Layers, maxLayers}, {"num_attention_heads", t.Heads, maxWidth},
	} {
		if v.v < 1 || v.v > v.most {
			return fmt.Errorf("%s: %s is %d, not in 1 to %d", name, v.key, v.v, v.most)
		}
	}
	switch {
	case t.HiddenSize%t.Heads != 0:
		return fmt.Errorf("%s: hidden_size %d is not a multiple of num_attention_heads %d", name, t.HiddenSize, t.Heads)
	case t.Activation != "quick_gelu" && t.Activation != "gelu":
		return fmt.Errorf("%s: hidden_act is %q, only quick_gelu and gelu are supported", name, t.Activation)
	case !(t.LayerNormEps > 0) || math.IsInf(t.LayerNormEps, 1):
		return fmt.Errorf("%s: layer_norm_eps is %v, not a positive number", name, t.LayerNormEps)
	}
	return nil
}
