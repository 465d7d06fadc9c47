// Package released carries the configuration of ImageDoctor's published
// checkpoint, GYX97/ImageDoctor, as far as it is public. The weights are not
// here.
package released

import _ "embed"

// Config is the published config.json. It is silent on most of the vision tower
// and on the size of the vocabulary.
//
//go:embed config.json
var Config string

const (
	// Vocabulary is the number of rows of the published embedding.
	Vocabulary = 151936
	// HeadWidth is the width of a token in the heatmap heads.
	HeadWidth = 768
	// HeadMLP is the width inside their two-way transformer's perceptrons.
	HeadMLP = 2048
)
