package checkpoint

import (
	"errors"
	"fmt"
	"math"
)

// errAspect: one side of an image is more than 200 times the other, which the
// Qwen2.5-VL processor refuses.
var errAspect = errors.New("image aspect ratio exceeds 200")

// smartResize is the Qwen2.5-VL processor's choice of size: the multiples of
// factor nearest to height and width (halves to even) whose product lies
// between minPixels and maxPixels. It keeps the aspect ratio nearly.
// Source: transformers, image_processing_qwen2_vl.py, smart_resize.
func smartResize(height, width, factor, minPixels, maxPixels int) (h, w int, err error) {
	if height < 1 || width < 1 || factor < 1 {
		return 0, 0, fmt.Errorf("size %dx%d with factor %d", width, height, factor)
	}
	if max(height, width) > 200*min(height, width) {
		return 0, 0, fmt.Errorf("%w: size %dx%d", errAspect, width, height)
	}
	fh, fw, ff := float64(height), float64(width), float64(factor)
	h = int(math.RoundToEven(fh/ff)) * factor
	w = int(math.RoundToEven(fw/ff)) * factor
	if h*w > maxPixels {
		beta := math.Sqrt(fh * fw / float64(maxPixels))
		h = max(factor, int(math.Floor(fh/beta/ff))*factor)
		w = max(factor, int(math.Floor(fw/beta/ff))*factor)
	} else if h*w < minPixels {
		beta := math.Sqrt(float64(minPixels) / (fh * fw))
		h = int(math.Ceil(fh*beta/ff)) * factor
		w = int(math.Ceil(fw*beta/ff)) * factor
	}
	return h, w, nil
}

// SmartResize is the size in which the processor has an image: whole units a side,
// the aspect nearly kept, within the configuration's limits. It fails for an image
// one side of which is more than 200 times the other.
func (c Config) SmartResize(height, width int) (h, w int, err error) {
	p := c.Preprocessor
	return smartResize(height, width, p.PatchSize*p.MergeSize, p.MinPixels, p.MaxPixels)
}
