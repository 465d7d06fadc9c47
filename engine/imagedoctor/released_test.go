package imagedoctor

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/denseflow/densereward/engine/imagedoctor/released"
	"github.com/denseflow/densereward/engine/initializers"
	"github.com/denseflow/densereward/engine/onnx"
	"github.com/denseflow/densereward/engine/qwenvl"
	"github.com/denseflow/densereward/engine/qwenvl/checkpoint"
	"github.com/denseflow/densereward/engine/safetensors"
)

// The widths of the published heads.
var releasedHeads = HeadWidths{Width: released.HeadWidth, MLP: released.HeadMLP}

// releasedList is the published configuration and a list of its tensors, which serves
// as a checkpoint without weights.
func releasedList(t testing.TB) (Config, *initializers.Inventory) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, checkpoint.ConfigFile), []byte(released.Config), 0o600); err != nil {
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
	if err := os.WriteFile(filepath.Join(dir, checkpoint.ConfigFile), []byte(released.Config), 0o600); err != nil {
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
	if err := writeHoles(dir, tensors); err != nil {
		t.Fatal(err)
	}
	return read, openCheckpoint(t, dir)
}

// The published config.json is silent on the vision tower and the vocabulary. All
// forms of the graph are built and checked against 7.6 GB of holes; a model that
// had a weight in it would be larger than this.
func TestEveryFormOfTheReleasedGraphIsBuiltWithoutReadingAWeight(t *testing.T) {
	t.Parallel()
	config, checkpoint := sparse(t, func(*Config) {})
	if config.VocabSize != 0 {
		t.Fatalf("config.json gives a vocabulary of %d", config.VocabSize)
	}
	for name, o := range map[string]graphOptions{
		"on a CPU":                   {Options: qwenvl.Options{DType: onnx.Float32}, heads: onnx.Float32},
		"on a GPU":                   {Options: qwenvl.Options{DType: onnx.BFloat16, Paged: true}, heads: onnx.Float16},
		"speculative":                {Options: qwenvl.Options{DType: onnx.BFloat16, Paged: true, Drafted: true}, heads: onnx.Float16},
		"speculative with a penalty": {Options: qwenvl.Options{DType: onnx.Float32, Drafted: true, Penalty: true}, heads: onnx.Float32},
		"with everything": {
			Options: qwenvl.Options{DType: onnx.BFloat16, Drafted: true, Penalty: true, TeacherForced: true, Patches: true},
			heads:   onnx.Float16, probes: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
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
	t.Parallel()
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
			_, err := buildGraph(config, checkpoint, graphOptions{Options: qwenvl.Options{DType: onnx.Float32}, heads: onnx.Float32})
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
	c.NumLayers = 129
	tensors, err := Inventory(c, releasedHeads)
	if err != nil {
		t.Fatal(err)
	}
	list := &initializers.Inventory{}
	for _, tensor := range tensors {
		list.Add(tensor.Name, tensor.Shape...)
	}
	_, err = buildGraph(c, list, graphOptions{Options: qwenvl.Options{DType: onnx.BFloat16, Paged: true}, heads: onnx.Float16})
	if err == nil || !strings.Contains(err.Error(), "129 layers") {
		t.Errorf("129 layers: %v", err)
	}
}

// writeHoles writes the shards of a checkpoint without its weights.
func writeHoles(dir string, tensors []safetensors.Tensor) error {
	sources := make([]safetensors.Source, len(tensors))
	for i, t := range tensors {
		sources[i] = safetensors.Source{Name: t.Name, DType: t.DType, Shape: t.Shape}
	}
	return safetensors.WriteShards(dir, sources, 4<<30)
}
