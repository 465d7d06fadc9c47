package clip

import (
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/denseflow/densereward/engine/ort/orttest"
	"github.com/denseflow/densereward/reward"
)

// cases is what testdata/make.py had transformers compute, in float64.
type cases struct {
	Sizes           [][2]int // width, height
	Images, Squares [][]byte
	Prompts         []string
	IDs             [][]int64
	Text, Image     []byte
	Logits          []byte // (images,prompts)
	Maps            []byte // (images,prompts,patches), where they were made
}

func readCases(tb testing.TB, name string) *cases {
	tb.Helper()
	f, err := os.Open(filepath.Join("testdata", name, "cases.json.gz"))
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	r, err := gzip.NewReader(f)
	if err != nil {
		tb.Fatal(err)
	}
	var c cases
	if err := json.NewDecoder(r).Decode(&c); err != nil {
		tb.Fatal(err)
	}
	return &c
}

func (c *cases) image(i int) *reward.Image {
	return &reward.Image{Width: c.Sizes[i][0], Height: c.Sizes[i][1], Pix: c.Images[i]}
}

func float32s(data []byte) []float32 {
	values := make([]float32, len(data)/4)
	for i := range values {
		values[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
	}
	return values
}

func open(tb testing.TB, name string, o Options) *Model {
	tb.Helper()
	o.Runtime = orttest.Open(tb)
	m, err := Load(filepath.Join("testdata", name), o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := m.Close(); err != nil {
			tb.Error(err)
		}
	})
	return m
}

var names = []string{"quick", "gelu", "openclip"}

func TestImagesBecomeTheReferencesPixels(t *testing.T) {
	for _, name := range names {
		c, m := readCases(t, name), open(t, name, Options{})
		for i := range c.Images {
			if got := m.Preprocess(c.image(i)); !slices.Equal(got, c.Squares[i]) {
				t.Errorf("%s: image %d of %v differs", name, i, c.Sizes[i])
			}
		}
	}
}

func TestTextsBecomeTheReferencesTokens(t *testing.T) {
	for _, name := range names {
		c, m := readCases(t, name), open(t, name, Options{})
		for i, prompt := range c.Prompts {
			if got := m.Tokens(prompt); !slices.Equal(got, c.IDs[i]) {
				t.Errorf("%s: %q\ngot  %v\nwant %v", name, prompt, got, c.IDs[i])
			}
		}
	}
}

// Our float32 against transformers' float64: 1e-5 on embeddings of length 1.
func TestEmbeddingsAreTheReferences(t *testing.T) {
	for _, name := range names {
		c, m := readCases(t, name), open(t, name, Options{MaxBatch: 4})
		texts, err := m.Texts(t.Context(), c.Prompts)
		if err != nil {
			t.Fatal(err)
		}
		var squares [][]uint8
		for i := range c.Images {
			squares = append(squares, m.Preprocess(c.image(i)))
		}
		images, err := m.Images(t.Context(), squares)
		if err != nil {
			t.Fatal(err)
		}
		near(t, name+" texts", slices.Concat(texts...), float32s(c.Text), 1e-5)
		near(t, name+" images", slices.Concat(images...), float32s(c.Image), 1e-5)

		var logits []float32
		for _, image := range images {
			for _, text := range texts {
				logits = append(logits, float32(m.LogitScale()*cosine(image, text)))
			}
		}
		near(t, name+" logits", logits, float32s(c.Logits), 1e-4)
	}
}

func near(t *testing.T, what string, got, want []float32, tolerance float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	worst := 0.0
	for i := range got {
		if d := math.Abs(float64(got[i]) - float64(want[i])); !(d <= worst) {
			worst = d
		}
	}
	if !(worst <= tolerance) {
		t.Errorf("%s: off by up to %g, more than %g", what, worst, tolerance)
	}
	t.Logf("%s: off by up to %.2g", what, worst)
}
