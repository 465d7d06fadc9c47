package front

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/denseflow/densereward/reward/server/places"
)

// ErrNotLoopback is returned when an address can be reached from other machines, and nobody
// said that it may be.
var ErrNotLoopback = errors.New("front: not a loopback address")

// spareConnections are taken although all places are, for health checks and clients
// with a token.
const spareConnections = 16

// Listen opens a TCP listener that takes at most connections at a time, and a few
// more for health checks and clients with a token; one client has at most share of them,
// see package places. Unless public is set, the address must be a
// loopback one, so that nobody serves a network by accident.
func Listen(ctx context.Context, address string, public bool, connections, share int) (*places.Listener, error) {
	if connections < 1 {
		return nil, fmt.Errorf("front: connection limit is %d, want at least 1", connections)
	}
	if share < 1 {
		return nil, fmt.Errorf("front: one client's share of connections is %d, want at least 1", share)
	}
	if !public {
		if err := loopback(ctx, address); err != nil {
			return nil, err
		}
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("front: %w", err)
	}
	return places.Limit(l, connections, spareConnections, share), nil
}

// IsLoopback reports whether only this machine can reach an address.
func IsLoopback(address net.Addr) bool {
	tcp, ok := address.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// loopback fails if any address that the name stands for is not a loopback one.
func loopback(ctx context.Context, address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("front: listen address: %w", err)
	}
	if host == "" {
		return fmt.Errorf("%w: %q means every address of this machine", ErrNotLoopback, address)
	}
	addresses, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return fmt.Errorf("front: listen address: %w", err)
	}
	for _, a := range addresses {
		if !a.IsLoopback() {
			return fmt.Errorf("%w: %s is %v", ErrNotLoopback, host, a)
		}
	}
	return nil
}
