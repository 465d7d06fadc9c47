// Package mixgrpo moves the window of steps that MixGRPO (arXiv 2507.21802) samples
// with noise and trains on; the steps outside it are solved as an ODE. It follows
// GRPOTrainingStates in github.com/Tencent-Hunyuan/MixGRPO,
// fastvideo/utils/grpo_states.py at e5cdd6a427778d8c8b2e7a48ce16972141adbe7c.
//
// The losses are those of package flowgrpo, taken of the window's steps alone; a dense
// map enters there.
package mixgrpo

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/denseflow/densereward/flowgrpo"
)

// Strategy is how the window moves.
type Strategy string

// The strategies of the public code, by its names.
const (
	Progressive Strategy = "progressive" // every Interval iterations
	Random      Strategy = "random"      // to a uniform place, every iteration
	Decay       Strategy = "decay"       // after Interval to MinInterval iterations, linear in the place
	ExpDecay    Strategy = "exp_decay"   // after ceil(Interval exp(-DecayRate max(0, place - DecayFrom)))
)

// Config describes a window. Steps, Size and Interval are at least 1.
type Config struct {
	Strategy Strategy
	Steps    int // of the sampler
	Size     int // of the window, group_size
	Start    int // its first place
	Interval int // iterations before it moves, iters_per_group
	Stride   int // by how many steps it moves; 0 for Size, so that windows do not overlap
	RollBack bool

	MinInterval int     // of Decay; 0 for a quarter of Interval
	DecayFrom   int     // of ExpDecay; 13 in the public code
	DecayRate   float64 // of ExpDecay; 0.1 in the public code
}

// Window is the place of the window. It is not safe for concurrent use.
type Window struct {
	config    Config
	place     int
	iteration int // since it moved last
}

// New returns a window at its start. It panics for settings that no window can have.
func New(c Config) *Window {
	if c.Steps < 1 || c.Size < 1 || c.Interval < 1 || c.Start < 0 || c.Start > c.Steps || c.Stride < 0 || c.MinInterval < 0 || c.DecayRate < 0 {
		panic(fmt.Sprintf("mixgrpo: a window of %+v", c))
	}
	switch c.Strategy {
	case Progressive, Random, Decay, ExpDecay:
	default:
		panic(fmt.Sprintf("mixgrpo: unknown strategy %q", c.Strategy))
	}
	if c.Strategy == Random && c.Size > c.Steps {
		panic(fmt.Sprintf("mixgrpo: a window of %d steps anywhere among %d", c.Size, c.Steps))
	}
	if c.Stride == 0 {
		c.Stride = c.Size
	}
	if c.MinInterval == 0 {
		c.MinInterval = max(1, c.Interval/4)
	}
	return &Window{config: c, place: c.Start}
}

// Bounds are the steps from lo up to but not including hi that are inside. Past the
// last step they are none.
func (w *Window) Bounds() (lo, hi int) {
	return w.place, max(w.place, min(w.place+w.config.Size, w.config.Steps))
}

// Method is the given one for a step inside the window and [flowgrpo.ODE] outside.
func (w *Window) Method(step int, inside flowgrpo.Method) flowgrpo.Method {
	if lo, hi := w.Bounds(); step >= lo && step < hi {
		return inside
	}
	return flowgrpo.ODE
}

// Complete reports whether a progressive or decaying window has passed the last step.
func (w *Window) Complete() bool {
	return (w.config.Strategy == Progressive || w.config.Strategy == Decay) && w.place >= w.config.Steps
}

// Advance ends a training iteration. rng is needed for Random alone.
func (w *Window) Advance(rng *rand.Rand) {
	c := &w.config
	if c.Strategy == Random {
		w.place = rng.IntN(c.Steps - c.Size + 1)
		return
	}
	w.iteration++
	if float64(w.iteration) >= w.interval() {
		w.iteration = 0
		w.place += c.Stride
	}
	if w.place > c.Steps {
		w.place = c.Steps
		if c.RollBack {
			w.place, w.iteration = c.Start, 0
		}
	}
}

// interval is for how many iterations the window stays where it is.
func (w *Window) interval() float64 {
	c := &w.config
	switch c.Strategy {
	case Decay:
		progress := float64(w.place) / float64(c.Steps)
		return max(float64(c.MinInterval), math.Floor(float64(c.Interval)*(1-progress)+float64(c.MinInterval)*progress))
	case ExpDecay:
		return math.Ceil(float64(c.Interval) * math.Exp(-c.DecayRate*float64(max(0, w.place-c.DecayFrom))))
	}
	return float64(c.Interval)
}
