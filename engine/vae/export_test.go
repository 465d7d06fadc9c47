package vae

import (
	"io"

	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/engine/vae/autoencoder"
	"github.com/denseflow/densereward/reward"
)

// ProbeSession is a decoder's session with what diffusers' decode returns as
// its third output, and what it takes as its fourth.
func ProbeSession(path string, o Options) (*ort.Session, error) {
	m, err := autoencoder.Open(path)
	if err != nil {
		return nil, err
	}
	return newSession(m, o, autoencoder.Whole, true)
}

// ReadNPY reads latents from an .npy file's bytes.
func ReadNPY(r io.Reader, limit int64) (*reward.Tensor, error) { return readNPY(r, limit) }
