package onnx_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/denseflow/densereward/engine/onnx"
	"github.com/denseflow/densereward/engine/ort"
)

// instruction adds one node on values that are there already.
type instruction func(s *sketch, values []onnx.Value) onnx.Value

// randomInstruction draws an operator and its arguments. Many of them do not
// fit, which the builder must say.
func randomInstruction(rng *rand.Rand) instruction {
	pick, other, axis := rng.IntN(1<<16), rng.IntN(1<<16), rng.IntN(5)-2
	size := n(int64(1 + rng.IntN(4)))
	keep := rng.IntN(2) == 0
	which := rng.IntN(14)
	return func(s *sketch, values []onnx.Value) onnx.Value {
		x, y := values[pick%len(values)], values[other%len(values)]
		rank := len(x.Shape())
		switch which {
		case 0:
			return s.Add(x, y)
		case 1:
			return s.Max(x, y)
		case 2:
			return s.Where(s.Less(x, y), x, y)
		case 3:
			return s.Sigmoid(x)
		case 4:
			return s.Transpose(x, rotation(rank, other)...)
		case 5:
			return s.Unsqueeze(x, other%(rank+1))
		case 6:
			return s.Squeeze(x, axis)
		case 7:
			return s.ReduceMean(x, axis, keep)
		case 8:
			return s.Concat(axis, s.NewSym("sum"), x, y)
		case 9:
			return s.Slice(x, axis, int64(pick%2), int64(other%4))
		case 10:
			return s.MatMul(x, y)
		case 11: // the first two dimensions joined
			if rank < 2 {
				return s.Reshape(x, size)
			}
			return s.Reshape(x, append(onnx.Shape{x.Dim(0).Times(x.Dim(1))}, x.Shape()[2:]...)...)
		case 12: // to the other's shape, or to one with a random size
			if keep {
				return s.Reshape(x, y.Shape()...)
			}
			return s.Reshape(x, append(onnx.Shape{size}, x.Shape()...)...)
		default:
			return s.Softmax(s.Mul(x, y), axis)
		}
	}
}

// rotation permutes n axes by turning them round.
func rotation(n, by int) []int {
	perm := make([]int, n)
	for i := range perm {
		perm[i] = (i + by) % n
	}
	return perm
}

// build runs a program on fresh inputs. It returns all values, the inputs first.
func build(program []instruction) (*sketch, []onnx.Value) {
	s := newSketch()
	values := []onnx.Value{
		s.in(f32, batch, n(3)), s.in(f32, n(3), n(4)), s.in(f32, batch, count), s.in(f32, n(2), n(1), n(3)), s.in(f32, n(1)),
	}
	for _, add := range program {
		values = append(values, add(s, values))
	}
	return s, values
}

// Whatever the builder accepts, the runtime computes, in the shapes that were
// inferred, whatever the sizes of the symbols.
func TestRandomGraphsRunAsInferred(t *testing.T) {
	const graphs, attempts = 150, 40
	refused, nodes := 0, 0
	for seed := range uint64(graphs) {
		rng := rand.New(rand.NewPCG(seed, 7))
		var program []instruction
		for range attempts {
			longer := append(program[:len(program):len(program)], randomInstruction(rng))
			if s, _ := build(longer); s.Err() != nil {
				refused++
				continue
			}
			program = longer
		}
		nodes += len(program)
		runAsInferred(t, seed, program, sizes{"batch": int64(1 + rng.IntN(4)), "count": int64(1 + rng.IntN(4))})
		if t.Failed() {
			return
		}
	}
	t.Logf("%d nodes ran, %d were refused", nodes, refused)
	if nodes < 5*graphs || refused < 5*graphs {
		t.Errorf("%d nodes and %d refusals in %d graphs: too few to mean anything", nodes, refused, graphs)
	}
}

// runAsInferred runs a program, every value of which is an output.
func runAsInferred(t *testing.T, seed uint64, program []instruction, of sizes) {
	t.Helper()
	s, values := build(program)
	for i, v := range values {
		s.Output(fmt.Sprintf("out%d", i), v)
	}
	// The sums of joined symbols are the run's to tell; each must be the same
	// wherever it stands.
	sums := map[string]int64{}
	for i, out := range run(t, s.Graph, ort.SessionOptions{Threads: 1, Optimization: ort.OptimizeNothing}, s.tensors(of)...) {
		want := values[i].Shape()
		if len(out.Shape) != len(want) {
			t.Fatalf("seed %d: value %d came out as %v, inferred as %v", seed, i, out.Shape, want)
		}
		for axis, d := range want {
			learn(sums, d, out.Shape[axis])
			all := sizes(sums).also("batch", of["batch"]).also("count", of["count"])
			if size := all.size(d); size != out.Shape[axis] {
				t.Fatalf("seed %d: value %d came out as %v, inferred as %v with %v", seed, i, out.Shape, want, all)
			}
		}
	}
}

// learn notes the size of a sum that stands alone for the first time.
func learn(sums map[string]int64, d onnx.Dim, size int64) {
	var number int
	name := d.String()
	if _, err := fmt.Sscanf(name, "sum_%d", &number); err != nil || name != fmt.Sprintf("sum_%d", number) {
		return
	}
	if _, known := sums[name]; !known {
		sums[name] = size
	}
}
