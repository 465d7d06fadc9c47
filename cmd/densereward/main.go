// Command densereward scores images and serves rewards for reinforcement
// learning of text-to-image models. "densereward --help" explains itself.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/denseflow/densereward/cmd/densereward/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	program, _ := os.Executable() // "" where the system does not tell
	os.Exit(run(ctx, os.Args[1:], cli.Terminal{Out: os.Stdout, Err: os.Stderr, Program: program}))
}
