package client_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/denseflow/densereward/client"
	"github.com/denseflow/densereward/reward/rewardtest"
	"github.com/denseflow/densereward/reward/wire"
)

// peer is the address of one that answers each connection with script.
func peer(t *testing.T, script func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				script(c)
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

// TestACallEndsWithItsTimeWhateverItsPeerDoes waits for calls that would never end
// otherwise.
func TestACallEndsWithItsTimeWhateverItsPeerDoes(t *testing.T) {
	drips := func(head, tail string, pause time.Duration) func(net.Conn) {
		return func(c net.Conn) {
			_, _ = c.Read(make([]byte, 1<<16))
			_, err := io.WriteString(c, head)
			for err == nil {
				time.Sleep(pause)
				_, err = io.WriteString(c, tail)
			}
		}
	}
	const drop = 20 * time.Millisecond
	for name, script := range map[string]func(net.Conn){
		"nothing":               func(c net.Conn) { _, _ = io.Copy(io.Discard, c) },
		"nothing read":          func(c net.Conn) { time.Sleep(10 * time.Second) },
		"a body":                drips("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", "x", drop),
		"a body without length": drips("HTTP/1.1 200 OK\r\n\r\n", "x", drop),
		"chunks":                drips("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n", drop),
		"trailers":              drips("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", "A: b\r\n", drop),
		"headers":               drips("HTTP/1.1 200 OK\r\n", "A: b\r\n", drop),
		"one header":            drips("HTTP/1.1 200 OK\r\nA: ", "b", drop),
		"interim answers":       drips("", "HTTP/1.1 100 Continue\r\n\r\n", drop),
		"a flood of interims":   drips("", strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 1000), 0),
		"a flood of headers":    drips("HTTP/1.1 200 OK\r\n", strings.Repeat("A: b\r\n", 1000), 0),
		"the end of its half": func(c net.Conn) {
			_, _ = c.Read(make([]byte, 1<<16))
			_ = c.(*net.TCPConn).CloseWrite()
			_, _ = io.Copy(io.Discard, c)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := client.New(peer(t, script))
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			_, err = c.Score(ctx, &wire.Request{Prompts: []string{"a cat"}, Images: []wire.Image{{Encoded: rewardtest.PNG(rewardtest.Image(1, 8, 8))}}})
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v", err)
			}
		})
	}
}
