package server

import (
	"math"
	"net/http"
	"strings"

	"github.com/denseflow/densereward/reward"
	"github.com/labstack/echo/v4"
)

// The JSON of GET /v1/models. Numbers that are infinite are null.
type (
	modelList struct {
		Object     string          `json:"object"` // as OpenAI's clients list models
		Data       []modelInfo     `json:"data"`
		Protocol   int             `json:"protocol"`
		Evaluators []evaluatorInfo `json:"evaluators"`
		Decoders   []decoderInfo   `json:"decoders"`
	}

	modelInfo struct {
		ID      string `json:"id"`
		Object  string `json:"object"`
		Created int64  `json:"created"`
		OwnedBy string `json:"owned_by"`
	}

	evaluatorInfo struct {
		Name          string        `json:"name"`
		Kind          string        `json:"kind"`
		Fingerprint   string        `json:"fingerprint"`
		Modes         []reward.Mode `json:"modes"`
		Scores        []scoreInfo   `json:"scores"`
		Maps          []mapInfo     `json:"maps"`
		Text          bool          `json:"text"`
		Boxes         bool          `json:"boxes"`
		Generates     bool          `json:"generates"`
		PromptTokens  int           `json:"prompt_tokens"`
		Resize        string        `json:"resize"`
		Demonstration bool          `json:"demonstration"`
		Note          string        `json:"note"`
	}

	scoreInfo struct {
		Name   string   `json:"name"`
		Min    *float64 `json:"min"`
		Max    *float64 `json:"max"`
		Weight float64  `json:"weight"`
		Doc    string   `json:"doc"`
	}

	mapInfo struct {
		Name   string  `json:"name"`
		Height int     `json:"height"`
		Width  int     `json:"width"`
		Weight float64 `json:"weight"`
		Doc    string  `json:"doc"`
	}

	decoderInfo struct {
		Name        string `json:"name"`
		Fingerprint string `json:"fingerprint"`
		Channels    int    `json:"channels"`
		Packed      bool   `json:"packed"`
		PixelScale  int    `json:"pixel_scale"`
		GridScale   int    `json:"grid_scale"`
	}
)

// listModels lists what requests may name, the default evaluator first.
func (s *Server) listModels(c echo.Context) error {
	list := modelList{Object: "list", Protocol: 1, Decoders: []decoderInfo{}}
	for i := range s.cfg.Models {
		list.Data = append(list.Data, modelInfo{ID: s.cfg.Models[i].Description.Name, Object: "model", OwnedBy: "densereward"})
		about := describeEvaluator(&s.cfg.Models[i].Description)
		if s.cfg.Notes != nil {
			about.Note = strings.TrimSpace(about.Note + " " + s.cfg.Notes(about.Name))
		}
		list.Evaluators = append(list.Evaluators, about)
	}
	for _, d := range s.cfg.Decoders {
		list.Decoders = append(list.Decoders, decoderInfo(d.Describe()))
	}
	return c.JSON(http.StatusOK, list)
}

func describeEvaluator(d *reward.Description) evaluatorInfo {
	info := evaluatorInfo{
		Name: d.Name, Kind: d.Kind, Fingerprint: d.Fingerprint,
		Modes: d.Modes, Scores: []scoreInfo{}, Maps: []mapInfo{},
		Text: d.Text, Boxes: d.Boxes, Generates: d.Generates, PromptTokens: d.PromptTokens,
		Resize: d.Resize, Demonstration: d.Demonstration, Note: d.Note,
	}
	for _, s := range d.Scores {
		info.Scores = append(info.Scores, scoreInfo{s.Name, finite(s.Min), finite(s.Max), s.Weight, s.Doc})
	}
	for _, m := range d.Maps {
		info.Maps = append(info.Maps, mapInfo(m))
	}
	return info
}

// finite is nil for an infinite number, which JSON does not have.
func finite(f float64) *float64 {
	if math.IsInf(f, 0) {
		return nil
	}
	return &f
}
