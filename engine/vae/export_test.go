package vae

import (
	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/engine/safetensors"
)

// ProbeSession is a decoder's session with what diffusers' decode returns as
// its second output.
func ProbeSession(dir string, o Options) (*ort.Session, error) {
	config, _, err := readConfig(dir)
	if err != nil {
		return nil, err
	}
	checkpoint, err := safetensors.Open(dir)
	if err != nil {
		return nil, err
	}
	return newSession(config, checkpoint, o, true)
}
