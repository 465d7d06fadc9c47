package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/wire"
)

// Models is what a server's requests can name, the default evaluator first.
type Models struct {
	Protocol   int         `json:"protocol"`
	Evaluators []Evaluator `json:"evaluators"`
	Decoders   []Decoder   `json:"decoders"`
}

// Evaluator describes an evaluator; see reward.Description.
type Evaluator struct {
	Name          string        `json:"name"`
	Kind          string        `json:"kind"`
	Fingerprint   string        `json:"fingerprint"`
	Modes         []reward.Mode `json:"modes"`
	Scores        []Score       `json:"scores"`
	Maps          []Map         `json:"maps"`
	Text          bool          `json:"text"`
	Boxes         bool          `json:"boxes"`
	Generates     bool          `json:"generates"`
	PromptTokens  int           `json:"prompt_tokens"`
	Resize        string        `json:"resize"`
	Demonstration bool          `json:"demonstration"`
	Note          string        `json:"note"`
}

// Score describes one of an evaluator's scores; see reward.ScoreSpec. Min and
// Max are nil where the score has no bound.
type Score struct {
	Name   string   `json:"name"`
	Min    *float64 `json:"min"`
	Max    *float64 `json:"max"`
	Weight float64  `json:"weight"`
	Doc    string   `json:"doc"`
}

// Map describes one of an evaluator's maps; see reward.MapSpec.
type Map struct {
	Name   string  `json:"name"`
	Height int     `json:"height"`
	Width  int     `json:"width"`
	Weight float64 `json:"weight"`
	Doc    string  `json:"doc"`
}

// Decoder describes a latent decoder; see reward.DecoderDescription.
type Decoder struct {
	Name        string `json:"name"`
	Fingerprint string `json:"fingerprint"`
	Channels    int    `json:"channels"`
	Packed      bool   `json:"packed"`
	PixelScale  int    `json:"pixel_scale"`
	GridScale   int    `json:"grid_scale"`
}

// Models asks the first server that answers. It does not retry.
func (c *Client) Models(ctx context.Context) (*Models, error) {
	var failures []error
	for _, s := range c.servers.all {
		body, err := c.get(ctx, s, wire.ModelsPath)
		if err != nil {
			failures = append(failures, err)
			continue
		}
		m := &Models{}
		if err := json.Unmarshal(body, m); err != nil {
			return nil, fmt.Errorf("client: %s: list of models: %w", s.base, err)
		}
		return m, nil
	}
	return nil, fmt.Errorf("client: %w", errors.Join(failures...))
}

// Ready fails, for the first reason, unless all servers are ready for
// requests. It does not retry.
func (c *Client) Ready(ctx context.Context) error {
	for _, s := range c.servers.all {
		if _, err := c.get(ctx, s, "/readyz"); err != nil {
			return fmt.Errorf("client: %w", err)
		}
	}
	return nil
}

// maxJSON bounds the answers of the server's JSON paths.
const maxJSON = 1 << 20

func (c *Client) get(ctx context.Context, s *server, path string) ([]byte, error) {
	answer, body, err := c.ask(ctx, s, http.MethodGet, path, nil, maxJSON)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode == http.StatusOK {
		return body, nil
	}
	return nil, &exchangeError{
		server: s.base, requestID: answer.Header.Get(wire.HeaderRequestID), cause: told(answer, body),
	}
}
