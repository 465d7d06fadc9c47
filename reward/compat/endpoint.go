package compat

import (
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

// Request is a foreign request in the terms of package scoring.
type Request struct {
	Calls   []Call
	Ignored []string // what the body holds and means nothing here
	// Answer gives the JSON for what became of the calls, in their order.
	Answer func([]*scoring.Scored) (any, error)
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

// Call asks one evaluator for scores; "" is the server's first.
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
