package clip

import (
	"slices"
	"strings"
	"testing"

	"github.com/denseflow/densereward/engine/ort/orttest"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/rewardtest"
)

// withMap is PickScore with the map on a checkpoint of transformers'.
func withMap(t *testing.T, name string) *Scorer {
	t.Helper()
	s := NewPickScore(open(t, name, Options{Patches: true, MaxBatch: 4}))
	if err := s.EnableRelevanceMap(); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTheMapIsOfTheReferencesPatches(t *testing.T) {
	for _, name := range []string{"quick", "gelu"} {
		c, s := readCases(t, name), withMap(t, name)
		grid := s.model.config.Grid()
		want := float32s(c.Maps)
		for i := range c.Images {
			var samples []reward.Sample
			for _, prompt := range c.Prompts {
				samples = append(samples, reward.Sample{Image: c.image(i), Prompt: prompt})
			}
			results, err := s.Evaluate(t.Context(), samples)
			if err != nil {
				t.Fatal(err)
			}
			for p, r := range results {
				if r.Err != nil {
					t.Fatal(r.Err)
				}
				m, at := r.Maps[0], (i*len(c.Prompts)+p)*grid*grid
				top, left := (m.Height-grid)/2, (m.Width-grid)/2
				var got []float32
				for row := range grid {
					from := (top+row)*m.Width + left
					got = append(got, m.Data[from:from+grid]...)
				}
				near(t, name, got, want[at:at+grid*grid], 1e-5)
			}
		}
	}
}

func TestTheMapHasTheImagesShape(t *testing.T) {
	grid := 4
	patches := slices.Repeat([][]float32{{1, 0}}, grid*grid)
	patches[5] = []float32{-1, 0}
	for _, test := range []struct{ width, height, w, h, at int }{
		{100, 100, 4, 4, 5}, {200, 100, 8, 4, 11}, {100, 200, 4, 8, 13}, {101, 100, 4, 4, 5}, {1, 100000, 4, 1024, 4*511 + 1},
	} {
		m := irrelevance(patches, []float32{1, 0}, grid, test.width, test.height)
		if m.Width != test.w || m.Height != test.h || len(m.Data) != m.Width*m.Height {
			t.Errorf("%dx%d: a map of %dx%d", test.width, test.height, m.Width, m.Height)
			continue
		}
		if m.Data[test.at] != 1 || slices.Max(m.Data) != 1 || slices.Min(m.Data) != 0 {
			t.Errorf("%dx%d: %v at %d", test.width, test.height, m.Data[test.at], test.at)
		}
	}
}

func TestAScorerWithTheMapKeepsTheRules(t *testing.T) {
	rewardtest.Run(t, func() reward.Evaluator { return withMap(t, "quick") })
}

func TestOnlyScoresOfTheWholeSquareHaveTheMap(t *testing.T) {
	runtime := orttest.Open(t)
	for name, test := range map[string]struct {
		make    func(*Model) *Scorer
		patches bool
		says    string
	}{
		"HPSv2":           {NewHPSv2, true, "pads"},
		"without patches": {NewCLIPScore, false, "without patches"},
	} {
		m, err := Load("testdata/quick", Options{Runtime: runtime, Patches: test.patches})
		if err != nil {
			t.Fatal(err)
		}
		s := test.make(m)
		if err := s.EnableRelevanceMap(); err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v", name, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}
