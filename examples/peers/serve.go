package main

import (
	"context"
	"log/slog"
	"os"

	"github.com/denseflow/densereward/reward/batch"
	"github.com/denseflow/densereward/reward/rewardtest"
	"github.com/denseflow/densereward/reward/server"
	"github.com/denseflow/densereward/reward/server/front"
	"github.com/denseflow/densereward/reward/server/telemetry"
)

// serve is the densereward server with a stand-in for the evaluator and all
// else as it is in service: metrics, logs, data rates, limits, cache.
func serve(ctx context.Context, o options) error {
	fake := &rewardtest.Fake{}
	metrics := telemetry.NewMetrics("peers")
	queue := batch.DefaultConfig()
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	queue.CacheBytes, queue.Observer, queue.Logger = o.cache, metrics.Observer("fake"), logger
	scheduler, err := batch.New(queue, fake)
	if err != nil {
		return err
	}
	metrics.Watch("fake", scheduler.Stats)
	readiness := &front.Readiness{}
	h, err := server.New(server.Config{
		Models:  []server.Model{{Description: fake.Describe(), Scorer: scheduler}},
		Ready:   readiness.Err,
		Metrics: metrics,
		Logger:  logger,
	})
	if err != nil {
		return err
	}
	l, err := front.Listen(ctx, o.serve, false, 64, 64)
	if err != nil {
		return err
	}
	readiness.Warm()
	facing := front.Default()
	facing.Logger = logger
	return facing.Serve(ctx, l, h, readiness, scheduler.Shutdown)
}
