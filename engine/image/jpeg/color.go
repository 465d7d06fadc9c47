package jpeg

import (
	"github.com/denseflow/densereward/engine/image/codec"
	"github.com/denseflow/densereward/reward"
)

// colorSpace is what the components of a file mean.
type colorSpace uint8

const (
	spaceGray colorSpace = iota
	spaceYCbCr
	spaceRGB
	spaceCMYK
	spaceYCCK
)

// colors decides as libjpeg does (jdapimin.c, default_decompress_parms).
func (j *Decoder) colors() colorSpace {
	id := func(i int) uint8 { return j.components[i].id }
	switch {
	case len(j.components) == 1:
		return spaceGray
	case len(j.components) == 4 && (!j.adobe || j.adobeTransform == 0):
		return spaceCMYK
	case len(j.components) == 4:
		return spaceYCCK
	case j.jfif:
		return spaceYCbCr
	case j.adobe && j.adobeTransform == 0,
		!j.adobe && id(0) == 'R' && id(1) == 'G' && id(2) == 'B':
		return spaceRGB
	}
	return spaceYCbCr
}

// convert writes the image: upsampled rows of all components, then colours.
func (j *Decoder) convert(img *reward.Image) {
	colors := j.colors()
	if colors == spaceGray {
		c := &j.components[0]
		for y := range j.height {
			grayRow(img.Pix[y*j.width*3:][:j.width*3], c.samples[y*c.stride:])
		}
		return
	}
	var rows [4][]uint8
	var up [4]upsampler
	for i := range j.components {
		up[i] = j.upsampler(&j.components[i])
	}
	for y := range j.height {
		for i := range j.components {
			rows[i] = up[i].row(y)[:j.width]
		}
		out := img.Pix[y*j.width*3:][:j.width*3]
		switch colors {
		case spaceYCbCr:
			j.yccRow(out, rows[0], rows[1], rows[2])
		case spaceRGB:
			codec.Interleave(out, rows[0], rows[1], rows[2])
		case spaceYCCK:
			j.yccRow(out, rows[0], rows[1], rows[2])
			for i, v := range out {
				out[i] = ^v // libjpeg takes RGB for what ink leaves
			}
			blackRow(out, rows[3])
		case spaceCMYK:
			codec.Interleave(out, rows[0], rows[1], rows[2])
			blackRow(out, rows[3])
		}
	}
}

// grayRow repeats samples in all three channels.
func grayRow(out, gray []uint8) {
	for _, v := range gray[:len(out)/3] {
		p := out[:3:3]
		p[0], p[1], p[2] = v, v, v
		out = out[3:]
	}
}

// Coefficients of the conversion with 16 fractional bits (jdcolor.c).
const (
	crToR = 91881  // 1.40200
	cbToB = 116130 // 1.77200
	cbToG = 22554  // 0.34414
	crToG = 46802  // 0.71414
)

// yccRow converts a row of full-range YCbCr.
func (j *Decoder) yccRow(out, luma, cb, cr []uint8) {
	done := 0
	if j.vectors() {
		done = yccRowVectors(out, luma, cb, cr)
	}
	yccRow(out[done*3:], luma[done:], cb[done:], cr[done:])
}

// yccRow converts a row sample by sample.
func yccRow(out, luma, cb, cr []uint8) {
	cb, cr = cb[:len(luma)], cr[:len(luma)]
	const half = 1 << 15
	for i := range luma {
		y, u, v := int32(luma[i]), int32(cb[i])-128, int32(cr[i])-128
		p := out[:3:3]
		p[0] = codec.Clamp8(y + (crToR*v+half)>>16)
		p[1] = codec.Clamp8(y + (-cbToG*u-crToG*v+half)>>16)
		p[2] = codec.Clamp8(y + (cbToB*u+half)>>16)
		out = out[3:]
	}
}

// blackRow applies the black of a CMYK file, which Pillow takes to be Adobe's:
// inverted. out holds what the inks of the three colours leave, black what the
// fourth leaves; out becomes what convert("RGB") makes of them.
func blackRow(out, black []uint8) {
	for _, k := range black {
		p := out[:3:3]
		for i, v := range p {
			// (255-v)*k/255 rounded, as Pillow has it; not quite k-v*k/255.
			ink := uint32(255-v)*uint32(k) + 128
			p[i] = codec.Clamp8(int32(k) - int32((ink>>8+ink)>>8))
		}
		out = out[3:]
	}
}
