//go:build unix

package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/denseflow/densereward/reward/wire"
)

// accessAttacks are those on who is let in, and when a client gives up.
func accessAttacks() []attack {
	return []attack{
		{item: "8", name: `--tokens ""`, alone: starts("--tokens", "")},
		{item: "8b", name: "an address beyond loopback without tokens", alone: starts("--listen", "0.0.0.0:0", "--public")},
		{item: "8c", name: "a web page's name for a loopback address", remote: true, against: rebinding},
		{item: "9", name: "the Python client, timeout=5, and an answer that drips", alone: drip},
	}
}

// starts looks whether a server starts that must not.
func starts(flags ...string) func(context.Context, *settings) verdict {
	return func(ctx context.Context, s *settings) verdict {
		ctx, cancel := context.WithTimeout(ctx, 40*time.Second)
		defer cancel()
		t, err := start(ctx, s, flags...)
		if err != nil {
			return verdict{ctx.Err() == nil, "it ends: " + lastLine(err.Error())}
		}
		t.stop()
		return verdict{false, "it starts"}
	}
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for _, line := range lines {
		if strings.HasPrefix(line, "SIG") || strings.HasPrefix(line, "fatal error") { // Go's last words
			return line
		}
	}
	return fmt.Sprintf("%.160s", lines[len(lines)-1])
}

func rebinding(ctx context.Context, t *target) verdict {
	a := t.ask(ctx, 10*time.Second, http.MethodGet, wire.ModelsPath, "", nil, "Host", "evil.example")
	return verdict{a.status >= 400, fmt.Sprintf("status %d for evil.example", a.status)}
}

// dripping has the Python client read an answer of a byte each tenth of a second.
const dripping = `
import sys, numpy, densereward
try:
    densereward.Client(sys.argv[1]).score(numpy.zeros((1, 8, 8, 3), "uint8"), ["a"], timeout=5)
except Exception as e:
    print(type(e).__name__, end="")
`

func drip(ctx context.Context, s *settings) verdict {
	if s.python == "" || s.pythonPath == "" {
		return verdict{}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return verdict{false, err.Error()}
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, err := fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Type: application/msgpack\r\nContent-Length: 100000\r\n\r\n")
				for ; err == nil; time.Sleep(100 * time.Millisecond) {
					_, err = c.Write([]byte{0x80})
				}
			}()
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	python := exec.CommandContext(ctx, s.python, "-c", dripping, "http://"+l.Addr().String())
	python.Env = append(os.Environ(), "PYTHONPATH="+s.pythonPath, "PYTHONDONTWRITEBYTECODE=1")
	began := time.Now()
	out, err := python.CombinedOutput()
	took := time.Since(began)
	if ctx.Err() != nil {
		return verdict{false, "it had not ended after a minute"}
	}
	return verdict{err == nil && took < 10*time.Second, fmt.Sprintf("%s after %.1f s, the start of Python included", lastLine(string(out)), took.Seconds())}
}

// recordAttacks are those on what the server says of others, and on its start.
func recordAttacks() []attack {
	fifo := filepath.Join(os.TempDir(), fmt.Sprintf("items-fifo-%d", os.Getpid()))
	return []attack{
		{item: "10", name: "a client that leaves in mid-answer", against: leaver},
		{item: "10b", name: "64 MiB of keys that mean nothing to /compute", against: keys},
		{item: "10c", name: "a FIFO as the tokens file", alone: func(ctx context.Context, s *settings) verdict {
			if err := syscall.Mkfifo(fifo, 0o600); err != nil {
				return verdict{false, err.Error()}
			}
			defer os.Remove(fifo)
			return startsSoon(ctx, s, "--tokens", fifo)
		}},
		{item: "10d", name: "a client that ends what it sends and waits", against: halfClosed, remote: true},
		{item: "10e", name: "a library cut short", alone: damaged(func(data []byte) []byte { return data[:len(data)/2] })},
		{item: "10f", name: "a library zeroed in its middle", alone: damaged(func(data []byte) []byte {
			clear(data[len(data)*2/5 : len(data)*3/5])
			return data
		})},
	}
}

// startsSoon looks whether a start ends in time with a message.
func startsSoon(ctx context.Context, s *settings, flags ...string) verdict {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	t, err := start(ctx, s, flags...)
	switch {
	case err == nil:
		t.stop()
		return verdict{false, "it starts"}
	case ctx.Err() != nil:
		return verdict{false, "it hangs"}
	}
	return verdict{true, "it ends: " + lastLine(err.Error())}
}

func leaver(ctx context.Context, t *target) verdict {
	body := request("a cat", 256, 1, func(q *wire.Request) { q.Return = []wire.Return{wire.ReturnHeatmaps} })
	c, err := t.begin(ctx, wire.ScorePath, wire.MediaType, len(body), body)
	if err != nil {
		return verdict{false, err.Error()}
	}
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	_, err = c.Read(make([]byte, 1000))
	_ = c.Close()
	time.Sleep(2 * time.Second)
	for _, line := range strings.Split(t.logged(), "\n") {
		if strings.Contains(line, "level=ERROR") || strings.Contains(line, "code=internal") {
			return verdict{false, fmt.Sprintf("the log says %.160s", line)}
		}
	}
	return verdict{err == nil, "the log has no fault"}
}

func keys(ctx context.Context, t *target) verdict {
	var body strings.Builder
	body.WriteByte('{')
	for i := 0; body.Len() < 64<<20; i++ {
		fmt.Fprintf(&body, `"%07d":0,`, i)
	}
	body.WriteString(`"x":0}`)
	a := t.ask(ctx, time.Minute, http.MethodPost, "/compute", "application/json", []byte(body.String()))
	time.Sleep(time.Second)
	most, _ := t.grew()
	t.mu.Lock()
	longest := t.longest
	t.mu.Unlock()
	return verdict{most < 200<<20 && longest < 10_000, fmt.Sprintf("status %d after %.1f s, %s, a log line of %d kB", a.status, a.took.Seconds(), mib(most), longest/1000)}
}

func halfClosed(ctx context.Context, t *target) verdict {
	body := request("a cat", 1, 8, nil)
	c, err := t.begin(ctx, wire.ScorePath, wire.MediaType, len(body), body)
	if err != nil {
		return verdict{false, err.Error()}
	}
	if half, ok := c.(*net.TCPConn); ok {
		_ = half.CloseWrite()
	}
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
	first := make([]byte, 64)
	n, err := c.Read(first)
	status, _, _ := strings.Cut(string(first[:n]), "\r\n")
	return verdict{strings.HasPrefix(status, "HTTP/1.1 200") || strings.HasPrefix(status, "HTTP/1.1 100"), fmt.Sprintf("answered %q, %v", status, err)}
}

// damaged starts the program with a library that is not whole.
func damaged(change func([]byte) []byte) func(context.Context, *settings) verdict {
	return func(ctx context.Context, s *settings) verdict {
		data, err := os.ReadFile(s.library)
		if err != nil {
			return verdict{}
		}
		dir, err := os.MkdirTemp("", "items-")
		if err != nil {
			return verdict{false, err.Error()}
		}
		defer os.RemoveAll(dir)
		path := filepath.Join(dir, filepath.Base(s.library))
		if err := os.WriteFile(path, change(data), 0o700); err != nil {
			return verdict{false, err.Error()}
		}
		v := startsSoon(ctx, s, "--onnxruntime", path)
		v.held = v.held && strings.Contains(v.said, "corrupt")
		return v
	}
}
