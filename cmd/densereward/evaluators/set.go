package evaluators

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"

	"github.com/denseflow/densereward/engine/onnx"
	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/reward"
)

// Hosted is an evaluator that was opened, once for each of its devices.
type Hosted struct {
	Assignment
	Description reward.Description // under the name of its spec
	Evaluators  []reward.Evaluator // at least one, of one checkpoint
}

// Set is the evaluators that were opened, in their order.
type Set struct {
	Hosted  []Hosted
	closers []io.Closer // in the order of opening
}

// Open opens what was planned. runtime gives ONNX Runtime, which the caller
// closes after the set; path is that of each Place.
func Open(ctx context.Context, plan []Assignment, runtime func() (*ort.Runtime, error), path func(context.Context, string) (string, error)) (*Set, error) {
	s := &Set{}
	for _, a := range plan {
		h, err := s.open(ctx, a, Place{Runtime: runtime, Path: path, Threads: a.Threads, Batch: a.Batch, FixedDraft: a.FixedDraft, Member: s.member})
		if err == nil {
			err = h.describe()
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("evaluator %s: %w", a.Spec.Name, err), s.Close())
		}
		s.Hosted = append(s.Hosted, *h)
	}
	return s, nil
}

// open opens one evaluator on its devices.
func (s *Set) open(ctx context.Context, a Assignment, at Place) (*Hosted, error) {
	devices := a.Devices
	if !a.Kind.Everywhere {
		devices = []string{"cpu"} // one, wherever
	}
	h := &Hosted{Assignment: a}
	for _, device := range devices {
		var err error
		if at.Provider, err = ParseDevice(device); err != nil {
			return nil, err
		}
		one, err := a.Kind.Open(ctx, a.Spec, at)
		if err != nil {
			return nil, err
		}
		if closer, ok := one.(io.Closer); ok {
			s.closers = append(s.closers, closer)
		}
		h.Evaluators = append(h.Evaluators, one)
	}
	return h, nil
}

// Scheduled are the evaluators as a scheduler takes them, which runs one batch at a time on
// each: those on GPUs as often as batches are in flight there.
func (h *Hosted) Scheduled() []reward.Evaluator {
	scheduled := slices.Clone(h.Evaluators)
	for range h.InFlight - 1 {
		for i, device := range h.Devices {
			if strings.HasPrefix(device, "cuda") {
				scheduled = append(scheduled, h.Evaluators[i])
			}
		}
	}
	return scheduled
}

// describe takes the evaluator's own description, under its spec's name.
func (h *Hosted) describe() error {
	h.Description = h.Evaluators[0].Describe()
	h.Description.Name = h.Spec.Name
	return h.Description.Validate()
}

// LogOperators writes a line for each evaluator on a GPU that says which custom operators
// its graph has, and one warning of those that could not be loaded.
func (s *Set) LogOperators(logger *slog.Logger) {
	warned := false
	for _, h := range s.Hosted {
		for i, e := range h.Evaluators {
			o, has := e.(interface {
				Operators() (in onnx.Operators, without error)
			})
			if !has || !strings.HasPrefix(h.Devices[i], "cuda") {
				continue
			}
			in, without := o.Operators()
			logger.Info("custom operators", "evaluator", h.Spec.Name, "device", h.Devices[i], "operators", in.String())
			if without != nil && !warned {
				logger.Warn("graphs have plain nodes in place of custom operators, and are slower", "error", without)
				warned = true
			}
		}
	}
}

// member finds an evaluator that was opened before.
func (s *Set) member(name string) (reward.Evaluator, error) {
	for _, h := range s.Hosted {
		if h.Spec.Name == name {
			return h.Evaluators[0], nil
		}
	}
	return nil, fmt.Errorf("no evaluator %.80q is listed before", name)
}

// Close closes the evaluators, those that were opened last first.
func (s *Set) Close() error {
	var errs []error
	for i := len(s.closers) - 1; i >= 0; i-- {
		errs = append(errs, s.closers[i].Close())
	}
	s.closers = nil
	return errors.Join(errs...)
}
