package imagedoctor

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/denseflow/densereward/engine/onnx"
	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/engine/ort/orttest"
	"github.com/denseflow/densereward/engine/safetensors"
	"github.com/denseflow/densereward/internal/npy"
)

type refCase struct {
	Name         string  `json:"name"`
	Prompt       string  `json:"prompt"`
	InputIDs     []int32 `json:"input_ids"`
	GeneratedIDs []int32 `json:"generated_ids"`
	Text         string  `json:"text"`
}

func readCases(t testing.TB) []refCase {
	b, err := os.ReadFile("testdata/cases/cases.json")
	if err != nil {
		t.Fatal(err)
	}
	var cs []refCase
	if err := json.Unmarshal(b, &cs); err != nil {
		t.Fatal(err)
	}
	return cs
}

func readNPZ(t testing.TB, name string) map[string]npy.Array {
	b, err := os.ReadFile(filepath.Join("testdata", "cases", name))
	if err != nil {
		t.Fatal(err)
	}
	m, err := npy.ReadZip(bytes.NewReader(b), int64(len(b)), 1<<28)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestCase00(t *testing.T) {
	c, err := LoadConfig("nano")
	if err != nil {
		t.Fatal(err)
	}
	ck, err := safetensors.Open("nano")
	if err != nil {
		t.Fatal(err)
	}
	g, err := buildGraph(c, ck, graphOptions{dtype: onnx.Float32, heads: onnx.Float32, probes: true, patches: true, imageStart: 21})
	if err != nil {
		t.Fatal(err)
	}
	m, err := g.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	os.WriteFile("/tmp/nano.onnx", m, 0o644)
	r := orttest.Open(t)
	s, err := r.NewSession(m, g.InputNames(), g.OutputNames(), ort.SessionOptions{InitializersDir: "nano"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	cs := readCases(t)
	z := readNPZ(t, "case00.npz")
	for k, a := range z {
		t.Log(k, a.Descr, a.Shape)
	}
	p, err := c.layOut(cs[0].InputIDs, 21)
	if err != nil {
		t.Fatal(err)
	}
	patches, err := z["pixel_values_f16"].Float32s()
	if err != nil {
		t.Fatal(err)
	}
	b := batch{prompts: []prompt{p}, pictures: ort.Float32s([]int64{1, 1296, 1176}, patches), maxTokens: 128, penalty: 1}
	out, err := s.Run(context.Background(), b.inputs(g.InputNames()))
	if err != nil {
		t.Fatal(err)
	}
	diff := func(name string, got []float32) {
		want, err := z[name].Float32s()
		if err != nil {
			t.Fatal(err)
		}
		var mx, sum, ref float64
		for i := range want {
			d := math.Abs(float64(got[i] - want[i]))
			mx = max(mx, d)
			sum += d
			ref += math.Abs(float64(want[i]))
		}
		t.Logf("%s: max %g mean %g ref %g", name, mx, sum/float64(len(want)), ref/float64(len(want)))
	}
	t.Log(out[0].Shape, out[0].Int64s(), cs[0].GeneratedIDs)
	diff("image_embeds", out[2].Float32s())
	diff("prefill_last_hidden", out[3].Float32s())
	diff("prefill_logits", out[4].Float32s())
	n := 288 * 288
	diff("misalignment", out[1].Float32s()[:n])
	diff("artifact", out[1].Float32s()[n:])
}
