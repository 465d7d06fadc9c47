package checkpoint

import (
	"encoding/json"
	"maps"
	"reflect"
	"strings"
	"testing"

	"github.com/denseflow/densereward/engine/imagedoctor/released"
	"github.com/denseflow/densereward/engine/qwenvl/qwenvltest"
)

// clip is CLIP's normalization at the default resolution limits.
var clip = PreprocessorConfig{
	Mean: [3]float64{0.48145466, 0.4578275, 0.40821073}, Std: [3]float64{0.26862954, 0.26130258, 0.27577711},
	MinPixels: 3136, MaxPixels: 12845056, PatchSize: 14, MergeSize: 2, TemporalPatchSize: 2,
}

func TestReleasedConfigIsCompletedWithQwensValues(t *testing.T) {
	dir := qwenvltest.WriteFolder(t, map[string]string{ConfigFile: released.Config})
	got, err := LoadConfig(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		Family: Qwen25VL, AttentionBias: true,
		HiddenSize: 2048, IntermediateSize: 11008, NumLayers: 36, NumHeads: 16, NumKVHeads: 2, HeadDim: 128,
		RMSNormEps: 1e-6, RopeTheta: 1e6, MRopeSection: []int{16, 24, 24}, TieWordEmbeddings: true,
		ImageTokenID: 151655, VisionStartTokenID: 151652, VisionEndTokenID: 151653,
		EOSTokenIDs: []int32{151645}, RepetitionPenalty: 1,
		Vision: VisionConfig{
			Depth: 32, HiddenSize: 1280, IntermediateSize: 3420, NumHeads: 16, PatchSize: 14, TemporalPatchSize: 2,
			SpatialMergeSize: 2, WindowSize: 112, InChannels: 3, OutHiddenSize: 2048,
			FullAttentionBlocks: []int{7, 15, 23, 31},
		},
		Preprocessor: clip,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestNanoConfigIsReadAsItStands(t *testing.T) {
	got, err := LoadConfig(qwenvltest.Nano(t))
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		Family: Qwen25VL, AttentionBias: true,
		HiddenSize: 96, IntermediateSize: 160, NumLayers: 4, NumHeads: 6, NumKVHeads: 2, HeadDim: 16,
		RMSNormEps: 1e-6, RopeTheta: 1e6, MRopeSection: []int{2, 3, 3}, VocabSize: 1536, TieWordEmbeddings: true,
		ImageTokenID: 1468, VisionStartTokenID: 1465, VisionEndTokenID: 1466,
		EOSTokenIDs: []int32{1458}, RepetitionPenalty: 1,
		Vision: VisionConfig{
			Depth: 4, HiddenSize: 40, IntermediateSize: 56, NumHeads: 2, PatchSize: 14, TemporalPatchSize: 2,
			SpatialMergeSize: 2, WindowSize: 112, InChannels: 3, OutHiddenSize: 96, FullAttentionBlocks: []int{1, 3},
		},
		Preprocessor: clip,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if err := got.CheckTokens(qwenvltest.NanoTokenizer(t)); err != nil {
		t.Error(err)
	}
}

func TestGenerationConfigIsHonoured(t *testing.T) {
	for name, test := range map[string]struct {
		file    string
		eos     []int32
		penalty float64
	}{
		"a list of end tokens":      {`{"eos_token_id": [1458, 1456], "repetition_penalty": 1.05, "top_k": 1}`, []int32{1458, 1456}, 1.05},
		"a single end token":        {`{"eos_token_id": 1456}`, []int32{1456}, 1},
		"nothing":                   {`{}`, []int32{1458}, 1},
		"nulls":                     {`{"eos_token_id": null, "repetition_penalty": null}`, []int32{1458}, 1},
		"an empty list":             {`{"eos_token_id": []}`, []int32{1458}, 1},
		"a penalty that encourages": {`{"repetition_penalty": 0.5}`, []int32{1458}, 0.5},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := LoadConfig(qwenvltest.WriteFolder(t, map[string]string{
				ConfigFile: qwenvltest.ReadText(t, qwenvltest.Nano(t)+"/config.json"), GenerationFile: test.file,
			}))
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(c.EOSTokenIDs, test.eos) || c.RepetitionPenalty != test.penalty {
				t.Errorf("end tokens %v and penalty %v, want %v and %v", c.EOSTokenIDs, c.RepetitionPenalty, test.eos, test.penalty)
			}
			if !c.IsEOS(test.eos[0]) || c.IsEOS(7) {
				t.Error("IsEOS does not tell end tokens")
			}
		})
	}
}

// edit returns the nano configuration with keys set, or removed where the value
// is nil. A key of the vision tower is written vision_config.key.
func edit(t *testing.T, changes map[string]any) string {
	t.Helper()
	return qwenvltest.EditConfig(t, qwenvltest.Nano(t)+"/config.json", changes)
}

func TestConfigurationFaultsNameTheirKey(t *testing.T) {
	rope := func(sections ...int) map[string]any { return map[string]any{"mrope_section": sections} }
	for name, test := range map[string]struct {
		key   string
		value any
		want  string
	}{
		"a width is missing":                {"hidden_size", nil, "hidden_size: missing"},
		"a width is negative":               {"intermediate_size", -1, "intermediate_size: -1 is not in 1 to"},
		"a width is enormous":               {"hidden_size", 1 << 40, "hidden_size: 1099511627776 is not in 1 to"},
		"a width is a text":                 {"hidden_size", "96", "hidden_size"},
		"heads do not divide the width":     {"num_attention_heads", 7, "hidden_size: 96 is not a multiple of num_attention_heads, 7"},
		"heads do not share keys evenly":    {"num_key_value_heads", 4, "num_attention_heads: 6 is not a multiple"},
		"no layers":                         {"num_hidden_layers", 0, "num_hidden_layers: 0"},
		"no epsilon":                        {"rms_norm_eps", 0, "rms_norm_eps: 0"},
		"a negative base":                   {"rope_theta", -1, "rope_theta: -1"},
		"two rope sections":                 {"rope_scaling", rope(4, 4), "mrope_section: [4 4] does not have three"},
		"rope sections of another width":    {"rope_scaling", rope(16, 24, 24), "mrope_section: [16 24 24] does not sum"},
		"a negative rope section":           {"rope_scaling", rope(-2, 5, 5), "mrope_section: -2"},
		"a scaled rope of transformers 5":   {"rope_parameters", map[string]any{"rope_type": "yarn"}, `rope_parameters.rope_type: "yarn"`},
		"a rope for each kind of layer":     {"rope_parameters", map[string]any{"full_attention": map[string]any{"rope_theta": 1e5}}, "rope_parameters: settings for each kind of layer"},
		"a rope of a part of a head":        {"rope_parameters", map[string]any{"partial_rotary_factor": 0.5}, "partial_rotary_factor: 0.5"},
		"a rope of a part, in older files":  {"partial_rotary_factor", 0.5, "partial_rotary_factor: 0.5"},
		"rope sections in turn":             {"rope_scaling", map[string]any{"mrope_interleaved": true}, "mrope_interleaved: true"},
		"another model":                     {"model_type", "qwen2_vl", `model_type: "qwen2_vl"`},
		"heads of a width of their own":     {"head_dim", 24, "head_dim: 24"},
		"a scaled rope":                     {"rope_scaling", map[string]any{"rope_type": "yarn"}, `rope_type: "yarn"`},
		"another activation":                {"hidden_act", "gelu", `hidden_act: "gelu"`},
		"a sliding window":                  {"use_sliding_window", true, "use_sliding_window: true"},
		"a token beyond the vocabulary":     {"image_token_id", 1536, "image_token_id: 1536 is not in 0 to 1535"},
		"a negative token":                  {"vision_start_token_id", -1, "vision_start_token_id: -1"},
		"an end token beyond it":            {"eos_token_id", []int{1458, 9999}, "eos_token_id: 9999"},
		"an end token of words":             {"eos_token_id", "end", "eos_token_id is neither"},
		"four channels":                     {"vision_config.in_chans", 4, "vision_config.in_channels: 4"},
		"a merger of another width":         {"vision_config.out_hidden_size", 95, "vision_config.out_hidden_size: 95"},
		"no vision blocks":                  {"vision_config.depth", 0, "vision_config.depth: 0"},
		"vision heads of odd width":         {"vision_config.num_heads", 4, "vision_config.hidden_size: 40 is not a multiple"},
		"a window of fractions of a patch":  {"vision_config.window_size", 100, "vision_config.window_size: 100 is not a multiple"},
		"full attention in a missing block": {"vision_config.fullatt_block_indexes", []int{4}, "fullatt_block_indexes: 4"},
		"full attention in a block twice":   {"vision_config.fullatt_block_indexes", []int{1, 1}, "fullatt_block_indexes: 1 occurs twice"},
		"another vision activation":         {"vision_config.hidden_act", "relu", `vision_config.hidden_act: "relu"`},
	} {
		t.Run(name, func(t *testing.T) {
			dir := qwenvltest.WriteFolder(t, map[string]string{ConfigFile: edit(t, map[string]any{test.key: test.value})})
			wantError(t, dir, ConfigFile, test.want)
		})
	}
}

// wantError loads the configuration in dir and expects an error that names the
// file and says want.
func wantError(t *testing.T, dir, file, want string) {
	t.Helper()
	_, err := LoadConfig(dir)
	if err == nil {
		t.Fatal("no error")
	}
	if !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), want) {
		t.Errorf("error %q does not say %s: %s", err, file, want)
	}
}

func TestFaultsOfTheOtherFilesNameTheirKey(t *testing.T) {
	for name, test := range map[string]struct{ file, content, want string }{
		"two means":                  {PreprocessorFile, `{"image_mean": [0.5, 0.5]}`, "image_mean: [0.5 0.5] does not have three"},
		"a deviation of zero":        {PreprocessorFile, `{"image_std": [1, 0, 1]}`, "image_std: 0"},
		"more minimum than maximum":  {PreprocessorFile, `{"min_pixels": 200, "max_pixels": 100}`, "max_pixels: 100"},
		"patches of another size":    {PreprocessorFile, `{"patch_size": 16}`, "patch_size: 16 is not in 14 to 14"},
		"another merge":              {PreprocessorFile, `{"merge_size": 1}`, "merge_size: 1"},
		"another number of frames":   {PreprocessorFile, `{"temporal_patch_size": 1}`, "temporal_patch_size: 1"},
		"no normalization":           {PreprocessorFile, `{"do_normalize": false}`, "do_normalize: false"},
		"another resampling":         {PreprocessorFile, `{"resample": 2}`, "resample: 2"},
		"another rescale factor":     {PreprocessorFile, `{"rescale_factor": 1}`, "rescale_factor: 1"},
		"a negative penalty":         {GenerationFile, `{"repetition_penalty": -1}`, "repetition_penalty: -1"},
		"an end token out of range":  {GenerationFile, `{"eos_token_id": 4000}`, "eos_token_id: 4000"},
		"a file that is not JSON":    {GenerationFile, `eos`, "invalid character"},
		"a file of more than enough": {PreprocessorFile, strings.Repeat(" ", maxConfigBytes+1), "exceeds the limit of 1048576 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := qwenvltest.WriteFolder(t, map[string]string{ConfigFile: edit(t, nil), test.file: test.content})
			wantError(t, dir, test.file, test.want)
		})
	}
}

func TestConfigurationMayBeWrittenInNewerForms(t *testing.T) {
	var file map[string]any
	qwenvltest.ReadJSON(t, qwenvltest.Nano(t)+"/config.json", &file)
	text := maps.Clone(file)
	for _, key := range []string{"vision_config", "image_token_id", "vision_start_token_id", "vision_end_token_id"} {
		delete(text, key)
	}
	for key := range text {
		if !strings.HasSuffix(key, "_token_id") {
			delete(file, key)
		}
	}
	file["text_config"] = text
	data, err := json.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	got, err := LoadConfig(qwenvltest.WriteFolder(t, map[string]string{
		ConfigFile:       string(data),
		PreprocessorFile: `{"size": {"shortest_edge": 3136, "longest_edge": 12845056}, "rescale_factor": 0.00392156862745098}`,
	}))
	if err != nil {
		t.Fatal(err)
	}
	want, err := LoadConfig(qwenvltest.Nano(t))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestConfigurationMustExist(t *testing.T) {
	if _, err := LoadConfig(t.TempDir()); err == nil || !strings.Contains(err.Error(), ConfigFile) {
		t.Errorf("error %v does not name %s", err, ConfigFile)
	}
}

func TestTokensOfAnotherTokenizerAreRefused(t *testing.T) {
	c, err := LoadConfig(qwenvltest.Nano(t))
	if err != nil {
		t.Fatal(err)
	}
	tok := qwenvltest.NanoTokenizer(t)
	c.VisionEndTokenID++
	if err := c.CheckTokens(tok); err == nil || !strings.Contains(err.Error(), "vision_end_token_id") {
		t.Errorf("error %v does not name vision_end_token_id", err)
	}
	c.VisionEndTokenID--
	more := SpecialToken{Text: "<|artifact|>", Key: "artifact_token_id", ID: 7}
	if err := c.CheckTokens(tok, more); err == nil || !strings.Contains(err.Error(), "artifact_token_id") {
		t.Errorf("error %v does not name artifact_token_id", err)
	}
	more = SpecialToken{Text: "<|mis|>", Key: "misalignment_token_id", ID: 1478} // <|misalignment|>
	if err := c.CheckTokens(tok, more); err != nil {
		t.Errorf("a token that is spelt otherwise: %v", err)
	}
	more.ID = 1500
	if err := c.CheckTokens(tok, more); err == nil || !strings.Contains(err.Error(), "<|mis|>") || !strings.Contains(err.Error(), "1500") {
		t.Errorf("error %v does not name the token and its id", err)
	}
}
