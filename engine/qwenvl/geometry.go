package qwenvl

// SquareSide is the side in pixels that the reference first squashes every image
// to, whatever its aspect.
const SquareSide = 512

// ImageSide is the side in pixels of the image that patches are cut from: the
// processor's choice for a square of 512.
func (c Config) ImageSide() int {
	side, _, err := c.SmartResize(SquareSide, SquareSide)
	if err != nil { // not for a square, whose factor is at least 1
		return 0
	}
	return side
}

// SmartResize is the size in which the processor has an image: whole units a side,
// the aspect nearly kept, within the configuration's limits. It fails for an image
// one side of which is more than 200 times the other.
func (c Config) SmartResize(height, width int) (h, w int, err error) {
	p := c.Preprocessor
	return smartResize(height, width, p.PatchSize*p.MergeSize, p.MinPixels, p.MaxPixels)
}

// PatchGrid is the number of patches a side of the resized image.
func (c Config) PatchGrid() int { return c.ImageSide() / c.Vision.PatchSize }

// UnitGrid is the number of image tokens a side: merged units of patches.
func (c Config) UnitGrid() int { return c.PatchGrid() / c.Vision.SpatialMergeSize }

// ImageTokens is the number of tokens that an image becomes.
func (c Config) ImageTokens() int { return c.UnitGrid() * c.UnitGrid() }
