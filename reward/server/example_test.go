package server_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/batch"
	"github.com/denseflow/densereward/reward/rewardtest"
	"github.com/denseflow/densereward/reward/server"
)

// A service of one evaluator: batching and cache behind the protocol, tokens
// before it, metrics throughout, and a drain on SIGTERM.
func Example() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := serveExample(ctx, &rewardtest.Fake{}, "tokens.txt"); err != nil {
		fmt.Println(err)
	}
	// Output: server: token file: open tokens.txt: no such file or directory
}

func serveExample(ctx context.Context, evaluator reward.Evaluator, tokenFile string) error {
	logger := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	tokens, err := server.OpenTokens(tokenFile)
	if err != nil {
		return err
	}
	go server.KeepFresh(ctx, time.Minute, nil, logger, tokens)

	about := evaluator.Describe()
	metrics := server.NewMetrics("v1.2.3")
	queue := batch.DefaultConfig()
	queue.Observer, queue.Logger = metrics.Observer(about.Name), logger
	scheduler, err := batch.New(queue, evaluator)
	if err != nil {
		return err
	}
	metrics.Watch(about.Name, scheduler.Stats)

	readiness := &server.Readiness{}
	handler, err := server.New(server.Config{
		Models:    []server.Model{{Description: about, Scorer: scheduler}},
		Tokens:    tokens,
		Metrics:   metrics,
		Ready:     readiness.Err,
		Logger:    logger,
		AccessLog: logger,
	})
	if err != nil {
		return err
	}
	listener, err := server.Listen(ctx, "127.0.0.1:8080", false, 1024)
	if err != nil {
		return err
	}
	readiness.Warm() // once the evaluator has answered
	return server.DefaultFront().Serve(ctx, listener, handler, readiness, scheduler.Shutdown)
}
