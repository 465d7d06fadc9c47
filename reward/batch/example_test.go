package batch_test

import (
	"context"
	"fmt"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/batch"
)

func Example() {
	s, err := batch.New(batch.DefaultConfig(), &fake{}) // or one evaluator for each accelerator
	if err != nil {
		panic(err)
	}
	outcomes, err := s.Score(context.Background(), []batch.Job{
		{Sample: reward.Sample{Image: image(7), Prompt: "a red cube", Mode: reward.ModeAnswer}, Bytes: 6},
		{
			Sample: reward.Sample{Prompt: "a red cube", Mode: reward.ModeAnswer},
			Load:   func(context.Context) (*reward.Image, error) { return nil, reward.ErrImageCorrupt },
		},
	})
	if err != nil {
		panic(err) // the queue was full, or s was shut down
	}
	for _, o := range outcomes {
		fmt.Println(o.Scores, o.Err)
	}
	if err := s.Shutdown(context.Background()); err != nil {
		panic(err)
	}
	// Output:
	// [7] <nil>
	// [] image_corrupt: the image cannot be decoded
}
