package server_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/denseflow/densereward/client"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/batch"
	"github.com/denseflow/densereward/reward/rewardtest"
	"github.com/denseflow/densereward/reward/server"
)

// serveChunks starts a server with a decoder and a scheduler of its own settings.
func serveChunks(t *testing.T, fake *rewardtest.Fake, d *greys, log *bytes.Buffer, change func(*batch.Config)) *client.Client {
	t.Helper()
	scheduling := batch.DefaultConfig()
	change(&scheduling)
	scheduler, err := batch.New(scheduling, fake)
	if err != nil {
		t.Fatal(err)
	}
	c, _ := serveOver(t, fake, func(cfg *server.Config) {
		cfg.Models[0].Scorer = scheduler
		cfg.Decoders = append(cfg.Decoders, d)
		if log != nil {
			cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
		}
	})
	return c
}

func TestLatentsAreDecodedInChunks(t *testing.T) {
	d := &greys{together: 4}
	c := serveChunks(t, &rewardtest.Fake{}, d, nil, func(*batch.Config) {})
	q := latents(10, 4, 4, 4)
	p := mustScore(t, c, q)
	slices.Sort(d.decoded) // chunks may overtake each other
	if !slices.Equal(d.decoded, []int{2, 4, 4}) {
		t.Errorf("chunks of %v samples", d.decoded)
	}
	for i := range 10 {
		grey := &reward.Image{Width: 32, Height: 32, Pix: bytes.Repeat([]byte{byte(i)}, 32*32*3)}
		want := rewardtest.Answer(reward.Sample{Image: grey, Prompt: "a cat", Mode: reward.ModeAnswer}, 64)
		for s := range want.Scores {
			if p.Scores[s].Values[i] != want.Scores[s] {
				t.Errorf("sample %d: %s is %v, want %v", i, p.Scores[s].Name, p.Scores[s].Values[i], want.Scores[s])
			}
		}
	}
}

func TestTheNextChunkIsDecodedWhileTheLastIsScored(t *testing.T) {
	second := make(chan struct{})
	d := &greys{together: 2, before: func(_ context.Context, latents *reward.Tensor) error {
		if values, _ := latents.Float32s(); values[0] == 2 {
			close(second)
		}
		return nil
	}}
	fake := &rewardtest.Fake{Before: func(ctx context.Context, _ []reward.Sample) error {
		select {
		case <-second: // before the first batch is done
			return nil
		case <-ctx.Done():
			return errors.New("the second chunk waits for the first to be scored")
		}
	}}
	c := serveChunks(t, fake, d, nil, func(cfg *batch.Config) { cfg.MaxBatch, cfg.MaxDelay, cfg.Workers = 2, 0, 1 })
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if _, err := c.Score(ctx, latents(4, 4, 4, 4)); err != nil {
		t.Error(err)
	}
}

func TestLatentsThatTheQueueHasNoRoomForAreNotDecoded(t *testing.T) {
	d := &greys{}
	c := serveChunks(t, &rewardtest.Fake{}, d, nil, func(cfg *batch.Config) { cfg.QueueSamples = 2 })
	mustFail(t, c, latents(3, 4, 4, 4), reward.ErrTooManyImages)
	c = serveChunks(t, &rewardtest.Fake{}, d, nil, func(cfg *batch.Config) { cfg.QueueBytes = 3*32*32*3 + 4*4*4*4*3 - 1 })
	mustFail(t, c, latents(3, 4, 4, 4), reward.ErrBodyTooLarge)
	if d.decoded != nil {
		t.Errorf("%v samples were decoded", d.decoded)
	}
}

func TestADecoderThatFailsCostsItsChunkAlone(t *testing.T) {
	for name, fail := range map[string]func() error{
		"with an error": func() error { return errors.New("no such device") },
		"with a panic":  func() error { panic("no such device") },
	} {
		t.Run(name, func(t *testing.T) {
			d := &greys{together: 2, before: func(_ context.Context, latents *reward.Tensor) error {
				if values, _ := latents.Float32s(); values[0] == 2 {
					return fail()
				}
				return nil
			}}
			var log bytes.Buffer
			c := serveChunks(t, &rewardtest.Fake{}, d, &log, func(cfg *batch.Config) {
				cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
				cfg.Workers = 1
			})
			p := mustScore(t, c, latents(5, 4, 4, 4))
			for i, bad := range []bool{false, false, true, true, false} {
				e := p.Errors[i]
				if (e != nil) != bad || math.IsNaN(p.Rewards[i]) != bad {
					t.Errorf("sample %d: error %v, reward %v", i, e, p.Rewards[i])
				}
				if e != nil && (e.Code() != reward.ErrInternal.Code() || strings.Contains(e.Error(), "device")) {
					t.Errorf("sample %d: the client is told %q", i, e)
				}
			}
			if !strings.Contains(log.String(), "no such device") {
				t.Errorf("the log is %q", log.String())
			}
		})
	}
}

func TestDecodingEndsWhenItsClientLeaves(t *testing.T) {
	began, ended := make(chan struct{}), make(chan error, 1)
	d := &greys{before: func(ctx context.Context, _ *reward.Tensor) error {
		close(began)
		<-ctx.Done()
		ended <- ctx.Err()
		return ctx.Err()
	}}
	c := serveChunks(t, &rewardtest.Fake{}, d, nil, func(*batch.Config) {})
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-began
		cancel()
	}()
	if _, err := c.Score(ctx, latents(3, 4, 4, 4)); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the decoder is told %v", err)
	}
}

func TestADecoderThatForgetsImagesIsAFault(t *testing.T) {
	c, _ := serveOver(t, &rewardtest.Fake{}, func(cfg *server.Config) { cfg.Decoders = append(cfg.Decoders, &forgetful{}) })
	p := mustScore(t, c, latents(2, 4, 4, 4))
	for i, err := range p.Errors {
		if !errors.Is(err, reward.ErrInternal) {
			t.Errorf("sample %d: %v", i, err)
		}
	}
}

// forgetful is a decoder that gives no images.
type forgetful struct{ greys }

func (f *forgetful) Decode(_ context.Context, latents *reward.Tensor, _, _ int) ([]*reward.Image, []*reward.Error, error) {
	return make([]*reward.Image, latents.Shape[0]), nil, nil
}
