package server

import (
	"errors"
	"math"
	"net/http"
	"strconv"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/batch"
	"github.com/denseflow/densereward/reward/wire"
	"github.com/denseflow/densereward/reward/wire/jsonwire"
	"github.com/labstack/echo/v4"
)

// fail answers a request with its error: msgpack where a score was asked for,
// JSON elsewhere and where the client speaks it.
func (s *Server) fail(err error, c echo.Context) {
	e := asError(err)
	if e.Status() >= http.StatusInternalServerError && !errors.Is(e, reward.ErrNotReady) {
		s.cfg.Logger.Error("request failed", "request_id", requestID(c), "code", e.Code(), "error", err)
	}
	if c.Response().Committed {
		return
	}
	var overload *batch.OverloadError
	if errors.As(err, &overload) {
		seconds := math.Ceil(overload.RetryAfter.Seconds())
		c.Response().Header().Set("Retry-After", strconv.FormatFloat(seconds, 'f', 0, 64))
	}
	if wantsJSON(c.Request()) {
		err = c.JSON(e.Status(), failure{Code: e.Code(), Message: e.Message()})
	} else {
		err = c.Blob(e.Status(), wire.MediaType, wire.EncodeError(e))
	}
	if err != nil {
		s.cfg.Logger.Debug("error not delivered", "request_id", requestID(c), "error", err)
	}
}

// failure is an error as JSON.
type failure struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

func wantsJSON(r *http.Request) bool {
	ours := r.URL.Path == wire.ScorePath || r.URL.Path == wire.RFTPath
	return !ours || jsonwire.Wanted(r.Header)
}

// asError is the protocol's error for err. The text of an error that is not
// the protocol's stays here: it may name files.
func asError(err error) *reward.Error {
	var web *echo.HTTPError
	if errors.As(err, &web) {
		switch web.Code {
		case http.StatusNotFound:
			return reward.ErrNotFound
		case http.StatusMethodNotAllowed:
			return reward.ErrMethodNotAllowed
		}
	}
	return reward.ContextError(err, reward.ErrInternal)
}
