package imagedoctor

import (
	"fmt"

	"github.com/denseflow/densereward/engine/pixels"
)

// squareSide is the side in pixels that the reference first squashes every
// picture to, whatever its aspect.
const squareSide = 512

// ImageSide is the side in pixels of the picture that patches are cut from: the
// processor's choice for a square of 512.
func (c Config) ImageSide() int {
	p := c.Preprocessor
	side, _, err := pixels.SmartResize(squareSide, squareSide, p.PatchSize*p.MergeSize, p.MinPixels, p.MaxPixels)
	if err != nil { // not for a square, whose factor is at least 1
		return 0
	}
	return side
}

// prompt is the tokens of one sample, ready for a batch.
type prompt struct {
	ids   []int32
	slots []int // where the image tokens stand
}

// layOut finds the image tokens, which must stand together at imageStart: the
// rotation of a token is known by its index only then.
func (c Config) layOut(ids []int32, imageStart int) (prompt, error) {
	p := prompt{ids: ids}
	for i, id := range ids {
		if id != c.ImageTokenID {
			continue
		}
		if i != imageStart+len(p.slots) {
			return prompt{}, fmt.Errorf("imagedoctor: prompt: image token at %d, outside the picture", i)
		}
		p.slots = append(p.slots, i)
	}
	if len(p.slots) != c.imageTokens() {
		return prompt{}, fmt.Errorf("imagedoctor: prompt: %d image tokens, the picture has %d", len(p.slots), c.imageTokens())
	}
	return p, nil
}
