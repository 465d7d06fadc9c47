package server

import (
	"errors"
	"net/http"
	"sync/atomic"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/batch"
	"github.com/denseflow/densereward/reward/server/watch"
	"github.com/labstack/echo/v4"
)

// healthz says that the process answers.
func (s *Server) healthz(c echo.Context) error {
	return c.JSON(http.StatusOK, map[string]string{"status": "ok"})
}

// readyz says whether the server should get requests.
func (s *Server) readyz(c echo.Context) error {
	if err := s.cfg.Ready(); err != nil {
		return reward.ErrNotReady.Wrap(err)
	}
	return c.JSON(http.StatusOK, map[string]string{"status": "ready"})
}

var (
	errStarting = errors.New("the model is being loaded")
	errDraining = errors.New("the server is shutting down")
)

// Readiness tells load balancers when a server should get requests: from the
// moment its model is warm to the moment it begins to drain. The zero value is
// not ready yet. Its Err is a Config's Ready.
type Readiness struct {
	state atomic.Int32
}

const (
	starting int32 = iota
	ready
	draining
)

// Warm says that the model has answered once. It does not undo Drain.
func (r *Readiness) Warm() { r.state.CompareAndSwap(starting, ready) }

// Drain says that no more requests should come.
func (r *Readiness) Drain() { r.state.Store(draining) }

// Err is why the server should get no requests; nil when it should.
func (r *Readiness) Err() error {
	switch r.state.Load() {
	case starting:
		return errStarting
	case draining:
		return errDraining
	default:
		return nil
	}
}

// watchServer answers GET /v1/watch with what the server does, for as long as the client
// stays.
func (s *Server) watchServer(c echo.Context) error {
	owner, _ := c.Get(ownerKey).(string)
	leave, ok := s.streams.Enter(owner)
	if !ok {
		return &batch.OverloadError{RetryAfter: retryHeld}
	}
	defer leave()
	c.Response().Header().Set(echo.HeaderContentType, watch.MediaType)
	c.Response().WriteHeader(http.StatusOK)
	return s.streams.Write(c.Request().Context(), c.Response(), owner, func() error {
		if w, ok := c.Get(writerKey).(*timedWriter); ok {
			w.rest()
		}
		return http.NewResponseController(c.Response()).Flush()
	})
}

// pageFile sends a file of the page.
func (s *Server) pageFile(c echo.Context) error {
	if !s.page.Has(c.Request().URL.Path) {
		return reward.ErrNotFound
	}
	s.page.ServeHTTP(c.Response(), c.Request())
	return nil
}
