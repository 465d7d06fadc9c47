package rft

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/denseflow/densereward/internal/numtest"
	"github.com/denseflow/densereward/reward"
)

// The public code computes in float32 with numpy's pairwise sums; the heatmap
// rewards multiply the mean by up to 80.
var reference = numtest.Tolerance{Abs: 1e-6}

func readGzip(tb testing.TB, path string, v any) {
	tb.Helper()
	file, err := os.Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	defer file.Close()
	z, err := gzip.NewReader(file)
	if err != nil {
		tb.Fatal(err)
	}
	if err := json.NewDecoder(z).Decode(v); err != nil {
		tb.Fatal(err)
	}
}

// referenceMaps reads the heatmaps of maps.png: each value v is v/255.
func referenceMaps(t *testing.T) []reward.Map {
	t.Helper()
	file, err := os.Open("testdata/maps.png")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	decoded, err := png.Decode(file)
	if err != nil {
		t.Fatal(err)
	}
	levels := decoded.(*image.Gray).Pix
	maps := make([]reward.Map, len(levels)/(Side*Side))
	for i := range maps {
		maps[i] = newMap(Side, Side)
		for at, level := range levels[i*Side*Side : (i+1)*Side*Side] {
			maps[i].Data[at] = float32(level) / 255
		}
	}
	return maps
}

func newMap(height, width int) reward.Map {
	return reward.Map{Height: height, Width: width, Data: make([]float32, height*width)}
}

func TestRewardsAreThoseOfThePublicCode(t *testing.T) {
	var cases []struct {
		Completion            string             `json:"completion"`
		Solution              string             `json:"solution"`
		MisalignmentTruth     int                `json:"misalignment_truth"`
		ArtifactTruth         int                `json:"artifact_truth"`
		MisalignmentPredicted int                `json:"misalignment_predicted"`
		ArtifactPredicted     int                `json:"artifact_predicted"`
		Rewards               map[string]float64 `json:"rewards"`
	}
	readGzip(t, "testdata/cases.json.gz", &cases)
	maps := referenceMaps(t)
	numbers := 0
	for i, c := range cases {
		got, err := Evaluate(
			Completion{c.Completion, &maps[c.MisalignmentPredicted], &maps[c.ArtifactPredicted]},
			Truth{ParseScores(c.Solution), maps[c.MisalignmentTruth], maps[c.ArtifactTruth]})
		if err != nil {
			t.Fatalf("case %d: %v", i, err)
		}
		var sum float64
		for r := Reward(0); r < NumRewards; r++ {
			want, named := c.Rewards[r.String()]
			if !named {
				t.Fatalf("case %d lacks %v", i, r)
			}
			numtest.Value(t, fmt.Sprintf("case %d: %v", i, r), got[r], want, reference)
			sum += want
			numbers++
		}
		numtest.Value(t, fmt.Sprintf("case %d: sum", i), got.Sum(), sum, numtest.Tolerance{Abs: 12 * reference.Abs})
	}
	if numbers != 720 {
		t.Errorf("%d numbers compared, not 720", numbers)
	}
}

func TestScoresAreReadAsThePublicCodeReadsThem(t *testing.T) {
	answer := func(s string) string { return "<answer>" + s + "</answer>" }
	for _, c := range []struct {
		name, text string
		want       Scores
	}{
		{"no block", "Aesthetic score: 0.5;", Scores{}},
		{"an open block", "<answer>Aesthetic score: 0.5;", Scores{}},
		{"an upper-case block", "<ANSWER>Aesthetic score: 0.5;</ANSWER>", Scores{}},
		{"an empty block", answer(""), Scores{Present: true}},
		{"a lower-case label", answer("aesthetic score: 0.5;"), Scores{Present: true}},
		{"two spaces", answer("Aesthetic score:  0.5;"), Scores{Present: true}},
		{"no semicolon", answer("Aesthetic score: 0.5"), Scores{Present: true}},
		{"no semicolon behind the overall score", answer("Overall Impression score: 0.5"), Scores{[4]float64{3: 0.5}, true}},
		{"a full stop behind the overall score", answer("Overall Impression score: 0.5."), Scores{Present: true}},
		{"a bare point", answer("Aesthetic score: .;"), Scores{Present: true}},
		{"a leading point", answer("Aesthetic score: .5;"), Scores{[4]float64{1: 0.5}, true}},
		{"a trailing point", answer("Aesthetic score: 1.;"), Scores{[4]float64{1: 1}, true}},
		{"a sign", answer("Aesthetic score: -0.5;"), Scores{Present: true}},
		{"out of range", answer("Aesthetic score: 7;"), Scores{[4]float64{1: 7}, true}},
		{"the first of two blocks", answer("Aesthetic score: 0.1;") + answer("Aesthetic score: 0.9;"), Scores{[4]float64{1: 0.1}, true}},
		{"the first of two scores", answer("Aesthetic score: 0.1; Aesthetic score: 0.9;"), Scores{[4]float64{1: 0.1}, true}},
		{"digits of another script", answer("Aesthetic score: ٠٫٥;"), Scores{Present: true}},
	} {
		if got := ParseScores(c.text); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestBoxesAreFoundAsThePublicCodeFindsThem(t *testing.T) {
	scaled := func(x0, y0, x1, y1 float32) box { return box{x0 * 0.5625, y0 * 0.5625, x1 * 0.5625, y1 * 0.5625} }
	for _, c := range []struct {
		name, text string
		want       []box
	}{
		{"integers", "1.[16,32,48,64];", []box{scaled(16, 32, 48, 64)}},
		{"decimals, signs and spaces", "[ -16.5 , +32.0,\n48\u00a0,\t64 ]", []box{scaled(-16.5, 32, 48, 64)}},
		{"digits of another script", "[١٦,٣٢,٤٨,٦٤]", []box{scaled(16, 32, 48, 64)}},
		{"a point without digits", "[16.,32,48,64]", nil},
		{"an exponent", "[1e1,32,48,64]", nil},
		{"three numbers", "[16,32,48]", nil},
		{"five numbers", "[16,32,48,64,80]", nil},
		{"nested brackets", "[[16,32,48,64]]", []box{scaled(16, 32, 48, 64)}},
		{"several, in every block", "<think>[1,2,3,4]</think><answer>[5,6,7,8]</answer>", []box{scaled(1, 2, 3, 4), scaled(5, 6, 7, 8)}},
		{"a number beyond float64", "[0,0," + strings.Repeat("9", 400) + ",16]", []box{scaled(0, 0, 1e9, 16)}},
	} {
		got := parseBoxes(c.text)
		if len(got) != len(c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
			continue
		}
		for i := range got {
			if got[i] != c.want[i] {
				t.Errorf("%s: box %d is %v, want %v", c.name, i, got[i], c.want[i])
			}
		}
	}
}

func TestFormatIsThinkThenAnswerAndNothingElse(t *testing.T) {
	for text, want := range map[string]float64{
		"<think>a</think><answer>b</answer>":                  1,
		"<think>\n</think> \n\u3000<answer>\n</answer>":       1,
		"<think></think><answer>b</answer>c</answer>":         1, // as re.fullmatch backtracks
		"<think>a</think>b<answer>c</answer>":                 0,
		"<think>a</think><answer>b</answer>\n":                0,
		" <think>a</think><answer>b</answer>":                 0,
		"<answer>b</answer>":                                  0,
		"<THINK>a</THINK><answer>b</answer>":                  0,
		"<think>a</think>b</think><answer>c</answer>":         1,
		"<think>a</think><answer>b</answer><answer></answer>": 1,
	} {
		if got := Format(text); got != want {
			t.Errorf("Format(%q) = %v, want %v", text, got, want)
		}
	}
}

func TestMapsOfOtherSizesAreResizedAsOpenCVDoes(t *testing.T) {
	var cases []struct {
		Height, Width int
		Levels        []int
		Out           []float64
	}
	readGzip(t, "testdata/resize.json.gz", &cases)
	for _, c := range cases {
		m := newMap(c.Height, c.Width)
		for i, level := range c.Levels {
			m.Data[i] = float32(level) / 255
		}
		full := resize(m)
		var got []float32
		for i := 0; i < len(full); i += 97 {
			got = append(got, full[i])
		}
		// OpenCV keeps its weights in float32.
		numtest.Slice(t, fmt.Sprintf("%dx%d", c.Height, c.Width), got, c.Out, numtest.Tolerance{Abs: 1e-5})
	}
}

func TestAPredictionThatIsMissingEarnsNothing(t *testing.T) {
	empty := newMap(Side, Side)
	got, err := Evaluate(Completion{Text: "no answer"}, Truth{Misalignment: empty, Artifact: empty})
	if err != nil {
		t.Fatal(err)
	}
	want := Rewards{
		MisalignmentIoU: 1, ArtifactIoU: 1, ArtifactAvePixel: 1, MisalignmentAvePixel: 1, ArtifactUnion: 1, MisalignmentUnion: 1,
	}
	if got != want {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestBoxesOfAnyNumbersGiveFiniteRewards(t *testing.T) {
	truth := newMap(Side, Side)
	truth.Data[0] = 1
	huge := strings.Repeat("9", 400)
	text := fmt.Sprintf("[-%s,-%s,%s,%s] [%s,0,-%s,5] [0,0,0,0] [0,0,0,0] [0,0,1e9,5]", huge, huge, huge, huge, huge, huge)
	got, err := Evaluate(Completion{Text: text}, Truth{Misalignment: truth, Artifact: truth})
	if err != nil {
		t.Fatal(err)
	}
	for r, v := range got {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			t.Errorf("%v is %v", Reward(r), v)
		}
	}
	numtest.Value(t, "union", got[ArtifactUnion], 1, numtest.Tolerance{Abs: 1e-7})
}

func TestUnusableMapsAreNamed(t *testing.T) {
	good := newMap(2, 2)
	nan := newMap(2, 2)
	nan.Data[3] = float32(math.NaN())
	short := reward.Map{Height: 2, Width: 2, Data: make([]float32, 3)}
	for _, c := range []struct {
		name       string
		completion Completion
		truth      Truth
		want       string
	}{
		{"a NaN in the truth", Completion{}, Truth{Misalignment: nan, Artifact: good}, "rft: the truth's misalignment map is NaN at row 1, column 1"},
		{"a truth cut short", Completion{}, Truth{Misalignment: good, Artifact: short}, "rft: the truth's artifact map is 2x2 with 3 values"},
		{"no truth", Completion{}, Truth{Misalignment: good}, "rft: the truth's artifact map is 0x0 with 0 values"},
		{"a NaN in the prediction", Completion{Artifact: &nan}, Truth{Misalignment: good, Artifact: good}, "rft: the predicted artifact map is NaN at row 1, column 1"},
	} {
		_, err := Evaluate(c.completion, c.truth)
		if err == nil || err.Error() != c.want {
			t.Errorf("%s: error %v, want %s", c.name, err, c.want)
		}
	}
}

func TestAdvantagesAreThoseOfTheTrainer(t *testing.T) {
	sums := []float64{1, 4, 2.5, 7, 3, 3}
	got := make([]float64, len(sums))
	if err := Advantages(got, sums, []string{"a", "a", "a", "a", "b", "b"}); err != nil {
		t.Fatal(err)
	}
	// torch 2: r = torch.tensor([1, 4, 2.5, 7.], dtype=torch.float64);
	// (r - r.mean()) / (r.std() + 1e-4)
	std := math.Sqrt((2.625*2.625 + 0.375*0.375 + 1.125*1.125 + 3.375*3.375) / 3)
	want := []float64{-2.625 / (std + 1e-4), 0.375 / (std + 1e-4), -1.125 / (std + 1e-4), 3.375 / (std + 1e-4), 0, 0}
	numtest.Slice(t, "advantages", got, want, numtest.Tolerance{Rel: 1e-12})
}
