// Package nano carries a complete checkpoint of ImageDoctor in miniature: 0.8
// million parameters in the released layout, with the same tensor names and
// configuration keys and every width reduced. Its language part was briefly
// trained on coloured shapes, so that it writes the answer format, not always
// well; its heatmap heads are random. It exists for tests: what it says is
// not fit for training. Package pocket has a checkpoint that sees.
package nano

import (
	"embed"

	"github.com/denseflow/densereward/engine/imagedoctor/embedded"
)

//go:embed config.json preprocessor_config.json tokenizer.json model.safetensors.index.json *.safetensors
var files embed.FS

const (
	HeadWidth = 48  // of a token in the heatmap heads
	HeadMLP   = 128 // inside their two-way transformer's perceptrons
)

// Checkpoint is the miniature.
func Checkpoint() embedded.Checkpoint {
	return embedded.Checkpoint{Name: "imagedoctor-nano", Files: files}
}
