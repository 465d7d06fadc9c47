package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
)

// ErrNotLoopback: an address can be reached from other machines, and nobody
// said that it may be.
var ErrNotLoopback = errors.New("server: not a loopback address")

// Listen opens a TCP listener that takes at most connections at a time; more
// wait until one is closed. Unless public is set, the address must be a
// loopback one, so that nobody serves a network by accident.
func Listen(ctx context.Context, address string, public bool, connections int) (net.Listener, error) {
	if connections < 1 {
		return nil, fmt.Errorf("server: connection limit is %d, want at least 1", connections)
	}
	if !public {
		if err := loopback(ctx, address); err != nil {
			return nil, err
		}
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	return LimitConnections(l, connections), nil
}

// loopback fails if any address that the name stands for is not a loopback one.
func loopback(ctx context.Context, address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("server: listen address: %w", err)
	}
	if host == "" {
		return fmt.Errorf("%w: %q means every address of this machine", ErrNotLoopback, address)
	}
	addresses, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return fmt.Errorf("server: listen address: %w", err)
	}
	for _, a := range addresses {
		if !a.IsLoopback() {
			return fmt.Errorf("%w: %s is %v", ErrNotLoopback, host, a)
		}
	}
	return nil
}

// limitedListener accepts while it has places.
type limitedListener struct {
	net.Listener
	places chan struct{} // one element a connection
	closed chan struct{}
	once   sync.Once
}

// LimitConnections makes Accept wait while n connections of l are open.
func LimitConnections(l net.Listener, n int) net.Listener {
	return &limitedListener{Listener: l, places: make(chan struct{}, n), closed: make(chan struct{})}
}

// Accept waits for a place, then for a connection.
func (l *limitedListener) Accept() (net.Conn, error) {
	select {
	case l.places <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.places
		return nil, err
	}
	return &placedConn{Conn: c, leave: sync.OnceFunc(func() { <-l.places })}, nil
}

// Close stops Accept, also one that waits for a place.
func (l *limitedListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// placedConn gives its place back when it is closed.
type placedConn struct {
	net.Conn
	leave func()
}

func (c *placedConn) Close() error {
	err := c.Conn.Close()
	c.leave()
	return err
}
