package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/denseflow/densereward/internal/loadgen"
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

// mark is the processor time that all have used so far.
type mark struct {
	at                      time.Time
	machine, server, client time.Duration
}

func markNow(p *process) mark {
	return mark{time.Now(), machineCPU(), p.cpu(), loadgen.CPU()}
}

// others is the share of the machine that neither side took since an earlier
// mark; 0 where it is not known.
func (m mark) others(since mark) float64 {
	used := m.machine - since.machine - (m.server - since.server) - (m.client - since.client)
	return max(0, used.Seconds()/(m.at.Sub(since.at).Seconds()*float64(runtime.NumCPU())))
}

// waitForQuiet waits until others take no more than a share of the machine for a
// second.
func (p *process) waitForQuiet(ctx context.Context, share float64) error {
	for before := markNow(p); share < 1; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
		now := markNow(p)
		if now.others(before) <= share {
			return nil
		}
		before = now
	}
	return ctx.Err()
}

// machineCPU is the processor time of everything on the machine; 0 where there
// is no /proc.
func machineCPU() time.Duration {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(text), "\n")
	fields := strings.Fields(line)
	sum := 0
	for i, field := range fields {
		const name, idle, iowait, guest = 0, 4, 5, 9 // guests are in user time already
		if i != name && i != idle && i != iowait && i < guest {
			sum += number(field)
		}
	}
	return ticks(sum)
}

// ticks is a time in the unit of /proc, of which there are 100 a second.
func ticks(n int) time.Duration { return time.Duration(n) * 10 * time.Millisecond }

// cpu is the processor time of the server and its children so far; 0 where
// there is no /proc.
func (p *process) cpu() time.Duration {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0
	}
	parents, used := map[int]int{}, map[int]int{}
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
		used[pid] = number(fields[11]) + number(fields[12]) // utime, stime
	}
	var sum int
	for pid := range used {
		if descends(pid, p.cmd.Process.Pid, parents) {
			sum += used[pid]
		}
	}
	return ticks(sum)
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
