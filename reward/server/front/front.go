// Package front is how a handler faces its clients: Listen opens a loopback address
// unless told otherwise, with a limit of connections; a Front serves it with timeouts,
// TLS and a drain at the end; Readiness tells load balancers when requests may come.
package front

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

// Front is how a handler faces its clients. Start from Default.
type Front struct {
	// HeaderTimeout is how long a request's header may take, IdleTimeout how
	// long a connection may wait for its next request.
	HeaderTimeout, IdleTimeout time.Duration
	// MaxHeaderBytes bounds a request's header, which takes seven times that where its
	// fields are short.
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

// Default has ten seconds for a header, two minutes for an idle
// connection, and thirty seconds to drain.
func Default() Front {
	return Front{
		HeaderTimeout:  10 * time.Second,
		IdleTimeout:    2 * time.Minute,
		MaxHeaderBytes: 16 << 10,
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
		return fmt.Errorf("front: %w", err)
	case <-ctx.Done():
	}
	readiness.Drain()
	f.Logger.Info("draining", "delay", f.DrainDelay, "limit", f.DrainLimit)
	select {
	case <-time.After(f.DrainDelay):
	case err := <-served:
		return fmt.Errorf("front: %w", err)
	}
	return f.drain(requests, giveUp, srv, finish)
}

// server is an http.Server without a limit on the whole of a request, which
// its size decides: package server's DataRate sees to that. Requests have contexts below ctx.
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
		return fmt.Errorf("front: drained for %v and gave up the rest: %w", f.DrainLimit, err)
	}
	return nil
}

// answerGrace is how long requests have to be answered whose work was given up.
const answerGrace = time.Second
