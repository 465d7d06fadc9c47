package imagedoctor

// SquareSide is the side in pixels that the published scorer squashes every image
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

// PatchGrid is the number of patches a side of the resized square.
func (c Config) PatchGrid() int { return c.ImageSide() / c.Vision.PatchSize }

// UnitGrid is the number of image tokens a side: merged units of patches.
func (c Config) UnitGrid() int { return c.PatchGrid() / c.Vision.SpatialMergeSize }

// ImageTokens is the number of tokens that a square becomes.
func (c Config) ImageTokens() int { return c.UnitGrid() * c.UnitGrid() }
