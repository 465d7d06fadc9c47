package checkpoint

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"slices"

	"github.com/denseflow/densereward/internal/modelfile"
)

// The configuration files of a checkpoint folder.
const (
	ConfigFile       = "config.json"
	PreprocessorFile = "preprocessor_config.json"
	ProcessorFile    = "processor_config.json" // of transformers 5, which may hold the former
	GenerationFile   = "generation_config.json"
	TokenizerFile    = "tokenizer.json"
)

const (
	// maxConfigBytes is the largest configuration file that is read; real ones
	// have a few kilobytes.
	maxConfigBytes = 1 << 20
)

// LoadConfig reads the configuration of the checkpoint in the folder dir.
// config.json must be there; preprocessor_config.json, processor_config.json and
// generation_config.json may be absent. Errors name the file and the key.
func LoadConfig(dir string) (Config, error) {
	var model modelFile
	if err := ReadJSON(dir, ConfigFile, &model); err != nil {
		return Config{}, err
	}
	preprocessor, file, err := readPreprocessor(dir)
	if err != nil {
		return Config{}, err
	}
	var generation generationJSON
	if err := ReadJSON(dir, GenerationFile, &generation); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Config{}, err
	}
	c, err := model.config()
	if err != nil {
		return Config{}, err
	}
	if err := generation.apply(&c); err != nil {
		return Config{}, err
	}
	if c.Preprocessor, err = preprocessor.config(file, c.Family, c.Vision); err != nil {
		return Config{}, err
	}
	return c, nil
}

// readPreprocessor reads what is said of images, and tells the file. transformers 5
// has it in processor_config.json, which it prefers.
func readPreprocessor(dir string) (p preprocessorJSON, file string, err error) {
	var whole struct {
		ImageProcessor *preprocessorJSON `json:"image_processor"`
	}
	if err := ReadJSON(dir, ProcessorFile, &whole); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return p, ProcessorFile, err
	}
	if whole.ImageProcessor != nil {
		return *whole.ImageProcessor, ProcessorFile, nil
	}
	err = ReadJSON(dir, PreprocessorFile, &p)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return p, PreprocessorFile, err
}

// ReadJSON decodes the configuration file name of the folder dir into v, bounded in
// size. Its errors name the file.
func ReadJSON(dir, name string, v any) error {
	data, err := modelfile.Read(filepath.Join(dir, name), maxConfigBytes)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// or is the value of a key that may be absent or null.
func or[T any](v *T, fallback T) T {
	if v == nil {
		return fallback
	}
	return *v
}

// textJSON is the language model's part of config.json. Checkpoints saved by
// transformers 4.52 and later have it one level down, in text_config.
type textJSON struct {
	HiddenSize        *int      `json:"hidden_size"`
	IntermediateSize  *int      `json:"intermediate_size"`
	NumLayers         *int      `json:"num_hidden_layers"`
	NumHeads          *int      `json:"num_attention_heads"`
	NumKVHeads        *int      `json:"num_key_value_heads"`
	RMSNormEps        *float64  `json:"rms_norm_eps"`
	HeadDim           *int      `json:"head_dim"`
	AttentionBias     *bool     `json:"attention_bias"`
	RopeTheta         *float64  `json:"rope_theta"`
	RopeScaling       *ropeJSON `json:"rope_scaling"`
	RopeParameters    *ropeJSON `json:"rope_parameters"` // transformers 5, in place of the two former
	PartialRotary     *float64  `json:"partial_rotary_factor"`
	VocabSize         *int      `json:"vocab_size"`
	TieWordEmbeddings *bool     `json:"tie_word_embeddings"`
	HiddenAct         *string   `json:"hidden_act"`
	UseSlidingWindow  *bool     `json:"use_sliding_window"`
	EOSTokenID        tokenIDs  `json:"eos_token_id"`
}

// ropeJSON is what is said of the rotary embedding. transformers writes the type under
// either name.
type ropeJSON struct {
	MRopeSection        []int    `json:"mrope_section"`
	MRopeInterleaved    *bool    `json:"mrope_interleaved"`
	RopeType            *string  `json:"rope_type"`
	Type                *string  `json:"type"`
	RopeTheta           *float64 `json:"rope_theta"`
	PartialRotaryFactor *float64 `json:"partial_rotary_factor"`

	// transformers 5 has these for models whose layers differ; Qwen-VL's do not.
	FullAttention    *ropeJSON `json:"full_attention"`
	SlidingAttention *ropeJSON `json:"sliding_attention"`
}

type visionJSON struct {
	Depth               *int    `json:"depth"`
	HiddenSize          *int    `json:"hidden_size"`
	IntermediateSize    *int    `json:"intermediate_size"`
	NumHeads            *int    `json:"num_heads"`
	PatchSize           *int    `json:"patch_size"`
	SpatialPatchSize    *int    `json:"spatial_patch_size"` // older name of patch_size
	TemporalPatchSize   *int    `json:"temporal_patch_size"`
	SpatialMergeSize    *int    `json:"spatial_merge_size"`
	WindowSize          *int    `json:"window_size"`
	InChannels          *int    `json:"in_channels"`
	InChans             *int    `json:"in_chans"` // older name of in_channels
	OutHiddenSize       *int    `json:"out_hidden_size"`
	FullAttentionBlocks []int   `json:"fullatt_block_indexes"`
	NumPositions        *int    `json:"num_position_embeddings"`
	DeepstackBlocks     []int   `json:"deepstack_visual_indexes"`
	HiddenAct           *string `json:"hidden_act"`
}

type modelFile struct {
	textJSON
	ModelType          *string    `json:"model_type"`
	TextConfig         *textJSON  `json:"text_config"`
	Vision             visionJSON `json:"vision_config"`
	ImageTokenID       *int32     `json:"image_token_id"`
	VisionStartTokenID *int32     `json:"vision_start_token_id"`
	VisionEndTokenID   *int32     `json:"vision_end_token_id"`
}

// config completes and checks what config.json says.
func (m *modelFile) config() (Config, error) {
	text := m.textJSON
	if text.HiddenSize == nil && m.TextConfig != nil {
		text = *m.TextConfig
	}
	k := &checker{file: ConfigFile}
	family := m.family(k)
	c := text.config(k, family)
	// transformers writes it at both levels, or at the outer one alone.
	if text.TieWordEmbeddings == nil {
		c.TieWordEmbeddings = or(m.TieWordEmbeddings, true)
	}
	// The ids are those of Qwen2.5-VL's vocabulary.
	c.ImageTokenID = or(m.ImageTokenID, 151655)
	c.VisionStartTokenID = or(m.VisionStartTokenID, 151652)
	c.VisionEndTokenID = or(m.VisionEndTokenID, 151653)
	if c.EOSTokenIDs = m.EOSTokenID; len(c.EOSTokenIDs) == 0 {
		c.EOSTokenIDs = text.EOSTokenID
	}
	if len(c.EOSTokenIDs) == 0 {
		c.EOSTokenIDs = []int32{151645, 151643} // <|im_end|>, <|endoftext|>
	}
	c.Vision = m.Vision.config(k, family, c.HiddenSize)
	c.check(k)
	c.Vision.check(k, c.HiddenSize)
	if n := len(c.Vision.DeepstackBlocks); n >= c.NumLayers {
		k.fail("vision_config.deepstack_visual_indexes", "%d blocks for %d layers", n, c.NumLayers)
	}
	return c, k.err
}

// family tells the network from model_type. Fine-tuned checkpoints name their own;
// they are Qwen2.5-VL's, as the tensors then show.
func (m *modelFile) family(k *checker) Family {
	switch kind := or(m.ModelType, ""); kind {
	case "qwen3_vl":
		return Qwen3VL
	case "qwen2_vl", "qwen3_vl_moe", "qwen2_5_omni", "qwen3_omni_moe":
		k.fail("model_type", "%q is not supported, only qwen2_5_vl and qwen3_vl", kind)
	}
	return Qwen25VL
}

// config fills in the language model's part.
func (t *textJSON) config(k *checker, family Family) Config {
	required := func(key string, v *int) int {
		if v == nil {
			k.fail(key, "missing")
		}
		return or(v, 0)
	}
	c := Config{
		HiddenSize:        required("hidden_size", t.HiddenSize),
		IntermediateSize:  required("intermediate_size", t.IntermediateSize),
		NumLayers:         required("num_hidden_layers", t.NumLayers),
		NumHeads:          required("num_attention_heads", t.NumHeads),
		NumKVHeads:        required("num_key_value_heads", t.NumKVHeads),
		Family:            family,
		RMSNormEps:        or(t.RMSNormEps, 1e-6),
		VocabSize:         or(t.VocabSize, 0),
		TieWordEmbeddings: or(t.TieWordEmbeddings, true),
		AttentionBias:     or(t.AttentionBias, false),
		QueryKeyNorm:      true,
		MRopeInterleaved:  true,
		MRopeSection:      []int{24, 20, 20},
		RopeTheta:         5e6,
	}
	if family == Qwen25VL {
		c.AttentionBias, c.QueryKeyNorm, c.MRopeInterleaved = true, false, false
		c.MRopeSection, c.RopeTheta = []int{16, 24, 24}, 1e6
	}
	if c.NumHeads > 0 {
		t.heads(k, &c)
	}
	t.rope(k, &c)
	if act := or(t.HiddenAct, "silu"); act != "silu" {
		k.fail("hidden_act", "%q is not supported, only silu", act)
	}
	if part := or(t.PartialRotary, 1); part != 1 {
		k.fail("partial_rotary_factor", "%v is not supported, only 1", part)
	}
	if or(t.UseSlidingWindow, false) {
		k.fail("use_sliding_window", "true is not supported")
	}
	return c
}

// heads sets the width of a head, which divides the model's where it is not given.
func (t *textJSON) heads(k *checker, c *Config) {
	given := t.HeadDim
	if given != nil && c.Family == Qwen3VL {
		c.HeadDim = *given
		return
	}
	if c.HeadDim = c.HiddenSize / c.NumHeads; or(given, c.HeadDim) != c.HeadDim {
		k.fail("head_dim", "%d is not hidden_size / num_attention_heads, %d", *given, c.HeadDim)
	}
}

// rope reads the rotary embedding's settings, in whichever of the forms they are.
func (t *textJSON) rope(k *checker, c *Config) {
	c.RopeTheta = or(t.RopeTheta, c.RopeTheta)
	for _, form := range []struct {
		key string
		r   *ropeJSON
	}{{"rope_scaling", t.RopeScaling}, {"rope_parameters", t.RopeParameters}} {
		r := form.r
		if r == nil {
			continue
		}
		if r.MRopeSection != nil {
			c.MRopeSection = r.MRopeSection
		}
		c.RopeTheta = or(r.RopeTheta, c.RopeTheta)
		if given := or(r.MRopeInterleaved, c.MRopeInterleaved); given != c.MRopeInterleaved {
			k.fail(form.key+".mrope_interleaved", "%v is not supported", given)
		}
		if part := or(r.PartialRotaryFactor, 1); part != 1 {
			k.fail(form.key+".partial_rotary_factor", "%v is not supported, only 1", part)
		}
		if r.FullAttention != nil || r.SlidingAttention != nil {
			k.fail(form.key, "settings for each kind of layer are not supported, only for all layers")
		}
		// mrope is what Qwen2-VL called default.
		if kind := or(r.RopeType, or(r.Type, "default")); kind != "default" && kind != "mrope" {
			k.fail(form.key+".rope_type", "%q is not supported, only default", kind)
		}
	}
}

// config fills in the vision tower's part; hidden is the language model's
// width.
func (v *visionJSON) config(k *checker, family Family, hidden int) VisionConfig {
	if family == Qwen3VL {
		return v.config3(k, hidden)
	}
	if act := or(v.HiddenAct, "silu"); act != "silu" {
		k.fail("vision_config.hidden_act", "%q is not supported, only silu", act)
	}
	blocks := []int{7, 15, 23, 31}
	if v.FullAttentionBlocks != nil {
		blocks = slices.Sorted(slices.Values(v.FullAttentionBlocks))
	}
	return VisionConfig{
		Depth:               or(v.Depth, 32),
		HiddenSize:          or(v.HiddenSize, 1280),
		IntermediateSize:    or(v.IntermediateSize, 3420),
		NumHeads:            or(v.NumHeads, 16),
		PatchSize:           or(v.PatchSize, or(v.SpatialPatchSize, 14)),
		TemporalPatchSize:   or(v.TemporalPatchSize, 2),
		SpatialMergeSize:    or(v.SpatialMergeSize, 2),
		WindowSize:          or(v.WindowSize, 112),
		InChannels:          or(v.InChannels, or(v.InChans, 3)),
		OutHiddenSize:       or(v.OutHiddenSize, hidden),
		FullAttentionBlocks: blocks,
	}
}

// config3 is config for Qwen3-VL, with its values where the file is silent.
func (v *visionJSON) config3(k *checker, hidden int) VisionConfig {
	const gelu = "gelu_pytorch_tanh"
	if act := or(v.HiddenAct, gelu); act != gelu {
		k.fail("vision_config.hidden_act", "%q is not supported, only %s", act, gelu)
	}
	c := VisionConfig{
		Depth:             or(v.Depth, 27),
		HiddenSize:        or(v.HiddenSize, 1152),
		IntermediateSize:  or(v.IntermediateSize, 4304),
		NumHeads:          or(v.NumHeads, 16),
		PatchSize:         or(v.PatchSize, 16),
		TemporalPatchSize: or(v.TemporalPatchSize, 2),
		SpatialMergeSize:  or(v.SpatialMergeSize, 2),
		InChannels:        or(v.InChannels, 3),
		OutHiddenSize:     or(v.OutHiddenSize, hidden),
		DeepstackBlocks:   []int{8, 16, 24},
	}
	if v.DeepstackBlocks != nil {
		c.DeepstackBlocks = v.DeepstackBlocks
	}
	positions := or(v.NumPositions, 2304)
	k.within("vision_config.num_position_embeddings", positions, 1, maxVocab)
	c.PositionsSide = int(math.Sqrt(float64(positions)))
	if c.PositionsSide*c.PositionsSide != positions {
		k.fail("vision_config.num_position_embeddings", "%d is not a square", positions)
	}
	return c
}

type preprocessorJSON struct {
	ImageMean []float64 `json:"image_mean"`
	ImageStd  []float64 `json:"image_std"`
	MinPixels *int      `json:"min_pixels"`
	MaxPixels *int      `json:"max_pixels"`
	Size      *struct {
		ShortestEdge *int `json:"shortest_edge"` // newer name of min_pixels
		LongestEdge  *int `json:"longest_edge"`  // newer name of max_pixels
	} `json:"size"`
	PatchSize         *int     `json:"patch_size"`
	MergeSize         *int     `json:"merge_size"`
	TemporalPatchSize *int     `json:"temporal_patch_size"`
	DoResize          *bool    `json:"do_resize"`
	DoRescale         *bool    `json:"do_rescale"`
	DoNormalize       *bool    `json:"do_normalize"`
	RescaleFactor     *float64 `json:"rescale_factor"`
	Resample          *int     `json:"resample"`
}

// config completes and checks what preprocessor_config.json says, with the
// family's mean and deviation and the vision tower's patch geometry where it is
// silent.
func (p *preprocessorJSON) config(file string, family Family, v VisionConfig) (PreprocessorConfig, error) {
	k := &checker{file: file}
	mean, std := [3]float64{0.48145466, 0.4578275, 0.40821073}, [3]float64{0.26862954, 0.26130258, 0.27577711}
	least, most := 4*28*28, 16384*28*28
	if family == Qwen3VL {
		mean, std = [3]float64{0.5, 0.5, 0.5}, [3]float64{0.5, 0.5, 0.5}
		least, most = 1<<16, 1<<24
	}
	minPixels, maxPixels := p.MinPixels, p.MaxPixels
	if p.Size != nil && minPixels == nil {
		minPixels = p.Size.ShortestEdge
	}
	if p.Size != nil && maxPixels == nil {
		maxPixels = p.Size.LongestEdge
	}
	c := PreprocessorConfig{
		Mean:              threeOr(k, "image_mean", p.ImageMean, mean),
		Std:               threeOr(k, "image_std", p.ImageStd, std),
		MinPixels:         or(minPixels, least),
		MaxPixels:         or(maxPixels, most),
		PatchSize:         or(p.PatchSize, v.PatchSize),
		MergeSize:         or(p.MergeSize, v.SpatialMergeSize),
		TemporalPatchSize: or(p.TemporalPatchSize, v.TemporalPatchSize),
	}
	for _, step := range []struct {
		key string
		on  *bool
	}{{"do_resize", p.DoResize}, {"do_rescale", p.DoRescale}, {"do_normalize", p.DoNormalize}} {
		if !or(step.on, true) {
			k.fail(step.key, "false is not supported")
		}
	}
	if factor := or(p.RescaleFactor, 1.0/255); math.Abs(factor-1.0/255) > 1e-9 {
		k.fail("rescale_factor", "%v is not supported, only 1/255", factor)
	}
	const bicubic = 3
	if resample := or(p.Resample, bicubic); resample != bicubic {
		k.fail("resample", "%d is not supported, only bicubic, %d", resample, bicubic)
	}
	c.check(k, v)
	return c, k.err
}

// threeOr is a colour's three numbers, or fallback where there are none.
func threeOr(k *checker, key string, v []float64, fallback [3]float64) [3]float64 {
	switch len(v) {
	case 0:
		return fallback
	case 3:
		return [3]float64(v)
	}
	k.fail(key, "%v does not have three numbers", v)
	return fallback
}

type generationJSON struct {
	EOSTokenID        tokenIDs `json:"eos_token_id"`
	RepetitionPenalty *float64 `json:"repetition_penalty"`
}

// apply lets generation_config.json overrule config.json, as transformers'
// generate does.
func (g *generationJSON) apply(c *Config) error {
	k := &checker{file: GenerationFile}
	if len(g.EOSTokenID) > 0 {
		c.EOSTokenIDs = g.EOSTokenID
	}
	c.RepetitionPenalty = or(g.RepetitionPenalty, 1)
	k.positive("repetition_penalty", c.RepetitionPenalty)
	c.checkTokenIDs(k)
	return k.err
}

// tokenIDs is one id or a list of them.
type tokenIDs []int32

// UnmarshalJSON accepts a number, a list or null.
func (t *tokenIDs) UnmarshalJSON(data []byte) error {
	var one *int32
	if err := json.Unmarshal(data, &one); err == nil {
		if one != nil {
			*t = tokenIDs{*one}
		}
		return nil
	}
	var list []int32
	if err := json.Unmarshal(data, &list); err != nil {
		return errors.New("eos_token_id is neither a number nor a list of numbers")
	}
	*t = list
	return nil
}
