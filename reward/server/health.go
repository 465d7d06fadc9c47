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

// listModels lists what requests may name, the default evaluator first.
func (s *Server) listModels(c echo.Context) error {
	type evaluator struct {
		Name          string        `json:"name"`
		Fingerprint   string        `json:"fingerprint"`
		Modes         []reward.Mode `json:"modes"`
		HeatmapHeight int           `json:"heatmap_height"`
		HeatmapWidth  int           `json:"heatmap_width"`
		Demonstration bool          `json:"demonstration"`
	}
	type decoder struct {
		Name        string `json:"name"`
		Fingerprint string `json:"fingerprint"`
		Channels    int    `json:"channels"`
		Packed      bool   `json:"packed"`
		PixelScale  int    `json:"pixel_scale"`
	}
	list := struct {
		Protocol   int         `json:"protocol"`
		Evaluators []evaluator `json:"evaluators"`
		Decoders   []decoder   `json:"decoders"`
	}{Protocol: 1, Decoders: []decoder{}}
	for _, m := range s.cfg.Models {
		list.Evaluators = append(list.Evaluators, evaluator(m.Description))
	}
	for _, v := range s.cfg.Decoders {
		list.Decoders = append(list.Decoders, decoder(v.Describe()))
	}
	return c.JSON(http.StatusOK, list)
}
