package flowgrpo_test

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/denseflow/densereward/dense"
	"github.com/denseflow/densereward/flowgrpo"
)

// From heatmaps to a gradient, with DenseFlow-GRPO in its published form: two
// images of one prompt, latents of two channels on a grid of one row and two
// columns.
func Example() {
	// Sampling: one step of a schedule of ten, scored as it is drawn.
	shape := flowgrpo.Latents(2, 2, 1, 2)
	step := flowgrpo.NewSchedule(10, 3).Step(4, flowgrpo.SDE, 0.7)
	steps := []flowgrpo.Step{step, step}
	sample := []float64{0.3, -0.9, 1.2, 0.1, 0.3, -0.9, 1.2, 0.1} // both images from the same noise
	velocity := []float64{0.5, 0.2, -0.4, 1.0, 0.5, 0.2, -0.4, 1.0}
	noise := []flowgrpo.NormSource{rand.New(rand.NewPCG(1, 0)), rand.New(rand.NewPCG(2, 0))}
	next, oldLogProb := make([]float64, shape.Len()), make([]float64, shape.Batch)
	flowgrpo.SampleStep(next, shape, steps, velocity, sample, noise)
	flowgrpo.LogProb(oldLogProb, nil, shape, steps, velocity, sample, next)

	// Rewards: a scalar for each image, and a heatmap that finds fault with the
	// right half of the second.
	rewards := []float64{0.9, 0.4}
	heatmap := []float64{0, 0, 0, 0.8}
	weight := make([]float64, len(heatmap))
	dense.Weight(weight, heatmap)
	advantages := make([]float64, len(rewards))
	groups := flowgrpo.GroupBy([]string{"a red cube", "a red cube"})
	if err := flowgrpo.GroupAdvantages(advantages, rewards, groups, flowgrpo.FlowNormalization(false)); err != nil {
		fmt.Println(err)
		return
	}

	// Training: the loss of the policy, which has not moved yet.
	gradient := make([]float64, shape.Len())
	fused := flowgrpo.NewFusedLoss[float64](flowgrpo.DenseFlowGRPO(1e-4, 0), 0)
	diagnostics, err := fused.Evaluate(
		&flowgrpo.Batch[float64]{
			Shape: shape, Steps: steps, Sample: sample, PrevSample: next, ModelOutput: velocity,
			OldLogProb: oldLogProb, Credit: flowgrpo.Credit[float64]{Advantages: advantages, Weight: weight},
		},
		&flowgrpo.Results[float64]{GradModelOutput: gradient},
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("advantages %.4f\n", advantages)
	fmt.Printf("loss %.4f, ratio %.4f, clipped %.0f%%\n", diagnostics.Loss, diagnostics.RatioMean, 100*diagnostics.ClipFrac)
	fmt.Printf("gradient %+.4f\n", gradient[:4])
	fmt.Printf("         %+.4f\n", gradient[4:])
	// Output:
	// advantages [0.9996 -0.9996]
	// loss -0.1999, ratio 1.0000, clipped 0%
	// gradient [-0.0265 +0.0140 -0.0164 -0.0326]
	//          [+0.0120 -0.0078 +0.0011 +0.0104]
}

// The dense reward R (1-H) of DenseFlow-GRPO's paper, normalised at each location
// over the images of a prompt.
func ExampleMapAdvantages() {
	rewards := []float64{0.8, 0.6, 0.7}
	heatmaps := [][]float64{{0, 0.5}, {0, 0}, {0, 0}} // three images, two locations
	maps := make([]float64, 6)
	for i, reward := range rewards {
		dense.Reward(maps[2*i:2*i+2], reward, heatmaps[i])
	}
	groups := flowgrpo.GroupBy([]string{"a cat", "a cat", "a cat"})
	if err := flowgrpo.MapAdvantages(maps, maps, 2, groups, flowgrpo.FlowNormalization(false)); err != nil {
		fmt.Println(err)
		return
	}
	for i := range rewards {
		fmt.Printf("%+.2f\n", maps[2*i:2*i+2])
	}
	// Output:
	// [+1.22 -1.34]
	// [-1.22 +0.27]
	// [+0.00 +1.07]
}

// BoxFlow-GRPO: boxes become a dense reward, that becomes an advantage for each
// location, and the ratio is that of each location.
func ExampleBoxFlowGRPO() {
	// Three images of one prompt on a grid of two tokens; the first has a flaw on
	// the left.
	rewards := []float64{0.9, 0.5, 0.8}
	boxes := [][]dense.Box{{{Coords: [4]float64{0, 0, 500, 1000}, Label: "artifact", Importance: 80}}, nil, nil}
	penalty, err := dense.DefaultPenalty().Adapt(rewards)
	if err != nil {
		fmt.Println(err)
		return
	}
	advantages := make([]float64, 6)
	for i, reward := range rewards {
		if err := dense.BoxReward(advantages[2*i:2*i+2], dense.Grid{Height: 1, Width: 2}, reward, boxes[i], penalty); err != nil {
			fmt.Println(err)
			return
		}
	}
	groups := flowgrpo.Groups{{0, 1, 2}}
	if err := flowgrpo.MapAdvantages(advantages, advantages, 2, groups, flowgrpo.BoxNormalization()); err != nil {
		fmt.Println(err)
		return
	}

	step := flowgrpo.NewDynamicSchedule(10, flowgrpo.FluxShift().DynamicShift(2)).Step(1, flowgrpo.SDE, 0.7)
	batch := &flowgrpo.Batch[float64]{
		Shape: flowgrpo.PackedLatents(3, 2, 1), Steps: []flowgrpo.Step{step, step, step},
		Sample:        []float64{0.1, 0.4, -0.3, 0.2, 0.7, -0.6},
		PrevSample:    []float64{0.5, 0.1, -0.2, 0.6, 0.9, -0.7},
		ModelOutput:   []float64{1.0, -0.5, 0.3, 0.2, 0.4, -0.1},
		OldLogProbMap: []float64{-0.9, -0.6, -0.6, -0.5, -0.8, -0.6}, // from LogProb when x_{t-1} was drawn
		Credit:        flowgrpo.Credit[float64]{AdvantageMap: advantages},
	}
	results := &flowgrpo.Results[float64]{RatioMap: make([]float64, 6), GradModelOutput: make([]float64, 6)}
	diagnostics, err := flowgrpo.NewFusedLoss[float64](flowgrpo.BoxFlowGRPO(0.2, 0), 1).Evaluate(batch, results)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("advantages %+.3f\n", advantages)
	fmt.Printf("ratios     %.3f, %.0f%% clipped\n", results.RatioMap, 100*diagnostics.ClipFrac)
	fmt.Printf("gradient   %+.4f\n", results.GradModelOutput)
	// Output:
	// advantages [+0.624 +0.801 -1.153 -1.121 +0.530 +0.320]
	// ratios     [1.068 0.976 1.032 0.748 1.056 0.962], 17% clipped
	// gradient   [+0.0102 -0.0056 -0.0017 -0.0000 +0.0070 -0.0025]
}

// A prompt's images arrive in two batches; its statistics are kept until the epoch
// ends.
func ExampleStatTracker() {
	tracker := flowgrpo.NewStatTracker(false)
	batches := []struct {
		prompts []string
		rewards []float64
	}{
		{[]string{"a cat", "a cat", "a dog"}, []float64{0.2, 0.6, 0.5}},
		{[]string{"a cat", "a dog", "a dog"}, []float64{0.7, 0.9, 0.1}},
	}
	for _, batch := range batches {
		advantages := make([]float64, len(batch.rewards))
		if err := tracker.Update(advantages, flowgrpo.GRPO, batch.prompts, batch.rewards); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%+.2f\n", advantages)
	}
	fmt.Println(tracker.GroupSize(), "images a prompt,", tracker.TrainedPrompts(), "prompts")
	tracker.Clear()
	// Output:
	// [-1.00 +1.00 +0.00]
	// [+0.93 +1.22 -1.22]
	// 3 images a prompt, 2 prompts
}

// Samples that could not be scored take no part in their group's statistics.
func ExampleGroups_Keep() {
	prompts := []string{"a cat", "a dog", "a cat", "a cat", "a dog"}
	rewards := []float64{0.2, 0.5, math.NaN(), 0.6, 0.7} // the third failed
	groups := flowgrpo.GroupBy(prompts).Keep(func(sample int) bool { return sample != 2 })
	advantages := make([]float64, len(rewards))
	err := flowgrpo.GroupAdvantages(advantages, rewards, groups, flowgrpo.FlowNormalization(false))
	fmt.Printf("%v %.2f %v\n", groups, advantages, err)
	// Output:
	// [[0 3] [1 4]] [-1.00 -1.00 0.00 1.00 1.00] <nil>
}

// The schedules of 28 steps of Stable Diffusion
// 3 and of FLUX for an image of 1024x1024 pixels, which has 4096 tokens.
func ExampleSchedule() {
	sd3 := flowgrpo.NewSchedule(28, 3)
	flux := flowgrpo.NewDynamicSchedule(28, flowgrpo.FluxShift().DynamicShift(4096))
	fmt.Println(sd3.Timesteps[:3], flux.Timesteps[:3])
	index, err := sd3.StepIndex(sd3.Timesteps[2])
	fmt.Println(index, err)
	// Output:
	// [1000 987.3806 974.1077] [1000 988.4086 976.2225]
	// 2 <nil>
}
