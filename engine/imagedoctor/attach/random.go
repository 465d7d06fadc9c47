package attach

import (
	"encoding/binary"
	"io"
	"math"
	"math/rand/v2"
	"strings"

	"github.com/denseflow/densereward/engine/safetensors"
)

// random writes a head's tensor in bfloat16 as training from nothing begins: biases
// 0, scales of norms 1, weights normal with a deviation that keeps the size of
// what passes through.
func random(t safetensors.Tensor, source rand.Source) func(io.Writer) error {
	constant, deviation := initial(t.Name, t.Shape)
	return func(w io.Writer) error {
		r := rand.New(source)
		buffer := make([]byte, 0, 1<<16)
		for left := t.Length / 2; left > 0; {
			buffer = buffer[:0]
			for range min(left, int64(cap(buffer)/2)) {
				v := constant
				if deviation > 0 {
					v = deviation * r.NormFloat64()
				}
				bits := math.Float32bits(float32(v))
				bits += 0x7fff + bits>>16&1
				buffer = binary.LittleEndian.AppendUint16(buffer, uint16(bits>>16))
			}
			if _, err := w.Write(buffer); err != nil {
				return err
			}
			left -= int64(len(buffer) / 2)
		}
		return nil
	}
}

// initial is a constant, or a deviation where that is positive.
func initial(name string, shape []int64) (constant, deviation float64) {
	inputs := 1.0 // of each output
	for _, n := range shape[min(1, len(shape)):] {
		inputs *= float64(n)
	}
	switch {
	case strings.HasSuffix(name, "bias"):
		return 0, 0
	case strings.Contains(name, "gaussian_matrix"): // the frequencies of positions
		return 0, 1
	case len(shape) == 1 || strings.Contains(name, "scale"):
		return 1, 0
	case len(shape) == 2 && shape[0] == 1 && (strings.Contains(name, "mask_token") || strings.Contains(name, "_embed")):
		return 0, 0.5
	case len(shape) == 2:
		deviation = math.Pow(inputs, -0.5)
		if strings.Contains(name, "hypernetworks") && strings.HasSuffix(name, "layers.2.weight") {
			deviation *= 0.1 // the maps begin with little heat
		}
		return 0, deviation
	case strings.Contains(name, "deconv"): // 3x3 with stride 2: each output has 9/4 taps of each input
		return 0, math.Sqrt(2 / (float64(shape[0]) * 9 / 4))
	}
	return 0, math.Sqrt(2 / inputs)
}
