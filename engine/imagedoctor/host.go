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
	ids       []int32
	positions [3][]int64 // of time, height and width
	slots     []int      // where the image tokens stand
	next      int64      // position of the first generated token
}

// layOut gives each token its M-RoPE position. Text counts on along all three
// axes; the picture keeps its time and counts rows and columns; text goes on
// behind the largest of them.
func (c Config) layOut(ids []int32) (prompt, error) {
	p := prompt{ids: ids}
	side := c.patchGrid() / c.Vision.SpatialMergeSize
	at := int64(0)
	for i, id := range ids {
		if id != c.ImageTokenID {
			for axis := range p.positions {
				p.positions[axis] = append(p.positions[axis], at)
			}
			at++
			continue
		}
		n := int64(len(p.slots))
		if n > 0 && p.slots[n-1] != i-1 {
			return prompt{}, fmt.Errorf("imagedoctor: prompt: image token at %d, outside the picture", i)
		}
		p.slots = append(p.slots, i)
		row, col := n/int64(side), n%int64(side)
		for axis, v := range []int64{0, row, col} {
			p.positions[axis] = append(p.positions[axis], at+v)
		}
		if n+1 == int64(side*side) {
			at += int64(side)
		}
	}
	if len(p.slots) != side*side {
		return prompt{}, fmt.Errorf("imagedoctor: prompt: %d image tokens, the picture has %d", len(p.slots), side*side)
	}
	p.next = at
	return p, nil
}
