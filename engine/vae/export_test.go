package vae

import (
	"io"

	"github.com/denseflow/densereward/engine/onnx"
	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/engine/safetensors"
	"github.com/denseflow/densereward/reward"
)

// ProbeSession is a decoder's session with what diffusers' decode returns as
// its third output.
func ProbeSession(path string, o Options) (*ort.Session, error) {
	m, err := open(path)
	if err != nil {
		return nil, err
	}
	return newSession(m, o, whole, true)
}

// CheckGraph builds a decoder's graphs and counts its parameters.
func CheckGraph(path string) (parameters int64, err error) {
	m, err := open(path)
	if err != nil {
		return 0, err
	}
	parts := []part{whole, globalPart, localPart}
	if !m.config.global() {
		parts = parts[:1]
	}
	for _, p := range parts {
		for _, last := range []bool{false, true} {
			for _, dtype := range []onnx.DType{onnx.Float32, onnx.Float16} {
				g, err := buildGraph(m.config, m.parameters, graphOptions{dtype: dtype, last: last, part: p, probes: p == whole})
				if err != nil {
					return 0, err
				}
				if _, err := g.Marshal(); err != nil {
					return 0, err
				}
			}
		}
	}
	for _, name := range m.parameters.Names() {
		t, _ := m.parameters.Tensor(name)
		n := int64(1)
		for _, d := range t.Shape {
			n *= d
		}
		parameters += n
	}
	return parameters, nil
}

// OriginalName is what a file such as ae.safetensors, of a decoder of so many
// stages, calls a tensor by diffusers' name.
func OriginalName(name string, levels int) string {
	return originalNames(&safetensors.Checkpoint{}, "", levels)(name)
}

// GridSide is how many cells a side of the latents one of the dense grid holds by
// the folder at path.
func GridSide(path string) (int, error) {
	m, err := open(path)
	if err != nil {
		return 0, err
	}
	return m.config.GridSide, nil
}

// ReadNPY reads latents from an .npy file's bytes.
func ReadNPY(r io.Reader, limit int64) (*reward.Tensor, error) { return readNPY(r, limit) }
