package server

import (
	"context"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/wire"
)

// maxTimeout bounds what a client may ask for, so that seconds fit a Duration.
const maxTimeout = 24 * time.Hour

// DefaultTimeout is how long a request may take if nobody says otherwise.
const DefaultTimeout = 10 * time.Minute

// withDeadline is the request's context, cut at the time that the client says
// it will wait, or after standard if it does not say.
func withDeadline(r *http.Request, standard time.Duration) (context.Context, context.CancelFunc, error) {
	text := r.Header.Get(wire.HeaderTimeout)
	if text == "" {
		ctx, cancel := context.WithTimeout(r.Context(), standard)
		return ctx, cancel, nil
	}
	seconds, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(seconds) || seconds <= 0 {
		return nil, nil, reward.ErrInvalidValue.With("%s: want positive decimal seconds, got %.40q", wire.HeaderTimeout, text)
	}
	timeout := time.Duration(min(seconds, maxTimeout.Seconds()) * float64(time.Second))
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	return ctx, cancel, nil
}
