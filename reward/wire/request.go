package wire

import (
	"slices"

	"github.com/denseflow/densereward/reward"
)

// Request is what POST /v1/score takes. PROTOCOL.md describes each field; N is
// the number of prompts.
type Request struct {
	Prompts []string // N

	// Exactly one of Images (N) and Latents ((N,C,h,w), or packed (N,L,D)) is
	// set. VAE names the decoder of the latents.
	Images  []Image
	Latents *reward.Tensor
	VAE     string

	// Metadata is what else the evaluator may want to know of each sample, N
	// maps or nil; see reward.Sample. Decoded bytes lie in the body.
	Metadata []map[string]any

	Mode      reward.Mode          // "" is the evaluator's default
	Grid      reward.GridSpec      // the zero value follows the images or latents
	Groups    reward.Groups        // the zero value groups by prompt
	Advantage *reward.Advantage    // nil is none
	Weights   *reward.Weights      // nil is the evaluator's defaults
	Missing   reward.MissingPolicy // "" is reward.MissingZero
	Clamp     bool                 // takes floats that are not in [0,1] for images all the same
	Return    []Return             // nil is DefaultReturn, empty is scores alone
	Evaluator string               // "" is the server's first
	Rank      bool                 // whether to give each sample's place within its group
}

// Image is one image as it travels: either the bytes of a PNG, JPEG or WebP
// file, or a tensor, (h,w,3) or (3,h,w), of uint8 or of floats in [0,1]. Where
// both readings of a shape are possible, the last dimension is the colours.
type Image struct {
	Encoded []byte
	Tensor  *reward.Tensor
}

// Return names an optional part of a Response.
type Return string

// What a Request may ask for beyond rewards, scores and errors.
const (
	ReturnDense    Return = "dense"
	ReturnHeatmaps Return = "heatmaps"
	ReturnText     Return = "text"
	ReturnBoxes    Return = "boxes"
	ReturnImages   Return = "images" // images decoded from latents, as PNG
)

// Returns lists what a Request may ask for.
func Returns() []Return {
	return []Return{ReturnDense, ReturnHeatmaps, ReturnText, ReturnBoxes, ReturnImages}
}

// Valid reports whether r is a name of the protocol.
func (r Return) Valid() bool { return slices.Contains(Returns(), r) }

// DefaultReturn is what a Request without "return" gets.
func DefaultReturn() []Return { return []Return{ReturnDense} }

// Wants reports whether q asks for what.
func (q *Request) Wants(what Return) bool {
	asked := q.Return
	if asked == nil {
		asked = DefaultReturn()
	}
	for _, r := range asked {
		if r == what {
			return true
		}
	}
	return false
}

func (q *Request) GroupName(i int) string {
	if q.Groups.Names != nil {
		return q.Groups.Names[i]
	}
	return q.Prompts[i]
}

// SplitImages gives the images of one tensor, (N,h,w,3) or (N,3,h,w). They
// share its data.
func SplitImages(t *reward.Tensor) ([]Image, error) {
	if err := t.Check(); err != nil {
		return nil, err
	}
	if len(t.Shape) != 4 || t.Shape[0] == 0 {
		return nil, reward.ErrInvalidValue.With("shape %v: want (N,h,w,3) or (N,3,h,w)", t.Shape)
	}
	images := make([]Image, t.Shape[0])
	for i := range images {
		one := t.Part(i, i+1)
		one.Shape = one.Shape[1:]
		images[i].Tensor = one
	}
	return images, nil
}
