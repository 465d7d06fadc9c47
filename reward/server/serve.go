package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/server/credentials"
	"github.com/denseflow/densereward/reward/server/places"
)

// Front is how a handler faces its clients. Start from DefaultFront.
type Front struct {
	// HeaderTimeout is how long a request's header may take, IdleTimeout how
	// long a connection may wait for its next request.
	HeaderTimeout, IdleTimeout time.Duration
	// MaxHeaderBytes bounds a request's header.
	MaxHeaderBytes int

	// DrainDelay is how long requests are still taken after readiness is off,
	// for load balancers to notice.
	DrainDelay time.Duration
	// DrainLimit is how long requests that were taken may take to finish.
	DrainLimit time.Duration

	// Certificate makes it HTTPS; nil is plain HTTP.
	Certificate *credentials.Certificate
	// Logger gets what goes wrong with connections; nil means slog.Default.
	Logger *slog.Logger
}

// DefaultFront has ten seconds for a header, two minutes for an idle
// connection, and thirty seconds to drain.
func DefaultFront() Front {
	return Front{
		HeaderTimeout:  10 * time.Second,
		IdleTimeout:    2 * time.Minute,
		MaxHeaderBytes: 64 << 10,
		DrainLimit:     30 * time.Second,
	}
}

// Serve answers connections of l with h until ctx ends, and then drains:
// readiness goes off; after DrainDelay no more connections are taken;
// requests that were taken have until DrainLimit to be answered. finish, if not
// nil, is then called with the same limit to end what is behind h, such as
// batch.Scheduler's Shutdown. What is left after the limit is cut off, and
// Serve returns an error.
func (f Front) Serve(ctx context.Context, l net.Listener, h http.Handler, readiness *Readiness, finish func(context.Context) error) error {
	if f.Logger == nil {
		f.Logger = slog.Default()
	}
	requests, giveUp := context.WithCancelCause(context.WithoutCancel(ctx))
	defer giveUp(nil)
	srv := f.server(requests, h)
	served := make(chan error, 1)
	go func() {
		if srv.TLSConfig != nil {
			served <- srv.ServeTLS(l, "", "")
		} else {
			served <- srv.Serve(l)
		}
	}()
	select {
	case err := <-served:
		return fmt.Errorf("server: %w", err)
	case <-ctx.Done():
	}
	readiness.Drain()
	f.Logger.Info("draining", "delay", f.DrainDelay, "limit", f.DrainLimit)
	select {
	case <-time.After(f.DrainDelay):
	case err := <-served:
		return fmt.Errorf("server: %w", err)
	}
	return f.drain(requests, giveUp, srv, finish)
}

// server is an http.Server without a limit on the whole of a request, which
// its size decides: DataRate sees to that. Requests have contexts below ctx.
func (f Front) server(ctx context.Context, h http.Handler) *http.Server {
	srv := &http.Server{
		Handler:           places.Handler(h),
		ConnContext:       places.Context,
		ReadHeaderTimeout: f.HeaderTimeout,
		IdleTimeout:       f.IdleTimeout,
		MaxHeaderBytes:    f.MaxHeaderBytes,
		Protocols:         new(http.Protocols),
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          slog.NewLogLogger(f.Logger.Handler(), slog.LevelWarn),
	}
	srv.Protocols.SetHTTP1(true)
	if f.Certificate != nil {
		srv.TLSConfig = f.Certificate.Config()
	}
	return srv
}

// drain lets requests finish within the limit, and gives up the rest.
func (f Front) drain(requests context.Context, giveUp context.CancelCauseFunc, srv *http.Server, finish func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(requests, f.DrainLimit)
	defer cancel()
	late := srv.Shutdown(ctx)
	var unfinished error
	if finish != nil {
		unfinished = finish(ctx)
	}
	if late != nil {
		giveUp(reward.ErrNotReady.With("the server is shutting down"))
		answering, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerGrace)
		defer cancel()
		if srv.Shutdown(answering) != nil {
			late = errors.Join(late, srv.Close())
		}
	}
	if err := errors.Join(late, unfinished); err != nil {
		return fmt.Errorf("server: drained for %v and gave up the rest: %w", f.DrainLimit, err)
	}
	return nil
}

// answerGrace is how long requests have to be answered whose work was given up.
const answerGrace = time.Second

// ErrNotLoopback is returned when an address can be reached from other machines, and nobody
// said that it may be.
var ErrNotLoopback = errors.New("server: not a loopback address")

// spareConnections are taken although all places are, for health checks and clients
// with a token.
const spareConnections = 16

// Listen opens a TCP listener that takes at most connections at a time, and a few
// more for health checks and clients with a token; see package places. Unless public is set, the address must be a
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
	return places.Limit(l, connections, spareConnections), nil
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
