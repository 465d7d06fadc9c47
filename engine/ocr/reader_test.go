package ocr_test

import (
	"encoding/json"
	"errors"
	"flag"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/denseflow/densereward/engine/image"
	"github.com/denseflow/densereward/engine/ocr"
	"github.com/denseflow/densereward/engine/ocr/ppocr"
	"github.com/denseflow/densereward/engine/ort/orttest"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/rewardtest"
)

// readCase is an image that testdata/make.py drew and what RapidOCR reads in it.
type readCase struct {
	Image string
	Angle float64
	Lines []struct {
		Corners [4][2]float64
		Text    string
		Score   float64
	}
}

func readCases(tb testing.TB) []readCase {
	tb.Helper()
	data, err := os.ReadFile("testdata/cases.json")
	if err != nil {
		tb.Fatal(err)
	}
	var cases []readCase
	if err := json.Unmarshal(data, &cases); err != nil {
		tb.Fatal(err)
	}
	return cases
}

func decode(tb testing.TB, name string) *reward.Image {
	tb.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		tb.Fatal(err)
	}
	m, err := image.Decode(data, image.Limits{})
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

func open(tb testing.TB, o ocr.Options) *ocr.Reader {
	tb.Helper()
	o.Runtime = orttest.Open(tb)
	r, err := ocr.Open(ppocr.Models(), o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := r.Close(); err != nil {
			tb.Error(err)
		}
	})
	return r
}

// everyImage is for a suite that has the time: all 60 images rather than 4.
var everyImage = flag.Bool("every-image", false, "read every image of testdata")

// The corners are whole pixels of a map that is rounded: a place that lies at a half
// may fall to either side.
func TestReadingIsRapidOCRs(t *testing.T) {
	r := open(t, ocr.Options{})
	cases := readCases(t)
	if !*everyImage {
		cases = []readCase{cases[0], cases[14], cases[35], cases[50]}
	}
	lines := 0
	for _, c := range cases {
		got, err := r.Read(t.Context(), decode(t, c.Image))
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != len(c.Lines) {
			t.Errorf("%s: %d lines, want %d: %v", c.Image, len(got), len(c.Lines), got)
			continue
		}
		for i, want := range c.Lines {
			lines++
			if got[i].Text != want.Text || math.Abs(got[i].Score-want.Score) > 0.05 {
				t.Errorf("%s line %d: %q %.4f, want %q %.4f", c.Image, i, got[i].Text, got[i].Score, want.Text, want.Score)
			}
			for k := range 4 {
				if dx, dy := got[i].Corners[k][0]-want.Corners[k][0], got[i].Corners[k][1]-want.Corners[k][1]; math.Abs(dx) > 1 || math.Abs(dy) > 1 {
					t.Errorf("%s line %d: corners %v, want %v", c.Image, i, got[i].Corners, want.Corners)
					break
				}
			}
			if len(got[i].At) != len([]rune(got[i].Text)) {
				t.Errorf("%s line %d: %d places for %q", c.Image, i, len(got[i].At), got[i].Text)
			}
		}
	}
	t.Logf("%d lines of %d images", lines, len(cases))
}

func TestEvaluatorConforms(t *testing.T) {
	rewardtest.Run(t, func() reward.Evaluator {
		return ocr.NewEvaluator(open(t, ocr.Options{ShortSide: 64}), "")
	})
}

// An image of 2000x1 pixels would be enlarged to 64,000x16,000.
func TestImagesTooNarrowToBeReadAreTheirSamplesError(t *testing.T) {
	e := ocr.NewEvaluator(open(t, ocr.Options{}), "")
	var samples []reward.Sample
	for _, size := range [][2]int{{2000, 1}, {40, 40}, {1, 2000}, {1, 200}, {2, 9000}} {
		samples = append(samples, reward.Sample{Image: rewardtest.Image(1, size[0], size[1]), Prompt: `it says "a"`})
	}
	results, err := e.Evaluate(t.Context(), samples)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range results {
		m := samples[i].Image
		if narrow := m.Width != m.Height; narrow != errors.Is(r.Err, reward.ErrInvalidValue) {
			t.Errorf("%dx%d: %v", m.Width, m.Height, r.Err)
		}
	}
}

// An image of testdata shows OPEN 24 HOURS twice; what is asked for decides.
func TestAnImageIsScoredByTheTextThatIsAskedFor(t *testing.T) {
	e := ocr.NewEvaluator(open(t, ocr.Options{}), "")
	m := decode(t, "images/01.png") // NASA 2049, Rue de la Paix, Coffee & Tea
	results, err := e.Evaluate(t.Context(), []reward.Sample{
		{Image: m, Prompt: `a poster that says "NASA 2049"`},
		{Image: m, Prompt: `a poster that says "NASA 2049 Rue de la Paris Coffee & Tea"`},
		{Image: m, Prompt: "a poster"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if r := results[0]; r.Err != nil || r.Scores[0] != 1 || len(r.Boxes) != 0 {
		t.Errorf("what the image shows: %v, %v, boxes %v", r.Err, r.Scores, r.Boxes)
	}
	if r := results[1]; r.Err != nil || r.Scores[0] >= 1 || r.Scores[0] < 0.8 || len(r.Boxes) == 0 {
		t.Errorf("two characters that differ: %v, %v, boxes %v", r.Err, r.Scores, r.Boxes)
	} else if b := r.Boxes[0].Coords; b[1] < 300 || b[3] > 600 { // the middle line
		t.Errorf("the mark lies at %v, not on the second line", b)
	}
	if !errors.Is(results[2].Err, reward.ErrInvalidValue) {
		t.Errorf("a prompt that quotes nothing: %v", results[2].Err)
	}
}

func BenchmarkRead(b *testing.B) {
	r := open(b, ocr.Options{})
	m := decode(b, "images/01.png")
	for b.Loop() {
		if _, err := r.Read(b.Context(), m); err != nil {
			b.Fatal(err)
		}
	}
}
