package vae_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"sync"
	"testing"

	"github.com/denseflow/densereward/engine/vae"
	"github.com/denseflow/densereward/reward"
)

func TestUnpackingIsThatOfThePipelines(t *testing.T) {
	for name, side := range map[string]int{"pack": 2, "qwenimage-nano.4x4": 2, "flux2-nano.3x5": 1, "qwenimage21-nano.3x5": 1} {
		latents, tokens := array(t, name+".latents"), array(t, name+".tokens")
		want, _ := latents.Float32s()
		packed, _ := tokens.Float32s()
		n, c, h, w := latents.Shape[0], latents.Shape[1], latents.Shape[2], latents.Shape[3]
		size := c * h * w
		for i := range n {
			one, two := make([]float32, size), make([]float32, size)
			vae.Unpack(one, packed[i*size:(i+1)*size], c, h, w, side)
			if !slices.Equal(one, want[i*size:(i+1)*size]) {
				t.Errorf("%s: image %d: unpacked tokens are not the latents", name, i)
			}
			vae.Pack(two, one, c, h, w, side)
			if !slices.Equal(two, packed[i*size:(i+1)*size]) {
				t.Errorf("%s: image %d: packed latents are not the tokens", name, i)
			}
		}
	}
}

// packed is latents (N,C,h,w) as tokens.
func packed(t *testing.T, latents *reward.Tensor) *reward.Tensor {
	t.Helper()
	values, err := latents.Float32s()
	if err != nil {
		t.Fatal(err)
	}
	n, c, h, w := latents.Shape[0], latents.Shape[1], latents.Shape[2], latents.Shape[3]
	tokens := make([]float32, len(values))
	for i := range n {
		vae.Pack(tokens[i*c*h*w:(i+1)*c*h*w], values[i*c*h*w:(i+1)*c*h*w], c, h, w, 2)
	}
	return reward.Float32Tensor(tokens, n, h/2*w/2, c*4)
}

// bfloat16 rounds to nearest even.
func bfloat16(v float32) uint16 {
	b := math.Float32bits(v)
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}

func decodeAll(t *testing.T, d *vae.Decoder, latents *reward.Tensor) []*reward.Image {
	t.Helper()
	images, errs, err := d.Decode(context.Background(), latents, 0, 0)
	if err != nil || errs != nil {
		t.Fatal(err, errs)
	}
	return images
}

func TestALayoutSaysWhatLatentsMake(t *testing.T) {
	d := load(t, "vae-sd3-nano", vae.Options{RunPixels: 3 * 64 * 64})
	for _, c := range []struct {
		shape         []int
		height, width int // of the tokens
		want          reward.LatentLayout
	}{
		{[]int{9, 16, 6, 10}, 0, 0, reward.LatentLayout{GridHeight: 6, GridWidth: 10, ImageHeight: 48, ImageWidth: 80, Together: 3}},
		{[]int{9, 16, 6, 10}, 3, 5, reward.LatentLayout{GridHeight: 6, GridWidth: 10, ImageHeight: 48, ImageWidth: 80, Together: 3}},
		{[]int{2, 16, 64}, 0, 0, reward.LatentLayout{GridHeight: 4, GridWidth: 4, ImageHeight: 64, ImageWidth: 64, Together: 3}},
		{[]int{2, 15, 64}, 3, 5, reward.LatentLayout{GridHeight: 3, GridWidth: 5, ImageHeight: 48, ImageWidth: 80, Together: 3}},
		{[]int{2, 16, 32, 32}, 0, 0, reward.LatentLayout{GridHeight: 32, GridWidth: 32, ImageHeight: 256, ImageWidth: 256, Together: 1}},
	} {
		if got, err := d.Layout(c.shape, c.height, c.width); err != nil || got != c.want {
			t.Errorf("%v by %dx%d: %+v, %v, want %+v", c.shape, c.height, c.width, got, err, c.want)
		}
	}
}

func TestPackedTokensDecodeAsTheirLatents(t *testing.T) {
	d := load(t, "vae-sd3-nano", vae.Options{})
	latents := array(t, "vae-sd3-nano.8x8.latents")
	tokens := packed(t, latents)
	want, got := decodeAll(t, d, latents), decodeAll(t, d, tokens)
	for i := range want {
		if !bytes.Equal(got[i].Pix, want[i].Pix) {
			t.Errorf("image %d differs", i)
		}
	}
	oblong := array(t, "vae-sd3-nano.6x10.latents")
	tokens = packed(t, oblong)
	if _, _, err := d.Decode(context.Background(), tokens, 0, 0); !errors.Is(err, reward.ErrInvalidValue) {
		t.Errorf("15 tokens without a grid: %v", err)
	}
	images, _, err := d.Decode(context.Background(), tokens, 3, 5)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(images[1].Pix, decodeAll(t, d, oblong)[1].Pix) {
		t.Error("tokens of a 3x5 grid decode to another image than their latents")
	}
}

func TestHalfPrecisionLatentsAreReadExactly(t *testing.T) {
	d := load(t, "vae-tiny-nano", vae.Options{})
	values, _ := array(t, "vae-tiny-nano.8x8.latents").Float32s()
	shape := []int{2, 16, 8, 8}
	bits := make([]byte, 0, 2*len(values))
	rounded := make([]float32, len(values))
	for i, v := range values {
		b := bfloat16(v)
		bits = binary.LittleEndian.AppendUint16(bits, b)
		rounded[i] = math.Float32frombits(uint32(b) << 16)
	}
	want := decodeAll(t, d, reward.Float32Tensor(rounded, shape...))
	got := decodeAll(t, d, &reward.Tensor{Type: reward.BFloat16, Shape: shape, Data: bits})
	for i := range want {
		if !bytes.Equal(got[i].Pix, want[i].Pix) {
			t.Errorf("bfloat16: image %d differs", i)
		}
	}
	// Eighths up to 4 are whole in half precision: 1/8 is 0x3000 and so on.
	eighths, halves := make([]float32, len(values)), make([]byte, 0, 2*len(values))
	for i := range eighths {
		eighths[i] = float32(1 + i%8)
		halves = binary.LittleEndian.AppendUint16(halves, [...]uint16{0x3c00, 0x4000, 0x4200, 0x4400, 0x4500, 0x4600, 0x4700, 0x4800}[i%8])
	}
	want = decodeAll(t, d, reward.Float32Tensor(eighths, shape...))
	got = decodeAll(t, d, &reward.Tensor{Type: reward.Float16, Shape: shape, Data: halves})
	for i := range want {
		if !bytes.Equal(got[i].Pix, want[i].Pix) {
			t.Errorf("float16: image %d differs", i)
		}
	}
}

func TestLatentsThatAreNotFiniteCostTheirImageAlone(t *testing.T) {
	d := load(t, "vae-sd3-nano", vae.Options{RunPixels: 64 * 64})
	values, _ := array(t, "vae-sd3-nano.8x8.latents").Float32s()
	for name, bad := range map[string]float32{"NaN": float32(math.NaN()), "infinity": float32(math.Inf(-1))} {
		spoilt := slices.Clone(values)
		spoilt[5] = bad
		images, errs, err := d.Decode(context.Background(), reward.Float32Tensor(spoilt, 2, 16, 8, 8), 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		if images[0] != nil || len(errs) != 2 || !errors.Is(errs[0], reward.ErrNotFinite) {
			t.Errorf("%s: image %v, errors %v", name, images[0], errs)
		}
		if errs[1] != nil || !bytes.Equal(images[1].Pix, decodeAll(t, d, reward.Float32Tensor(values, 2, 16, 8, 8))[1].Pix) {
			t.Errorf("%s: the neighbour suffers: %v", name, errs[1])
		}
	}
}

func TestLatentsThatTheDecoderDoesNotTakeAreErrors(t *testing.T) {
	d := load(t, "vae-sd3-nano", vae.Options{MaxPixels: 1 << 16})
	of := func(kind reward.DType, shape ...int) *reward.Tensor {
		n, _ := reward.Elements(shape)
		return &reward.Tensor{Type: kind, Shape: shape, Data: make([]byte, n*kind.Size())}
	}
	for name, c := range map[string]struct {
		latents *reward.Tensor
		want    error
	}{
		"wrong channels":       {of(reward.Float32, 1, 4, 8, 8), reward.ErrInvalidValue},
		"wrong features":       {of(reward.Float32, 1, 16, 16), reward.ErrInvalidValue},
		"two dimensions":       {of(reward.Float32, 1, 16), reward.ErrInvalidValue},
		"no cells":             {of(reward.Float32, 1, 16, 0, 8), reward.ErrInvalidValue},
		"no tokens":            {of(reward.Float32, 1, 0, 64), reward.ErrInvalidValue},
		"bytes":                {of(reward.Uint8, 1, 16, 8, 8), reward.ErrUnsupportedDType},
		"float64":              {of(reward.Float64, 1, 16, 8, 8), reward.ErrUnsupportedDType},
		"too little data":      {&reward.Tensor{Type: reward.Float32, Shape: []int{1, 16, 8, 8}, Data: make([]byte, 8)}, reward.ErrInvalidValue},
		"an image too large":   {of(reward.Float32, 1, 16, 32, 33), reward.ErrImageTooLarge},
		"an absurd height":     {&reward.Tensor{Type: reward.Float32, Shape: []int{0, 16, 1 << 20, 1 << 20}}, reward.ErrImageTooLarge},
		"an absurd strip":      {&reward.Tensor{Type: reward.Float32, Shape: []int{0, 16, 1 << 40, 1}}, reward.ErrImageTooLarge},
		"too many tokens":      {of(reward.Float32, 1, 17*17, 64), reward.ErrImageTooLarge},
		"tokens of no squares": {of(reward.Float32, 1, 15, 64), reward.ErrInvalidValue},
	} {
		images, _, err := d.Decode(context.Background(), c.latents, 0, 0)
		if !errors.Is(err, c.want) || images != nil {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if images, errs, err := d.Decode(context.Background(), of(reward.Float32, 0, 16, 8, 8), 0, 0); len(images) != 0 || errs != nil || err != nil {
		t.Errorf("no images: %v %v %v", images, errs, err)
	}
	if images := decodeAll(t, d, of(reward.Float32, 1, 16, 32, 32)); images[0].Width != 256 {
		t.Errorf("an image at the limit is %d wide", images[0].Width)
	}
}

func TestABatchGivesWhatEachImageGives(t *testing.T) {
	latents := array(t, "vae-sd3-nano.6x10.latents")
	values, _ := latents.Float32s()
	half := len(values) / 2
	d := load(t, "vae-sd3-nano", vae.Options{})
	batch := decodeAll(t, d, latents)
	var wait sync.WaitGroup
	for i := range 2 {
		wait.Go(func() {
			alone, _, err := d.Decode(context.Background(), reward.Float32Tensor(values[i*half:(i+1)*half], 1, 16, 6, 10), 0, 0)
			if err != nil {
				t.Error(err)
				return
			}
			if !bytes.Equal(alone[0].Pix, batch[i].Pix) {
				t.Errorf("image %d differs in a batch", i)
			}
		})
	}
	wait.Wait()
}

func TestDecodingEndsWithTheContext(t *testing.T) {
	d := load(t, "vae-sd3-nano", vae.Options{})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, _, err := d.Decode(ctx, array(t, "vae-sd3-nano.8x8.latents"), 0, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if len(decodeAll(t, d, array(t, "vae-sd3-nano.8x8.latents"))) != 2 {
		t.Error("the decoder after a cancelled call gives no images")
	}
}

func TestADecoderDescribesItself(t *testing.T) {
	a, b := load(t, "vae-sd3-nano", vae.Options{}), load(t, "vae-sd-nano", vae.Options{Name: "old"})
	got := a.Describe()
	if got.Name != "vae-sd3-nano" || got.Channels != 16 || got.PixelScale != 8 || got.GridScale != 8 || !got.Packed || len(got.Fingerprint) != 64 {
		t.Errorf("description %+v", got)
	}
	if packs := load(t, "qwenimage-nano", vae.Options{}).Describe(); packs.PixelScale != 4 || packs.GridScale != 8 {
		t.Errorf("description %+v of a decoder whose pipeline packs 2x2 cells of 4 pixels", packs)
	}
	if other := b.Describe(); other.Name != "old" || other.Channels != 4 || other.Fingerprint == got.Fingerprint {
		t.Errorf("description %+v", other)
	}
}
func BenchmarkUnpack(b *testing.B) {
	dst, src := make([]float32, 16*64*64), make([]float32, 16*64*64)
	b.SetBytes(int64(4 * len(src)))
	for b.Loop() {
		vae.Unpack(dst, src, 16, 64, 64, 2)
	}
}
