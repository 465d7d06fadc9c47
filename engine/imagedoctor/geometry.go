package imagedoctor

// squareSide is the side in pixels that the reference first squashes every
// picture to, whatever its aspect.
const squareSide = 512

// ImageSide is the side in pixels of the picture that patches are cut from: the
// processor's choice for a square of 512.
func (c Config) ImageSide() int {
	p := c.Preprocessor
	side, _, err := smartResize(squareSide, squareSide, p.PatchSize*p.MergeSize, p.MinPixels, p.MaxPixels)
	if err != nil { // not for a square, whose factor is at least 1
		return 0
	}
	return side
}

// patchGrid is the number of patches a side of the resized picture.
func (c Config) patchGrid() int { return c.ImageSide() / c.Vision.PatchSize }

// imageTokens is the number of tokens that a picture becomes.
func (c Config) imageTokens() int {
	units := c.patchGrid() / c.Vision.SpatialMergeSize
	return units * units
}
