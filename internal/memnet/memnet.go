// Package memnet is a network in memory for tests: its connections are pipes, so that
// clients and servers can run in a synctest bubble.
package memnet

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// Listener is a net.Listener that is dialled by DialContext.
type Listener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

// New returns a Listener that nobody has dialled yet; it must be closed.
func New() *Listener { return &Listener{conns: make(chan net.Conn), closed: make(chan struct{})} }

// Accept returns the other end of the next connection that is dialled.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close makes Accept and DialContext fail. It may be called again.
func (l *Listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr is not an address that anything else could dial.
func (l *Listener) Addr() net.Addr { return &net.UnixAddr{Name: "memory", Net: "memory"} }

// DialContext connects, as soon as the listener accepts, whatever the address.
func (l *Listener) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := pair()
	select {
	case l.conns <- theirs:
		return ours, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// conn is an end of a connection whose directions close apart, as those of TCP do.
type conn struct {
	net.Conn // reads
	out      net.Conn
}

// pair returns the ends of a connection. What one end has closed for writing the other
// reads to its end; writing to an end that is closed fails.
func pair() (ours, theirs net.Conn) {
	ourIn, theirOut := net.Pipe()
	theirIn, ourOut := net.Pipe()
	return &conn{ourIn, ourOut}, &conn{theirIn, theirOut}
}

func (c *conn) Write(p []byte) (int, error) { return c.out.Write(p) }

// CloseWrite ends what the other end reads.
func (c *conn) CloseWrite() error { return c.out.Close() }

func (c *conn) Close() error { return errors.Join(c.out.Close(), c.Conn.Close()) }

func (c *conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

func (c *conn) SetWriteDeadline(t time.Time) error { return c.out.SetWriteDeadline(t) }
