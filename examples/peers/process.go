package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a server with its children.
type process struct {
	cmd    *exec.Cmd
	ended  chan struct{}
	failed error
}

// start runs a server and waits until it takes connections.
func start(ctx context.Context, command []string, address string) (*process, error) {
	if c, err := net.Dial("tcp", address); err == nil {
		return nil, errors.Join(fmt.Errorf("something else listens on %s", address), c.Close())
	}
	p := &process{cmd: exec.CommandContext(ctx, command[0], command[1:]...), ended: make(chan struct{})}
	p.cmd.Stderr = os.Stderr
	// A thread for each core is what the peers' libraries would take for
	// work that is not there.
	p.cmd.Env = append(os.Environ(), "OMP_NUM_THREADS=1", "OPENBLAS_NUM_THREADS=1")
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { p.failed = p.cmd.Wait(); close(p.ended) }()
	deadline := time.Now().Add(30 * time.Second)
	for time.Now().Before(deadline) {
		if c, err := net.Dial("tcp", address); err == nil {
			return p, c.Close()
		}
		select {
		case <-p.ended:
			return nil, fmt.Errorf("ended at once: %w", p.failed)
		case <-time.After(100 * time.Millisecond):
		}
	}
	p.stop()
	return nil, errors.New("does not listen after 30 s")
}

// stop ends the server, gently if it lets itself be.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(5 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
}

// cpu is the processor time of the server and its children so far; 0 where
// there is no /proc.
func (p *process) cpu() time.Duration {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0
	}
	parents, ticks := map[int]int{}, map[int]int{}
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		// The name is in brackets and may hold anything; fields count from
		// behind it, the first being the state.
		_, rest, _ := strings.Cut(string(text), ") ")
		fields := strings.Fields(rest)
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil || len(fields) < 15 {
			continue
		}
		parents[pid] = number(fields[1])
		ticks[pid] = number(fields[11]) + number(fields[12]) // utime, stime
	}
	var sum int
	for pid := range ticks {
		if descends(pid, p.cmd.Process.Pid, parents) {
			sum += ticks[pid]
		}
	}
	return time.Duration(sum) * 10 * time.Millisecond // 100 ticks a second
}

func number(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0
	}
	return n
}

// descends reports whether pid is root or below it.
func descends(pid, root int, parents map[int]int) bool {
	for ; pid > 0; pid = parents[pid] {
		if pid == root {
			return true
		}
	}
	return false
}

// findPython is an interpreter that has what the peers need.
func findPython(ctx context.Context, wanted string) (string, error) {
	candidates := []string{"python3", "/usr/bin/python3"}
	if wanted != "" {
		candidates = []string{wanted}
	}
	var errs []error
	for _, python := range candidates {
		out, err := exec.CommandContext(ctx, python, "-c", "import flask, gunicorn, fastapi, uvicorn, numpy, PIL").CombinedOutput()
		if err == nil {
			return python, nil
		}
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		errs = append(errs, fmt.Errorf("%s: %w: %s", python, err, lines[len(lines)-1]))
	}
	return "", fmt.Errorf("no Python for the peers (-python names one): %w", errors.Join(errs...))
}
