package imagedoctor

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/denseflow/densereward/engine/imagedoctor/released"
	"github.com/denseflow/densereward/engine/initializers"
	"github.com/denseflow/densereward/engine/onnx"
	"github.com/denseflow/densereward/engine/safetensors"
)

// The widths of the published heads.
var releasedHeads = HeadWidths{Width: released.HeadWidth, MLP: released.HeadMLP}

// releasedList is the published configuration and a list of its tensors, which serves
// as a checkpoint without weights.
func releasedList(t testing.TB) (Config, *initializers.Inventory) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, configFile), []byte(released.Config), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := LoadConfig(dir)
	if err != nil {
		t.Fatal(err)
	}
	c.VocabSize = released.Vocabulary
	tensors, err := Inventory(c, releasedHeads)
	if err != nil {
		t.Fatal(err)
	}
	list := &initializers.Inventory{}
	for _, tensor := range tensors {
		list.Add(tensor.Name, tensor.Shape...)
	}
	return c, list
}

// sparse writes a checkpoint of holes: the tensors of the published configuration
// after change, with the published config.json.
func sparse(t *testing.T, change func(c *Config)) (Config, *safetensors.Checkpoint) {
	t.Helper()
	c, _ := releasedList(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, configFile), []byte(released.Config), 0o600); err != nil {
		t.Fatal(err)
	}
	read, err := LoadConfig(dir)
	if err != nil {
		t.Fatal(err)
	}
	change(&c)
	tensors, err := Inventory(c, releasedHeads)
	if err != nil {
		t.Fatal(err)
	}
	if err := writeTensors(dir, tensors, func(safetensors.Tensor, uint64) func(io.Writer) error { return nil }); err != nil {
		t.Fatal(err)
	}
	return read, openCheckpoint(t, dir)
}

// The published config.json is silent on the vision tower and the vocabulary. All
// forms of the graph are built and checked against 7.6 GB of holes; a model that
// had a weight in it would be larger than this.
func TestEveryFormOfTheReleasedGraphIsBuiltWithoutReadingAWeight(t *testing.T) {
	config, checkpoint := sparse(t, func(*Config) {})
	if config.VocabSize != 0 {
		t.Fatalf("config.json gives a vocabulary of %d", config.VocabSize)
	}
	guesses := newDraft(tokenizers(t)["published"], released.Vocabulary)
	for name, o := range map[string]graphOptions{
		"on a CPU":                 {dtype: onnx.Float32, heads: onnx.Float32},
		"on a GPU":                 {dtype: onnx.BFloat16, heads: onnx.Float16, paged: true},
		"with guesses":             {dtype: onnx.BFloat16, heads: onnx.Float16, paged: true, draft: guesses},
		"with guesses and penalty": {dtype: onnx.Float32, heads: onnx.Float32, draft: guesses, penalty: true},
		"with everything":          {dtype: onnx.BFloat16, heads: onnx.Float16, draft: guesses, penalty: true, forced: true, probes: true, patches: true},
	} {
		t.Run(name, func(t *testing.T) {
			o.imageStart = 15
			g, err := buildGraph(config, checkpoint, o)
			if err != nil {
				t.Fatal(err)
			}
			model, err := g.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			if len(model) > 16<<20 {
				t.Errorf("a model of %d bytes", len(model))
			}
		})
	}
}

func TestWhatTheReleasedConfigurationIsSilentOnIsCheckedAgainstShapes(t *testing.T) {
	for name, test := range map[string]struct {
		change func(c *Config)
		want   []string
	}{
		"fewer vision blocks": {func(c *Config) { c.Vision.Depth, c.Vision.FullAttentionBlocks = 24, []int{7, 15, 23} },
			[]string{"visual.blocks.24.norm1.weight is missing", "more tensors"}},
		"more vision blocks": {func(c *Config) { c.Vision.Depth = 40 }, []string{"visual.blocks.32.norm1.weight is of a block that the configuration does not have"}},
		"another inner width": {func(c *Config) { c.Vision.IntermediateSize = 3456 },
			[]string{"visual.blocks.0.mlp.gate_proj.weight has shape [3456 1280], the configuration demands [3420 1280]"}},
		"another width": {func(c *Config) { c.Vision.HiddenSize = 1152 }, []string{"visual.patch_embed.proj.weight has shape [1152 3 2 14 14]"}},
		"another merge": {func(c *Config) { c.Vision.SpatialMergeSize, c.Preprocessor.MergeSize = 1, 1 },
			[]string{"visual.merger.mlp.0.weight has shape [1280 1280], the configuration demands [5120 5120]"}},
		"patches of one frame": {func(c *Config) { c.Vision.TemporalPatchSize = 1 }, []string{"visual.patch_embed.proj.weight has shape [1280 3 1 14 14]"}},
	} {
		t.Run(name, func(t *testing.T) {
			config, checkpoint := sparse(t, test.change)
			_, err := buildGraph(config, checkpoint, graphOptions{dtype: onnx.Float32, heads: onnx.Float32})
			if err == nil {
				t.Fatal("no error")
			}
			for _, part := range test.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %q does not say %q", err, part)
				}
			}
		})
	}
}

func TestAnInventoryNeedsItsWidths(t *testing.T) {
	c, _ := releasedList(t)
	for name, test := range map[string]struct {
		vocabulary int
		heads      HeadWidths
	}{
		"no vocabulary": {0, releasedHeads}, "no width": {9, HeadWidths{MLP: 1}}, "no inner width": {9, HeadWidths{Width: 16}},
		"a width that heads do not divide": {9, HeadWidths{Width: 17, MLP: 1}},
	} {
		c.VocabSize = test.vocabulary
		if list, err := Inventory(c, test.heads); err == nil {
			t.Errorf("%s: %d tensors", name, len(list))
		}
	}
}

func TestPagesThatCannotBeToldApartAreRefused(t *testing.T) {
	c, _ := releasedList(t)
	c.NumLayers = distinctFills/2 + 1
	tensors, err := Inventory(c, releasedHeads)
	if err != nil {
		t.Fatal(err)
	}
	list := &initializers.Inventory{}
	for _, tensor := range tensors {
		list.Add(tensor.Name, tensor.Shape...)
	}
	_, err = buildGraph(c, list, graphOptions{dtype: onnx.BFloat16, heads: onnx.Float16, paged: true})
	if err == nil || !strings.Contains(err.Error(), "129 layers") {
		t.Errorf("129 layers: %v", err)
	}
}
