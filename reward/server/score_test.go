package server_test

import (
	"context"
	"net/http/httptest"
	"testing"

	"github.com/denseflow/densereward/client"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/batch"
	"github.com/denseflow/densereward/reward/rewardtest"
	"github.com/denseflow/densereward/reward/server"
)

func TestScoreGivesEachImageItsOwnResult(t *testing.T) {
	fake := &rewardtest.Fake{}
	scheduler, err := batch.New(batch.DefaultConfig(), fake)
	if err != nil {
		t.Fatal(err)
	}
	s, err := server.New(server.Config{Models: []server.Model{{Description: fake.Describe(), Scorer: scheduler}}})
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(s)
	defer web.Close()
	c, err := client.New(web.URL)
	if err != nil {
		t.Fatal(err)
	}
	q := &reward.Request{}
	for i := range 8 {
		q.Prompts = append(q.Prompts, "a cat")
		image := rewardtest.Picture(uint64(i), 64, 48)
		q.Images = append(q.Images, reward.Picture{Tensor: reward.Uint8Tensor(image.Pix, 48, 64, 3)})
	}
	p, err := c.Score(context.Background(), q)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 8 {
		want := rewardtest.Judge(reward.Sample{Image: rewardtest.Picture(uint64(i), 64, 48), Prompt: "a cat"}, 64)
		if p.Scores[0][i] != want.Scores[0] {
			t.Errorf("sample %d: %v want %v", i, p.Scores[0][i], want.Scores[0])
		}
	}
	if p.Dense.Height != 6 || p.Dense.Width != 8 {
		t.Errorf("grid %dx%d", p.Dense.Height, p.Dense.Width)
	}
}
