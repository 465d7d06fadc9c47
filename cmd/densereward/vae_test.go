package main

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/denseflow/densereward/client"
	"github.com/denseflow/densereward/cmd/densereward/demo"
	"github.com/denseflow/densereward/engine/image"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/wire"
)

// caseLatents are the latents of a decoder's case.
func caseLatents(t *testing.T, name string) *reward.Tensor {
	t.Helper()
	a := vaeArray(t, name)
	return &reward.Tensor{Type: reward.DType(a.Descr), Shape: a.Shape, Data: a.Data}
}

// latentRequest asks about latents, for the images as well.
func latentRequest(vae string, latents *reward.Tensor) *wire.Request {
	q := &wire.Request{Latents: latents, VAE: vae, Return: []wire.Return{
		wire.ReturnDense, wire.ReturnHeatmaps, wire.ReturnText, wire.ReturnImages,
	}}
	for range latents.Shape[0] {
		q.Prompts = append(q.Prompts, demo.Prompts()[0])
	}
	return q
}

func dial(t *testing.T, address string) *client.Client {
	t.Helper()
	c, err := client.New(address, client.WithTries(1))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func mustScore(t *testing.T, c *client.Client, q *wire.Request) *wire.Response {
	t.Helper()
	r, err := c.Score(context.Background(), q)
	if err != nil {
		t.Fatal(err)
	}
	for i, err := range r.Errors {
		if err != nil {
			t.Fatalf("sample %d: %v", i, err)
		}
	}
	return r
}

func TestServeDecodesLatents(t *testing.T) {
	s := serve(t, "-model", nanoDir, "-cache", "0", "-fixed-draft", // what is equal is compared to the last bit
		"-vae", "sd3="+filepath.Join(vaeDir, "vae-sd3-nano"),
		"-vae", filepath.Join(vaeDir, "vae-tiny-nano"))
	c := dial(t, s.address)

	t.Run("and lists its decoders", func(t *testing.T) { checkDecodersAreListed(t, c) })
	t.Run("to the reference's images", func(t *testing.T) { checkReferenceImages(t, c) })
	t.Run("and scores their images as those sent as PNG", func(t *testing.T) { checkLatentsScoreAsTheirPNG(t, c) })
	t.Run("and refuses those that no decoder takes", func(t *testing.T) { checkStrangeLatentsAreRefused(t, c) })
	t.Run("and packed tokens on the grid that the request names", func(t *testing.T) { checkTokensOnTheNamedGrid(t, c) })
	if code := s.stop(); code != exitOK || !strings.Contains(s.log.String(), "vae=sd3") {
		t.Errorf("exit code %d, log\n%s", code, s.log)
	}
}

func checkDecodersAreListed(t *testing.T, c *client.Client) {
	models, err := c.Models(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	var got []client.Decoder
	for _, d := range models.Decoders {
		if len(d.Fingerprint) != 64 {
			t.Errorf("decoder %s has the fingerprint %q", d.Name, d.Fingerprint)
		}
		d.Fingerprint = ""
		got = append(got, d)
	}
	want := []client.Decoder{
		{Name: "sd3", Channels: 16, Packed: true, PixelScale: 8, GridScale: 8},
		{Name: "vae-tiny-nano", Channels: 16, Packed: true, PixelScale: 8, GridScale: 8},
	}
	if !slices.Equal(got, want) {
		t.Errorf("decoders %+v, want %+v", got, want)
	}
}

func checkReferenceImages(t *testing.T, c *client.Client) {
	for vae, reference := range map[string]string{"sd3": "vae-sd3-nano", "vae-tiny-nano": "vae-tiny-nano"} {
		r := mustScore(t, c, latentRequest(vae, caseLatents(t, reference+".6x10.latents")))
		if r.Dense.Height != 6 || r.Dense.Width != 10 {
			t.Errorf("%s: the dense grid is %dx%d, the latents' is 6x10", vae, r.Dense.Height, r.Dense.Width)
		}
		want := vaeArray(t, reference+".6x10.image") // (N,h,w,3)
		size := len(want.Data) / want.Shape[0]
		for i, file := range r.Images {
			image, err := image.Decode(file, image.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if image.Height != want.Shape[1] || image.Width != want.Shape[2] || !withinALevel(image.Pix, want.Data[i*size:(i+1)*size]) {
				t.Errorf("%s: image %d of %dx%d is not the reference's", vae, i, image.Width, image.Height)
			}
		}
	}
}

func checkLatentsScoreAsTheirPNG(t *testing.T, c *client.Client) {
	q := latentRequest("sd3", caseLatents(t, "vae-sd3-nano.8x8.latents"))
	decoded := mustScore(t, c, q)
	q.Grid = reward.GridSpec{Height: 8, Width: 8}
	q.Latents, q.VAE, q.Return = nil, "", q.Return[:3]
	for _, file := range decoded.Images {
		q.Images = append(q.Images, wire.Image{Encoded: file})
	}
	sent := mustScore(t, c, q)
	if slices.Contains(append(decoded.Cached, sent.Cached...), true) {
		t.Fatal("an answer came from the cache, so that nothing was compared")
	}
	if !slices.Equal(decoded.Rewards, sent.Rewards) || !slices.Equal(decoded.Texts, sent.Texts) || decoded.Texts[0] == "" {
		t.Errorf("decoded %v %q\nsent    %v %q", decoded.Rewards, decoded.Texts, sent.Rewards, sent.Texts)
	}
	for what, of := range map[string]func(*wire.Response) *reward.Tensor{
		"dense weights": func(r *wire.Response) *reward.Tensor { return r.Dense.Weight },
		"dense rewards": func(r *wire.Response) *reward.Tensor { return r.Dense.Reward },
		"misalignment":  func(r *wire.Response) *reward.Tensor { return r.Heatmap("misalignment") },
		"artifacts":     func(r *wire.Response) *reward.Tensor { return r.Heatmap("artifact") },
	} {
		if !bytes.Equal(of(decoded).Data, of(sent).Data) {
			t.Errorf("%s differ", what)
		}
	}
}

func checkStrangeLatentsAreRefused(t *testing.T, c *client.Client) {
	latents := caseLatents(t, "vae-sd3-nano.8x8.latents")
	for name, ask := range map[string]struct {
		q    *wire.Request
		want *reward.Error
	}{
		"of an unknown decoder":          {latentRequest("flux", latents), reward.ErrUnknownVAE},
		"of other channels":              {latentRequest("sd3", caseLatents(t, "vae-sd-nano.8x8.latents")), reward.ErrInvalidValue},
		"packed tokens without a square": {latentRequest("sd3", caseLatents(t, "pack.tokens")), reward.ErrInvalidValue},
	} {
		if _, err := c.Score(context.Background(), ask.q); !errors.Is(err, ask.want) {
			t.Errorf("%s: %v, want %s", name, err, ask.want.Code())
		}
	}
}

func checkTokensOnTheNamedGrid(t *testing.T, c *client.Client) {
	q := latentRequest("sd3", caseLatents(t, "pack.tokens"))
	q.Grid = reward.GridSpec{Height: 4, Width: 6}
	tokens := mustScore(t, c, q)
	unpacked := mustScore(t, c, latentRequest("sd3", caseLatents(t, "pack.latents")))
	if !slices.EqualFunc(tokens.Images, unpacked.Images, bytes.Equal) || !slices.Equal(tokens.Texts, unpacked.Texts) {
		t.Error("tokens and latents make different images")
	}
	if tokens.Dense.Height != 4 || unpacked.Dense.Height != 8 {
		t.Errorf("grids of %d and %d rows", tokens.Dense.Height, unpacked.Dense.Height)
	}
}

// withinALevel reports whether two images are at most a level apart.
func withinALevel(a, b []uint8) bool {
	return slices.EqualFunc(a, b, func(x, y uint8) bool { return max(x, y)-min(x, y) <= 1 })
}

func TestServeChecksItsDecodersFirst(t *testing.T) {
	sd3 := filepath.Join(vaeDir, "vae-sd3-nano")
	for name, c := range map[string]struct {
		flags []string
		code  int
		want  string
	}{
		"a good one":                 {[]string{"-vae", sd3}, exitOK, ""},
		"two of one name":            {[]string{"-vae", "a=" + sd3, "-vae", "a=" + filepath.Join(vaeDir, "vae-tiny-nano")}, exitUsage, "--vae"},
		"one without a folder":       {[]string{"-vae", "a="}, exitUsage, "--vae"},
		"a folder that is none":      {[]string{"-vae", "a=" + t.TempDir()}, exitFailure, "config.json"},
		"half precision without GPU": {[]string{"-vae", sd3, "-vae-half"}, exitUsage, "--vae-half"},
	} {
		t.Run(name, func(t *testing.T) {
			code, _, said := densereward(t, append([]string{"serve", "-check", "-listen", "127.0.0.1:0", "-model", smallDir}, c.flags...)...)
			if code != c.code || !strings.Contains(said, c.want) {
				t.Errorf("exit code %d, want %d; said %q", code, c.code, said)
			}
		})
	}
}
