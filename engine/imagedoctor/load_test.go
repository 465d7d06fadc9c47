package imagedoctor

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/denseflow/densereward/engine/ort/orttest"
	"github.com/denseflow/densereward/engine/qwenvl/checkpoint"
	"github.com/denseflow/densereward/engine/qwenvl/qwenvltest"
	"github.com/denseflow/densereward/engine/safetensors"
	"github.com/denseflow/densereward/reward"
)

// rewritten is a folder with the nano checkpoint whose tensors change has been at.
func rewritten(t *testing.T, change func([]safetensors.Source) []safetensors.Source, files map[string]string) string {
	t.Helper()
	checkpoint := openCheckpoint(t, "nano")
	var sources []safetensors.Source
	for _, name := range checkpoint.Names() {
		tensor, _ := checkpoint.Tensor(name)
		data, err := checkpoint.Read(name)
		if err != nil {
			t.Fatal(err)
		}
		sources = append(sources, safetensors.Source{Name: name, DType: tensor.DType, Shape: tensor.Shape, Fill: bytesOf(data)})
	}
	replaced := map[string]string{ // left out, to be written anew
		"model-00001-of-00002.safetensors": "", "model-00002-of-00002.safetensors": "", "model.safetensors.index.json": "",
	}
	for name, content := range files {
		replaced[name] = content
	}
	dir := linked(t, replaced)
	if err := safetensors.WriteShards(dir, change(sources), 1<<20); err != nil {
		t.Fatal(err)
	}
	return dir
}

func bytesOf(data []byte) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	}
}

// wantLoadError loads a folder and expects an error that says all of parts.
func wantLoadError(t *testing.T, dir string, o Options, parts ...string) {
	t.Helper()
	e, err := Load(orttest.Open(t), dir, o)
	if err == nil {
		e.Close()
		t.Fatal("no error")
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not say %q", err, part)
		}
	}
}

// without leaves tensors out.
func without(names ...string) func([]safetensors.Source) []safetensors.Source {
	return func(all []safetensors.Source) []safetensors.Source {
		return slices.DeleteFunc(all, func(s safetensors.Source) bool { return slices.Contains(names, s.Name) })
	}
}

// as gives a tensor another type and shape, filled with zeros.
func as(name string, dtype safetensors.DType, shape ...int64) func([]safetensors.Source) []safetensors.Source {
	return func(all []safetensors.Source) []safetensors.Source {
		return append(without(name)(all), safetensors.Source{Name: name, DType: dtype, Shape: shape})
	}
}

func TestBadTensorsAreNamedAtLoad(t *testing.T) {
	t.Parallel()
	const (
		query = "model.layers.2.self_attn.q_proj.weight"
		patch = "visual.patch_embed.proj.weight"
		scale = "heatmap.output_upscaling.deconv_layers.1.1.scale"
	)
	for name, test := range map[string]struct {
		change func([]safetensors.Source) []safetensors.Source
		files  map[string]string
		want   []string
	}{
		"one that is missing": {without(query), nil, []string{"imagedoctor: tensor " + query + " is missing"}},
		"one of another shape": {as(query, safetensors.BF16, 96, 95), nil,
			[]string{"tensor " + query + " has shape [96 95], the configuration demands [96 96]"}},
		"one of a type without use": {as(query, "I64", 96, 96), nil, []string{"tensor " + query + " is I64; BF16, F16 and F32 can be used"}},
		"several at once": {func(all []safetensors.Source) []safetensors.Source {
			return as(scale, "U8", 24, 1, 1)(as(patch, safetensors.BF16, 40, 3, 1, 14, 14)(without(query, "model.norm.weight")(all)))
		}, nil, []string{query + " is missing", "model.norm.weight is missing", patch + " has shape [40 3 1 14 14]", scale + " is U8"}},
		"more than anybody reads": {func(all []safetensors.Source) []safetensors.Source {
			return slices.DeleteFunc(all, func(s safetensors.Source) bool { return strings.HasPrefix(s.Name, "visual.") })
		}, nil, []string{patch + " is missing", "and ", " more tensors"}},
		"the one that tells the heads' width": {without(maskTokensName), nil, []string{maskTokensName + " is missing"}},
		"a width that heads do not divide":    {as(maskTokensName, safetensors.BF16, 1, 50), nil, []string{maskTokensName, "50"}},
		"an embedding of another size": {as(checkpoint.EmbeddingName, safetensors.BF16, 1500, 96), nil,
			[]string{checkpoint.EmbeddingName + " has shape [1500 96], the configuration demands [1536 96]"}},
		"an embedding smaller than the tokenizer": {as(checkpoint.EmbeddingName, safetensors.BF16, 1000, 96),
			map[string]string{checkpoint.ConfigFile: edit(t, map[string]any{"vocab_size": nil})}, []string{"the tokenizer has 1480 tokens", "embedding 1000"}},
		"a head of its own that is not there": {without(),
			map[string]string{checkpoint.ConfigFile: edit(t, map[string]any{"tie_word_embeddings": false})}, []string{"lm_head.weight is missing"}},
		"layers beyond the configuration's": {without(),
			map[string]string{checkpoint.ConfigFile: edit(t, map[string]any{"num_hidden_layers": 3})}, []string{"model.layers.3.input_layernorm.weight", "does not have"}},
		"vision blocks beyond the configuration's": {without(),
			map[string]string{checkpoint.ConfigFile: edit(t, map[string]any{"vision_config.depth": 2, "vision_config.fullatt_block_indexes": []int{1}})},
			[]string{"visual.blocks.2.norm1.weight", "does not have"}},
	} {
		t.Run(name, func(t *testing.T) { wantLoadError(t, rewritten(t, test.change, test.files), Options{}, test.want...) })
	}
}

func TestFilesThatDoNotFitAreNamedAtLoad(t *testing.T) {
	var tokens map[string]any
	qwenvltest.ReadJSON(t, "nano/tokenizer.json", &tokens)
	for name, test := range map[string]struct {
		files map[string]string
		o     Options
		want  string
	}{
		"no configuration":             {map[string]string{checkpoint.ConfigFile: ""}, Options{}, "config.json"},
		"no tokenizer":                 {map[string]string{checkpoint.TokenizerFile: ""}, Options{}, "tokenizer.json"},
		"a broken tokenizer":           {map[string]string{checkpoint.TokenizerFile: "{"}, Options{}, "tokenizer.json"},
		"a shard that is not there":    {map[string]string{"model-00002-of-00002.safetensors": ""}, Options{}, "model-00002-of-00002.safetensors"},
		"the token of another id":      {map[string]string{checkpoint.ConfigFile: edit(t, map[string]any{"misalignment_token_id": 1400})}, Options{}, "misalignment_token_id is 1400"},
		"a penalty below nought":       {nil, Options{RepetitionPenalty: -1}, "repetition penalty -1"},
		"a penalty that is no number":  {nil, Options{RepetitionPenalty: math.NaN()}, "repetition penalty NaN"},
		"an infinite penalty":          {nil, Options{RepetitionPenalty: math.Inf(1)}, "repetition penalty +Inf"},
		"fewer than no new tokens":     {nil, Options{MaxNewTokens: -1}, "new tokens -1"},
		"a batch of less than nothing": {nil, Options{MaxBatch: -2}, "batch -2"},
		"fewer than no threads":        {nil, Options{Threads: -1}, "threads -1"},
	} {
		t.Run(name, func(t *testing.T) { wantLoadError(t, linked(t, test.files), test.o, "imagedoctor: ", test.want) })
	}
}

// The layout of a hub's cache: files named by their hashes, and links to them in
// a folder for each revision.
func TestAFolderOfLinksToHashesLoads(t *testing.T) {
	t.Parallel()
	cache := t.TempDir()
	blobs, snapshot := filepath.Join(cache, "blobs"), filepath.Join(cache, "snapshots", "0123")
	for _, dir := range []string{blobs, snapshot} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	names, err := filepath.Glob("nano/*.*s*o*")
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range names {
		hash := fmt.Sprintf("%064d", i)
		if err := os.WriteFile(filepath.Join(blobs, hash), []byte(qwenvltest.ReadText(t, name)), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join("..", "..", "blobs", hash), filepath.Join(snapshot, filepath.Base(name))); err != nil {
			t.Fatal(err)
		}
	}
	answersLikeNano(t, snapshot)
}

func TestShardsInTwoFoldersAreOneCheckpoint(t *testing.T) {
	t.Parallel()
	elsewhere := filepath.Join(t.TempDir(), "shard")
	const shard = "model-00002-of-00002.safetensors"
	if err := os.WriteFile(elsewhere, []byte(qwenvltest.ReadText(t, "nano/"+shard)), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := linked(t, map[string]string{shard: ""})
	if err := os.Symlink(elsewhere, filepath.Join(dir, shard)); err != nil {
		t.Fatal(err)
	}
	answersLikeNano(t, dir)
}

// answersLikeNano loads a folder and asks it what the nano checkpoint answers.
func answersLikeNano(t *testing.T, dir string) {
	t.Helper()
	e, err := Load(orttest.Open(t), dir, Options{Prefix: new(string)})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if maps, err := os.ReadFile("/proc/self/maps"); err == nil && strings.Contains(string(maps), dir) {
		t.Errorf("a file of %s stays mapped: whoever cuts it ends the process", dir)
	}
	_, samples := refSamples(t)
	got, want := generate(t, e, "answer", samples[4:5], 40)[0], generate(t, nanoEvaluator(t, form{}), "answer", samples[4:5], 40)[0]
	sameResult(t, dir, got, want)
}

// widened is a bfloat16 tensor as float32.
func widened(t *testing.T, s safetensors.Source) safetensors.Source {
	t.Helper()
	var half strings.Builder
	if err := s.Fill(&half); err != nil {
		t.Fatal(err)
	}
	var data []byte
	for i := 0; i < half.Len(); i += 2 {
		data = append(data, 0, 0)
		data = append(data, half.String()[i:i+2]...)
	}
	return safetensors.Source{Name: s.Name, DType: safetensors.F32, Shape: s.Shape, Fill: bytesOf(data)}
}

// Names are those of transformers from 4.52 on, within DistributedDataParallel.
func TestWeightsMayBeStoredAsFloat32UnderOtherNames(t *testing.T) {
	t.Parallel()
	answersLikeNano(t, rewritten(t, func(all []safetensors.Source) []safetensors.Source {
		for i, s := range all {
			all[i] = widened(t, s)
			if language, ok := strings.CutPrefix(s.Name, "model."); ok {
				all[i].Name = "model.language_model." + language
			} else if strings.HasPrefix(s.Name, "visual.") {
				all[i].Name = "model." + s.Name
			}
			all[i].Name = "module." + all[i].Name
		}
		return all
	}, nil))
}

// A head of its own that is a copy of the embedding changes nothing; one that is
// the embedding upside down changes everything.
func TestAHeadOfItsOwnIsUsed(t *testing.T) {
	t.Parallel()
	untied := map[string]string{checkpoint.ConfigFile: edit(t, map[string]any{"tie_word_embeddings": false})}
	head := func(turn bool) func([]safetensors.Source) []safetensors.Source {
		return func(all []safetensors.Source) []safetensors.Source {
			at := slices.IndexFunc(all, func(s safetensors.Source) bool { return s.Name == checkpoint.EmbeddingName })
			data, err := openCheckpoint(t, "nano").Read(checkpoint.EmbeddingName)
			if err != nil {
				t.Fatal(err)
			}
			if turn {
				for i := 0; i < len(data); i += 2 { // the sign of a bfloat16
					binary.LittleEndian.PutUint16(data[i:], binary.LittleEndian.Uint16(data[i:])^0x8000)
				}
			}
			return append(all, safetensors.Source{Name: "lm_head.weight", DType: all[at].DType, Shape: all[at].Shape, Fill: bytesOf(data)})
		}
	}
	answersLikeNano(t, rewritten(t, head(false), untied))

	e, err := Load(orttest.Open(t), rewritten(t, head(true), untied), Options{Prefix: new(string)})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	_, samples := refSamples(t)
	other, want := generate(t, e, "answer", samples[:1], 5)[0], qwenvltest.ReadNanoCases(t, "cases.json")[0]
	if slices.Equal(other.Trace.GeneratedIDs, want.GeneratedIDs[:5]) {
		t.Error("the head is the embedding all the same")
	}
}

// transformers 5 writes rope_parameters in place of rope_scaling and rope_theta.
func TestTheRopeOfTransformers5IsThatOfTransformers4(t *testing.T) {
	theta := func(changes map[string]any) string { return edit(t, changes) }
	older := theta(map[string]any{"rope_theta": 100})
	newer := theta(map[string]any{"rope_theta": nil, "rope_scaling": nil, "rope_parameters": map[string]any{
		"mrope_section": []int{2, 3, 3}, "rope_type": "default", "rope_theta": 100.0,
	}})
	var answers [2]reward.Result
	_, samples := refSamples(t)
	for i, config := range []string{older, newer} {
		e := loadSmall(t, map[string]string{checkpoint.ConfigFile: config}, Options{Prefix: new(string)})
		answers[i] = generate(t, e, reward.ModeAnswer, samples[:1], 20)[0]
	}
	sameResult(t, "rope_parameters", answers[1], answers[0])
	plain := generate(t, nanoEvaluator(t, form{small: true}), reward.ModeAnswer, samples[:1], 20)[0]
	if slices.Equal(plain.Trace.GeneratedIDs, answers[0].Trace.GeneratedIDs) {
		t.Error("another base makes no difference to see")
	}
}

// What transformers 5 says of images in processor_config.json.
func TestTheProcessorOfTransformers5IsThatOfTransformers4(t *testing.T) {
	e, err := Load(orttest.Open(t), linked(t, map[string]string{
		checkpoint.PreprocessorFile: "",
		checkpoint.ProcessorFile:    `{"image_processor": {"size": {"shortest_edge": 3136, "longest_edge": 20000}}, "processor_class": "Qwen2_5_VLProcessor"}`,
	}), Options{Prefix: new(string)})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	_, samples := refSamples(t)
	got, want := generate(t, e, reward.ModeAnswer, samples[:1], 20)[0], generate(t, nanoEvaluator(t, form{small: true}), reward.ModeAnswer, samples[:1], 20)[0]
	sameResult(t, "processor_config.json", got, want)
}

// The two tokens of the heatmaps under names of their own: config.json's ids decide.
func TestHeatmapTokensMayBeSpeltOtherwise(t *testing.T) {
	spelt := strings.NewReplacer(misalignmentToken, "<|mis|>", artifactToken, "<|art|>").Replace(qwenvltest.ReadText(t, "nano/tokenizer.json"))
	e := loadSmall(t, map[string]string{checkpoint.TokenizerFile: spelt}, Options{Prefix: new(string)})
	_, samples := refSamples(t)
	got := generate(t, e, reward.ModeAnswer, samples[:1], 200)[0]
	want := generate(t, nanoEvaluator(t, form{small: true}), reward.ModeAnswer, samples[:1], 200)[0]
	if !slices.Equal(got.Trace.GeneratedIDs, want.Trace.GeneratedIDs) || !slices.Equal(got.Scores, want.Scores) {
		t.Errorf("%q, want %q", got.Text, want.Text)
	}
	if !strings.Contains(got.Text, "<|art|>") || strings.Contains(got.Text, artifactToken) {
		t.Errorf("the text is %q", got.Text)
	}
}
