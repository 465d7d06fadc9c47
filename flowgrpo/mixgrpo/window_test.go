package mixgrpo

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/denseflow/densereward/flowgrpo"
	"github.com/denseflow/densereward/flowgrpo/internal/goldens"
)

func TestTheWindowMovesAsInThePublicCode(t *testing.T) {
	for i, c := range goldens.Read(t).Windows {
		t.Run(fmt.Sprintf("case %d %s", i, c.Settings.Strategy), func(t *testing.T) {
			s := c.Settings
			config := Config{
				Strategy: Strategy(s.Strategy), Steps: s.Steps, Size: s.Size, Start: s.Start, Interval: s.Interval,
				RollBack: s.RollBack, DecayFrom: 13, DecayRate: 0.1,
			}
			if s.Overlap {
				config.Stride = max(s.Stride, 1)
			}
			w := New(config)
			for iteration, want := range c.Steps {
				var got []int
				for step := range s.Steps {
					if w.Method(step, flowgrpo.SDE) == flowgrpo.SDE {
						got = append(got, step)
					}
				}
				if fmt.Sprint(got) != fmt.Sprint(append([]int(nil), want...)) {
					t.Fatalf("iteration %d: steps %v, want %v", iteration, got, want)
				}
				w.Advance(nil)
			}
		})
	}
}

func TestARandomWindowIsInsideAndReachesEveryPlace(t *testing.T) {
	w, rng := New(Config{Strategy: Random, Steps: 10, Size: 4, Interval: 1}), rand.New(rand.NewPCG(1, 1))
	places := make(map[int]bool)
	for range 300 {
		w.Advance(rng)
		lo, hi := w.Bounds()
		if lo < 0 || hi > 10 || hi-lo != 4 {
			t.Fatalf("window from %d to %d", lo, hi)
		}
		places[lo] = true
	}
	if len(places) != 7 {
		t.Errorf("%d places of 7", len(places))
	}
}

func TestAProgressiveWindowCompletes(t *testing.T) {
	w := New(Config{Strategy: Progressive, Steps: 4, Size: 2, Interval: 1})
	for range 2 {
		if w.Complete() {
			t.Fatal("complete before the last step")
		}
		w.Advance(nil)
	}
	if lo, hi := w.Bounds(); !w.Complete() || lo != hi || w.Method(3, flowgrpo.CPS) != flowgrpo.ODE {
		t.Errorf("window from %d to %d, complete %v", lo, hi, w.Complete())
	}
}

func TestWindowsThatCannotBePanic(t *testing.T) {
	for name, c := range map[string]Config{
		"no steps":             {Strategy: Progressive, Size: 1, Interval: 1},
		"no interval":          {Strategy: Progressive, Steps: 3, Size: 1},
		"an unknown strategy":  {Strategy: "sideways", Steps: 3, Size: 1, Interval: 1},
		"a random wide window": {Strategy: Random, Steps: 3, Size: 4, Interval: 1},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			New(c)
		})
	}
}
