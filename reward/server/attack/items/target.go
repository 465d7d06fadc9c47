//go:build unix

package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/denseflow/densereward/reward/wire"
)

// target is a server under attack. What is 0 is not known.
type target struct {
	address string // http://host:port

	process *os.Process
	done    chan struct{} // closed when it has ended
	resting int64         // bytes resident before the attack

	mu      sync.Mutex
	now     int64 // bytes resident
	peak    int64
	over    bool // it was ended for what it took
	longest int  // line of its log
	log     bytes.Buffer
}

// start runs the program as a server and waits until it is ready.
func start(ctx context.Context, s *settings, flags ...string) (*target, error) {
	command := command(s, flags...)
	stderr, err := command.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := command.Start(); err != nil {
		return nil, err
	}
	t := &target{process: command.Process, done: make(chan struct{})}
	ready := make(chan struct{})
	go func() {
		t.read(stderr, ready)
		_ = command.Wait()
		close(t.done)
	}()
	select {
	case <-ready:
	case <-t.done:
		return nil, fmt.Errorf("the server ended before it was ready: %s", t.logged())
	case <-ctx.Done():
		t.stop()
		return nil, ctx.Err()
	}
	time.Sleep(500 * time.Millisecond)
	t.resting = resident(t.process.Pid)
	go t.watch(s.most)
	return t, nil
}

func command(s *settings, flags ...string) *exec.Cmd {
	args := []string{"serve", "--listen", "127.0.0.1:0", "--threads", "1"}
	if s.model != "" {
		args = append(args, "--model", s.model)
	}
	return exec.Command(s.program, append(args, flags...)...)
}

var listening = regexp.MustCompile(`msg=listening address=(\S+)`)

// read reads the log.
func (t *target) read(log io.Reader, ready chan struct{}) {
	for lines := bufio.NewReaderSize(log, 64<<10); ; {
		line, err := lines.ReadString('\n')
		t.mu.Lock()
		t.longest = max(t.longest, len(line))
		if t.log.Len() < 1<<20 {
			t.log.WriteString(line[:min(len(line), 1000)])
		}
		if m := listening.FindStringSubmatch(line); m != nil {
			t.address = "http://" + m[1]
		}
		t.mu.Unlock()
		if strings.Contains(line, "msg=ready") {
			close(ready)
		}
		if err != nil {
			return
		}
	}
}

func (t *target) logged() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.log.String()
}

// watch notes what the process takes and ends it beyond most.
func (t *target) watch(most int64) {
	for tick := time.NewTicker(10 * time.Millisecond); ; {
		select {
		case <-t.done:
			tick.Stop()
			return
		case <-tick.C:
		}
		n := resident(t.process.Pid)
		t.mu.Lock()
		t.now, t.peak = n, max(t.peak, n)
		if n > most && !t.over {
			t.over = true
			_ = t.process.Kill()
		}
		t.mu.Unlock()
	}
}

// resident is the memory of a process, 0 where it is not known.
func resident(pid int) int64 {
	status, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "statm"))
	fields := strings.Fields(string(status))
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(fields[1], 10, 64)
	return pages * int64(os.Getpagesize())
}

// grew is how much the process took at most beyond what it took before the attack, and
// takes now.
func (t *target) grew() (most, now int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.peak - t.resting, t.now - t.resting
}

func (t *target) ended() bool {
	if t.done == nil {
		return false
	}
	select {
	case <-t.done:
		return true
	default:
		return false
	}
}

func (t *target) killed() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.over {
		return ""
	}
	return fmt.Sprintf("ended at %d MiB", t.peak>>20)
}

func (t *target) stop() {
	_ = t.process.Kill()
	<-t.done
}

func mib(n int64) string { return fmt.Sprintf("%d MiB", n>>20) }

// answer is what a request came to. Status 0 is a connection that broke, or no answer
// within its time.
type answer struct {
	status int
	header http.Header
	body   []byte
	took   time.Duration
}

// ask sends one request on a connection of its own and reads its answer.
func (t *target) ask(ctx context.Context, limit time.Duration, method, path, kind string, body []byte, header ...string) answer {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, t.address+path, bytes.NewReader(body))
	if err != nil {
		return answer{}
	}
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
		}
		r.Header.Set(header[i], header[i+1])
	}
	transport := &http.Transport{DisableKeepAlives: true, DisableCompression: true}
	defer transport.CloseIdleConnections()
	began := time.Now()
	got, err := transport.RoundTrip(r)
	if err != nil {
		return answer{took: time.Since(began)}
	}
	defer func() { _ = got.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(got.Body, 1<<30))
	a := answer{got.StatusCode, got.Header, text, time.Since(began)}
	if err != nil {
		a.status = 0
	}
	return a
}

// score posts a message to /v1/score.
func (t *target) score(ctx context.Context, limit time.Duration, message []byte, header ...string) answer {
	return t.ask(ctx, limit, http.MethodPost, wire.ScorePath, wire.MediaType, message, header...)
}

// dial opens a connection, which ends with ctx.
func (t *target) dial(ctx context.Context) (net.Conn, error) {
	u, err := url.Parse(t.address)
	if err != nil {
		return nil, err
	}
	c, err := new(net.Dialer).DialContext(ctx, "tcp", u.Host)
	if err == nil {
		context.AfterFunc(ctx, func() { _ = c.Close() })
	}
	return c, err
}

// begin opens a connection and sends the header of a message and its first bytes; of
// length -1, in chunks.
func (t *target) begin(ctx context.Context, path, kind string, length int, first []byte, header ...string) (net.Conn, error) {
	c, err := t.dial(ctx)
	if err != nil {
		return nil, err
	}
	_, host, _ := strings.Cut(t.address, "//")
	more := ""
	for i := 0; i+1 < len(header); i += 2 {
		more += header[i] + ": " + header[i+1] + "\r\n"
	}
	_, err = fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n%s\r\n", path, host, kind, length, more)
	if err == nil {
		_, err = c.Write(first)
	}
	return c, err
}
