package attach

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/denseflow/densereward/engine/imagedoctor"
	"github.com/denseflow/densereward/engine/imagedoctor/nano"
	"github.com/denseflow/densereward/engine/ort/orttest"
	"github.com/denseflow/densereward/engine/qwenvl/checkpoint"
	"github.com/denseflow/densereward/engine/safetensors"
	"github.com/denseflow/densereward/engine/tokenizer"
	"github.com/denseflow/densereward/reward"
)

// transformers saved this checkpoint.
const savedDir = "../../qwenvl/testdata/qwen25vl-nano"

var heads = Options{Heads: imagedoctor.HeadWidths{Width: nano.HeadWidth, MLP: nano.HeadMLP}, Seed: 3}

// plain is the saved checkpoint beside the miniature's tokenizer without Tokens.
func plain(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(savedDir)); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join("../nano", checkpoint.TokenizerFile))
	if err != nil {
		t.Fatal(err)
	}
	var file map[string]any
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	file["added_tokens"] = slices.DeleteFunc(file["added_tokens"].([]any), func(token any) bool {
		return slices.Contains(Tokens[:], token.(map[string]any)["content"].(string))
	})
	if data, err = encode(file); err != nil {
		t.Fatal(err)
	}
	write(t, dir, checkpoint.TokenizerFile, data)
	return dir
}

func write(t *testing.T, dir, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func openWeights(t *testing.T, dir string) *safetensors.Checkpoint {
	t.Helper()
	c, err := safetensors.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func bytesOf(t *testing.T, c *safetensors.Checkpoint, name string) []byte {
	t.Helper()
	data, err := c.Read(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestACheckpointThatTransformersSavedBecomesAnImageDoctor(t *testing.T) {
	t.Parallel()
	from, out := plain(t), filepath.Join(t.TempDir(), "doctor")
	if err := Attach(t.Context(), from, out, heads); err != nil {
		t.Fatal(err)
	}
	before, after := openWeights(t, from), openWeights(t, out)
	for _, name := range before.Names() {
		a, b := bytesOf(t, before, name), bytesOf(t, after, name)
		if !grows(name) && !bytes.Equal(a, b) {
			t.Errorf("%s is changed", name)
		}
		if grows(name) {
			checkRows(t, name, a, b)
		}
	}
	tok, err := tokenizer.LoadFolder(out)
	if err != nil {
		t.Fatal(err)
	}
	if ids := tok.Encode(Tokens[0] + Tokens[1]); !slices.Equal(ids, []int32{1478, 1479}) {
		t.Errorf("the tokens are %v", ids)
	}
	e, err := imagedoctor.Load(orttest.Open(t), out, imagedoctor.Options{MaxNewTokens: 4})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	image := &reward.Image{Width: 28, Height: 28, Pix: make([]byte, 3*28*28)}
	results, err := e.Evaluate(t.Context(), []reward.Sample{{Image: image, Prompt: "a circle"}})
	if err != nil || results[0].Err != nil && !errors.Is(results[0].Err, reward.ErrAnswerTruncated) {
		t.Errorf("it does not answer: %v, %v", err, results)
	}
}

// checkRows compares the bfloat16 rows of 1,536 tokens before and after: those of the
// two tokens are the mean of all, computed here in a second way.
func checkRows(t *testing.T, name string, before, after []byte) {
	t.Helper()
	const rows, first, second = 1536, 1478, 1479
	width := len(before) / rows / 2
	number := func(data []byte, row, i int) float64 {
		return float64(math.Float32frombits(uint32(binary.LittleEndian.Uint16(data[2*(row*width+i):])) << 16))
	}
	if len(before) != len(after) {
		t.Fatalf("%s has %d bytes, had %d, though there was room", name, len(after), len(before))
	}
	for row := range rows {
		if row == first || row == second {
			continue
		}
		if at := 2 * row * width; !bytes.Equal(before[at:at+2*width], after[at:at+2*width]) {
			t.Fatalf("%s: row %d is changed", name, row)
		}
	}
	for i := range width {
		mean := 0.0
		for row := range rows {
			mean += number(before, row, i) / rows
		}
		for _, row := range []int{first, second} {
			if got := number(after, row, i); math.Abs(got-mean) > math.Abs(mean)/250+1e-9 {
				t.Fatalf("%s[%d,%d] is %v, the mean %v", name, row, i, got, mean)
			}
		}
	}
}

func TestNamesAndShapesAreThoseOfTheReleasedLayout(t *testing.T) {
	t.Parallel()
	out := filepath.Join(t.TempDir(), "doctor")
	if err := Attach(t.Context(), plain(t), out, heads); err != nil {
		t.Fatal(err)
	}
	got, want := openWeights(t, out), openWeights(t, "../nano")
	for _, name := range want.Names() {
		if ofTrunk(name) {
			continue
		}
		a, ok := got.Tensor(name)
		b, _ := want.Tensor(name)
		shape := slices.Clone(b.Shape)
		for i := range shape {
			if strings.Contains(name, "_hidden_fcs") && shape[i] == 96 {
				shape[i] = 64 // the language model of the one is as wide, of the other
			}
		}
		if !ok || !slices.Equal(a.Shape, shape) || a.DType != b.DType {
			t.Errorf("%s is %v%v, want %v%v", name, a.DType, a.Shape, b.DType, shape)
		}
	}
	for _, name := range got.Names() {
		if _, ok := want.Tensor(name); !ok && name != headName && !strings.HasPrefix(name, "model.layers.") && !strings.HasPrefix(name, "visual.") {
			t.Errorf("%s is no tensor of the released layout", name)
		}
	}
}

func TestRowsAreAddedWhereThereIsNoRoom(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "model.safetensors")
	values := []float32{1, 2, 3, 6} // two rows
	if err := safetensors.Write(path, []safetensors.Source{{Name: headName, DType: safetensors.F32, Shape: []int64{2, 2},
		Fill: under(t.Context(), func(w io.Writer) error { return binary.Write(w, binary.LittleEndian, values) })}}); err != nil {
		t.Fatal(err)
	}
	c, err := safetensors.OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	tensor, _ := c.Tensor(headName)
	rows, err := newGrown(tensor, [2]int{2, 3})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := rows.fill(&out); err != nil {
		t.Fatal(err)
	}
	got := make([]float32, out.Len()/4)
	if err := binary.Read(&out, binary.LittleEndian, got); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, []float32{1, 2, 3, 6, 2, 4, 2, 4}) {
		t.Errorf("rows %v", got)
	}
}

func TestWhatIsNoPlainCheckpointIsRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(t *testing.T, dir string)
		from   string
		want   string
	}{
		"an ImageDoctor":           {from: "../nano", want: "it has a tensor heatmap."},
		"a Qwen3-VL":               {from: "../../qwenvl/testdata/qwen3vl-nano", want: "it is a Qwen3-VL"},
		"no folder":                {from: "nowhere", want: "config.json"},
		"no tokenizer":             {from: savedDir, want: "tokenizer.json"},
		"a tokenizer with a token": {change: func(t *testing.T, dir string) { copyFile(t, "../nano", dir, checkpoint.TokenizerFile) }, want: "it has the token <|misalignment|>"},
		"a tokenizer of nonsense":  {change: func(t *testing.T, dir string) { write(t, dir, checkpoint.TokenizerFile, []byte("{")) }, want: "tokenizer.json"},
		"a configuration with more layers": {change: func(t *testing.T, dir string) {
			data, err := os.ReadFile(filepath.Join(dir, checkpoint.ConfigFile))
			if err != nil {
				t.Fatal(err)
			}
			write(t, dir, checkpoint.ConfigFile, bytes.Replace(data, []byte(`"num_hidden_layers": 3`), []byte(`"num_hidden_layers": 4`), 1))
		}, want: "it has no tensor model.layers.3"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			from := c.from
			if c.change != nil {
				from = plain(t)
				c.change(t, from)
			}
			parent := t.TempDir()
			err := Attach(t.Context(), from, filepath.Join(parent, "doctor"), heads)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
			if left, _ := os.ReadDir(parent); len(left) > 0 {
				t.Errorf("%v is left behind", left)
			}
		})
	}
}

func copyFile(t *testing.T, from, to, name string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(from, name))
	if err != nil {
		t.Fatal(err)
	}
	write(t, to, name, data)
}

func TestAFolderWithFilesIsNotOverwritten(t *testing.T) {
	t.Parallel()
	out := t.TempDir()
	write(t, out, "mine", nil)
	if err := Attach(t.Context(), plain(t), out, heads); err == nil || !strings.Contains(err.Error(), "must not exist or be empty") {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(filepath.Join(out, "mine")); err != nil {
		t.Error(err)
	}
}

func TestWritingEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	parent := t.TempDir()
	if err := Attach(ctx, plain(t), filepath.Join(parent, "doctor"), heads); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if left, _ := os.ReadDir(parent); len(left) > 0 {
		t.Errorf("%v is left behind", left)
	}
}
