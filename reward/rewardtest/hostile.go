package rewardtest

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"math"
	"strings"

	"github.com/denseflow/densereward/reward"
)

// Hostile is a body that a server must survive: it answers with the error, or
// with a response whose first sample has it, and goes on.
type Hostile struct {
	Name   string
	Body   []byte
	Want   *reward.Error
	Sample bool // Want is the first sample's, not the whole request's
}

// HostileBodies are bodies for POST /v1/score that lie about their lengths,
// nest without end, end early, or hold what no evaluator should see. They are
// meant for a server with wire.DefaultLimits.
func HostileBodies() []Hostile {
	return append(malformed(), append(disagreeing(), unscorable()...)...)
}

// malformed bodies are not messages at all.
func malformed() []Hostile {
	whole := message("prompts", array(text("a cat")), "images", array(bin(PNG(Image(1, 8, 8)))))
	return []Hostile{
		{Name: "nothing", Want: reward.ErrMalformedBody},
		{Name: "13 bytes that claim an array of four billion prompts",
			Body: []byte("\x81\xa7prompts\xdd\xff\xff\xff"), Want: reward.ErrMalformedBody},
		{Name: "a map that claims four billion keys", Body: []byte{0xdf, 0xff, 0xff, 0xff, 0xff}, Want: reward.ErrMalformedBody},
		{Name: "an array of images that claims four billion",
			Body: message("prompts", array(text("a")), "images", "\xdd\xff\xff\xff\xff"), Want: reward.ErrMalformedBody},
		{Name: "a prompt that claims four gigabytes",
			Body: message("prompts", "\x91\xdb\xff\xff\xff\xffabc"), Want: reward.ErrMalformedBody},
		{Name: "an image that claims four gigabytes",
			Body: message("images", "\x91\xc6\xff\xff\xff\xffabc"), Want: reward.ErrMalformedBody},
		{Name: "five megabytes of nested arrays", Body: bytes.Repeat([]byte{0x91}, 5<<20), Want: reward.ErrInvalidValue},
		{Name: "five megabytes of nested maps", Body: bytes.Repeat([]byte{0x81, 0xa0}, 5<<19), Want: reward.ErrUnknownField},
		{Name: "prompts of nested arrays", Body: message("prompts", strings.Repeat("\x91", 5<<20)), Want: reward.ErrInvalidValue},
		{Name: "images of nested maps", Body: message("images", "\x91"+strings.Repeat("\x81\xa4data", 1<<20)), Want: reward.ErrInvalidValue},
		{Name: "a body cut in the middle of an image", Body: whole[:len(whole)/2], Want: reward.ErrMalformedBody},
		{Name: "a body cut before its last byte", Body: whole[:len(whole)-1], Want: reward.ErrMalformedBody},
		{Name: "a body with a byte left over", Body: append(bytes.Clone(whole), 0xc0), Want: reward.ErrMalformedBody},
		{Name: "a key that comes twice", Body: message("vae", text("a"), "vae", text("b")), Want: reward.ErrMalformedBody},
		{Name: "the byte that msgpack never uses", Body: []byte{0xc1}, Want: reward.ErrInvalidValue},
		{Name: "an extension in place of the map", Body: []byte("\xd4\x00\x00\x80"), Want: reward.ErrInvalidValue},
		{Name: "a pickle", Body: []byte("\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00}\x94."), Want: reward.ErrMalformedBody},
		{Name: "JSON", Body: []byte(`{"prompts": ["a cat"]}`), Want: reward.ErrInvalidValue},
	}
}

// disagreeing bodies are messages that break the protocol.
func disagreeing() []Hostile {
	cat, png := text("a cat"), bin(PNG(Image(1, 8, 8)))
	two := array(cat, cat)
	manyPrompts, manyImages := repeat(cat, 300), repeat(bin(nil), 300)
	return []Hostile{
		{Name: "a key that the protocol does not have", Body: message("prompts", array(cat), "__import__", text("os")), Want: reward.ErrUnknownField},
		{Name: "a key of a tensor that is none", Body: message("images", array(dict("nd", "\xc3", "pickle", bin(nil)))), Want: reward.ErrUnknownField},
		{Name: "no prompts", Body: message("images", array(png)), Want: reward.ErrMissingField},
		{Name: "no images", Body: message("prompts", array(cat)), Want: reward.ErrMissingField},
		{Name: "an empty list of prompts", Body: message("prompts", array(), "images", array()), Want: reward.ErrInvalidValue},
		{Name: "300 images", Body: message("images", manyImages, "prompts", manyPrompts), Want: reward.ErrTooManyImages},
		{Name: "300 prompts", Body: message("prompts", manyPrompts), Want: reward.ErrTooManyImages},
		{Name: "one tensor of 300 images", Body: message("images", tensor("|u1", make([]byte, 300*12), 300, 2, 2, 3)), Want: reward.ErrTooManyImages},
		{Name: "two prompts and one image", Body: message("prompts", two, "images", array(png)), Want: reward.ErrImageCountMismatch},
		{Name: "two prompts and one group name", Body: message("prompts", two, "images", array(png, png), "groups", array(cat)), Want: reward.ErrImageCountMismatch},
		{Name: "a prompt that is not UTF-8", Body: message("prompts", array(text("\xff\xfe"))), Want: reward.ErrInvalidValue},
		{Name: "a prompt of a megabyte", Body: message("prompts", array(text(strings.Repeat("a", 1<<20)))), Want: reward.ErrInvalidValue},
		{Name: "a big-endian tensor", Body: message("images", array(tensor(">f4", make([]byte, 12), 1, 1, 3))), Want: reward.ErrUnsupportedDType},
		{Name: "a tensor of Python objects", Body: message("images", array(tensor("|O", make([]byte, 24), 1, 1, 3))), Want: reward.ErrUnsupportedDType},
		{Name: "a tensor whose shape is more than its data", Body: message("images", array(tensor("|u1", make([]byte, 12), 60000, 60000, 3))), Want: reward.ErrInvalidValue},
		{Name: "a tensor whose size overflows", Body: message("images", array(tensor("<f4", nil, math.MaxInt32, math.MaxInt32, math.MaxInt32, 3))), Want: reward.ErrInvalidValue},
		{Name: "a tensor with a negative dimension", Body: message("images", array(dict("nd", "\xc3", "shape", "\x93\xff\xff\x03"))), Want: reward.ErrInvalidValue},
		{Name: "a tensor of nine dimensions", Body: message("images", array(tensor("|u1", make([]byte, 3), 1, 1, 1, 1, 1, 1, 1, 1, 3))), Want: reward.ErrInvalidValue},
		{Name: "a tensor of four channels", Body: message("images", array(tensor("|u1", make([]byte, 16), 2, 2, 4))), Want: reward.ErrInvalidValue},
		{Name: "an image of no pixels", Body: message("images", array(tensor("|u1", nil, 0, 2, 3))), Want: reward.ErrInvalidValue},
		{Name: "a weight that is NaN", Body: message("weights", dict("scores", dict("overall", float(math.NaN())))), Want: reward.ErrNotFinite},
		{Name: "a weight that is infinite", Body: message("weights", dict("heatmaps", dict("artifact", float(math.Inf(1))))), Want: reward.ErrNotFinite},
		{Name: "a weight that overflows sums", Body: message("weights", dict("scores", dict("overall", float(1e308)))), Want: reward.ErrInvalidValue},
		{Name: "a grid of 2^62 cells", Body: message("prompts", array(cat), "images", array(png), "grid", dict("height", "\xce\x7f\xff\xff\xff", "width", "\xce\x7f\xff\xff\xff")), Want: reward.ErrInvalidValue},
		{Name: "a grid of ten million cells for each of two images", Body: message("prompts", two, "images", array(png, png), "grid", dict("height", "\xcd\x0f\xff", "width", "\xcd\x0f\xff")), Want: reward.ErrInvalidValue},
		{Name: "an integer past 63 bits", Body: message("grid", dict("height", "\xcf\xff\xff\xff\xff\xff\xff\xff\xff")), Want: reward.ErrInvalidValue},
		{Name: "an evaluator that does not exist", Body: message("prompts", array(cat), "images", array(png), "evaluator", text("../../etc/passwd")), Want: reward.ErrUnknownEvaluator},
		{Name: "latents of a decoder that does not exist", Body: message("prompts", array(cat), "vae", text("none"), "latents", tensor("<f4", make([]byte, 64), 1, 4, 2, 2)), Want: reward.ErrUnknownVAE},
	}
}

// unscorable bodies are requests of one sample that has no image in it.
func unscorable() []Hostile {
	one := func(image string) []byte { return message("prompts", array(text("a cat")), "images", array(image)) }
	png := PNG(Image(1, 8, 8))
	nan := make([]byte, 4*8*8*3)
	binary.LittleEndian.PutUint32(nan[20:], math.Float32bits(float32(math.NaN())))
	return []Hostile{
		{Name: "a PNG header of 60,000 by 60,000 pixels", Body: one(bin(pngHeader(60000, 60000))), Want: reward.ErrImageTooLarge, Sample: true},
		{Name: "a PNG that ends early", Body: one(bin(png[:len(png)/2])), Want: reward.ErrImageCorrupt, Sample: true},
		{Name: "an empty file", Body: one(bin(nil)), Want: reward.ErrImageUnsupported, Sample: true},
		{Name: "a file of no known format", Body: one(bin([]byte("GIF89a"))), Want: reward.ErrImageUnsupported, Sample: true},
		{Name: "a float image with a NaN", Body: one(tensor("<f4", nan, 8, 8, 3)), Want: reward.ErrNotFinite, Sample: true},
	}
}

// pngHeader is the beginning of a PNG file of the given size and no data.
func pngHeader(width, height uint32) []byte {
	chunk := []byte("IHDR")
	chunk = binary.BigEndian.AppendUint32(chunk, width)
	chunk = binary.BigEndian.AppendUint32(chunk, height)
	chunk = append(chunk, 8, 2, 0, 0, 0)
	file := []byte("\x89PNG\r\n\x1a\n\x00\x00\x00\x0d")
	file = append(file, chunk...)
	return binary.BigEndian.AppendUint32(file, crc32.ChecksumIEEE(chunk))
}

// The functions below write msgpack by hand, so that they can write what an
// encoder would not.

// message is a map of keys and encoded values in turn.
func message(pairs ...string) []byte { return []byte(dict(pairs...)) }

func dict(pairs ...string) string {
	var b strings.Builder
	b.WriteByte(0x80 | byte(len(pairs)/2))
	for i := 0; i < len(pairs); i += 2 {
		b.WriteString(text(pairs[i]) + pairs[i+1])
	}
	return b.String()
}

func array(elements ...string) string {
	return "\xdd" + length(len(elements)) + strings.Join(elements, "")
}

func repeat(element string, n int) string {
	return "\xdd" + length(n) + strings.Repeat(element, n)
}

func text(s string) string { return "\xdb" + length(len(s)) + s }
func bin(b []byte) string  { return "\xc6" + length(len(b)) + string(b) }
func float(f float64) string {
	return "\xcb" + string(binary.BigEndian.AppendUint64(nil, math.Float64bits(f)))
}

func length(n int) string { return string(binary.BigEndian.AppendUint32(nil, uint32(n))) }

func tensor(dtype string, data []byte, shape ...int) string {
	dims := make([]string, len(shape))
	for i, d := range shape {
		dims[i] = "\xce" + length(d)
	}
	return dict("nd", "\xc3", "type", text(dtype), "kind", text(""), "shape", array(dims...), "data", bin(data))
}
