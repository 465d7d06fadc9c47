package compat

import (
	"context"
	"slices"
	"time"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/scoring"
	"github.com/denseflow/densereward/reward/wire"
	"github.com/denseflow/densereward/reward/wire/boundedjson"
)

// Endpoint is one path of a foreign protocol: either Describe or Decode is set.
type Endpoint struct {
	Method, Path string
	Probe        bool // answered without a token, as a health check is

	// Describe gives the JSON of a request without a body.
	Describe func(evaluators []reward.Description) any

	// Decode reads a JSON body, which it may write over and which lives until
	// the samples were evaluated. Its errors are *reward.Errors.
	Decode func(body []byte, limits wire.Limits) (*Request, error)
}

// Request is a foreign request that was read.
type Request struct {
	Ignored []string // what the body holds and means nothing here
	// Answer has host do what is asked and gives the JSON for what became of it.
	Answer func(ctx context.Context, host Host) (any, error)
}

// Host is a server's evaluators as one request may use them; "" names the first. The
// errors are the protocol's, and those of package batch.
type Host interface {
	Describe(evaluator string) (reward.Description, error)
	Score(ctx context.Context, call Call) (*scoring.Scored, error)
	Generate(ctx context.Context, evaluator string, in scoring.Input, c reward.Continuation) (*scoring.Generated, error)
}

// maxIgnored bounds the keys of a request that mean nothing here: more are no mistake.
const maxIgnored = 32

// ignore passes over the value of a key that means nothing here.
func ignore(r *boundedjson.Reader, ignored *[]string, key string) error {
	if len(*ignored) == maxIgnored {
		return r.Fail(reward.ErrInvalidValue, "more than %d keys that are not of this protocol", maxIgnored)
	}
	*ignored = append(*ignored, key)
	return r.Skip()
}

// Call asks one evaluator for scores.
type Call struct {
	Evaluator string
	Input     scoring.Input
	Options   scoring.Options
}

// Config is what the operator of a server decides about foreign protocols.
type Config struct {
	// SampleErrors answers UniRL's requests with the errors of single samples, of
	// which its client makes 0.0 and goes on, instead of failing the request.
	SampleErrors bool
	// Now is the clock that answers are dated with; nil means time.Now.
	Now func() time.Time
}

// Endpoints lists those of every protocol.
func Endpoints(cfg Config) []Endpoint {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return slices.Concat(health(), flowFactory(), unirl(cfg.SampleErrors), openAI(cfg.Now))
}
