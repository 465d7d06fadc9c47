package qwenvl

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/denseflow/densereward/engine/image/codec"
	"github.com/denseflow/densereward/engine/initializers"
	"github.com/denseflow/densereward/engine/onnx"
	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/engine/ort/orttest"
	"github.com/denseflow/densereward/internal/npy"
	"github.com/denseflow/densereward/internal/numtest"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/judge"
	"github.com/denseflow/densereward/reward/rewardtest"
)

// judgeCase is what transformers computes for one image: see testdata/make.py.
type judgeCase struct {
	Width        int     `json:"width"`
	Height       int     `json:"height"`
	Prompt       string  `json:"prompt"`
	Grid         [2]int  `json:"grid"` // patches: rows, columns
	InputIDs     []int32 `json:"input_ids"`
	GeneratedIDs []int32 `json:"generated_ids"`
	PixelsSHA256 string  `json:"pixels_sha256"`
}

// families are the miniatures of testdata.
var families = map[Family]string{Qwen25VL: "testdata/qwen25vl-nano", Qwen3VL: "testdata/qwen3vl-nano"}

// judgeFolder is a miniature with its tokenizer.
func judgeFolder(t testing.TB, name string, replace map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	files, err := filepath.Glob(name + "/*")
	if err != nil || len(files) != 6 {
		t.Fatalf("%s has the files %v, %v", name, files, err)
	}
	for _, file := range append(files, nanoDir+"/tokenizer.json") {
		target, err := filepath.Abs(file)
		if err != nil {
			t.Fatal(err)
		}
		base := filepath.Base(file)
		if content, ok := replace[base]; ok {
			if err := os.WriteFile(filepath.Join(dir, base), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		} else if err := os.Symlink(target, filepath.Join(dir, base)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// askYesOrNo is a judge file that gives the probability of a token.
func askYesOrNo(t testing.TB, more string) *judge.File {
	t.Helper()
	file, err := judge.Parse([]byte(`
name = "ask"
prompt = "Does this show {prompt}? Yes or no."
max_new_tokens = 24
` + more + `
[probability]
name = "yes"
tokens = ["e"]
weight = 1
`))
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func loadJudge(t testing.TB, dir string, file *judge.File, o JudgeOptions) *Judge {
	t.Helper()
	j, err := LoadJudge(orttest.Open(t), dir, file, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := j.Close(); err != nil {
			t.Errorf("closing a judge: %v", err)
		}
	})
	return j
}

func judgeCases(t testing.TB, name string) (cases []judgeCase, logits []float32, samples []reward.Sample) {
	t.Helper()
	loadJSON(t, name+"/cases.json", &cases)
	if len(cases) != 5 {
		t.Fatalf("%d cases, not 5", len(cases))
	}
	data := []byte(readText(t, name+"/logits.npz"))
	arrays, err := npy.ReadZip(bytes.NewReader(data), int64(len(data)), 1<<24)
	if err != nil {
		t.Fatal(err)
	}
	if logits, err = arrays["logits"].Float32s(); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		samples = append(samples, reward.Sample{Image: pattern(c.Width, c.Height), Prompt: c.Prompt})
	}
	return cases, logits, samples
}

// pattern is the image of testdata/make.py.
func pattern(width, height int) *reward.Image {
	image := codec.NewImage(width, height)
	for i := range image.Pix {
		x, y, c := i/3%width, i/3/width, i%3
		image.Pix[i] = uint8(x*x + 3*y*(c+1) + x*y/7 + 40*c)
	}
	return image
}

func TestJudgesAnswerAsTransformersDoes(t *testing.T) {
	for family, name := range families {
		t.Run(string(family), func(t *testing.T) {
			j := loadJudge(t, judgeFolder(t, name, nil), askYesOrNo(t, ""), JudgeOptions{})
			if j.config.Family != family {
				t.Fatalf("read as %s", j.config.Family)
			}
			cases, logits, samples := judgeCases(t, name)
			var prompts []Prompt
			for i, c := range cases {
				if err := j.Prepare(t.Context(), &samples[i]); err != nil {
					t.Fatal(err)
				}
				p := samples[i].Prepared.(*asked).Prompt
				prompts = append(prompts, p)
				if !slices.Equal(p.IDs, c.InputIDs) {
					t.Errorf("case %d: ids %v, want %v", i, p.IDs, c.InputIDs)
				}
				asTheProcessors(t, j.config, c, p.Images[0])
			}
			// All shapes in one batch, and each by itself.
			asTransformers(t, "together", j, prompts, cases, logits)
			size := len(logits) / len(cases)
			for i := range cases {
				asTransformers(t, fmt.Sprintf("case %d alone", i), j, prompts[i:i+1], cases[i:i+1], logits[i*size:(i+1)*size])
			}
		})
	}
}

// asTheProcessors holds the resized image against the processor's patches, byte for
// byte, before they are normalised.
func asTheProcessors(t *testing.T, c Config, want judgeCase, image *reward.Image) {
	t.Helper()
	grid := c.Grid(image)
	if got := [2]int{grid.Rows * c.Vision.SpatialMergeSize, grid.Cols * c.Vision.SpatialMergeSize}; got != want.Grid {
		t.Errorf("%dx%d: a grid of %v, want %v", want.Width, want.Height, got, want.Grid)
		return
	}
	size := c.Vision.patchPixels() * c.Vision.unitPatches()
	cut := make([]byte, grid.Units()*size)
	for row := range grid.Rows {
		for col := range grid.Cols {
			c.Vision.cutUnit(cut[(row*grid.Cols+col)*size:], image, row, col)
		}
	}
	if sum := fmt.Sprintf("%x", sha256.Sum256(cut)); sum != want.PixelsSHA256 {
		t.Errorf("%dx%d: other pixels than the processor's", want.Width, want.Height)
	}
}

// asTransformers holds a batch's answers and the logits behind its prompts against
// the reference's.
func asTransformers(t *testing.T, what string, j *Judge, prompts []Prompt, cases []judgeCase, logits []float32) {
	t.Helper()
	b := Batch{Prompts: prompts, MaxNewTokens: j.file.MaxNewTokens, Penalty: 1}
	out, err := j.session.Run(t.Context(), b.Inputs(j.config))
	if err != nil {
		t.Fatal(err)
	}
	if d := numtest.Compare(out[outputFirst].Float32s(), logits); d.Rel > 1e-4 {
		t.Errorf("%s: logits: %v", what, d)
	}
	for i, c := range cases {
		if got := j.config.AnswerIDs(out[outputAnswer], i); !slices.Equal(got, c.GeneratedIDs) {
			t.Errorf("%s: case %d generated %v\nwant %v", what, i, got, c.GeneratedIDs)
		}
	}
}

// Rooms that are left after three tokens, after nine, and after all.
func TestAnswersThatOutgrowTheirRoomGoOn(t *testing.T) {
	for family, name := range families {
		for _, rooms := range [][]int64{{3, 9}, {1}, {24}, {30, 40}} {
			answersOf(t, fmt.Sprintf("%s, rooms %v", family, rooms), name, 0, 5, func(o *Options, _ Grid) { o.rooms = rooms })
		}
	}
}

// The tower needs no loop over sizes where there is one.
func TestAGridKnownAheadChangesNoAnswer(t *testing.T) {
	for family, name := range families {
		for i := range 5 {
			answersOf(t, fmt.Sprintf("%s, grid of case %d", family, i), name, i, i+1, func(o *Options, g Grid) { o.Grid = g })
		}
	}
}

// answersOf holds the answers of some cases, in a form of the graph that change makes
// for the first one's grid, against the reference's.
func answersOf(t *testing.T, what, name string, from, to int, change func(*Options, Grid)) {
	t.Helper()
	j, err := openJudge(judgeFolder(t, name, nil), askYesOrNo(t, ""), JudgeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	cases, _, samples := judgeCases(t, name)
	var prompts []Prompt
	for i := from; i < to; i++ {
		if err := j.Prepare(t.Context(), &samples[i]); err != nil {
			t.Fatal(err)
		}
		prompts = append(prompts, samples[i].Prepared.(*asked).Prompt)
	}
	g := onnx.New("form")
	o := j.form()
	change(&o, j.config.Grid(prompts[0].Images[0]))
	m := NewGraph(g, initializers.New(g, j.checkpoint.Weights, "test"), j.config, o)
	g.Output(outputAnswer, m.Answer)
	if err := m.Err(); err != nil {
		t.Fatal(err)
	}
	s, err := OpenSession(orttest.Open(t), g, j.checkpoint.Weights, ort.SessionOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	out, err := s.Run(t.Context(), Batch{Prompts: prompts, MaxNewTokens: 24, Penalty: 1}.Inputs(j.config))
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range cases[from:to] {
		if got := j.config.AnswerIDs(out[outputAnswer], i); !slices.Equal(got, c.GeneratedIDs) {
			t.Errorf("%s: case %d generated %v\nwant %v", what, from+i, got, c.GeneratedIDs)
		}
	}
}

func TestTheProbabilityIsThatOfTheSoftmax(t *testing.T) {
	for family, name := range families {
		j := loadJudge(t, judgeFolder(t, name, nil), askYesOrNo(t, ""), JudgeOptions{MaxBatch: 2})
		cases, logits, samples := judgeCases(t, name)
		results, err := j.Evaluate(t.Context(), samples)
		if err != nil {
			t.Fatal(err)
		}
		id := j.tokens["e"]
		size := len(logits) / len(cases)
		for i, r := range results {
			sum := 0.0
			for _, v := range logits[i*size : (i+1)*size] {
				sum += math.Exp(float64(v))
			}
			want := math.Exp(float64(logits[i*size+int(id)])) / sum
			if r.Err != nil || len(r.Scores) != 1 || math.Abs(r.Scores[0]-want) > 1e-4*want {
				t.Errorf("%s, case %d: scores %v, want %v, error %v", family, i, r.Scores, want, r.Err)
			}
			if !slices.Equal(r.Trace.GeneratedIDs, cases[i].GeneratedIDs) {
				t.Errorf("%s, case %d: generated %v", family, i, r.Trace.GeneratedIDs)
			}
		}
	}
}

func TestJudgesAreEvaluators(t *testing.T) {
	for family, name := range families {
		t.Run(string(family), func(t *testing.T) {
			j := loadJudge(t, judgeFolder(t, name, nil), askYesOrNo(t, ""), JudgeOptions{})
			rewardtest.Run(t, func() reward.Evaluator { return j })
		})
	}
}

func TestAJudgesErrorsAreItsCallers(t *testing.T) {
	j := loadJudge(t, judgeFolder(t, families[Qwen3VL], nil), askYesOrNo(t, `image_size = [64, 64]`), JudgeOptions{PromptTokens: 20})
	good := reward.Sample{Image: pattern(40, 30), Prompt: "a cat"}
	for name, test := range map[string]struct {
		bad  reward.Sample
		want *reward.Error
		text string
	}{
		"no image":           {reward.Sample{Prompt: "a"}, reward.ErrInvalidValue, "image"},
		"a long prompt":      {reward.Sample{Prompt: strings.Repeat("a b ", 20), Image: good.Image}, reward.ErrInvalidValue, "41 tokens, the limit is 20"},
		"a mode of its own":  {reward.Sample{Prompt: "a", Image: good.Image, Mode: "guess"}, reward.ErrUnsupportedMode, `"guess"`},
		"a mode that thinks": {reward.Sample{Prompt: "a", Image: good.Image, Mode: reward.ModeThink}, reward.ErrUnsupportedMode, "think"},
	} {
		results, err := j.Evaluate(t.Context(), []reward.Sample{good, test.bad})
		if err != nil {
			t.Fatal(err)
		}
		if !errors.Is(results[1].Err, test.want) || !strings.Contains(results[1].Err.Error(), test.text) {
			t.Errorf("%s: %v", name, results[1].Err)
		}
		if results[0].Err != nil || len(results[0].Trace.InputIDs) == 0 {
			t.Errorf("%s: its neighbour: %+v", name, results[0])
		}
	}
	if d := j.Describe(); d.PromptTokens != 20 || d.Kind != Kind || d.Name != "ask" {
		t.Errorf("%+v", d)
	}
}

// A text cannot end its turn, and an image may stand behind it.
func TestTheChatIsTheFamilys(t *testing.T) {
	for family, name := range families {
		dir := judgeFolder(t, name, nil)
		for what, test := range map[string]struct{ more, want string }{
			"as it is":       {"", "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>Does this show a <|im_end|>? Yes or no.<|im_end|>\n<|im_start|>assistant\n"},
			"the image last": {"image_last = true", "<|im_start|>user\nDoes this show a <|im_end|>? Yes or no.<|vision_start|><|image_pad|><|vision_end|><|im_end|>\n<|im_start|>assistant\n"},
			"a system text":  {`system = "Be strict."`, "<|im_start|>system\nBe strict.<|im_end|>\n<|im_start|>user\n"},
		} {
			j, err := openJudge(dir, askYesOrNo(t, test.more), JudgeOptions{})
			if err != nil {
				t.Fatal(err)
			}
			ids := j.chat(j.file.Ask("a <|im_end|>"), 1)
			got := j.checkpoint.Tokenizer.Decode(ids, false)
			system := "<|im_start|>system\n" + defaultSystem + "<|im_end|>\n"
			if strings.Contains(test.more, "system") {
				if !strings.HasPrefix(got, test.want) {
					t.Errorf("%s, %s: %q", family, what, got)
				}
				continue
			}
			if family == Qwen25VL {
				test.want = system + test.want
			}
			if got != test.want {
				t.Errorf("%s, %s: %q, want %q", family, what, got, test.want)
			}
			if n := len(slices.DeleteFunc(slices.Clone(ids), func(id int32) bool { return id != 1458 })); n > 2 {
				t.Errorf("%s, %s: %d ends of turns", family, what, n)
			}
		}
	}
}

func TestJudgesThatCannotBeAreRefused(t *testing.T) {
	dir := judgeFolder(t, families[Qwen3VL], nil)
	words, err := judge.Parse([]byte("name = \"w\"\nprompt = \"{prompt}\"\n[probability]\nname = \"p\"\ntokens = [\"Unquestionably\"]\n"))
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		file *judge.File
		o    JudgeOptions
		want string
	}{
		"a word of several tokens":     {words, JudgeOptions{}, `"Unquestionably" is`},
		"a penalty that is no number":  {askYesOrNo(t, ""), JudgeOptions{RepetitionPenalty: math.NaN()}, "repetition penalty NaN"},
		"a batch of less than nothing": {askYesOrNo(t, ""), JudgeOptions{MaxBatch: -1}, "batch: -1"},
	} {
		if _, err := openJudge(dir, test.file, test.o); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
