package server

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/server/telemetry"
	"github.com/denseflow/densereward/reward/wire"
	"github.com/labstack/echo/v4"
)

// route is the pattern of the path that a request matched, telemetry.Unknown for every
// path that the server does not have.
func route(c echo.Context) string {
	if p := c.Path(); p != "" {
		return p
	}
	return telemetry.Unknown
}

// watch answers errors, and then counts and logs each request.
func (s *Server) watch(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		began := s.cfg.Now()
		defer s.cfg.Metrics.Begin()()
		err := next(c)
		if w, ok := c.Get(writerKey).(*timedWriter); ok && w.failed != nil {
			err = reward.ErrCanceled.Wrap(w.failed)
		}
		code := telemetry.CodeOK
		if err != nil {
			code = asError(err).Code()
			c.Error(err) // now, so that the status and size are known
		}
		var received int64
		if b, ok := c.Get(bodyKey).(*timedBody); ok {
			received = b.n
		}
		d := s.cfg.Now().Sub(began)
		w := c.Response()
		method, path := c.Request().Method, route(c)
		s.cfg.Metrics.Request(telemetry.Answered{
			Path: path, Method: method, Status: w.Status, Code: code, Took: d, In: received, Out: w.Size,
			Scores: method == http.MethodPost && path != wire.JobsPath,
		})
		s.logAccess(c, code, d, received)
		return nil
	}
}

// logAccess writes a line for a request. Probes, which come every few seconds,
// are for those who debug.
func (s *Server) logAccess(c echo.Context, code string, d time.Duration, received int64) {
	if s.cfg.AccessLog == nil {
		return
	}
	r, w := c.Request(), c.Response()
	level := slog.LevelInfo
	if open(r.URL.Path) {
		level = slog.LevelDebug
	}
	owner, _ := c.Get(ownerKey).(string)
	s.cfg.AccessLog.LogAttrs(r.Context(), level, "request",
		slog.String("request_id", requestID(c)),
		slog.String("remote", r.RemoteAddr),
		slog.String("owner", owner),
		slog.String("method", telemetry.KnownMethod(r.Method)),
		slog.String("path", route(c)),
		slog.Int("status", w.Status),
		slog.String("code", code),
		slog.Int64("received", received),
		slog.Int64("sent", w.Size),
		slog.Duration("took", d.Round(time.Microsecond)),
	)
}
