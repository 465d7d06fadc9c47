package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"time"

	"github.com/denseflow/densereward/client"
)

// patience is how long a server may take to load its model; the first start
// downloads ONNX Runtime.
const patience = 5 * time.Minute

// startServer runs a server with the demonstration checkpoint on a free loopback
// port until stop is called.
func startServer(ctx context.Context) (address string, stop func(), err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	host := listener.Addr().String()
	if err := listener.Close(); err != nil {
		return "", nil, err
	}
	folder, err := os.MkdirTemp("", "rollout")
	if err != nil {
		return "", nil, err
	}
	// Built first, because "go run" does not hand a signal on.
	binary := folder + "/densereward"
	build := exec.CommandContext(ctx, "go", "build", "-o", binary, "./cmd/densereward")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return "", nil, errors.Join(fmt.Errorf("building the server: %w", err), os.RemoveAll(folder))
	}
	ctx, cancel := context.WithCancel(ctx)
	serve := exec.CommandContext(ctx, binary, "serve", "--listen", host)
	serve.Stderr = os.Stderr
	serve.Cancel = func() error { return serve.Process.Signal(os.Interrupt) }
	if err := serve.Start(); err != nil {
		cancel()
		return "", nil, errors.Join(err, os.RemoveAll(folder))
	}
	ended := make(chan error, 1)
	go func() { ended <- serve.Wait() }()
	stop = func() {
		cancel()
		<-ended
		_ = os.RemoveAll(folder) // a temporary folder, on the way out
	}
	address = "http://" + host
	if err := waitReady(ctx, address, ended); err != nil {
		stop()
		return "", nil, err
	}
	return address, stop, nil
}

// waitReady returns when the server is ready, or fails when it has ended.
func waitReady(ctx context.Context, address string, ended chan error) error {
	c, err := client.New(address)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for c.Ready(ctx) != nil {
		select {
		case <-ctx.Done():
			return fmt.Errorf("the server is not ready: %w", ctx.Err())
		case err := <-ended:
			ended <- err // for stop
			return fmt.Errorf("the server ended: %w", err)
		case <-tick.C:
		}
	}
	return nil
}
