package clip

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"

	"github.com/denseflow/densereward/engine/image/resize"
	"github.com/denseflow/densereward/internal/modelfile"
	"github.com/denseflow/densereward/reward"
)

const preprocessorFile = "preprocessor_config.json"

// fit says how an image of any size becomes a square.
type fit int

const (
	fitCrop     fit = iota // the short side is resized, the middle cut out
	fitPad                 // the long side is resized, black fills the rest
	fitCropEven            // fitCrop, as torchvision: half a pixel goes to an even offset
)

// Preprocessor makes of an image what the vision tower takes.
type Preprocessor struct {
	resize    bool
	size      int    // of the side that is resized; 0 with stretch
	stretch   [2]int // width and height where both sides are given
	crop      int    // pixels a side of the result
	fit       fit
	mean, std [3]float32 // of values in [0,1]

	resizer *resize.Resizer
}

// OpenAI's statistics, which nearly all checkpoints use.
var (
	openAIMean = [3]float32{0.48145466, 0.4578275, 0.40821073}
	openAIStd  = [3]float32{0.26862954, 0.26130258, 0.27577711}
)

func defaultPreprocessor(side int) *Preprocessor {
	return &Preprocessor{resize: true, size: side, crop: side, mean: openAIMean, std: openAIStd, resizer: new(resize.Resizer)}
}

// preprocessorJSON is preprocessor_config.json. Sizes are a number in old files
// and an object in new ones.
type preprocessorJSON struct {
	Resize     *bool           `json:"do_resize"`
	Size       json.RawMessage `json:"size"`
	Resample   *int            `json:"resample"`
	CenterCrop *bool           `json:"do_center_crop"`
	CropSize   json.RawMessage `json:"crop_size"`
	Rescale    *bool           `json:"do_rescale"`
	Factor     *float64        `json:"rescale_factor"`
	Normalize  *bool           `json:"do_normalize"`
	Mean       []float32       `json:"image_mean"`
	Std        []float32       `json:"image_std"`
}

type sizeJSON struct {
	ShortestEdge int `json:"shortest_edge"`
	Height       int `json:"height"`
	Width        int `json:"width"`
}

// parseSize reads a size that is a number or an object.
func parseSize(data json.RawMessage) (sizeJSON, error) {
	var s sizeJSON
	if len(data) > 0 && data[0] != '{' {
		err := json.Unmarshal(data, &s.ShortestEdge)
		return s, err
	}
	err := json.Unmarshal(data, &s)
	return s, err
}

// loadPreprocessor reads the preprocessor_config.json of a folder; where there is
// none, what CLIP's processor does for side is meant.
func loadPreprocessor(dir string, side int) (*Preprocessor, error) {
	path := filepath.Join(dir, preprocessorFile)
	data, err := modelfile.Read(path, maxFileBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return defaultPreprocessor(side), nil
	}
	if err != nil {
		return nil, fmt.Errorf("clip: %w", err)
	}
	p, err := parsePreprocessor(data, side)
	if err != nil {
		return nil, fmt.Errorf("clip: %s: %w", path, err)
	}
	return p, nil
}

const bicubic = 3 // PIL.Image.BICUBIC

func parsePreprocessor(data []byte, side int) (*Preprocessor, error) {
	var j preprocessorJSON
	if err := json.Unmarshal(bytes.TrimSpace(data), &j); err != nil {
		return nil, err
	}
	on := func(flag *bool) bool { return flag == nil || *flag }
	switch {
	case !on(j.Rescale) || !on(j.Normalize):
		return nil, errors.New("do_rescale and do_normalize must be on")
	case j.Factor != nil && (*j.Factor < 0.0039 || *j.Factor > 0.00393):
		return nil, fmt.Errorf("rescale_factor is %v, only 1/255 is supported", *j.Factor)
	case j.Resample != nil && *j.Resample != bicubic:
		return nil, fmt.Errorf("resample is %d, only 3 (bicubic) is supported", *j.Resample)
	}
	p := defaultPreprocessor(side)
	p.resize = on(j.Resize)
	if err := p.sizes(j, on(j.CenterCrop)); err != nil {
		return nil, err
	}
	if err := p.statistics("image_mean", j.Mean, &p.mean); err != nil {
		return nil, err
	}
	if err := p.statistics("image_std", j.Std, &p.std); err != nil {
		return nil, err
	}
	return p, nil
}

// statistics takes over mean or std, where the configuration has them. No std is 0.
func (p *Preprocessor) statistics(name string, from []float32, to *[3]float32) error {
	if from == nil {
		return nil
	}
	if len(from) != 3 {
		return fmt.Errorf("%s has %d values, not 3", name, len(from))
	}
	copy(to[:], from)
	for _, v := range p.std {
		if v <= 0 {
			return fmt.Errorf("%s %v is not positive", name, p.std)
		}
	}
	return nil
}

// sizes takes over size and crop_size. What they make must be what the tower
// takes.
func (p *Preprocessor) sizes(j preprocessorJSON, cropped bool) error {
	if j.Size != nil {
		s, err := parseSize(j.Size)
		switch {
		case err != nil:
			return fmt.Errorf("size: %w", err)
		case s.ShortestEdge > 0 && s.ShortestEdge <= maxImageSize:
			p.size = s.ShortestEdge
		case s.Width > 0 && s.Height > 0 && s.Width <= maxImageSize && s.Height <= maxImageSize:
			p.size, p.stretch = 0, [2]int{s.Width, s.Height}
		default:
			return fmt.Errorf("size %s: want shortest_edge, or height and width, in 1 to %d", j.Size, maxImageSize)
		}
	}
	if cropped && j.CropSize != nil {
		s, err := parseSize(j.CropSize)
		if err != nil {
			return fmt.Errorf("crop_size: %w", err)
		}
		if s.ShortestEdge == 0 {
			s.ShortestEdge = s.Height
		} else {
			s.Width = s.ShortestEdge
		}
		if s.Width != s.ShortestEdge || s.Width != p.crop {
			return fmt.Errorf("crop_size %s makes no square of %d, which the vision tower takes", j.CropSize, p.crop)
		}
	}
	if !cropped && (p.stretch != [2]int{p.crop, p.crop} || !p.resize) {
		return fmt.Errorf("do_center_crop is off and size %s is not height and width of %d", j.Size, p.crop)
	}
	return nil
}

// Pixels is the square that the vision tower sees of an image: crop*crop*3 values,
// RGB, row major.
func (p *Preprocessor) Pixels(image *reward.Image) []uint8 {
	src := image
	if p.resize {
		width, height := p.resized(image.Width, image.Height)
		src = p.resizer.Resize(src, width, height)
	}
	return p.middle(src)
}

// resized is the size that an image is resized to. The longer side is cut to whole
// pixels, as Pillow's users have it; with fitPad it is rounded, as open_clip does.
func (p *Preprocessor) resized(width, height int) (int, int) {
	switch {
	case p.size == 0:
		return p.stretch[0], p.stretch[1]
	case p.fit == fitPad:
		scale := float64(p.size) / float64(max(width, height))
		return max(1, int(math.RoundToEven(float64(width)*scale))), max(1, int(math.RoundToEven(float64(height)*scale)))
	case width <= height:
		return p.size, max(1, p.size*height/width)
	}
	return max(1, p.size*width/height), p.size
}

// middle cuts the square out of the middle, with black where the image does not
// reach.
func (p *Preprocessor) middle(src *reward.Image) []uint8 {
	side := p.crop
	out := make([]uint8, side*side*3)
	top, left := p.offset(src.Height), p.offset(src.Width)
	x := max(0, -left)
	n := min(side, src.Width-left) - x
	for y := max(0, -top); y < side && top+y < src.Height; y++ {
		from := ((top+y)*src.Width + left + x) * 3
		copy(out[(y*side+x)*3:], src.Pix[from:from+n*3])
	}
	return out
}

// offset is where the square begins in the middle of size: negative where it is
// larger. An odd pixel that is missing goes before the image with transformers'
// center_crop, behind it with open_clip's padding.
func (p *Preprocessor) offset(size int) int {
	missing := p.crop - size
	switch {
	case missing <= 0 && p.fit == fitCropEven:
		return int(math.RoundToEven(float64(-missing) / 2))
	case missing <= 0:
		return -missing / 2
	case p.fit == fitPad:
		return -(missing / 2)
	}
	return -((missing + 1) / 2)
}
