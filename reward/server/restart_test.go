package server_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/denseflow/densereward/client"
	"github.com/denseflow/densereward/reward/batch"
	"github.com/denseflow/densereward/reward/rewardtest"
	"github.com/denseflow/densereward/reward/server"
	"github.com/denseflow/densereward/reward/server/front"
)

// serveVariable makes the test program a server on the address that it holds.
const serveVariable = "DENSEREWARD_TEST_SERVE"

func TestMain(m *testing.M) {
	if address := os.Getenv(serveVariable); address != "" {
		if err := serveProcess(address); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// serveProcess serves a Fake until the process is told to stop, and prints the
// address.
func serveProcess(address string) error {
	fake := &rewardtest.Fake{Delay: 5 * time.Millisecond}
	scheduler, err := batch.New(batch.DefaultConfig(), fake)
	if err != nil {
		return err
	}
	readiness := &front.Readiness{}
	h, err := server.New(server.Config{
		Models: []server.Model{{Description: fake.Describe(), Scorer: scheduler}},
		Ready:  readiness.Err, Logger: quiet(),
	})
	if err != nil {
		return err
	}
	l, err := front.Listen(context.Background(), address, false, 100, 100)
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	readiness.Warm()
	facing := front.Default()
	facing.Logger = quiet()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	return facing.Serve(ctx, l, h, readiness, scheduler.Shutdown)
}

// child is a server process.
type child struct {
	cmd     *exec.Cmd
	address string
}

// startChild starts a server process and waits until it listens.
func startChild(t *testing.T, address string) *child {
	t.Helper()
	c := &child{cmd: exec.Command(os.Args[0])}
	c.cmd.Env = append(os.Environ(), serveVariable+"="+address)
	c.cmd.Stderr = os.Stderr
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		c.kill()
		t.Fatalf("the server does not listen: %v", err)
	}
	c.address = strings.TrimSpace(line)
	return c
}

// kill ends the process at once, as kill -9 does.
func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
}

// TestClientsOutliveKilledServers kills the server again and again while
// clients send it work: each request is answered in the end, with its own
// results.
func TestClientsOutliveKilledServers(t *testing.T) {
	const clients, requests, kills = 6, 60, 4
	c := startChild(t, "127.0.0.1:0")
	scorer, err := client.New("http://"+c.address, client.WithTries(100), client.WithBackoff(5*time.Millisecond, 100*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	var answered atomic.Int64
	progress := make(chan int64, clients*requests)
	var working sync.WaitGroup
	for i := range clients {
		working.Go(func() {
			for k := range requests {
				q, images := asked(uint64(i)<<32+uint64(10*k), 4)
				p, err := scorer.Score(t.Context(), q)
				if err != nil {
					t.Errorf("client %d: request %d was lost: %v", i, k, err)
				} else {
					wantScored(t, p, q, images)
				}
				progress <- answered.Add(1)
			}
		})
	}
	next := int64(clients * requests / (kills + 1))
	for n := range progress {
		if n >= next && n < clients*requests {
			c.kill()
			c = startChild(t, c.address)
			next += clients * requests / (kills + 1)
		}
		if n == clients*requests {
			break
		}
	}
	working.Wait()
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Wait(); err != nil {
		t.Errorf("the server does not end well when asked to: %v", err)
	}
}
