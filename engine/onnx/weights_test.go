package onnx_test

import (
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/denseflow/densereward/engine/onnx"
	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/engine/ort/orttest"
)

// shard writes data behind offset bytes of something else.
func shard(t *testing.T, dir, name string, offset int, data []byte) onnx.Location {
	t.Helper()
	content := append([]byte(strings.Repeat("x", offset)), data...)
	if err := os.WriteFile(filepath.Join(dir, name), append(content, "tail"...), 0o600); err != nil {
		t.Fatal(err)
	}
	return onnx.Location{File: name, Offset: int64(offset), Length: int64(len(data))}
}

// halves are the numbers as two bytes each, cut off to bfloat16.
func halves(numbers ...float32) []byte {
	var data []byte
	for _, v := range numbers {
		data = binary.LittleEndian.AppendUint16(data, uint16(math.Float32bits(v)>>16))
	}
	return data
}

func TestWeightsAreReadWhereTheyLie(t *testing.T) {
	dir := t.TempDir()
	var plain []byte
	for _, v := range []float32{1, 2, 3, 4} {
		plain = binary.LittleEndian.AppendUint32(plain, math.Float32bits(v))
	}
	half := []byte{0x00, 0x3c, 0x00, 0xc1} // float16 1 and -2.5
	g := onnx.New("weights")
	x := g.Input("x", f32, onnx.Dims(2))
	// Offsets as shards have them: aligned to eight bytes and not at all.
	w32 := g.Initializer("w32", f32, onnx.Dims(2, 2), shard(t, dir, "one.bin", 8, plain))
	w16 := g.Cast(g.Initializer("w16", onnx.BFloat16, onnx.Dims(2), shard(t, dir, "two.bin", 6, halves(10, -0.5))), f32)
	h16 := g.Cast(g.Initializer("h16", onnx.Float16, onnx.Dims(2), shard(t, dir, "three.bin", 1024, half)), f32)
	g.Output("y", g.Add(g.Add(g.Squeeze(g.MatMulT(g.Unsqueeze(x, 0), w32, 1), 0), w16), h16))
	got := run(t, g, ort.SessionOptions{Threads: 1, InitializersDir: dir}, ort.Float32s([]int64{2}, []float32{1, 10}))
	if want := []float32{21 + 10 + 1, 43 - 0.5 - 2.5}; !slices.Equal(got[0].Float32s(), want) {
		t.Errorf("%v, want %v", got[0].Float32s(), want)
	}
}

func TestNothingOfAWeightIsInTheModel(t *testing.T) {
	g := onnx.New("large")
	x := g.Input("x", f32, onnx.Shape{batch, n(1 << 16)})
	w := g.Initializer("w", onnx.BFloat16, onnx.Dims(1<<16, 1<<16), onnx.Location{File: "w.bin", Offset: 64, Length: 2 << 32})
	g.Output("y", g.MatMulT(x, g.Cast(w, f32), 1))
	model, err := g.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if len(model) > 1000 {
		t.Errorf("8 GiB of weights make a model of %d bytes", len(model))
	}
}

func TestWeightsSeenFromALoopAreStoredOnce(t *testing.T) {
	dir := t.TempDir()
	at := shard(t, dir, "w.bin", 0, halves(2))
	g := onnx.New("loop")
	x := g.Input("x", f32, onnx.Dims(1))
	var inside onnx.Value
	out := g.Loop(onnx.Scalar(g, int64(5)), onnx.Scalar(g, true), one(x), nil, onnx.Dim{},
		always(func(b *onnx.Graph, _ onnx.Value, in []onnx.Value) ([]onnx.Value, []onnx.Value) {
			inside = b.Initializer("w", onnx.BFloat16, onnx.Dims(1), at)
			return one(b.Mul(in[0], b.Cast(inside, f32))), nil
		}))
	g.Output("y", out[0])
	if again := g.Initializer("w", onnx.BFloat16, onnx.Dims(1), at); again.Name() != inside.Name() {
		t.Errorf("%s outside, %s inside", again.Name(), inside.Name())
	}
	got := run(t, g, ort.SessionOptions{Threads: 1, InitializersDir: dir}, ort.Float32s([]int64{1}, []float32{1}))
	if v := got[0].Float32s()[0]; v != 32 {
		t.Errorf("2 to the 5th is %v", v)
	}
}

func TestWeightsThatContradictThemselves(t *testing.T) {
	at := onnx.Location{File: "w.bin", Offset: 8, Length: 8}
	elsewhere := at
	elsewhere.Offset = 16
	for name, test := range map[string]struct {
		build func(g *onnx.Graph)
		want  []string
	}{
		"fewer bytes than elements": {func(g *onnx.Graph) { g.Initializer("w", f32, onnx.Dims(3), at) }, []string{`"w"`, "float32 (3)", "8 bytes"}},
		"a size of the run":         {func(g *onnx.Graph) { g.Initializer("w", f32, onnx.Shape{batch}, at) }, []string{`"w"`, "(batch)"}},
		"an unknown type":           {func(g *onnx.Graph) { g.Initializer("w", 99, onnx.Dims(2), at) }, []string{`"w"`, "unknown"}},
		"a place before the file": {func(g *onnx.Graph) {
			g.Initializer("w", f32, onnx.Dims(2), onnx.Location{File: "w.bin", Offset: -8, Length: 8})
		}, []string{`"w"`, "at -8"}},
		"the same name in another shape": {func(g *onnx.Graph) {
			g.Initializer("w", f32, onnx.Dims(2), at)
			g.Initializer("w", f32, onnx.Dims(1, 2), at)
		}, []string{`"w"`, "(1,2)", "was float32 (2)"}},
		"the same name at another place": {func(g *onnx.Graph) {
			g.Initializer("w", f32, onnx.Dims(2), at)
			g.Initializer("w", f32, onnx.Dims(2), elsewhere)
		}, []string{`"w"`, "Offset:16", "Offset:8"}},
	} {
		t.Run(name, func(t *testing.T) {
			g := onnx.New("test")
			test.build(g)
			wantError(t, g.Err(), test.want...)
		})
	}
}

func TestAWeightThatIsNotThereIsTheSessionsError(t *testing.T) {
	g := onnx.New("missing")
	x := g.Input("x", f32, onnx.Dims(2))
	g.Output("y", g.Add(x, g.Initializer("w", f32, onnx.Dims(2), onnx.Location{File: "nowhere.bin", Length: 8})))
	model, err := g.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	s, err := orttest.Open(t).NewSession(model, g.InputNames(), g.OutputNames(), ort.SessionOptions{InitializersDir: t.TempDir()})
	if err == nil {
		s.Close()
	}
	wantError(t, err, "nowhere.bin")
}
