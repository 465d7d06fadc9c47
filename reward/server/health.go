package server

import (
	"net/http"

	"github.com/denseflow/densereward/reward"
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
