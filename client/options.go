package client

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/denseflow/densereward/reward/wire"
)

// Option changes what New makes.
type Option func(*options)

type options struct {
	addresses   []string
	http        *http.Client
	token       string
	limits      wire.Limits
	part        int
	maxResponse int64
	timeout     time.Duration // of every Score, 0 for none
	patience    time.Duration // of a Score whose context has no deadline, where no timeout is set
	tries       int
	firstPause  time.Duration
	maxPause    time.Duration
	splitGroups bool
	now         func() time.Time
	sleep       func(context.Context, time.Duration) error
	random      func() float64 // in [0,1)
}

func defaultOptions() options {
	return options{
		http:        &http.Client{Transport: transport(), CheckRedirect: notFollowed},
		limits:      wire.DefaultLimits(),
		maxResponse: 1 << 30,
		patience:    5 * time.Minute,
		tries:       math.MaxInt,
		firstPause:  100 * time.Millisecond,
		maxPause:    5 * time.Second,
		now:         time.Now,
		sleep:       sleep,
		random:      rand.Float64,
	}
}

// notFollowed leaves a redirection to be answered as the mistake it is: followed,
// it would carry the token elsewhere, or turn a POST into a GET.
func notFollowed(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// transport keeps a connection for each request in flight: over HTTP/2 one
// connection would carry all uploads to a server. The environment's proxies are
// not for servers inside a cluster.
func transport() *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Transport{
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		Protocols:           protocols,
		MaxIdleConnsPerHost: 64,
		IdleConnTimeout:     90 * time.Second,
		TLSHandshakeTimeout: 10 * time.Second,
		ReadBufferSize:      64 << 10,
		DisableCompression:  true,
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// backoff is the pause after the given try: the first pause, doubled with
// every further try up to the cap, of which a random half is left out so that
// clients spread.
func (o *options) backoff(try int) time.Duration {
	pause := o.maxPause
	if shift := try - 1; shift < 30 && o.firstPause<<shift < o.maxPause {
		pause = o.firstPause << shift
	}
	return pause/2 + time.Duration(o.random()*float64(pause/2))
}

// partSize is the most samples that are sent as one request.
func (o *options) partSize() int {
	if o.part > 0 {
		return o.part
	}
	return o.limits.Samples
}

// WithServers adds servers of the same evaluators. Requests take turns on all,
// and one that fails on one server goes to the next. Groups that span requests meet at
// one server, the same for every client with the same addresses, found by their step
// and name; they wait for it while its queue is full, and go to the next in their
// own order while it is lost.
func WithServers(addresses ...string) Option {
	return func(o *options) { o.addresses = append(o.addresses, addresses...) }
}

// WithSplitGroups sends a request for each group that spans requests, so that a load
// balancer in front of several servers can place it by wire.HeaderPlacement.
func WithSplitGroups() Option { return func(o *options) { o.splitGroups = true } }

// WithHTTPClient sends through another HTTP client, for TLS or a proxy of its
// own. The default one speaks HTTP/1.1, follows no redirection and no proxy of the
// environment, gives up on a connection that is not made within 10 s and keeps up
// to 64 idle ones to each server.
func WithHTTPClient(c *http.Client) Option { return func(o *options) { o.http = c } }

// WithToken sends a bearer token, without the white space around it that files
// leave.
func WithToken(token string) Option {
	return func(o *options) { o.token = strings.TrimSpace(token) }
}

// checkToken refuses a token that no header can carry, without showing it.
func checkToken(token string) error {
	for i, c := range []byte(token) {
		if c <= ' ' || c > '~' {
			return fmt.Errorf("client: byte %d of %d of the token is not one that a header can carry", i, len(token))
		}
	}
	return nil
}

// WithTimeout bounds each Score with all its tries, 0 for no bound but the
// context's. The default is 5 minutes, in which a server can be restarted, for
// contexts without a deadline.
func WithTimeout(d time.Duration) Option {
	return func(o *options) { o.timeout, o.patience = d, 0 }
}

// bound is ctx with the client's own limit of time.
func (o *options) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	timeout := o.timeout
	if _, limited := ctx.Deadline(); !limited {
		timeout += o.patience
	}
	if timeout <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, timeout)
}

// WithTries bounds how often a request is sent to each server, 1 for no
// retries. The default is no bound but the timeout.
func WithTries(n int) Option { return func(o *options) { o.tries = max(n, 1) } }

// WithBackoff sets the pause after the first try, which doubles with every
// further one, and its cap. The defaults are 100 ms and 5 s. The Retry-After
// of a server can make a pause longer.
func WithBackoff(first, most time.Duration) Option {
	return func(o *options) { o.firstPause, o.maxPause = first, most }
}

// WithLimits refuses requests that exceed the limits before they are sent, for
// servers whose limits are not the default.
func WithLimits(l wire.Limits) Option { return func(o *options) { o.limits = l } }

// WithPartSize sends requests of more than n samples in parts of at most n. The
// default is the limit on samples. Parts of one request cannot have advantages
// within it: their groups may be torn apart.
func WithPartSize(n int) Option { return func(o *options) { o.part = n } }

// WithMaxResponse bounds the bytes of a response, 1 GiB by default.
func WithMaxResponse(n int64) Option { return func(o *options) { o.maxResponse = n } }

// WithClock replaces the clock, the pauses between tries and the source of
// their jitter, a number in [0,1). Tests use it.
func WithClock(now func() time.Time, sleep func(context.Context, time.Duration) error, random func() float64) Option {
	return func(o *options) { o.now, o.sleep, o.random = now, sleep, random }
}
