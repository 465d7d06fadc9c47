package vae

import (
	"io"

	"github.com/denseflow/densereward/engine/onnx"
	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/engine/safetensors"
	"github.com/denseflow/densereward/reward"
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
	return newSession(config, checkpoint, o, whole, true)
}

// CheckGraph builds a decoder's graphs and counts its parameters.
func CheckGraph(dir string) (parameters int64, err error) {
	config, _, err := readConfig(dir)
	if err != nil {
		return 0, err
	}
	checkpoint, err := safetensors.Open(dir)
	if err != nil {
		return 0, err
	}
	parts := []part{whole, upToMid, fromMid}
	if config.Class == classTiny {
		parts = parts[:1]
	}
	for _, p := range parts {
		for _, last := range []bool{false, true} {
			for _, dtype := range []onnx.DType{onnx.Float32, onnx.Float16} {
				g, err := buildGraph(config, checkpoint, graphOptions{dtype: dtype, last: last, part: p, probes: p == whole})
				if err != nil {
					return 0, err
				}
				if _, err := g.Marshal(); err != nil {
					return 0, err
				}
			}
		}
	}
	for _, name := range checkpoint.Names() {
		t, _ := checkpoint.Tensor(name)
		n := int64(1)
		for _, d := range t.Shape {
			n *= d
		}
		parameters += n
	}
	return parameters, nil
}

// ReadNPY reads latents from an .npy file's bytes.
func ReadNPY(r io.Reader, limit int64) (*reward.Tensor, error) { return readNPY(r, limit) }
