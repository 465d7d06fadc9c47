package server_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"image/png"
	"math"
	"sync"
	"testing"

	"github.com/denseflow/densereward/client"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/rewardtest"
	"github.com/denseflow/densereward/reward/server"
	"github.com/denseflow/densereward/reward/wire"
)

// greys is a decoder whose images are as grey as their latents' first number.
// It takes (N,4,h,w) and packed tokens (N,L,16).
type greys struct {
	together int // how many it decodes at once, 16 where 0
	// before is called ahead of each decoding; it may be nil.
	before func(ctx context.Context, latents *reward.Tensor) error

	mu      sync.Mutex
	decoded []int  // samples of each call
	grid    [2]int // of the last
}

func (g *greys) Describe() reward.DecoderDescription {
	return reward.DecoderDescription{Name: "greys", Fingerprint: "00", Channels: 4, Packed: true, PixelScale: 8, GridScale: 16}
}

func (g *greys) Layout(shape []int, height, width int) (reward.LatentLayout, error) {
	side := int(math.Sqrt(float64(shape[1])))
	switch {
	case len(shape) == 4 && shape[1] == 4:
		height, width = shape[2], shape[3]
	case len(shape) == 3 && shape[2] == 16 && height*width == shape[1]:
	case len(shape) == 3 && shape[2] == 16 && height == 0 && side*side == shape[1]:
		height, width = side, side
	default:
		return reward.LatentLayout{}, reward.ErrInvalidValue.With("latents: shape %v", shape)
	}
	return reward.LatentLayout{
		GridHeight: height, GridWidth: width, ImageHeight: height * 8, ImageWidth: width * 8,
		Together: cmp.Or(g.together, 16),
	}, nil
}

func (g *greys) Decode(ctx context.Context, latents *reward.Tensor, height, width int) ([]*reward.Image, []*reward.Error, error) {
	l, err := g.Layout(latents.Shape, height, width)
	if err != nil {
		return nil, nil, err
	}
	g.mu.Lock()
	g.decoded, g.grid = append(g.decoded, latents.Shape[0]), [2]int{l.GridHeight, l.GridWidth}
	g.mu.Unlock()
	if g.before != nil {
		if err := g.before(ctx, latents); err != nil {
			return nil, nil, err
		}
	}
	values, err := latents.Float32s()
	if err != nil {
		return nil, nil, err
	}
	images := make([]*reward.Image, latents.Shape[0])
	var errs []*reward.Error
	for i := range images {
		v := values[i*len(values)/len(images)]
		if math.IsNaN(float64(v)) {
			errs = make([]*reward.Error, len(images))
			errs[i] = reward.ErrNotFinite.With("latents[%d]", i)
			continue
		}
		images[i] = &reward.Image{Width: l.ImageWidth, Height: l.ImageHeight,
			Pix: bytes.Repeat([]byte{byte(v)}, l.ImageWidth*l.ImageHeight*3)}
	}
	return images, errs, nil
}

// latents is a request for the decoder greys, whose samples are as grey as their
// number.
func latents(shape ...int) *wire.Request {
	q := rollout(shape[0], 8, 8)
	n, _ := reward.Elements(shape)
	values := make([]float32, n)
	for i := range values {
		values[i] = float32(i / (n / shape[0]))
	}
	q.Images, q.VAE, q.Latents = nil, "greys", reward.Float32Tensor(values, shape...)
	return q
}

// serveLatents starts a server with a decoder.
func serveLatents(t *testing.T, d *greys) *client.Client {
	t.Helper()
	c, _ := serveOver(t, &rewardtest.Fake{}, func(cfg *server.Config) { cfg.Decoders = append(cfg.Decoders, d) })
	return c
}

func TestLatentsAreDecodedAndScoredOnTheirOwnGrid(t *testing.T) {
	c := serveLatents(t, &greys{})
	q := latents(3, 4, 6, 10)
	q.Return = []wire.Return{wire.ReturnDense, wire.ReturnImages}
	p := mustScore(t, c, q)
	if p.Dense.Height != 6 || p.Dense.Width != 10 {
		t.Errorf("the dense grid is %dx%d, the latents' is 6x10", p.Dense.Height, p.Dense.Width)
	}
	for i, file := range p.Images {
		img, err := png.Decode(bytes.NewReader(file))
		if err != nil {
			t.Fatal(err)
		}
		if r, _, _, _ := img.At(0, 0).RGBA(); img.Bounds().Dx() != 80 || img.Bounds().Dy() != 48 || int(r>>8) != i {
			t.Errorf("image %d is %v with %d in its corner", i, img.Bounds(), r>>8)
		}
	}
}

func TestADecodedImageIsScoredAsTheSameImageSent(t *testing.T) {
	c := serveLatents(t, &greys{})
	q := latents(2, 4, 4, 4)
	q.Return = []wire.Return{wire.ReturnDense, wire.ReturnImages}
	decoded := mustScore(t, c, q)
	q.Latents, q.VAE, q.Return = nil, "", []wire.Return{wire.ReturnDense}
	q.Grid = reward.GridSpec{Height: 4, Width: 4}
	for _, file := range decoded.Images {
		q.Images = append(q.Images, wire.Image{Encoded: file})
	}
	sent := mustScore(t, c, q)
	for i := range decoded.Rewards {
		if decoded.Rewards[i] != sent.Rewards[i] {
			t.Errorf("sample %d: %v decoded, %v sent", i, decoded.Rewards[i], sent.Rewards[i])
		}
	}
	if !bytes.Equal(decoded.Dense.Weight.Data, sent.Dense.Weight.Data) {
		t.Error("the maps differ")
	}
}

func TestPackedTokensTakeTheGridThatTheRequestNames(t *testing.T) {
	d := &greys{}
	c := serveLatents(t, d)
	q := latents(1, 16, 16)
	if mustScore(t, c, q); d.grid != [2]int{4, 4} {
		t.Errorf("16 tokens are taken as %v", d.grid)
	}
	q.Grid = reward.GridSpec{Height: 2, Width: 8}
	if mustScore(t, c, q); d.grid != [2]int{2, 8} {
		t.Errorf("16 tokens with a grid of 2x8 are taken as %v", d.grid)
	}
	q.Grid = reward.GridSpec{Height: 64, Width: 64} // of the maps, not of the tokens
	if mustScore(t, c, q); d.grid != [2]int{4, 4} {
		t.Errorf("16 tokens with maps of 64x64 are taken as %v", d.grid)
	}
	mustFail(t, c, latents(1, 15, 16), reward.ErrInvalidValue)
	q = latents(1, 15, 16)
	q.Grid = reward.GridSpec{Height: 3, Width: 5}
	mustScore(t, c, q)
}

func TestLatentsThatCannotBeDecodedCostTheirSampleAlone(t *testing.T) {
	c := serveLatents(t, &greys{})
	q := latents(2, 4, 4, 4)
	values := make([]float32, 2*4*4*4)
	values[0] = float32(math.NaN())
	q.Latents = reward.Float32Tensor(values, 2, 4, 4, 4)
	q.Return = []wire.Return{wire.ReturnImages}
	p := mustScore(t, c, q)
	if len(p.Images) != 2 || len(p.Images[0]) != 0 || len(p.Images[1]) == 0 {
		t.Errorf("images %v", p.Images)
	}
	if !errors.Is(p.Errors[0], reward.ErrNotFinite) || p.Errors[1] != nil || !math.IsNaN(p.Rewards[0]) || math.IsNaN(p.Rewards[1]) {
		t.Errorf("errors %v, rewards %v", p.Errors, p.Rewards)
	}
	mustFail(t, c, latents(2, 3, 4, 4), reward.ErrInvalidValue)
}
