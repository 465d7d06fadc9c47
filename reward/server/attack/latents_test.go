package attack_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/rewardtest"
	"github.com/denseflow/densereward/reward/server"
	"github.com/denseflow/densereward/reward/wire"
)

// decoder claims images of eight pixels a side of each cell, and must decode none.
type decoder struct{ t *testing.T }

func (decoder) Describe() reward.DecoderDescription {
	return reward.DecoderDescription{Name: "vae", Fingerprint: "00", Channels: 1, PixelScale: 8, GridScale: 8}
}

func (decoder) Layout(shape []int, _, _ int) (reward.LatentLayout, error) {
	return reward.LatentLayout{
		GridHeight: shape[2], GridWidth: shape[3], ImageHeight: 8 * shape[2], ImageWidth: 8 * shape[3], Together: shape[0],
	}, nil
}

func (d decoder) Decode(context.Context, *reward.Tensor, int, int) ([]*reward.Image, []*reward.Error, error) {
	d.t.Error("latents were decoded")
	return nil, nil, reward.ErrInternal
}

func TestTheDecodedSizeOfLatentsIsLimitedBeforeTheyAreDecoded(t *testing.T) {
	s := newServer(t, &rewardtest.Fake{}, func(c *server.Config) { c.Decoders = []reward.LatentDecoder{decoder{t}} })
	for _, tt := range []struct {
		name  string
		shape []int
		parts []wire.Return
		grid  reward.GridSpec
	}{
		{"one column of many rows", []int{1, 1, 262144, 1}, nil, reward.GridSpec{}},
		{"one row of many columns", []int{8, 1, 1, 32768}, nil, reward.GridSpec{}},
		{"more pixels than an image may have", []int{1, 1, 1100, 1100}, nil, reward.GridSpec{}},
		{"images that together exceed the queue", []int{64, 1, 1000, 1000}, nil, reward.GridSpec{}},
		{"images that are to be returned and exceed the budget", []int{12, 1, 1000, 1000}, []wire.Return{wire.ReturnImages}, reward.GridSpec{}},
		{"a grid of more cells than maps may have", []int{4, 1, 8, 8}, []wire.Return{wire.ReturnDense}, reward.GridSpec{Height: 4096, Width: 4096}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n, _ := reward.Elements(tt.shape)
			latents := &reward.Tensor{Type: reward.Float16, Shape: tt.shape, Data: make([]byte, 2*n)}
			q := &wire.Request{VAE: "vae", Latents: latents, Return: tt.parts, Grid: tt.grid}
			for i := range tt.shape[0] {
				q.Prompts = append(q.Prompts, fmt.Sprint(i))
			}
			m, err := q.Encode(wire.DefaultLimits())
			if err != nil {
				t.Fatal(err)
			}
			r := httptest.NewRequest(http.MethodPost, wire.ScorePath, bytes.NewReader(m.Bytes()))
			r.Header.Set("Content-Type", wire.MediaType)
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			if w.Code != http.StatusRequestEntityTooLarge && w.Code != http.StatusBadRequest {
				t.Errorf("status %d: %.200q", w.Code, w.Body)
			}
		})
	}
}
