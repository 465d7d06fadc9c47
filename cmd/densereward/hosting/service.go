package hosting

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"github.com/denseflow/densereward/cmd/densereward/evaluators"
	"github.com/denseflow/densereward/internal/nvml"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/batch"
	"github.com/denseflow/densereward/reward/server"
	"github.com/denseflow/densereward/reward/server/front"
	"github.com/denseflow/densereward/reward/server/telemetry"
	"github.com/denseflow/densereward/reward/server/watch"
)

// Service is a server with a scheduler for each of its evaluators and the
// readiness that it reports.
type Service struct {
	schedulers []*batch.Scheduler
	Handler    *server.Server
	Readiness  *front.Readiness
	Metrics    *telemetry.Metrics
	logger     *slog.Logger
	notes      sync.Map // of evaluators whose warm-up failed, by name
}

// NewService makes a service of evaluators, which share the memory of queues
// and caches evenly. cfg needs neither models nor metrics.
func NewService(hosted []evaluators.Hosted, scheduling batch.Config, cfg server.Config, version string) (*Service, error) {
	cfg.Metrics = telemetry.NewMetrics(version)
	watchGPUs(cfg.Metrics)
	s := &Service{Readiness: &front.Readiness{}, Metrics: cfg.Metrics, logger: cfg.Logger}
	cfg.Notes = func(evaluator string) string {
		note, _ := s.notes.Load(evaluator)
		text, _ := note.(string)
		return text
	}
	cfg.Models, cfg.Ready = nil, s.Readiness.Err
	scheduling.Logger = cfg.Logger
	scheduling.QueueBytes = max(1, scheduling.QueueBytes/int64(len(hosted)))
	scheduling.CacheBytes /= int64(len(hosted))
	for _, h := range hosted {
		name := h.Description.Name
		scheduling.MaxBatch = h.Batch
		scheduling.Observer = cfg.Metrics.Observer(name)
		scheduler, err := batch.New(scheduling, h.Scheduled()...)
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

// watchGPUs adds the memory of the machine's GPUs, where it has some.
func watchGPUs(m *telemetry.Metrics) {
	library, err := nvml.Open(nvml.DefaultName)
	if err != nil {
		return // there is no driver
	}
	m.WatchGPUs(func() []watch.GPU {
		all, _ := library.Memory() // without those behind a GPU that does not answer
		states := make([]watch.GPU, len(all))
		for i, one := range all {
			states[i] = watch.GPU(one)
		}
		return states
	})
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
//
// It fails where an evaluator cannot run. One that runs and fails its sample, an endpoint
// that is away for instance, leaves the others to serve: the log and its note tell of it.
// Where all do, Warm fails too, unless an answer was merely unreadable: other images may
// have better ones.
func (s *Service) Warm(ctx context.Context, e *Engine) error {
	failures, err := e.warm(ctx)
	if err != nil {
		return err
	}
	works := len(failures) < len(e.Evaluators.Hosted)
	for _, err := range failures {
		works = works || errors.Is(err, reward.ErrUnreadable)
	}
	if !works {
		return errors.Join(slices.Collect(maps.Values(failures))...)
	}
	for name, err := range failures {
		s.logger.Warn("evaluator failed its warm-up and is served", "evaluator", name, "error", err)
		s.notes.Store(name, fmt.Sprintf("When the server started, it failed to score a gray square: %v.", err))
	}
	s.Readiness.Warm()
	return nil
}

// Check has everything run as Warm has, and every failure counts.
func (e *Engine) Check(ctx context.Context) error {
	failures, err := e.warm(ctx)
	return errors.Join(append(slices.Collect(maps.Values(failures)), err)...)
}

// warm gives the failures of samples by their evaluators' names, and the error of
// what cannot run.
func (e *Engine) warm(ctx context.Context) (map[string]error, error) {
	gray := &reward.Image{Width: warmSide, Height: warmSide, Pix: slices.Repeat([]uint8{128}, 3*warmSide*warmSide)}
	failures := map[string]error{}
	e.Footprint.Loaded = collected()
	for _, h := range e.Evaluators.Hosted {
		name := h.Description.Name
		sample := reward.Sample{Image: gray, Prompt: warmPrompt, Mode: h.Description.DefaultMode()}
		for i, one := range h.Evaluators {
			before := collected()
			results, err := one.Evaluate(ctx, []reward.Sample{sample})
			if err != nil {
				return nil, fmt.Errorf("warming up evaluator %s: %w", name, err)
			}
			e.Footprint.add(&h, i, collected()-before)
			if err := results[0].Err; err != nil {
				failures[name] = fmt.Errorf("warming up evaluator %s: %w", name, err)
			}
		}
	}
	for _, d := range e.Decoders {
		if err := d.Warm(ctx); err != nil {
			return nil, fmt.Errorf("warming up: %w", err)
		}
	}
	return failures, ctx.Err()
}
