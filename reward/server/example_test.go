package server_test

import (
	"context"
	"fmt"
	"log"
	"net/http/httptest"

	"github.com/denseflow/densereward/client"
	"github.com/denseflow/densereward/reward/batch"
	"github.com/denseflow/densereward/reward/rewardtest"
	"github.com/denseflow/densereward/reward/server"
	"github.com/denseflow/densereward/reward/wire"
)

// An evaluator behind a scheduler behind a server.
func Example() {
	evaluator := &rewardtest.Fake{} // imagedoctor.Open in earnest
	scheduler, err := batch.New(batch.DefaultConfig(), evaluator)
	if err != nil {
		log.Fatal(err)
	}
	s, err := server.New(server.Config{
		Models: []server.Model{{Description: evaluator.Describe(), Scorer: scheduler}},
	})
	if err != nil {
		log.Fatal(err)
	}
	web := httptest.NewServer(s)
	defer web.Close()

	c, err := client.New(web.URL)
	if err != nil {
		log.Fatal(err)
	}
	p, err := c.Score(context.Background(), &wire.Request{
		Prompts: []string{"a cat"},
		Images:  []wire.Image{{Tensor: rewardtest.Tensor(rewardtest.Image(1, 64, 64))}},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s: reward %.3f, maps of %dx%d\n", p.Evaluator, p.Rewards[0], p.Dense.Height, p.Dense.Width)
	// Output: fake: reward 0.544, maps of 8x8
}
