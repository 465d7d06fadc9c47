package reward

import "context"

// A LatentDecoder turns latents into pictures. Decode takes a tensor (N,C,h,w)
// or packed (N,L,D) of float32, float16 or bfloat16 and gives N pictures; the
// latents of grid height and width are those that Grid reports. A sample whose
// latents cannot be decoded (NaN) has nil in its place and an *Error in errs,
// which has N entries or is nil; err concerns the whole tensor and is an *Error
// where the request is at fault. Decode is safe for concurrent use and returns
// early with ctx's error when ctx is done. Nothing reads the latents after it
// returned, and the pictures share nothing with them.
type LatentDecoder interface {
	Decode(ctx context.Context, latents *Tensor) (images []*Image, errs []*Error, err error)
	// Grid is the dense grid of latents of this shape: their own height and
	// width, or that of the tokens. It fails, with an *Error that names the
	// shape, for latents that the decoder does not take.
	Grid(shape []int) (height, width int, err error)
	Describe() DecoderDescription
}

// A TokenDecoder is a LatentDecoder that can be told the grid of packed tokens,
// height rows of width tokens, whose number alone does not say it unless they
// make a square. The grid that a request names is used where it holds as many
// cells as a sample has tokens.
type TokenDecoder interface {
	LatentDecoder
	DecodeTokens(ctx context.Context, latents *Tensor, height, width int) (images []*Image, errs []*Error, err error)
}

// DecoderDescription says what a latent decoder is.
type DecoderDescription struct {
	Name        string // as requests name it
	Fingerprint string // hex, of the checkpoint
	Channels    int    // C
	Packed      bool   // also takes (N,L,D)
	PixelScale  int    // picture pixels a side of one latent cell, 8 for SD3 and FLUX
}
