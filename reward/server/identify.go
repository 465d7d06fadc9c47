package server

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"runtime/debug"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/wire"
	"github.com/labstack/echo/v4"
)

// maxRequestID bounds the ids that clients choose.
const maxRequestID = 128

// identify gives each request its id, the client's own if it is fit for a log.
func (s *Server) identify(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		id := c.Request().Header.Get(wire.HeaderRequestID)
		if !plainID(id) {
			id = s.cfg.NewRequestID()
		}
		c.Response().Header().Set(wire.HeaderRequestID, id)
		return next(c)
	}
}

func requestID(c echo.Context) string {
	return c.Response().Header().Get(wire.HeaderRequestID)
}

// plainID reports whether id is short and of visible ASCII.
func plainID(id string) bool { return id != "" && len(id) <= maxRequestID && visible(id) }

// visible reports whether text is of visible ASCII alone.
func visible(text string) bool {
	for _, b := range []byte(text) {
		if b <= ' ' || b > '~' {
			return false
		}
	}
	return true
}

func randomID() string {
	var b [12]byte
	_, _ = rand.Read(b[:]) // crypto/rand never fails
	return hex.EncodeToString(b[:])
}

// contain turns a panic of a handler into an internal error of its request.
func (s *Server) contain(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) (err error) {
		defer func() {
			if p := recover(); p != nil {
				s.logPanic(requestID(c), p)
				err = reward.ErrInternal
			}
		}()
		return next(c)
	}
}

func (s *Server) logPanic(id string, p any) {
	s.cfg.Logger.Error("panic", "request_id", id, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
}
