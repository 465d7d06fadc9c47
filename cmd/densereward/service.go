package main

import (
	"context"
	"fmt"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/batch"
	"github.com/denseflow/densereward/reward/server"
)

// service is a server with the scheduler behind it and the readiness that it
// reports.
type service struct {
	scheduler *batch.Scheduler
	handler   *server.Server
	readiness *server.Readiness
	metrics   *server.Metrics
}

// newService makes a service of evaluators of one checkpoint. cfg needs neither
// models nor metrics.
func newService(evaluators []reward.Evaluator, scheduling batch.Config, cfg server.Config) (*service, error) {
	about := evaluators[0].Describe()
	cfg.Metrics = server.NewMetrics(buildVersion())
	scheduling.Observer = cfg.Metrics.Observer(about.Name)
	scheduling.Logger = cfg.Logger
	scheduler, err := batch.New(scheduling, evaluators...)
	if err != nil {
		return nil, err
	}
	cfg.Metrics.Watch(about.Name, scheduler.Stats)
	s := &service{scheduler: scheduler, readiness: &server.Readiness{}, metrics: cfg.Metrics}
	cfg.Models = []server.Model{{Description: about, Scorer: scheduler}}
	cfg.Ready = s.readiness.Err
	if s.handler, err = server.New(cfg); err != nil {
		return nil, err
	}
	return s, nil
}

// warmSide is the side of the picture that warms an evaluator.
const warmSide = 64

// warm has every evaluator judge a gray picture and every decoder decode a small
// one, so that the first client does not wait for what is allocated and compiled
// on first use, and reports readiness.
func (s *service) warm(ctx context.Context, e *engine) error {
	gray := &reward.Image{Width: warmSide, Height: warmSide, Pix: make([]uint8, 3*warmSide*warmSide)}
	for i := range gray.Pix {
		gray.Pix[i] = 128
	}
	for _, judge := range e.evaluators {
		results, err := judge.Evaluate(ctx, []reward.Sample{{Image: gray, Prompt: "a gray square", Mode: reward.ModeAnswer}})
		if err == nil {
			err = results[0].Err
		}
		if err != nil {
			return fmt.Errorf("warming up: %w", err)
		}
	}
	for _, d := range e.decoders {
		if err := d.Warm(ctx); err != nil {
			return fmt.Errorf("warming up: %w", err)
		}
	}
	s.readiness.Warm()
	return nil
}
