package mixgrpo_test

import (
	"fmt"

	"github.com/denseflow/densereward/flowgrpo"
	"github.com/denseflow/densereward/flowgrpo/mixgrpo"
)

// Two of six steps are sampled with noise and trained on; the window moves every other
// iteration.
func Example() {
	window := mixgrpo.New(mixgrpo.Config{Strategy: mixgrpo.Progressive, Steps: 6, Size: 2, Interval: 2})
	for iteration := range 4 {
		fmt.Print("iteration ", iteration, ":")
		for step := range 6 {
			fmt.Print(" ", window.Method(step, flowgrpo.SDE))
		}
		fmt.Println()
		window.Advance(nil)
	}
	// Output:
	// iteration 0: sde sde ode ode ode ode
	// iteration 1: sde sde ode ode ode ode
	// iteration 2: ode ode sde sde ode ode
	// iteration 3: ode ode sde sde ode ode
}
