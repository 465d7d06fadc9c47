package places

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// network is a listener of connections in memory.
type network struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newNetwork() *network {
	return &network{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (n *network) Accept() (net.Conn, error) {
	select {
	case c := <-n.conns:
		return c, nil
	case <-n.closed:
		return nil, net.ErrClosed
	}
}

func (n *network) Close() error {
	n.once.Do(func() { close(n.closed) })
	return nil
}

func (n *network) Addr() net.Addr { return &net.UnixAddr{Name: "memory", Net: "memory"} }

// dial connects, as soon as the listener accepts.
func (n *network) dial(ctx context.Context) {
	_, theirs := net.Pipe()
	select {
	case n.conns <- theirs:
	case <-n.closed:
	case <-ctx.Done():
	}
}

// accept accepts until l is closed.
func accept(l *Listener) <-chan *Place {
	accepted := make(chan *Place, 100)
	go func() {
		defer close(accepted)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- c.(*Place)
		}
	}()
	return accepted
}

func TestConnectionsThatAreAnsweredKeepTheirPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		l := Limit(n, 2, 1)
		accepted := accept(l)
		for range 5 {
			go n.dial(t.Context())
		}
		synctest.Wait()
		if len(accepted) != 3 {
			t.Fatalf("%d connections accepted, want 2 and a spare one", len(accepted))
		}
		first, second, third := <-accepted, <-accepted, <-accepted
		if first.Spare() || second.Spare() || !third.Spare() {
			t.Error("the last one alone is spare")
		}
		for _, p := range []*Place{first, second, third} {
			p.answer(true)
		}
		time.Sleep(time.Minute)
		if len(accepted) != 0 {
			t.Error("a connection was closed in mid-answer")
		}
		if err := errors.Join(first.Close(), first.Close()); err != nil { // twice gives one place back
			t.Error(err)
		}
		synctest.Wait()
		if len(accepted) != 1 {
			t.Errorf("%d connections accepted after one was closed, want 1", len(accepted))
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		<-accepted
		if _, more := <-accepted; more {
			t.Error("a closed listener accepts")
		}
	})
}

func TestConnectionsWithoutARequestAreClosedForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		l := Limit(n, 3, 0)
		accepted := accept(l)
		for range 3 {
			n.dial(t.Context())
		}
		busy, trusted, idle := <-accepted, <-accepted, <-accepted
		busy.answer(true)
		trusted.answer(true)
		trusted.Trust()
		trusted.answer(false)
		began := time.Now()
		for _, want := range []*Place{idle, trusted} {
			go n.dial(t.Context())
			p := <-accepted
			p.answer(true)
			if _, err := want.Read(make([]byte, 1)); err == nil {
				t.Error("the connection is not closed")
			}
		}
		if took := time.Since(began); took > 2*Patience {
			t.Errorf("took %v", took)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
}
