package client

import (
	"context"
	"net/http"
	"time"

	"github.com/denseflow/densereward/reward"
)

// Option changes what New makes.
type Option func(*options)

type options struct {
	http        *http.Client
	token       string
	limits      reward.Limits
	maxResponse int64
	tries       int
	firstPause  time.Duration
	maxPause    time.Duration
	now         func() time.Time
	sleep       func(context.Context, time.Duration) error
	random      func() float64 // in [0,1)
}

func defaultOptions() options {
	return options{
		http:        &http.Client{Transport: transport()},
		limits:      reward.DefaultLimits(),
		maxResponse: 1 << 30,
		tries:       6,
		firstPause:  100 * time.Millisecond,
		maxPause:    10 * time.Second,
		now:         time.Now,
		sleep:       sleep,
		random:      random,
	}
}

// transport keeps a connection for each request in flight and writes bodies in
// pieces that suit pictures.
func transport() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConnsPerHost = 64
	t.WriteBufferSize = 256 << 10
	t.ReadBufferSize = 64 << 10
	t.DisableCompression = true
	return t
}

// WithHTTPClient sends through another HTTP client, for TLS or a proxy.
func WithHTTPClient(c *http.Client) Option { return func(o *options) { o.http = c } }

// WithToken sends a bearer token.
func WithToken(token string) Option { return func(o *options) { o.token = token } }

// WithTries bounds how often a request is sent, 1 for no retries. The default
// is 6.
func WithTries(n int) Option { return func(o *options) { o.tries = max(n, 1) } }

// WithBackoff sets the pause after the first try, which doubles with every
// further one, and its cap. The defaults are 100 ms and 10 s. A Retry-After of
// the server can make a pause longer.
func WithBackoff(first, most time.Duration) Option {
	return func(o *options) { o.firstPause, o.maxPause = first, most }
}

// WithLimits refuses requests that exceed the limits before they are sent, for
// servers whose limits are not the default.
func WithLimits(l reward.Limits) Option { return func(o *options) { o.limits = l } }

// WithMaxResponse bounds the bytes of a response, 1 GiB by default.
func WithMaxResponse(n int64) Option { return func(o *options) { o.maxResponse = n } }

// WithClock replaces the clock, the pauses between tries and the source of
// their jitter, a number in [0,1). Tests use it.
func WithClock(now func() time.Time, sleep func(context.Context, time.Duration) error, random func() float64) Option {
	return func(o *options) { o.now, o.sleep, o.random = now, sleep, random }
}
