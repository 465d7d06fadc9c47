package flowgrpo

import "fmt"

// Shape is the layout of a batch of latents. A location is a latent pixel of a
// (B,C,H,W) tensor or a token of a packed (B,L,D) one; log-probability maps have
// one value per location, (B,H*W) or (B,L), in the order of the latents.
type Shape struct {
	Batch     int
	Channels  int // C, or D of packed latents
	Locations int // H*W, or L
	Packed    bool
}

// Latents is the shape (B,C,H,W), as Stable Diffusion 3 has it.
func Latents(batch, channels, height, width int) Shape {
	return Shape{Batch: batch, Channels: channels, Locations: height * width}
}

// PackedLatents is the shape (B,L,D), as FLUX and Qwen-Image have it.
func PackedLatents(batch, tokens, width int) Shape {
	return Shape{Batch: batch, Channels: width, Locations: tokens, Packed: true}
}

// Index is the place of a value in a tensor of latents.
func (s Shape) Index(image, channel, location int) int {
	if s.Packed {
		return (image*s.Locations+location)*s.Channels + channel
	}
	return (image*s.Channels+channel)*s.Locations + location
}

// Len is the number of values of a tensor of latents.
func (s Shape) Len() int { return s.Batch * s.Channels * s.Locations }

// MapLen is the number of values of a map over the batch's locations.
func (s Shape) MapLen() int { return s.Batch * s.Locations }

// rows is the number of contiguous runs in which a tensor holds a block of an
// image's locations: one for each channel, or one in all when packed.
func (s Shape) rows() int {
	if s.Packed {
		return 1
	}
	return s.Channels
}

// row bounds the n-th of the runs that hold the locations lo to hi of an image.
func (s Shape) row(image, n, lo, hi int) (from, to int) {
	base := image * s.Channels * s.Locations
	if s.Packed {
		return base + lo*s.Channels, base + hi*s.Channels
	}
	base += n * s.Locations
	return base + lo, base + hi
}

// String shows the dimensions, with H and W multiplied.
func (s Shape) String() string {
	if s.Packed {
		return fmt.Sprintf("(%d,%d,%d)", s.Batch, s.Locations, s.Channels)
	}
	return fmt.Sprintf("(%d,%d,%d)", s.Batch, s.Channels, s.Locations)
}

// Check panics for an empty shape.
func (s Shape) Check() {
	if s.Batch < 1 || s.Channels < 1 || s.Locations < 1 {
		panic(fmt.Sprintf("flowgrpo: shape %s is empty", s))
	}
}

// CheckLatents panics unless a buffer of n values holds a tensor of latents.
func (s Shape) CheckLatents(name string, n int) { checkLen(name, n, s.Len(), s) }

// CheckMap panics unless a buffer of n values holds a map.
func (s Shape) CheckMap(name string, n int) { checkLen(name, n, s.MapLen(), s) }

// CheckImages panics unless a buffer of n values holds one for each image.
func (s Shape) CheckImages(name string, n int) { checkLen(name, n, s.Batch, s) }

// checkLen panics unless a buffer has the wanted number of values.
func checkLen(name string, n, want int, s Shape) {
	if n != want {
		panic(fmt.Sprintf("flowgrpo: %s has %d values, shape %s needs %d", name, n, s, want))
	}
}

// checkOptional is checkLen for a buffer that may be absent.
func checkOptional(name string, n, want int, s Shape) {
	if n != 0 {
		checkLen(name, n, want, s)
	}
}
