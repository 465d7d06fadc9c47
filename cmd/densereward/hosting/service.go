package hosting

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/denseflow/densereward/cmd/densereward/evaluators"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/batch"
	"github.com/denseflow/densereward/reward/server"
	"github.com/denseflow/densereward/reward/server/front"
	"github.com/denseflow/densereward/reward/server/telemetry"
)

// Service is a server with a scheduler for each of its evaluators and the
// readiness that it reports.
type Service struct {
	schedulers []*batch.Scheduler
	Handler    *server.Server
	Readiness  *front.Readiness
	Metrics    *telemetry.Metrics
}

// NewService makes a service of evaluators, which share the memory of queues
// and caches evenly. cfg needs neither models nor metrics.
func NewService(hosted []evaluators.Hosted, scheduling batch.Config, cfg server.Config, version string) (*Service, error) {
	cfg.Metrics = telemetry.NewMetrics(version)
	s := &Service{Readiness: &front.Readiness{}, Metrics: cfg.Metrics}
	cfg.Models, cfg.Ready = nil, s.Readiness.Err
	scheduling.Logger = cfg.Logger
	scheduling.QueueBytes = max(1, scheduling.QueueBytes/int64(len(hosted)))
	scheduling.CacheBytes /= int64(len(hosted))
	for _, h := range hosted {
		name := h.Description.Name
		scheduling.MaxBatch = h.Batch
		scheduling.Observer = cfg.Metrics.Observer(name)
		scheduler, err := batch.New(scheduling, h.Evaluators...)
		if err != nil {
			return nil, fmt.Errorf("evaluator %s: %w", name, err)
		}
		cfg.Metrics.Watch(name, scheduler.Stats)
		s.schedulers = append(s.schedulers, scheduler)
		cfg.Models = append(cfg.Models, server.Model{Description: h.Description, Scorer: scheduler})
	}
	var err error
	s.Handler, err = server.New(cfg)
	return s, err
}

// Shutdown ends the schedulers, all at a time.
func (s *Service) Shutdown(ctx context.Context) error {
	errs := make([]error, len(s.schedulers))
	var ending sync.WaitGroup
	for i, scheduler := range s.schedulers {
		ending.Go(func() { errs[i] = scheduler.Shutdown(ctx) })
	}
	ending.Wait()
	return errors.Join(errs...)
}

// warmSide is the side of the image that warms an evaluator. Its prompt is one
// that evaluators of text in images understand as well.
const (
	warmSide   = 64
	warmPrompt = `a gray square with the word "gray"`
)

// Warm has every evaluator score a gray image and every decoder decode a small
// one, so that the first client does not wait for what is allocated and compiled
// on first use, and reports readiness.
func (s *Service) Warm(ctx context.Context, e *Engine) error {
	gray := &reward.Image{Width: warmSide, Height: warmSide, Pix: make([]uint8, 3*warmSide*warmSide)}
	for i := range gray.Pix {
		gray.Pix[i] = 128
	}
	for _, h := range e.Evaluators.Hosted {
		sample := reward.Sample{Image: gray, Prompt: warmPrompt, Mode: h.Description.DefaultMode()}
		for _, one := range h.Evaluators {
			results, err := one.Evaluate(ctx, []reward.Sample{sample})
			if err == nil {
				err = results[0].Err
			}
			if err != nil {
				return fmt.Errorf("warming up evaluator %s: %w", h.Description.Name, err)
			}
		}
	}
	for _, d := range e.Decoders {
		if err := d.Warm(ctx); err != nil {
			return fmt.Errorf("warming up: %w", err)
		}
	}
	s.Readiness.Warm()
	return nil
}
