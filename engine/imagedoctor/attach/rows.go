package attach

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"
	"slices"

	"github.com/denseflow/densereward/engine/qwenvl/checkpoint"
	"github.com/denseflow/densereward/engine/safetensors"
)

// grows reports whether a tensor has a row for each token.
func grows(name string) bool { return name == checkpoint.EmbeddingName || name == headName }

// grown is a tensor (tokens,width) with rows for new tokens.
type grown struct {
	from  safetensors.Tensor
	ids   [2]int
	count int    // rows to be written
	mean  []byte // of the rows that were there, as a row
}

// newGrown reads t once, for the mean of its rows.
func newGrown(t safetensors.Tensor, ids [2]int) (*grown, error) {
	if len(t.Shape) != 2 || t.DType != safetensors.BF16 && t.DType != safetensors.F32 {
		return nil, fmt.Errorf("attach: %w: %s is %s %v, not a matrix of BF16 or F32", ErrNotPlain, t.Name, t.DType, t.Shape)
	}
	g := &grown{from: t, ids: ids, count: max(int(t.Shape[0]), slices.Max(ids[:])+1)}
	sums := make([]float64, t.Shape[1])
	if err := g.each(func(_ int, row []byte) error {
		for i := range sums {
			sums[i] += g.number(row, i)
		}
		return nil
	}); err != nil {
		return nil, fmt.Errorf("attach: %s: %w", t.Name, err)
	}
	for _, sum := range sums {
		bits := math.Float32bits(float32(sum / float64(t.Shape[0])))
		if t.DType == safetensors.F32 {
			g.mean = binary.LittleEndian.AppendUint32(g.mean, bits)
			continue
		}
		bits += 0x7fff + bits>>16&1 // to the nearest, of two equally near ones the even one
		g.mean = binary.LittleEndian.AppendUint16(g.mean, uint16(bits>>16))
	}
	return g, nil
}

func (g *grown) number(row []byte, i int) float64 {
	if g.from.DType == safetensors.F32 {
		return float64(math.Float32frombits(binary.LittleEndian.Uint32(row[4*i:])))
	}
	return float64(math.Float32frombits(uint32(binary.LittleEndian.Uint16(row[2*i:])) << 16))
}

// each calls do with every row that was there.
func (g *grown) each(do func(at int, row []byte) error) error {
	f, err := os.Open(g.from.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	rows := int(g.from.Shape[0])
	r := bufio.NewReaderSize(io.NewSectionReader(f, g.from.Offset, g.from.Length), 1<<20)
	row := make([]byte, g.from.Length/max(1, g.from.Shape[0]))
	for at := range rows {
		if _, err := io.ReadFull(r, row); err != nil {
			return err
		}
		if err := do(at, row); err != nil {
			return err
		}
	}
	return nil
}

func (g *grown) fill(w io.Writer) error {
	if err := g.each(func(at int, row []byte) error {
		if slices.Contains(g.ids[:], at) { // there was room
			row = g.mean
		}
		_, err := w.Write(row)
		return err
	}); err != nil {
		return err
	}
	for range g.count - int(g.from.Shape[0]) {
		if _, err := w.Write(g.mean); err != nil {
			return err
		}
	}
	return nil
}
