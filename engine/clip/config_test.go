package clip

import (
	"strings"
	"testing"
)

func TestConfigurationsThatCannotRunAreRefusedByName(t *testing.T) {
	for _, c := range []struct{ name, json, want string }{
		{"another model", `{"model_type": "siglip"}`, "model_type"},
		{"an activation that is not CLIP's", `{"text_config": {"hidden_act": "relu"}}`, "text_config: hidden_act"},
		{"heads that do not divide the width", `{"vision_config": {"num_attention_heads": 7}}`, "vision_config: hidden_size"},
		{"a width of nothing", `{"projection_dim": 0}`, "projection_dim"},
		{"a width beyond bounds", `{"text_config": {"intermediate_size": 99999999}}`, "text_config: intermediate_size"},
		{"a patch larger than the image", `{"vision_config": {"image_size": 16}}`, "patch_size"},
		{"four colours", `{"vision_config": {"num_channels": 4}}`, "num_channels"},
		{"no number where one is wanted", `{"projection_dim": "many"}`, "projection_dim"},
		{"an epsilon of nothing", `{"vision_config": {"layer_norm_eps": 0}}`, "layer_norm_eps"},
		{"room for no text", `{"text_config": {"max_position_embeddings": 1}}`, "max_position_embeddings"},
	} {
		if _, err := parseConfig([]byte(c.json)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v does not say %q", c.name, err, c.want)
		}
	}
}

func TestASilentConfigurationIsTransformersDefault(t *testing.T) {
	c, err := parseConfig([]byte(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	if c.Text.HiddenSize != 512 || c.Vision.HiddenSize != 768 || c.Positions != 77 || c.PatchSize != 32 || c.Text.Activation != "quick_gelu" {
		t.Errorf("got %+v", c)
	}
}

func TestPreprocessorsThatWeDoNotDoAreRefusedByName(t *testing.T) {
	for _, c := range []struct{ name, json, want string }{
		{"another filter", `{"resample": 2}`, "resample"},
		{"no normalisation", `{"do_normalize": false}`, "do_normalize"},
		{"another scale", `{"rescale_factor": 0.0078}`, "rescale_factor"},
		{"a crop of another size", `{"crop_size": {"height": 30, "width": 30}}`, "crop_size"},
		{"a crop that is no square", `{"crop_size": {"height": 28, "width": 30}}`, "crop_size"},
		{"a size of nothing", `{"size": {"shortest_edge": 0}}`, "size"},
		{"no crop after the short side", `{"do_center_crop": false}`, "do_center_crop"},
		{"two means", `{"image_mean": [0.5, 0.5]}`, "image_mean"},
		{"a deviation of 0", `{"image_std": [0.5, 0, 0.5]}`, "image_std"},
	} {
		if _, err := parsePreprocessor([]byte(c.json), 28); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v does not say %q", c.name, err, c.want)
		}
	}
	for _, json := range []string{
		`{"size": 28, "crop_size": 28}`, // as old files have it
		`{"size": {"height": 28, "width": 28}, "do_center_crop": false}`,
	} {
		if _, err := parsePreprocessor([]byte(json), 28); err != nil {
			t.Errorf("%s: %v", json, err)
		}
	}
}
