package reward_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"

	"github.com/denseflow/densereward/reward"
)

// preparer fails for the prompt "bad", panics for "worse", and otherwise waits until
// another sample is prepared beside.
type preparer struct{ beside *sync.WaitGroup }

var errBad = errors.New("bad")

func (p preparer) Prepare(_ context.Context, s *reward.Sample) error {
	switch s.Prompt {
	case "bad":
		return errBad
	case "worse":
		panic("worse")
	}
	p.beside.Done()
	p.beside.Wait()
	s.Prepared = s.Prompt
	return nil
}

func TestSamplesArePreparedBesideEachOther(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	var beside sync.WaitGroup
	beside.Add(2)
	samples := []reward.Sample{{Prompt: "bad"}, {Prompt: "a"}, {Prompt: "b"}}
	errs := reward.PrepareAll(t.Context(), preparer{&beside}, samples)
	if !errors.Is(errs[0], errBad) || errs[1] != nil || errs[2] != nil || samples[0].Prepared != nil || samples[1].Prepared != "a" || samples[2].Prepared != "b" {
		t.Errorf("%+v, %v", samples, errs)
	}
	defer func() {
		if got := recover(); got != "worse" {
			t.Errorf("panic %v is not the caller's", got)
		}
	}()
	reward.PrepareAll(t.Context(), preparer{&beside}, []reward.Sample{{Prompt: "bad"}, {Prompt: "worse"}})
}
