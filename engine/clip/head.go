package clip

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strconv"
)

// layer is a linear layer: weight (out,in), bias (out).
type layer struct {
	in, out      int
	weight, bias []float32
}

// head is LAION's stack of linear layers. It was trained without activations
// between them, and its dropout does nothing any more.
type head []layer

var layerName = regexp.MustCompile(`^layers\.([0-9]{1,4})\.weight$`)

// maxHeadValues bounds a head, whose published form has a million values.
const maxHeadValues = 1 << 26

// loadHead reads a head and checks that its layers fit each other.
func loadHead(path string) (head, error) {
	c, err := openFile(path)
	if err != nil {
		return nil, fmt.Errorf("clip: aesthetic head: %w", err)
	}
	h, err := readHead(c, c.Names())
	if err != nil {
		return nil, fmt.Errorf("clip: aesthetic head %s: %w", path, err)
	}
	return h, nil
}

func readHead(c checkpoint, names []string) (head, error) {
	var numbers []int
	for _, name := range names {
		if m := layerName.FindStringSubmatch(name); m != nil {
			n, _ := strconv.Atoi(m[1]) // four digits at most
			numbers = append(numbers, n)
		}
	}
	if len(numbers) == 0 {
		return nil, fmt.Errorf("no tensors layers.N.weight")
	}
	slices.Sort(numbers)
	var h head
	for _, n := range numbers {
		l, err := readLayer(c, fmt.Sprintf("layers.%d", n))
		if err != nil {
			return nil, err
		}
		if len(h) > 0 && h[len(h)-1].out != l.in {
			return nil, fmt.Errorf("layers.%d takes %d values, the layer before it gives %d", n, l.in, h[len(h)-1].out)
		}
		h = append(h, l)
	}
	if out := h[len(h)-1].out; out != 1 {
		return nil, fmt.Errorf("the last layer gives %d values, not 1", out)
	}
	return h, nil
}

func readLayer(c checkpoint, name string) (layer, error) {
	weight, shape, err := readFloats(c, name+".weight")
	if err != nil {
		return layer{}, err
	}
	bias, biasShape, err := readFloats(c, name+".bias")
	if err != nil {
		return layer{}, err
	}
	if len(shape) != 2 || len(biasShape) != 1 || biasShape[0] != shape[0] || len(weight) == 0 {
		return layer{}, fmt.Errorf("%s: weight %v and bias %v, want (out,in) and (out)", name, shape, biasShape)
	}
	return layer{in: int(shape[1]), out: int(shape[0]), weight: weight, bias: bias}, nil
}

// readFloats reads a tensor of float32, float16 or bfloat16.
func readFloats(c checkpoint, name string) (values []float32, shape []int64, err error) {
	t, ok := c.Tensor(name)
	if !ok {
		return nil, nil, fmt.Errorf("tensor %s is missing", name)
	}
	if t.Length > 4*maxHeadValues {
		return nil, nil, fmt.Errorf("tensor %s has %d bytes, limit %d", name, t.Length, 4*maxHeadValues)
	}
	data, err := c.Read(name)
	if err != nil {
		return nil, nil, err
	}
	values, err = floats(t, data)
	return values, t.Shape, err
}

// apply runs the layers in float64.
func (h head) apply(x []float32) float64 {
	values := make([]float64, len(x))
	for i, v := range x {
		values[i] = float64(v)
	}
	for _, l := range h {
		next := make([]float64, l.out)
		for o := range next {
			sum := float64(l.bias[o])
			for i, w := range l.weight[o*l.in : (o+1)*l.in] {
				sum += float64(w) * values[i]
			}
			next[o] = sum
		}
		values = next
	}
	return values[0]
}

// fingerprint is a hash of the layers, in hex.
func (h head) fingerprint() string {
	sum := sha256.New()
	for _, l := range h {
		_ = binary.Write(sum, binary.LittleEndian, l.weight) // a hash takes all
		_ = binary.Write(sum, binary.LittleEndian, l.bias)
	}
	return hex.EncodeToString(sum.Sum(nil))
}
