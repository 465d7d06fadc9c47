package server

import (
	"cmp"
	"net"
	"net/http"
	"strings"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/batch"
	"github.com/denseflow/densereward/reward/scoring"
	"github.com/denseflow/densereward/reward/server/places"
	"github.com/denseflow/densereward/reward/server/watch"
	"github.com/labstack/echo/v4"
)

// ownerKey is where authorize leaves the owner's name for the access log.
const ownerKey = "densereward.owner"

// open reports whether a path is answered without a token and a place: probes ask
// whether the server is up, and learn no more.
func open(path string) bool {
	return path == healthPath || path == readyPath || probe(path)
}

// authorize lets only owners of a token in.
func (s *Server) authorize(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		place := places.Of(c.Request().Context())
		if place.Spare() {
			c.Response().Header().Set(echo.HeaderConnection, "close")
		}
		if open(c.Request().URL.Path) {
			return next(c)
		}
		if s.cfg.Tokens == nil || s.page.Has(c.Request().URL.Path) {
			if place.Spare() {
				return &batch.OverloadError{RetryAfter: retryHeld}
			}
			return s.admit(c, "address "+address(c.Request()), next)
		}
		name, rights, ok := s.cfg.Tokens.Owner(bearer(c.Request()))
		if !ok {
			c.Response().Header().Set(echo.HeaderWWWAuthenticate, `Bearer realm="densereward"`)
			return reward.ErrUnauthorized
		}
		if right := cmp.Or(rightOf[c.Request().URL.Path], "score"); !rights.Has(right) {
			return reward.ErrUnauthorized.With("the token does not have the right %q", right)
		}
		if !place.Trust(name) {
			c.Response().Header().Set(echo.HeaderConnection, "close")
			return &batch.OverloadError{RetryAfter: retryHeld}
		}
		c.Set(ownerKey, name)
		return s.admit(c, "token of "+name, next)
	}
}

// rightOf are the paths that need another right than to score.
var rightOf = map[string]string{metricsPath: "metrics", watch.Path: "admin"}

// admit answers a request of a client, who has its place in queues beside others.
func (s *Server) admit(c echo.Context, client string, next echo.HandlerFunc) error {
	c.SetRequest(c.Request().WithContext(batch.WithClient(c.Request().Context(), client)))
	return next(c)
}

// address is that of a request's peer, without the port.
func address(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// barrier is where the groups of the request's owner come together.
func (s *Server) barrier(c echo.Context) scoring.Barrier {
	owner, _ := c.Get(ownerKey).(string)
	return s.groups.For(owner)
}

// bearer is the token of a request, "" if it has none.
func bearer(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get(echo.HeaderAuthorization), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}
