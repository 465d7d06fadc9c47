package clip

import (
	"encoding/binary"
	"io"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/denseflow/densereward/engine/safetensors"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/rewardtest"
)

func TestScorersConform(t *testing.T) {
	for _, kind := range []struct {
		name  string
		model string
		make  func(*Model) *Scorer
	}{
		{"pickscore", "gelu", NewPickScore}, {"clipscore", "quick", NewCLIPScore}, {"hpsv2", "gelu", NewHPSv2},
		{"aesthetic", "quick", func(m *Model) *Scorer { return aesthetic(t, m) }},
	} {
		t.Run(kind.name, func(t *testing.T) {
			rewardtest.Run(t, func() reward.Evaluator { return kind.make(open(t, kind.model, Options{})) })
		})
	}
}

// aesthetic makes a scorer with layers of 24, 3 and 1 values.
func aesthetic(t *testing.T, m *Model) *Scorer {
	t.Helper()
	s, err := NewAesthetic(m, writeHead(t, []int64{3, 24}, []int64{1, 3}))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// writeHead writes layers 0, 2, ... of the given shapes (out,in), whose weight is
// i/8 at its element i and whose bias is 1.
func writeHead(t *testing.T, shapes ...[]int64) string {
	t.Helper()
	var sources []safetensors.Source
	for n, shape := range shapes {
		weight := make([]float32, shape[0]*shape[1])
		for i := range weight {
			weight[i] = float32(i) / 8
		}
		bias := make([]float32, shape[0])
		for i := range bias {
			bias[i] = 1
		}
		name := "layers." + string(rune('0'+2*n))
		sources = append(sources, float32Source(name+".weight", weight, shape...), float32Source(name+".bias", bias, shape[0]))
	}
	path := filepath.Join(t.TempDir(), "head.safetensors")
	if err := safetensors.Write(path, sources); err != nil {
		t.Fatal(err)
	}
	return path
}

// The formulas are those of flow_grpo: logits_per_image is exp(logit_scale)*cos.
func TestScoresAreTheFormulasOfTheirModels(t *testing.T) {
	c := readCases(t, "quick")
	logits := float32s(c.Logits)
	for name, want := range map[string]struct {
		make    func(*Model) *Scorer
		divisor float64
	}{"pickscore": {NewPickScore, 26}, "clipscore": {NewCLIPScore, 30}} {
		s := want.make(open(t, "quick", Options{}))
		if s.Describe().Kind != name {
			t.Errorf("kind %s, want %s", s.Describe().Kind, name)
		}
		for i := range c.Images {
			for p, prompt := range c.Prompts {
				results, err := s.Evaluate(t.Context(), []reward.Sample{{Image: c.image(i), Prompt: prompt}})
				if err != nil || results[0].Err != nil {
					t.Fatal(err, results[0].Err)
				}
				reference := float64(logits[i*len(c.Prompts)+p]) / want.divisor
				if got := results[0].Scores[0]; math.Abs(got-reference) > 1e-4 {
					t.Errorf("%s: image %d, prompt %d: %v, want %v", name, i, p, got, reference)
				}
			}
		}
	}
}

func TestAGroupsPromptIsEncodedOnce(t *testing.T) {
	m := open(t, "quick", Options{CachedTexts: 2})
	for range 3 {
		if _, err := m.Texts(t.Context(), []string{"a", "a", "b", "a"}); err != nil {
			t.Fatal(err)
		}
	}
	first, err := m.Texts(t.Context(), []string{"a"})
	if err != nil {
		t.Fatal(err)
	}
	again, err := m.Texts(t.Context(), []string{"a"})
	if err != nil {
		t.Fatal(err)
	}
	if &first[0][0] != &again[0][0] {
		t.Error("the embedding of a prompt that was just seen was made anew")
	}
	// More prompts at once than are kept must all come back.
	many, err := m.Texts(t.Context(), []string{"c", "d", "e", "f"})
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range many {
		if len(e) == 0 {
			t.Errorf("text %d has no embedding", i)
		}
	}
}

func TestAnAestheticHeadIsItsLayers(t *testing.T) {
	h, err := loadHead(writeHead(t, []int64{2, 3}, []int64{1, 2}))
	if err != nil {
		t.Fatal(err)
	}
	// By hand: (0*2+1/8*4+2/8*8)+1 = 3.5 and (3/8*2+4/8*4+5/8*8)+1 = 8.75; 0*3.5+8.75/8+1.
	if got, want := h.apply([]float32{2, 4, 8}), 8.75/8+1; got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

func float32Source(name string, values []float32, shape ...int64) safetensors.Source {
	return safetensors.Source{Name: name, DType: safetensors.F32, Shape: shape, Fill: func(w io.Writer) error {
		return binary.Write(w, binary.LittleEndian, values)
	}}
}

func TestHeadsThatDoNotFitAreRefusedByName(t *testing.T) {
	for _, c := range []struct {
		name   string
		shapes [][]int64
		want   string
	}{
		{"no layers", nil, "no tensors"},
		{"layers that do not fit each other", [][]int64{{3, 24}, {1, 4}}, "layers.2 takes 4 values"},
		{"several values at the end", [][]int64{{2, 24}}, "gives 2 values"},
	} {
		if _, err := loadHead(writeHead(t, c.shapes...)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v does not say %q", c.name, err, c.want)
		}
	}
	m := open(t, "quick", Options{})
	if _, err := NewAesthetic(m, writeHead(t, []int64{1, 25})); err == nil || !strings.Contains(err.Error(), "takes 25 values") {
		t.Errorf("a head of another width: %v", err)
	}
}
