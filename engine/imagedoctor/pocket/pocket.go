// Package pocket carries a complete checkpoint of ImageDoctor that is small
// and sees: 6.9 million parameters in the released layout, trained from nothing on
// drawn scenes of coloured shapes. It tells whether a caption is true and where a
// scene is flawed, in that world alone. README.md is its model card; the training is
// examples/training.
package pocket

import (
	"embed"

	"github.com/denseflow/densereward/engine/imagedoctor/embedded"
)

//go:embed config.json preprocessor_config.json tokenizer.json model.safetensors.index.json *.safetensors
var files embed.FS

// Note is what people should know who use the checkpoint.
const Note = "the embedded pocket ImageDoctor knows drawn scenes, not photographs"

// Checkpoint is the pocket ImageDoctor.
func Checkpoint() embedded.Checkpoint {
	return embedded.Checkpoint{Name: "imagedoctor-pocket", Files: files}
}
