package server_test

import (
	"bytes"
	"context"
	"errors"
	"image/png"
	"math"
	"testing"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/rewardtest"
	"github.com/denseflow/densereward/reward/server"
)

// greys is a decoder whose pictures are as grey as their sample's number. It
// takes (N,4,h,w) and packed tokens (N,L,16).
type greys struct{ height, width int }

func (g *greys) Describe() reward.DecoderDescription {
	return reward.DecoderDescription{Name: "greys", Fingerprint: "00", Channels: 4, Packed: true, PixelScale: 8}
}

func (g *greys) Grid(shape []int) (height, width int, err error) {
	if len(shape) == 4 && shape[1] == 4 {
		return shape[2], shape[3], nil
	}
	if side := int(math.Sqrt(float64(shape[1]))); len(shape) == 3 && shape[2] == 16 && side*side == shape[1] {
		return side, side, nil
	}
	return 0, 0, reward.ErrInvalidValue.With("latents: shape %v", shape)
}

func (g *greys) Decode(ctx context.Context, latents *reward.Tensor) ([]*reward.Image, []*reward.Error, error) {
	height, width, err := g.Grid(latents.Shape)
	if err != nil {
		return nil, nil, err
	}
	return g.DecodeTokens(ctx, latents, height, width)
}

func (g *greys) DecodeTokens(_ context.Context, latents *reward.Tensor, height, width int) ([]*reward.Image, []*reward.Error, error) {
	g.height, g.width = height, width
	images := make([]*reward.Image, latents.Shape[0])
	values, err := latents.Float32s()
	if err != nil {
		return nil, nil, err
	}
	var errs []*reward.Error
	for i := range images {
		if v := values[i*len(values)/len(images)]; math.IsNaN(float64(v)) {
			errs = make([]*reward.Error, len(images))
			errs[i] = reward.ErrNotFinite.With("latents[%d]", i)
			continue
		}
		images[i] = &reward.Image{Width: width * 8, Height: height * 8, Pix: bytes.Repeat([]byte{byte(i)}, width*height*192)}
	}
	return images, errs, nil
}

// latents is a request of n samples for the decoder greys.
func latents(shape ...int) *reward.Request {
	q := rollout(shape[0], 8, 8)
	n, _ := reward.Elements(shape)
	q.Images, q.VAE, q.Latents = nil, "greys", reward.Float32Tensor(make([]float32, n), shape...)
	return q
}

func TestLatentsAreDecodedAndScoredOnTheirOwnGrid(t *testing.T) {
	c, _ := serveOver(t, &rewardtest.Fake{}, func(cfg *server.Config) { cfg.Decoders = append(cfg.Decoders, &greys{}) })
	q := latents(3, 4, 6, 10)
	q.Return = []reward.Return{reward.ReturnDense, reward.ReturnImages}
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
			t.Errorf("picture %d is %v with %d in its corner", i, img.Bounds(), r>>8)
		}
	}
}

func TestADecodedPictureIsScoredAsTheSamePictureSent(t *testing.T) {
	c, _ := serveOver(t, &rewardtest.Fake{}, func(cfg *server.Config) { cfg.Decoders = append(cfg.Decoders, &greys{}) })
	q := latents(2, 4, 4, 4)
	q.Return = []reward.Return{reward.ReturnDense, reward.ReturnImages}
	decoded := mustScore(t, c, q)
	q.Latents, q.VAE, q.Return = nil, "", []reward.Return{reward.ReturnDense}
	q.Grid = reward.GridSpec{Height: 4, Width: 4}
	for _, file := range decoded.Images {
		q.Images = append(q.Images, reward.Picture{Encoded: file})
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
	c, _ := serveOver(t, &rewardtest.Fake{}, func(cfg *server.Config) { cfg.Decoders = append(cfg.Decoders, d) })
	q := latents(1, 16, 16)
	if mustScore(t, c, q); d.height != 4 || d.width != 4 {
		t.Errorf("16 tokens are taken as %dx%d", d.height, d.width)
	}
	q.Grid = reward.GridSpec{Height: 2, Width: 8}
	if mustScore(t, c, q); d.height != 2 || d.width != 8 {
		t.Errorf("16 tokens with a grid of 2x8 are taken as %dx%d", d.height, d.width)
	}
	q.Grid = reward.GridSpec{Height: 64, Width: 64} // of the maps, not of the tokens
	if mustScore(t, c, q); d.height != 4 || d.width != 4 {
		t.Errorf("16 tokens with maps of 64x64 are taken as %dx%d", d.height, d.width)
	}
	mustFail(t, c, latents(1, 15, 16), reward.ErrInvalidValue)
	q = latents(1, 15, 16)
	q.Grid = reward.GridSpec{Height: 3, Width: 5}
	mustScore(t, c, q)
}

func TestLatentsThatCannotBeDecodedCostTheirSampleAlone(t *testing.T) {
	c, _ := serveOver(t, &rewardtest.Fake{}, func(cfg *server.Config) { cfg.Decoders = append(cfg.Decoders, &greys{}) })
	q := latents(2, 4, 4, 4)
	values := make([]float32, 2*4*4*4)
	values[0] = float32(math.NaN())
	q.Latents = reward.Float32Tensor(values, 2, 4, 4, 4)
	p := mustScore(t, c, q)
	if !errors.Is(p.Errors[0], reward.ErrNotFinite) || p.Errors[1] != nil || !math.IsNaN(p.Rewards[0]) || math.IsNaN(p.Rewards[1]) {
		t.Errorf("errors %v, rewards %v", p.Errors, p.Rewards)
	}
	mustFail(t, c, latents(2, 3, 4, 4), reward.ErrInvalidValue)
}
