package imagedoctor_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/denseflow/densereward/engine/image"
	"github.com/denseflow/densereward/engine/imagedoctor"
	"github.com/denseflow/densereward/engine/imagedoctor/nano"
	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/engine/ort/provision"
	"github.com/denseflow/densereward/reward"
)

// The miniature checkpoint scores an image of a green circle.
func Example() {
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
	cache, err := os.MkdirTemp("", "nano")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(cache)
	dir, err := nano.Checkpoint().Open(cache)
	if err != nil {
		log.Fatal(err)
	}
	evaluator, err := imagedoctor.Load(runtime, dir, imagedoctor.Options{Demonstration: true})
	if err != nil {
		log.Fatal(err)
	}
	defer evaluator.Close()

	file, err := os.ReadFile("testdata/cases/case00.png")
	if err != nil {
		log.Fatal(err)
	}
	img, err := image.Decode(file, image.Limits{})
	if err != nil {
		log.Fatal(err)
	}
	results, err := evaluator.Evaluate(ctx, []reward.Sample{
		{Image: img, Prompt: "a green circle on a plain background"},
		{Prompt: "a sample without an image"},
	})
	if err != nil {
		log.Fatal(err)
	}
	good, about := results[0], evaluator.Describe()
	weights, err := about.Weighting(nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("alignment %.2f, missing %v, reward %.3f\n",
		good.Scores[imagedoctor.SemanticAlignment], good.Missing, weights.Reward(good.Scores))
	fmt.Printf("heatmaps of %dx%d\n", good.Maps[imagedoctor.Artifact].Height, good.Maps[imagedoctor.Artifact].Width)
	fmt.Println(results[1].Err)
	// Output:
	// alignment 0.25, missing [], reward 0.280
	// heatmaps of 288x288
	// invalid_value: image: there is none
}

func ExampleParseAnswer() {
	scores, missing := imagedoctor.ParseAnswer("<answer>Semantic Alignment score: 0.95\nPlausibility score: 1.4</answer>")
	fmt.Println(scores, missing.Names())
	// Output: [0.95 0 1 0] [aesthetics overall]
}

func ExampleParseThought() {
	reasoning, boxes := imagedoctor.ParseThought("<think>The hand is wrong.\n1.[128,256,384,512];</think><answer></answer>")
	fmt.Printf("%q %v\n", reasoning, boxes[0].Coords)
	// Output: "The hand is wrong.\n1.[128,256,384,512];" [250 500 750 1000]
}

func ExampleCleanCaption() {
	fmt.Printf("%q\n", imagedoctor.CleanCaption("  a cat, asleep...! "))
	// Output: "a cat, asleep"
}
