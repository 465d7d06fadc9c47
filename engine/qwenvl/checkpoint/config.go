package checkpoint

import (
	"fmt"
	"math"
	"slices"

	"github.com/denseflow/densereward/engine/tokenizer"
)

// Config is what a checkpoint folder says of its model: config.json,
// preprocessor_config.json and generation_config.json, with Qwen2.5-VL's values
// where those are silent. The released checkpoint leaves out most of the vision
// tower's; tensor shapes are the check on what was assumed.
type Config struct {
	Family Family

	// The language model.
	HiddenSize        int
	IntermediateSize  int
	NumLayers         int
	NumHeads          int
	NumKVHeads        int
	HeadDim           int
	AttentionBias     bool // of queries, keys and values
	QueryKeyNorm      bool // of each head, before it turns
	RMSNormEps        float64
	RopeTheta         float64
	MRopeSection      []int // temporal, height, width; sums to HeadDim/2
	MRopeInterleaved  bool  // the axes take turns instead of standing in sections
	VocabSize         int   // rows of the embedding; 0 where config.json is silent
	TieWordEmbeddings bool

	// Token ids.
	ImageTokenID       int32
	VisionStartTokenID int32
	VisionEndTokenID   int32
	EOSTokenIDs        []int32 // any of them ends the answer; never empty

	// RepetitionPenalty divides positive and multiplies negative logits of
	// tokens that have occurred; 1 has no effect.
	RepetitionPenalty float64

	Vision       VisionConfig
	Preprocessor PreprocessorConfig
}

// Family is a generation of models whose networks differ.
type Family string

// The families.
const (
	Qwen25VL Family = "Qwen2.5-VL"
	Qwen3VL  Family = "Qwen3-VL"
)

// VisionConfig describes the vision tower.
type VisionConfig struct {
	Depth               int
	HiddenSize          int
	IntermediateSize    int
	NumHeads            int
	PatchSize           int // pixels
	TemporalPatchSize   int // frames
	SpatialMergeSize    int // patches a side that merge into one image token
	WindowSize          int // pixels; 0 without windows
	InChannels          int
	OutHiddenSize       int   // the language model's HiddenSize
	FullAttentionBlocks []int // blocks that attend beyond their window, ascending

	PositionsSide   int   // of the square of learned positions; 0 without
	DeepstackBlocks []int // blocks whose output the first layers of the language model get as well, in their order
}

// PreprocessorConfig describes how an image becomes patches.
type PreprocessorConfig struct {
	Mean, Std            [3]float64 // of RGB in [0,1]
	MinPixels, MaxPixels int
	PatchSize            int
	MergeSize            int
	TemporalPatchSize    int
}

// Bounds on what a configuration may ask for. They are far above any model of
// this family and keep every product of two widths within an int.
const (
	maxWidth  = 1 << 20
	maxBlocks = 1 << 10
	maxVocab  = 1 << 24
	maxPixels = 1 << 30
)

// checker collects the first fault of a configuration file.
type checker struct {
	file string
	err  error
}

func (c *checker) fail(key, format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf("%s: %s: %s", c.file, key, fmt.Sprintf(format, args...))
	}
}

func (c *checker) within(key string, v, low, high int) {
	if v < low || v > high {
		c.fail(key, "%d is not in %d to %d", v, low, high)
	}
}

// positive checks that v is a finite number above 0.
func (c *checker) positive(key string, v float64) {
	if !(v > 0) || math.IsInf(v, 1) {
		c.fail(key, "%v is not a positive number", v)
	}
}

// divides checks that v is a multiple of by; what tells why.
func (c *checker) divides(key string, v, by int, what string) {
	if c.err == nil && v%by != 0 {
		c.fail(key, "%d is not a multiple of %s, %d", v, what, by)
	}
}

// check verifies what config.json says of the language model and the tokens.
func (c *Config) check(k *checker) {
	k.within("hidden_size", c.HiddenSize, 1, maxWidth)
	k.within("intermediate_size", c.IntermediateSize, 1, maxWidth)
	k.within("num_hidden_layers", c.NumLayers, 1, maxBlocks)
	k.within("num_attention_heads", c.NumHeads, 1, maxWidth)
	k.within("num_key_value_heads", c.NumKVHeads, 1, maxWidth)
	k.within("vocab_size", c.VocabSize, 0, maxVocab)
	k.positive("rms_norm_eps", c.RMSNormEps)
	k.positive("rope_theta", c.RopeTheta)
	if c.Family == Qwen25VL {
		k.divides("hidden_size", c.HiddenSize, c.NumHeads, "num_attention_heads")
	}
	k.within("head_dim", c.HeadDim, 1, maxWidth)
	k.divides("num_attention_heads", c.NumHeads, c.NumKVHeads, "num_key_value_heads")
	c.checkMRope(k)
	c.checkTokenIDs(k)
}

// checkMRope verifies that the sections cover half a head: each of their
// frequencies turns one pair of its values.
func (c *Config) checkMRope(k *checker) {
	const key = "rope_scaling.mrope_section"
	if len(c.MRopeSection) != 3 {
		k.fail(key, "%v does not have three sections", c.MRopeSection)
		return
	}
	sum := 0
	for _, n := range c.MRopeSection {
		k.within(key, n, 0, maxWidth)
		sum += n
	}
	if c.HeadDim%2 != 0 || sum != c.HeadDim/2 {
		k.fail(key, "%v does not sum to half the head's width of %d", c.MRopeSection, c.HeadDim)
	}
}

func (c *Config) checkTokenIDs(k *checker) {
	last := c.lastTokenID()
	k.within("image_token_id", int(c.ImageTokenID), 0, last)
	k.within("vision_start_token_id", int(c.VisionStartTokenID), 0, last)
	k.within("vision_end_token_id", int(c.VisionEndTokenID), 0, last)
	for _, id := range c.EOSTokenIDs {
		k.within("eos_token_id", int(id), 0, last)
	}
}

// check verifies what config.json says of the vision tower. hidden is the
// language model's width.
func (v *VisionConfig) check(k *checker, hidden int) {
	k.within("vision_config.depth", v.Depth, 1, maxBlocks)
	k.within("vision_config.hidden_size", v.HiddenSize, 1, maxWidth)
	k.within("vision_config.intermediate_size", v.IntermediateSize, 1, maxWidth)
	k.within("vision_config.num_heads", v.NumHeads, 1, maxWidth)
	k.within("vision_config.patch_size", v.PatchSize, 1, maxBlocks)
	k.within("vision_config.temporal_patch_size", v.TemporalPatchSize, 1, maxBlocks)
	k.within("vision_config.spatial_merge_size", v.SpatialMergeSize, 1, maxBlocks)
	k.within("vision_config.in_channels", v.InChannels, 3, 3)
	k.within("vision_config.out_hidden_size", v.OutHiddenSize, hidden, hidden)
	// Two-dimensional rotary embedding turns pairs, half of them by the row
	// and half by the column.
	k.divides("vision_config.hidden_size", v.HiddenSize, 4*v.NumHeads, "4 * num_heads")
	if v.PositionsSide == 0 {
		k.within("vision_config.window_size", v.WindowSize, 1, maxWidth)
		k.divides("vision_config.window_size", v.WindowSize, v.PatchSize*v.SpatialMergeSize, "patch_size * spatial_merge_size")
	}
	for i, block := range v.DeepstackBlocks {
		k.within("vision_config.deepstack_visual_indexes", block, 0, v.Depth-1)
		if i > 0 && block <= v.DeepstackBlocks[i-1] {
			k.fail("vision_config.deepstack_visual_indexes", "%v does not ascend", v.DeepstackBlocks)
		}
	}
	for i, block := range v.FullAttentionBlocks {
		k.within("vision_config.fullatt_block_indexes", block, 0, v.Depth-1)
		if i > 0 && block == v.FullAttentionBlocks[i-1] {
			k.fail("vision_config.fullatt_block_indexes", "%d occurs twice", block)
		}
	}
}

// check verifies preprocessor_config.json, also against the vision tower it
// feeds.
func (p *PreprocessorConfig) check(k *checker, v VisionConfig) {
	for i := range 3 {
		if math.IsNaN(p.Mean[i]) || math.IsInf(p.Mean[i], 0) {
			k.fail("image_mean", "%v is not finite", p.Mean)
		}
		k.positive("image_std", p.Std[i])
	}
	k.within("min_pixels", p.MinPixels, 1, maxPixels)
	k.within("max_pixels", p.MaxPixels, p.MinPixels, maxPixels)
	k.within("patch_size", p.PatchSize, v.PatchSize, v.PatchSize)
	k.within("merge_size", p.MergeSize, v.SpatialMergeSize, v.SpatialMergeSize)
	k.within("temporal_patch_size", p.TemporalPatchSize, v.TemporalPatchSize, v.TemporalPatchSize)
}

// The special tokens of a prompt with an image, as Qwen's tokenizers spell them.
const (
	ImagePad    = "<|image_pad|>"
	VisionStart = "<|vision_start|>"
	VisionEnd   = "<|vision_end|>"
	TurnStart   = "<|im_start|>"
	TurnEnd     = "<|im_end|>"
)

// lastTokenID is the largest id that a token may have.
func (c *Config) lastTokenID() int {
	if c.VocabSize > 0 {
		return c.VocabSize - 1
	}
	return maxVocab - 1
}

// CheckTokenID verifies that the model has a token id, which config.json gives
// under key.
func (c *Config) CheckTokenID(key string, id int32) error {
	k := &checker{file: ConfigFile}
	k.within(key, int(id), 0, c.lastTokenID())
	return k.err
}

// A SpecialToken is a token whose id config.json names.
type SpecialToken struct {
	Text, Key string
	ID        int32
}

// CheckTokens verifies that the tokenizer has the special tokens of a prompt, and
// more, under the ids that the configuration gives them. One that the tokenizer
// spells otherwise is what its id says.
func (c *Config) CheckTokens(t *tokenizer.Tokenizer, more ...SpecialToken) error {
	for _, token := range append([]SpecialToken{
		{ImagePad, "image_token_id", c.ImageTokenID},
		{VisionStart, "vision_start_token_id", c.VisionStartTokenID},
		{VisionEnd, "vision_end_token_id", c.VisionEndTokenID},
	}, more...) {
		got, ok := t.TokenID(token.Text)
		if ok && got != token.ID {
			return fmt.Errorf("token %s is %d in the tokenizer, but %s is %d", token.Text, got, token.Key, token.ID)
		}
		if !ok && t.Decode([]int32{token.ID}, false) == "" {
			return fmt.Errorf("tokenizer has no token %s, nor one of the id %d, which is %s", token.Text, token.ID, token.Key)
		}
	}
	return nil
}

// WrapImage is the ids of an image of so many tokens between its marks.
func (c *Config) WrapImage(tokens int) []int32 {
	ids := make([]int32, 0, tokens+2)
	ids = append(ids, c.VisionStartTokenID)
	for range tokens {
		ids = append(ids, c.ImageTokenID)
	}
	return append(ids, c.VisionEndTokenID)
}

// IsEOS reports whether id ends the answer.
func (c *Config) IsEOS(id int32) bool { return slices.Contains(c.EOSTokenIDs, id) }
