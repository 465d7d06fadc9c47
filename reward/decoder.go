package reward

import "context"

// A LatentDecoder turns latents into images. It takes tensors (N,C,h,w) or
// packed tokens (N,L,D). The number of tokens alone does not say how they lie
// unless they make a square, so both methods take their grid: height rows of
// width tokens, or 0 and 0 for a square. Latents (N,C,h,w) have a height and a
// width of their own, and the arguments are ignored. Its methods are safe for
// concurrent use.
type LatentDecoder interface {
	// Layout says what latents of this shape make. It fails, with an *Error that
	// names the shape, for those that Decode does not take.
	Layout(shape []int, height, width int) (LatentLayout, error)

	// Decode turns latents of float32, float16 or bfloat16 into N images. A
	// sample whose latents cannot be decoded (NaN) has nil in its place and an
	// *Error in errs, which has N entries or is nil; err concerns the whole
	// tensor. It returns early with ctx's error when ctx is done. Nothing reads
	// the latents after it returned, and the images share nothing with them.
	Decode(ctx context.Context, latents *Tensor, height, width int) (images []*Image, errs []*Error, err error)

	Describe() DecoderDescription
}

// LatentLayout says what latents of some shape make.
type LatentLayout struct {
	GridHeight, GridWidth   int // the dense grid: the cells of (N,C,h,w), the tokens of (N,L,D)
	ImageHeight, ImageWidth int // in pixels

	// Together is how many samples are decoded at once, at least 1. To hand over
	// more of them in one call gains nothing.
	Together int
}

// DecoderDescription says what a latent decoder is.
type DecoderDescription struct {
	Name        string // as requests name it
	Fingerprint string // hex, of the checkpoint
	Channels    int    // C
	Packed      bool   // also takes (N,L,D)
	PixelScale  int    // image pixels a side of one latent cell, 8 for SD3 and FLUX

	// GridScale is how many image pixels a side one cell of the dense grid of the
	// decoder's model is: of its latents, or of its packed tokens where its pipeline
	// packs them.
	GridScale int
}
