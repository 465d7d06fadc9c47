package scoring

import (
	"context"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/advantages"
)

// Input is N samples. Exactly one of Images and Latents is set.
type Input struct {
	Prompts  []string         // N, at least one
	Images   []Image          // N
	Latents  *Latents         // of N samples
	Metadata []map[string]any // N, or nil
	Groups   reward.Groups    // the zero value groups by prompt

	// Hold, if not nil, is called for each sample that reads memory which is not
	// the pipeline's own, and what it returned once nothing reads it any more;
	// that may be later than the answer.
	Hold func() (release func())
}

// Image is one image in one of three forms: the one field that is set.
type Image struct {
	Decoded *reward.Image
	Encoded []byte         // a PNG, JPEG or WebP file
	Tensor  *reward.Tensor // (h,w,3) or (3,h,w), of uint8, or of float16, bfloat16 or float32 in [0,1]
}

// Latents are what a flow model made, and what decodes them.
type Latents struct {
	Tensor  *reward.Tensor // (N,C,h,w), or packed tokens (N,L,D)
	Decoder reward.LatentDecoder
}

// Parts are what a caller wants beside scores.
type Parts struct {
	Dense    bool // 1-H and R(1-H) on the grid
	Heatmaps bool // the evaluator's own maps
	Text     bool
	Boxes    bool
	// Optional leaves out what the evaluator does not give. Otherwise to ask
	// for it is an error.
	Optional bool
}

// Options are what a caller wants of an Input.
type Options struct {
	Mode      reward.Mode       // "" is the evaluator's default
	Weights   *reward.Weights   // nil is the evaluator's defaults
	Grid      reward.GridSpec   // the zero value follows the images or latents
	Advantage *reward.Advantage // nil is none
	Parts     Parts
	Missing   reward.MissingPolicy // "" is the pipeline's
	Clamp     bool                 // takes floats that are not in [0,1] for what their sender means

	// OnImage, if not nil, is called with each image that was decoded, before
	// it is evaluated, from several goroutines at a time. The image is then the
	// callee's to keep and to read. It is not called for a file whose result
	// the cache has. Its error fails the sample.
	OnImage func(i int, image *reward.Image) error
	// OnPreview, if not nil, sees the images too, those of files whose results the
	// cache has among them. It must neither keep nor change them.
	OnPreview func(i int, image *reward.Image)

	// Patient waits for room in the queue, as long as the context allows,
	// instead of failing with a *batch.OverloadError.
	Patient bool
}

func (o *Options) method() reward.AdvantageMethod {
	if o.Advantage == nil {
		return reward.AdvantageNone
	}
	return o.Advantage.Method
}

func (in *Input) groupName(i int) string {
	if in.Groups.Names != nil {
		return in.Groups.Names[i]
	}
	return in.Prompts[i]
}

// A Barrier brings together the members of groups that span Inputs. Gather
// waits until the groups are complete and returns the members' shares, in their
// order. It fails with an *reward.Error.
type Barrier interface {
	Gather(ctx context.Context, groups *reward.Groups, rule advantages.Rule, members []advantages.Member) ([]advantages.Share, error)
}
