package server

import (
	"crypto/rand"
	"encoding/hex"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/wire"
	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
)

// maxRequestID bounds the ids that clients choose.
const maxRequestID = 128

// identify gives each request its id, the client's own if it is fit for a log.
func (s *Server) identify() echo.MiddlewareFunc {
	named := middleware.RequestIDWithConfig(middleware.RequestIDConfig{Generator: s.cfg.NewRequestID, TargetHeader: wire.HeaderRequestID})
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		name := named(next)
		return func(c echo.Context) error {
			if h := c.Request().Header; !plainID(h.Get(wire.HeaderRequestID)) {
				h.Del(wire.HeaderRequestID)
			}
			return name(c)
		}
	}
}

func requestID(c echo.Context) string {
	return c.Response().Header().Get(wire.HeaderRequestID)
}

// plainID reports whether id is short and of visible ASCII alone.
func plainID(id string) bool {
	for _, b := range []byte(id) {
		if b <= ' ' || b > '~' {
			return false
		}
	}
	return id != "" && len(id) <= maxRequestID
}

func randomID() string {
	var b [12]byte
	_, _ = rand.Read(b[:]) // crypto/rand never fails
	return hex.EncodeToString(b[:])
}

// checkHost refuses requests for a host that is neither this machine nor named.
func (s *Server) checkHost(next echo.HandlerFunc) echo.HandlerFunc {
	if s.cfg.Hosts == nil {
		return next
	}
	return func(c echo.Context) error {
		if host := c.Request().Host; !isHost(host, s.cfg.Hosts) {
			return reward.ErrInvalidValue.With("host: %.80q is neither this machine nor a name given with --host", host)
		}
		return next(c)
	}
}

// isHost reports whether a Host header names a loopback address or one of names. No
// browser leaves it out.
func isHost(host string, names []string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.Trim(host, "[]"), ".")
	if address, err := netip.ParseAddr(host); err == nil && address.Unmap().IsLoopback() {
		return true
	}
	return host == "" || slices.ContainsFunc(names, func(name string) bool { return strings.EqualFold(name, host) })
}

// contain turns a panic of a handler into an internal error of its request.
func (s *Server) contain() echo.MiddlewareFunc {
	return middleware.RecoverWithConfig(middleware.RecoverConfig{
		DisableStackAll:     true,
		DisableErrorHandler: true, // watch answers it
		LogErrorFunc: func(c echo.Context, err error, stack []byte) error {
			s.cfg.Logger.Error("panic", "request_id", requestID(c), "panic", err.Error(), "stack", string(stack))
			return reward.ErrInternal
		},
	})
}

// secure sets the headers that keep a browser from doing more with an answer
// than showing it. A page that needs more says so itself.
func (s *Server) secure() echo.MiddlewareFunc {
	headers := middleware.SecureWithConfig(middleware.SecureConfig{
		ContentTypeNosniff:    "nosniff",
		ContentSecurityPolicy: "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
		ReferrerPolicy:        "no-referrer",
		HSTSMaxAge:            31536000, // over TLS alone
		HSTSExcludeSubdomains: true,
	})
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		protect := headers(next)
		return func(c echo.Context) error {
			c.Response().Header().Set(echo.HeaderCacheControl, "no-store")
			return protect(c)
		}
	}
}
