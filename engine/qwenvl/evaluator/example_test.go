package evaluator_test

import (
	"context"
	"fmt"
	"log"

	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/engine/ort/provision"
	"github.com/denseflow/densereward/engine/qwenvl/evaluator"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/judge"
)

// A judge that ships with the program, and a checkpoint as it was published.
func ExampleLoad() {
	ctx := context.Background()
	library, err := provision.Find(ctx, provision.Options{})
	if err != nil {
		log.Fatal(err)
	}
	runtime, err := ort.Open(library)
	if err != nil {
		log.Fatal(err)
	}
	defer runtime.Close()
	file, err := judge.Load("unifiedreward-2")
	if err != nil {
		log.Fatal(err)
	}
	j, err := evaluator.Load(runtime, "/models/UnifiedReward-2.0-qwen3vl-4b", file, evaluator.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer j.Close()
	results, err := j.Evaluate(ctx, []reward.Sample{{Image: &reward.Image{}, Prompt: "a red bicycle"}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(results[0].Scores, results[0].Err)
}
