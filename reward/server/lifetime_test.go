package server_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/denseflow/densereward/client"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/rewardtest"
	"github.com/denseflow/densereward/reward/wire"
)

// A body is used again once nobody reads it, and not as soon as its request is
// answered: an evaluator may outlive its callers.
func TestABodyIsNotUsedAgainWhileAnEvaluatorReadsIt(t *testing.T) {
	entered, leave := make(chan uint64), make(chan struct{})
	left := make(chan uint64, 1)
	fake := &rewardtest.Fake{Before: func(_ context.Context, samples []reward.Sample) error {
		entered <- rewardtest.Identity(samples[0].Image)
		<-leave // whatever becomes of the context
		left <- rewardtest.Identity(samples[0].Image)
		return nil
	}}
	s := newStack(t, fake, nil)
	// answer posts a body and returns when the server did.
	answer := func(ctx context.Context, body []byte) int {
		w := httptest.NewRecorder()
		s.server.ServeHTTP(w, post(ctx, t, bytes.NewReader(body)))
		return w.Code
	}
	ctx, cancel := context.WithCancel(t.Context())
	answered := make(chan int)
	go func() { answered <- answer(ctx, question(t, 1, 2, 3, 4)) }()
	before := <-entered
	cancel()
	if code := <-answered; code == http.StatusOK {
		t.Fatal("answered though the evaluator had not finished")
	}
	for seed := range uint64(8) { // bodies of the same size, read and given up
		if code := answer(ctx, question(t, 10+seed, 20+seed, 30+seed, 40+seed)); code == http.StatusOK {
			t.Fatal("answered a client that had left")
		}
	}
	close(leave)
	if after := <-left; after != before {
		t.Error("the image changed while it was scored")
	}
}

func TestManyClientsAtATimeGetTheirOwnResults(t *testing.T) {
	c, _ := serveOver(t, &rewardtest.Fake{}, nil)
	var callers sync.WaitGroup
	for caller := range 8 {
		callers.Go(func() {
			for round := range 12 {
				// Bodies of different sizes go through the pool's classes.
				checkOwn(t, c, uint64(1000*caller+round), 16+(caller*7+round*31)%400)
			}
		})
	}
	callers.Wait()
}

// checkOwn asks for two images that nobody else has.
func checkOwn(t *testing.T, c *client.Client, seed uint64, side int) {
	q := &wire.Request{Return: []wire.Return{}}
	for i := range uint64(2) {
		q.Prompts = append(q.Prompts, "a cat")
		q.Images = append(q.Images, wire.Image{Tensor: rewardtest.Tensor(rewardtest.Image(seed+i*500, side, side))})
	}
	p, err := c.Score(context.Background(), q)
	if err != nil {
		t.Error(err)
		return
	}
	for i := range uint64(2) {
		want := rewardtest.Answer(reward.Sample{Image: rewardtest.Image(seed+i*500, side, side), Prompt: "a cat"}, 64)
		if p.Scores[0].Values[i] != want.Scores[0] {
			t.Errorf("image %d of %d: %v, want %v", seed+i*500, side, p.Scores[0].Values[i], want.Scores[0])
		}
	}
}

func TestErrorsTellNothingOfTheFileSystem(t *testing.T) {
	secret := &fs.PathError{Op: "open", Path: "/srv/weights/model.safetensors", Err: errors.New("input/output error")}
	sample, _ := serveOver(t, &rewardtest.Fake{Fail: func(reward.Sample) error { return secret }}, nil)
	p := mustScore(t, sample, rollout(1, 16, 16))
	if e := p.Errors[0]; !errors.Is(e, reward.ErrEvaluatorFailed) || strings.Contains(e.Error(), "srv") || !math.IsNaN(p.Rewards[0]) {
		t.Errorf("got %v", e)
	}
	whole, _ := serveOver(t, &rewardtest.Fake{Before: func(context.Context, []reward.Sample) error { return secret }}, nil)
	p = mustScore(t, whole, rollout(1, 16, 16))
	if e := p.Errors[0]; !errors.Is(e, reward.ErrEvaluatorFailed) || strings.Contains(e.Error(), "srv") {
		t.Errorf("got %v", e)
	}
}
