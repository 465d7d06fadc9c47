package server

import (
	"net/http"
	"net/http/pprof"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/batch"
	"github.com/denseflow/densereward/reward/server/telemetry"
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

// watchServer answers GET /v1/watch with what the server does, for as long as the client
// stays.
func (s *Server) watchServer(c echo.Context) error {
	if c.Request().Method == http.MethodHead { // which has no stream to hold a place with
		c.Response().Header().Set(echo.HeaderContentType, watch.MediaType)
		return c.NoContent(http.StatusOK)
	}
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

func (s *Server) pageFile(c echo.Context) error {
	if !s.page.Has(c.Request().URL.Path) {
		return reward.ErrNotFound
	}
	s.page.ServeHTTP(c.Response(), c.Request())
	return nil
}

// DebugHandler is for a private listener: profiles of the process, under
// /debug/pprof/, and its metrics. Both tell more than clients should know.
func DebugHandler(m *telemetry.Metrics) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	mux.Handle(metricsPath, m.Handler())
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isHost(r.Host, []string{"localhost"}) {
			http.Error(w, "the host is not this machine", http.StatusForbidden)
			return
		}
		mux.ServeHTTP(w, r)
	})
}
