package places

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// serve answers requests by h over a Listener.
func serve(t *testing.T, h http.HandlerFunc) net.Addr {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: Handler(h), ConnContext: Context}
	go s.Serve(Limit(l, 8, 1, 9))
	t.Cleanup(func() { _ = s.Close() })
	return l.Addr()
}

// ask sends a request and ends what is sent.
func ask(t *testing.T, address net.Addr, request string) *net.TCPConn {
	t.Helper()
	c, err := net.DialTCP("tcp", nil, address.(*net.TCPAddr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	return c
}

// untilGone answers when its client has left, or after a time.
func untilGone(d time.Duration, left chan<- bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		select {
		case <-r.Context().Done():
			left <- true
		case <-time.After(d):
			left <- false
		}
		_, _ = io.WriteString(w, "answer")
	}
}

const (
	withBody    = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
	inChunks    = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
	withoutBody = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
)

func TestAClientThatEndsWhatItSendsGetsItsAnswer(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		request string
		takes   time.Duration
	}{
		"at once":                {withBody, 0},
		"soon":                   {withBody, firstProbe / 4},
		"of chunks":              {inChunks, firstProbe / 4},
		"of a request alone":     {withoutBody, firstProbe / 4},
		"after it was asked for": {withBody, firstProbe + 3*refusal},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			left := make(chan bool, 1)
			conn := ask(t, serve(t, untilGone(c.takes, left)), c.request)
			var answer *http.Response
			for read := bufio.NewReader(conn); answer == nil || answer.StatusCode == http.StatusContinue; {
				var err error
				if answer, err = http.ReadResponse(read, nil); err != nil {
					t.Fatal(err)
				}
			}
			defer answer.Body.Close()
			text, err := io.ReadAll(answer.Body)
			if string(text) != "answer" || err != nil || <-left {
				t.Errorf("%q, %v", text, err)
			}
		})
	}
}

func TestAClientThatLeftIsFoundOut(t *testing.T) {
	t.Parallel()
	left := make(chan bool, 1)
	conn := ask(t, serve(t, untilGone(time.Minute, left)), withBody)
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	if !<-left {
		t.Error("its answer was made")
	}
}

func TestAnOldClientIsSentNoInterimAnswer(t *testing.T) {
	t.Parallel()
	left := make(chan bool, 1)
	conn := ask(t, serve(t, untilGone(time.Minute, left)), strings.Replace(withBody, "HTTP/1.1", "HTTP/1.0", 1))
	text, err := io.ReadAll(conn)
	if !<-left || err != nil || strings.Contains(string(text), " 100 ") {
		t.Errorf("%q, %v", text, err)
	}
}

func TestTheServerIsShutDownWhileAHalfClosedClientWaits(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	entered, leave := make(chan struct{}), make(chan struct{})
	s := &http.Server{ConnContext: Context, Handler: Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		close(entered)
		<-leave
	}))}
	served := make(chan error, 1)
	go func() { served <- s.Serve(Limit(l, 8, 1, 9)) }()
	conn := ask(t, l.Addr(), withBody)
	<-entered
	down := make(chan error, 1)
	go func() { down <- s.Shutdown(context.Background()) }()
	if err := <-served; err != http.ErrServerClosed {
		t.Fatal(err)
	}
	close(leave)
	if err := <-down; err != nil {
		t.Fatal(err)
	}
	if answer, err := io.ReadAll(conn); err != nil || !strings.Contains(string(answer), " 200 ") {
		t.Errorf("%q, %v", answer, err)
	}
}
