package evaluators

import (
	"context"
	"fmt"
	"strings"

	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/reward"
)

// Kind says how evaluators of one model family or protocol are opened.
type Kind struct {
	Name   string
	Source string // what SOURCE is, for people; "" if there is none

	// Everywhere says that one evaluator is opened for each device. Otherwise
	// there is one, and the devices mean nothing to it.
	Everywhere bool

	// Open makes the evaluator of a spec at a place. If it is an io.Closer, it
	// is closed with the set.
	Open func(ctx context.Context, s Spec, at Place) (reward.Evaluator, error)
}

// Place is where an evaluator runs and what it may use.
type Place struct {
	Runtime  func() (*ort.Runtime, error) // loads ONNX Runtime at the first call
	Provider ort.Provider
	Threads  int // of a CPU; 0 is one a core
	Batch    int // most images in one batch

	// FixedDraft keeps language models from learning draft tokens of their answers.
	FixedDraft bool

	// Path is where a source lies on this machine: a model of the hub is downloaded if
	// need be.
	Path func(ctx context.Context, source string) (string, error)

	// Member finds an evaluator that was listed before, for kinds that are made
	// of others.
	Member func(name string) (reward.Evaluator, error)
}

// Registry is the kinds that can be named.
type Registry []Kind

func (r Registry) find(name string) (Kind, error) {
	var names []string
	for _, k := range r {
		if k.Name == name {
			return k, nil
		}
		names = append(names, k.Name)
	}
	return Kind{}, fmt.Errorf("kind %.80q is none of %s", name, strings.Join(names, ", "))
}

// Help lists the kinds with their sources, a line each.
func (r Registry) Help() string {
	var b strings.Builder
	for _, k := range r {
		fmt.Fprintf(&b, "\t%-14s %s\n", k.Name, k.Source)
	}
	return b.String()
}

// Plain is a kind that needs neither source, device nor options.
func Plain(name string, open func() reward.Evaluator) Kind {
	return Kind{
		Name: name, Source: "none",
		Open: func(_ context.Context, s Spec, _ Place) (reward.Evaluator, error) {
			if s.Source != "" {
				return nil, fmt.Errorf("source %.80q: the kind has none", s.Source)
			}
			if err := s.Options.Decode(&struct{}{}); err != nil {
				return nil, err
			}
			return open(), nil
		},
	}
}
