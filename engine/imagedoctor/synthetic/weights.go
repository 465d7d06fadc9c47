package synthetic

import (
	"encoding/binary"
	"io"
	"math"
	"math/rand/v2"
	"strings"

	"github.com/denseflow/densereward/engine/safetensors"
)

const (
	randomDeviation = 0.02    // of every weight that is not a norm's: the model's initializer_range
	randomTable     = 1 << 16 // quantiles of the normal distribution
)

// randomFill writes a random tensor: 1 for the scale of a norm, otherwise normal
// with deviation randomDeviation, in bfloat16. Equal seeds write equal bytes.
func randomFill(t safetensors.Tensor, table []uint16, seed, stream uint64) func(io.Writer) error {
	if isNorm(t.Name) {
		return func(w io.Writer) error { return fillOnes(w, t.Length) }
	}
	return func(w io.Writer) error { return fillNormal(w, t.Length, table, rand.NewPCG(seed, stream)) }
}

// isNorm reports whether a tensor is the scale of a norm.
func isNorm(name string) bool {
	return strings.HasSuffix(name, ".scale") ||
		strings.HasSuffix(name, ".weight") && (strings.Contains(name, "norm") || strings.Contains(name, ".ln_q."))
}

// normalTable is the quantiles of the normal distribution in equal steps, as
// bfloat16 bits.
func normalTable() []uint16 {
	table := make([]uint16, randomTable)
	for i := range table {
		p := (float64(i) + 0.5) / randomTable
		v := float32(randomDeviation * math.Sqrt2 * math.Erfinv(2*p-1))
		table[i] = uint16(math.Float32bits(v) >> 16)
	}
	return table
}

// fillNormal writes length bytes: two a draw of sixteen bits.
func fillNormal(w io.Writer, length int64, table []uint16, source rand.Source) error {
	buffer := make([]byte, 1<<16)
	for length > 0 {
		part := buffer[:min(length, int64(len(buffer)))]
		for at := 0; at+1 < len(part); at += 8 {
			bits := source.Uint64()
			for i := at; i < min(at+8, len(part)-1); i += 2 {
				binary.LittleEndian.PutUint16(part[i:], table[uint16(bits)])
				bits >>= 16
			}
		}
		if _, err := w.Write(part); err != nil {
			return err
		}
		length -= int64(len(part))
	}
	return nil
}

// fillOnes writes length bytes of the bfloat16 1.
func fillOnes(w io.Writer, length int64) error {
	one := []byte{0x80, 0x3f}
	_, err := w.Write([]byte(strings.Repeat(string(one), int(length/2))))
	return err
}
