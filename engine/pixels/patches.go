package pixels

import (
	"errors"
	"fmt"
	"math"
)

// PatchConfig says how a picture becomes the patches of a Qwen2.5-VL vision
// tower; its fields are those of preprocessor_config.json.
type PatchConfig struct {
	PatchSize         int        // 14 pixels
	TemporalPatchSize int        // 2: a still picture is repeated
	MergeSize         int        // 2: patches are ordered in blocks of 2x2
	Mean, Std         [3]float32 // of R, G, B in [0,1]
}

// DefaultPatchConfig is Qwen2.5-VL's, with CLIP's mean and standard deviation.
func DefaultPatchConfig() PatchConfig {
	return PatchConfig{
		PatchSize:         14,
		TemporalPatchSize: 2,
		MergeSize:         2,
		Mean:              [3]float32{0.48145466, 0.4578275, 0.40821073},
		Std:               [3]float32{0.26862954, 0.26130258, 0.27577711},
	}
}

// Grid returns how many patches a picture has in height and width.
func (p PatchConfig) Grid(img *RGB) (height, width int) {
	return img.Height / p.PatchSize, img.Width / p.PatchSize
}

// Values is the number of values of one patch: 3 channels x TemporalPatchSize x
// PatchSize x PatchSize; 1176 by default.
func (p PatchConfig) Values() int {
	return 3 * p.TemporalPatchSize * p.PatchSize * p.PatchSize
}

// Patches writes the patches of img to dst, which is (patches, p.Values()),
// (1296,1176) for 504x504. Patches come in merge order: blocks of MergeSize x
// MergeSize row by row, and row by row within a block. The values of one patch
// are (channel, temporal, PatchSize, PatchSize), normalised as the processor
// does it in float32: (v - 255*mean) / (255*std).
//
// It panics if the picture's sides are not multiples of PatchSize*MergeSize or
// dst has another length.
func Patches(dst []float32, img *RGB, p PatchConfig) {
	img.mustHold("patches")
	unit := p.PatchSize * p.MergeSize
	rows, cols := p.Grid(img)
	if img.Width%unit != 0 || img.Height%unit != 0 || len(dst) != rows*cols*p.Values() {
		panic(fmt.Sprintf("pixels: patches: %dx%d in units of %d pixels to %d values, want %d",
			img.Width, img.Height, unit, len(dst), rows*cols*p.Values()))
	}
	norm := p.normalised()
	n := p.Values()
	for by := 0; by < rows; by += p.MergeSize {
		for bx := 0; bx < cols; bx += p.MergeSize {
			for y := by; y < by+p.MergeSize; y++ {
				for x := bx; x < bx+p.MergeSize; x++ {
					p.patch(dst[:n], img, y*p.PatchSize, x*p.PatchSize, norm)
					dst = dst[n:]
				}
			}
		}
	}
}

// patch writes the patch whose top left pixel is (top, left).
func (p PatchConfig) patch(dst []float32, img *RGB, top, left int, norm *[3][256]float32) {
	size := p.PatchSize
	area := size * size
	channel := p.TemporalPatchSize * area
	red, green, blue := dst[:area], dst[channel:channel+area], dst[2*channel:2*channel+area]
	at := 0
	for y := top; y < top+size; y++ {
		row := img.Pix[(y*img.Width+left)*3:][:size*3]
		for len(row) >= 3 {
			red[at] = norm[0][row[0]]
			green[at] = norm[1][row[1]]
			blue[at] = norm[2][row[2]]
			row = row[3:]
			at++
		}
	}
	for c := range 3 {
		first := dst[c*channel:][:area]
		for t := 1; t < p.TemporalPatchSize; t++ {
			copy(dst[c*channel+t*area:], first)
		}
	}
}

// normalised tabulates the normalised value of each sample. The processor
// scales mean and std by 255 in float32 rather than the sample by 1/255; the
// difference shows in the last bit.
func (p PatchConfig) normalised() *[3][256]float32 {
	var norm [3][256]float32
	for c := range norm {
		mean, std := float32(p.Mean[c]*255), float32(p.Std[c]*255)
		for v := range norm[c] {
			norm[c][v] = (float32(v) - mean) / std
		}
	}
	return &norm
}

// ErrAspect: one side of a picture is more than 200 times the other, which the
// Qwen2.5-VL processor refuses.
var ErrAspect = errors.New("image aspect ratio exceeds 200")

// SmartResize is the Qwen2.5-VL processor's choice of size: the multiples of
// factor nearest to height and width (halves to even) whose product lies
// between minPixels and maxPixels. It keeps the aspect ratio nearly.
// Source: transformers, image_processing_qwen2_vl.py, smart_resize.
func SmartResize(height, width, factor, minPixels, maxPixels int) (h, w int, err error) {
	if height < 1 || width < 1 || factor < 1 {
		return 0, 0, fmt.Errorf("%w: size %dx%d with factor %d", ErrShape, width, height, factor)
	}
	if max(height, width) > 200*min(height, width) {
		return 0, 0, fmt.Errorf("%w: size %dx%d", ErrAspect, width, height)
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
