package synthetic

import (
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
	"github.com/denseflow/densereward/engine/ort/orttest"
	"github.com/denseflow/densereward/engine/qwenvl/checkpoint"
	"github.com/denseflow/densereward/engine/qwenvl/qwenvltest"
	"github.com/denseflow/densereward/engine/safetensors"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/rewardtest"
)

func openCheckpoint(t *testing.T, dir string) *safetensors.Checkpoint {
	t.Helper()
	c, err := safetensors.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestACheckpointHasTheTensorsOfTheOneItIsLike(t *testing.T) {
	dir := t.TempDir()
	if err := Write(t.Context(), dir, LikeNano, 1, nil); err != nil {
		t.Fatal(err)
	}
	got, want := openCheckpoint(t, dir), openCheckpoint(t, qwenvltest.Nano(t))
	if !slices.Equal(got.Names(), want.Names()) {
		t.Errorf("tensors %v\nwant %v", got.Names(), want.Names())
	}
	for _, name := range want.Names() {
		a, _ := got.Tensor(name)
		b, _ := want.Tensor(name)
		if !slices.Equal(a.Shape, b.Shape) || a.DType != b.DType {
			t.Errorf("%s is %v%v, want %v%v", name, a.DType, a.Shape, b.DType, b.Shape)
		}
	}
	for _, name := range []string{checkpoint.ConfigFile, checkpoint.PreprocessorFile, checkpoint.TokenizerFile} {
		if qwenvltest.ReadText(t, filepath.Join(dir, name)) != qwenvltest.ReadText(t, filepath.Join(qwenvltest.Nano(t), name)) {
			t.Errorf("%s differs", name)
		}
	}
}

func TestACheckpointLoadsAndScores(t *testing.T) {
	dir := t.TempDir()
	if err := Write(t.Context(), dir, LikeNano, 1, nil); err != nil {
		t.Fatal(err)
	}
	// Random weights hardly ever end an answer: every token does.
	var every []int
	for id := range 1536 {
		every = append(every, id)
	}
	generation, err := json.Marshal(map[string]any{"eos_token_id": every})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{checkpoint.GenerationFile: generation, checkpoint.PreprocessorFile: []byte(qwenvltest.SmallImages)} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	e, err := imagedoctor.Load(orttest.Open(t), dir, imagedoctor.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	samples := []reward.Sample{
		{Image: rewardtest.Image(1, 64, 64), Prompt: "a red circle"}, {Image: rewardtest.Image(2, 80, 48), Prompt: "a cat"},
	}
	results, err := e.Evaluate(t.Context(), samples)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range results {
		// Random weights end an answer by chance alone.
		if errors.Is(r.Err, reward.ErrAnswerTruncated) {
			continue
		}
		if r.Err != nil || len(r.Trace.GeneratedIDs) == 0 || len(r.Maps) == 0 {
			t.Errorf("sample %d: %d tokens, %d maps, error %v", i, len(r.Trace.GeneratedIDs), len(r.Maps), r.Err)
		}
	}
}

// releasedHull is a folder like the released checkpoint, with holes for weights.
func releasedHull(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	files, heads, err := LikeReleased.files()
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	config, err := imagedoctor.LoadConfig(dir)
	if err != nil {
		t.Fatal(err)
	}
	tensors, err := imagedoctor.Inventory(config, heads)
	if err != nil {
		t.Fatal(err)
	}
	hole := func(safetensors.Tensor, uint64) func(io.Writer) error { return nil }
	if err := writeTensors(dir, tensors, hole); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestReleasedShapesAreThePublishedOnes(t *testing.T) {
	dir := releasedHull(t)
	config, err := imagedoctor.LoadConfig(dir)
	if err != nil {
		t.Fatal(err)
	}
	folder, err := checkpoint.Open(dir) // which also holds the tokenizer against the configuration
	if err != nil {
		t.Fatal(err)
	}
	if err := config.CheckTokens(folder.Tokenizer); err != nil {
		t.Error(err)
	}
	weights := folder.Weights
	var base int64
	for _, name := range weights.Names() {
		if strings.HasPrefix(name, "model.") || strings.HasPrefix(name, "visual.") {
			one, _ := weights.Tensor(name)
			base += one.Length
		}
	}
	if qwen3B := int64(7_509_245_952); base != qwen3B { // total_size of the index of Qwen/Qwen2.5-VL-3B-Instruct
		t.Errorf("vision tower and language model have %d bytes, want %d", base, qwen3B)
	}
}

func TestEqualSeedsWriteEqualWeights(t *testing.T) {
	fingerprint := func(seed uint64) string {
		dir := t.TempDir()
		if err := Write(t.Context(), dir, LikeNano, seed, nil); err != nil {
			t.Fatal(err)
		}
		f, err := openCheckpoint(t, dir).Fingerprint()
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	first := fingerprint(1)
	if again := fingerprint(1); again != first {
		t.Error("equal seeds differ")
	}
	if fingerprint(2) == first {
		t.Error("other seeds are equal")
	}
}

func TestRandomWeightsAreNormalWithTheModelsDeviation(t *testing.T) {
	dir := t.TempDir()
	if err := Write(t.Context(), dir, LikeNano, 3, nil); err != nil {
		t.Fatal(err)
	}
	weights := openCheckpoint(t, dir)
	values := func(name string) []float64 {
		data, err := weights.Read(name)
		if err != nil {
			t.Fatal(err)
		}
		var v []float64
		for at := 0; at < len(data); at += 2 {
			v = append(v, float64(math.Float32frombits(uint32(binary.LittleEndian.Uint16(data[at:]))<<16)))
		}
		return v
	}
	for _, norm := range []string{"model.norm.weight", "visual.merger.ln_q.weight", "heatmap.output_upscaling.deconv_layers.0.1.scale"} {
		for _, v := range values(norm) {
			if v != 1 {
				t.Fatalf("%s has %v", norm, v)
			}
		}
	}
	embedding := values(checkpoint.EmbeddingName)
	var mean, squares float64
	for _, v := range embedding {
		mean += v / float64(len(embedding))
		squares += v * v / float64(len(embedding))
	}
	// 147,456 values: the mean's own deviation is 0.02/384 and the deviation's
	// 0.02/543; bfloat16 is cut off, by 0.3 % on average.
	if deviation := math.Sqrt(squares); math.Abs(mean) > 2.5e-4 || math.Abs(deviation-randomDeviation) > 2.5e-4 {
		t.Errorf("mean %v and deviation %v", mean, deviation)
	}
}

func TestProgressCountsEveryByte(t *testing.T) {
	var last, total int64
	progress := func(n, of int64) {
		if n <= last {
			t.Errorf("%d bytes after %d", n, last)
		}
		last, total = n, of
	}
	if err := Write(t.Context(), t.TempDir(), LikeNano, 1, progress); err != nil {
		t.Fatal(err)
	}
	if total != 1606904 || last != total { // total_size of the nano checkpoint's index
		t.Errorf("%d of %d bytes", last, total)
	}
}

func TestRandomCheckpointsThatCannotBeWritten(t *testing.T) {
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "thesis.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Write(t.Context(), full, LikeNano, 1, nil); err == nil || !strings.Contains(err.Error(), "thesis.txt") {
		t.Errorf("a folder that is not empty: %v", err)
	}
	if _, err := os.Stat(filepath.Join(full, "thesis.txt")); err != nil {
		t.Error(err)
	}
	if err := Write(t.Context(), filepath.Join(full, "thesis.txt"), LikeNano, 1, nil); err == nil {
		t.Error("wrote into a file")
	}
	if err := Write(t.Context(), t.TempDir(), "giant", 1, nil); err == nil || !strings.Contains(err.Error(), `"giant"`) {
		t.Errorf("like something unknown: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dir := t.TempDir()
	if err := Write(ctx, dir, LikeNano, 1, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
