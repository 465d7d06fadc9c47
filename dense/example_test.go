package dense_test

import (
	"fmt"

	"github.com/denseflow/densereward/dense"
)

// A heatmap becomes the two dense forms of DenseFlow-GRPO on the grid of the
// flow model.
func Example() {
	heatmap := []float64{ // 2x4, flawed on the right
		0, 0, 0.5, 1,
		0, 0, 0.5, 1,
	}
	grid, err := dense.ParseGrid("sd3", 8, 16)
	if err != nil {
		fmt.Println(err)
		return
	}
	pooled := make([]float64, grid.Cells())
	dense.AdaptiveAvgPool(pooled, grid, heatmap, dense.Grid{Height: 2, Width: 4})

	weight := make([]float64, grid.Cells())
	dense.Weight(weight, pooled)
	reward := make([]float64, grid.Cells())
	dense.Reward(reward, 0.8, pooled)
	fmt.Println("grid  ", grid)
	fmt.Println("weight", weight)
	fmt.Printf("reward %.2f\n", reward)
	// Output:
	// grid   1x2
	// weight [1 0.25]
	// reward [0.80 0.20]
}

// Boxes become the dense reward of BoxFlow-GRPO; what they cost follows the
// spread of rewards among the images of one prompt.
func ExampleBoxReward() {
	groupRewards := []float64{0.9, 0.5, 0.7}
	penalty, err := dense.DefaultPenalty().Adapt(groupRewards)
	if err != nil {
		fmt.Println(err)
		return
	}
	boxes := []dense.Box{{Coords: [4]float64{0, 0, 500, 500}, Label: "artifact", Importance: 60}}
	grid := dense.Grid{Height: 2, Width: 2}
	reward := make([]float64, grid.Cells())
	if err := dense.BoxReward(reward, grid, groupRewards[0], boxes, penalty); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%.2f\n", reward)
	// Output:
	// [0.84 0.90 0.90 0.90]
}
