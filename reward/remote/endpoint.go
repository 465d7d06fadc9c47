package remote

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/denseflow/densereward/client"
	"github.com/denseflow/densereward/reward"
	"github.com/sony/gobreaker/v2"
)

// Options say how an endpoint is reached. URL is required; zero values of the rest
// mean the defaults.
type Options struct {
	// Name is the evaluator's, where it is not to be that of its kind.
	Name string
	// URL is where the endpoint is, "http://gpu7:8000/v1" for instance.
	URL string
	// Token is sent as a bearer token. It is in no message.
	Token string
	// Concurrency is how many requests are on their way at a time; 0 is 16.
	Concurrency int
	// Timeout bounds one try; 0 is 3 minutes.
	Timeout time.Duration
	// Tries bounds how often a request is sent; 0 is 4.
	Tries int
	// Pause is what the second try waits, at least; it doubles with every further
	// one. 0 is half a second. Where an answer has Retry-After, that is waited instead; a
	// pause that is longer than Timeout, or ends behind the deadline, fails at once.
	Pause time.Duration
	// Failures is how many requests in a row must fail, with all their tries, for the
	// endpoint to be left alone for Rest; 0 are 5 and 30 seconds.
	Failures int
	Rest     time.Duration
	// Client sends; nil means one of its own that keeps Concurrency connections.
	Client *http.Client
}

// Defaults of Options.
const (
	defaultConcurrency = 16
	defaultTimeout     = 3 * time.Minute
	defaultTries       = 4
	defaultPause       = 500 * time.Millisecond
	defaultFailures    = 5
	defaultRest        = 30 * time.Second
)

// maxAnswer bounds the bytes of an answer.
const maxAnswer = 16 << 20

// endpoint sends requests to one address.
type endpoint struct {
	base    *url.URL
	o       Options
	places  chan struct{} // one for each request on its way
	breaker *gobreaker.CircuitBreaker[[]byte]
}

func newEndpoint(o Options) (*endpoint, error) {
	base, err := url.Parse(strings.TrimRight(o.URL, "/"))
	if err != nil || (base.Scheme != "http" && base.Scheme != "https") || base.Host == "" {
		return nil, fmt.Errorf("remote: url %q is not http://host:port/path", o.URL)
	}
	if o.Concurrency < 0 || o.Tries < 0 || o.Failures < 0 || o.Timeout < 0 || o.Pause < 0 || o.Rest < 0 {
		return nil, errors.New("remote: options: concurrency, tries, failures, timeout, pause and rest must not be negative")
	}
	o.Token = strings.TrimSpace(o.Token)
	fill(&o.Concurrency, defaultConcurrency)
	fill(&o.Tries, defaultTries)
	fill(&o.Failures, defaultFailures)
	fill(&o.Timeout, defaultTimeout)
	fill(&o.Pause, defaultPause)
	fill(&o.Rest, defaultRest)
	if o.Client == nil {
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.MaxIdleConnsPerHost = o.Concurrency
		o.Client = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	return &endpoint{
		base: base, o: o, places: make(chan struct{}, o.Concurrency),
		breaker: gobreaker.NewCircuitBreaker[[]byte](gobreaker.Settings{
			Timeout:     o.Rest,
			ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= uint32(o.Failures) },
			IsSuccessful: func(err error) bool {
				var refused *refusedError
				return err == nil || errors.As(err, &refused) || errors.Is(err, context.Canceled)
			},
		}),
	}, nil
}

func fill[T comparable](value *T, standard T) {
	var zero T
	if *value == zero {
		*value = standard
	}
}

// refusedError is an answer that says that the request itself is wrong: it is not sent
// again, and says nothing of the endpoint's health.
type refusedError struct{ error }

// post sends a body and returns the answer's. It waits for a place first.
func (e *endpoint) post(ctx context.Context, path string, header http.Header, body []byte) ([]byte, error) {
	select {
	case e.places <- struct{}{}:
		defer func() { <-e.places }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	answer, err := e.breaker.Execute(func() ([]byte, error) { return e.retry(ctx, path, header, body) })
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, gobreaker.ErrOpenState) || errors.Is(err, gobreaker.ErrTooManyRequests):
		return nil, reward.ErrEvaluatorFailed.With("%s failed %d times in a row and is left alone for up to %v", e.base.Host, e.o.Failures, e.o.Rest)
	case err != nil:
		return nil, reward.ErrEvaluatorFailed.With("%s: %v", e.base.Host, err)
	}
	return answer, nil
}

func (e *endpoint) retry(ctx context.Context, path string, header http.Header, body []byte) ([]byte, error) {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval = e.o.Pause
	return backoff.Retry(ctx, func() ([]byte, error) { return e.try(ctx, path, header, body) },
		backoff.WithBackOff(pause), backoff.WithMaxTries(uint(e.o.Tries)), backoff.WithMaxElapsedTime(0))
}

// try sends a body once.
func (e *endpoint) try(ctx context.Context, path string, header http.Header, body []byte) ([]byte, error) {
	limited, cancel := context.WithTimeout(ctx, e.o.Timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(limited, http.MethodPost, e.base.String()+path, bytes.NewReader(body))
	if err != nil {
		return nil, backoff.Permanent(err)
	}
	request.Header = header.Clone()
	if e.o.Token != "" {
		request.Header.Set("Authorization", "Bearer "+e.o.Token)
	}
	response, err := e.o.Client.Do(request)
	switch {
	case errors.Is(err, http.ErrSchemeMismatch):
		return nil, backoff.Permanent(fmt.Errorf("it does not speak TLS: give http%s: %w", strings.TrimPrefix(e.base.String(), "https"), err))
	case errors.As(err, new(*tls.CertificateVerificationError)):
		return nil, backoff.Permanent(err)
	case err != nil:
		return nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, err
	case len(answer) > maxAnswer:
		return nil, backoff.Permanent(fmt.Errorf("an answer of more than %d bytes", maxAnswer))
	case response.StatusCode == http.StatusOK:
		return answer, nil
	}
	if to := response.Header.Get("Location"); response.StatusCode/100 == 3 {
		return nil, backoff.Permanent(fmt.Errorf("status %d: redirected to %.300s, which is not followed: give that address itself", response.StatusCode, to))
	}
	err = fmt.Errorf("status %d: %.300s", response.StatusCode, bytes.TrimSpace(answer))
	if response.StatusCode != http.StatusTooManyRequests && response.StatusCode != http.StatusRequestTimeout && response.StatusCode < 500 {
		return nil, backoff.Permanent(&refusedError{err})
	}
	return nil, e.later(ctx, client.RetryAfter(response.Header, time.Now()), err)
}

// later is a failure after which the endpoint asked for a pause, 0 for none. One that a
// try would not last for, or that ctx does not leave, is not waited for: an earlier try
// would be refused again.
func (e *endpoint) later(ctx context.Context, pause time.Duration, err error) error {
	deadline, ends := ctx.Deadline()
	switch {
	case pause == 0:
		return err
	case pause > e.o.Timeout:
		return backoff.Permanent(fmt.Errorf("%w; it asks for a pause of %v, more than the timeout of %v", err, pause, e.o.Timeout))
	case ends && time.Until(deadline) <= pause:
		return backoff.Permanent(fmt.Errorf("%w; it asks for a pause of %v, and the deadline comes first", err, pause))
	}
	return fmt.Errorf("%w; %w", err, &backoff.RetryAfterError{Duration: pause})
}

// each has score called for every sample, as many at a time as there are places. A
// sample that fails has its error; a context that ends is the error of all.
func (e *endpoint) each(ctx context.Context, samples []reward.Sample, score func(s *reward.Sample) reward.Result) ([]reward.Result, error) {
	results := make([]reward.Result, len(samples))
	var running sync.WaitGroup
	workers := min(len(samples), e.o.Concurrency)
	next := make(chan int)
	for range workers {
		running.Go(func() {
			for i := range next {
				results[i] = score(&samples[i])
			}
		})
	}
	for i := range samples {
		if ctx.Err() != nil {
			break
		}
		next <- i
	}
	close(next)
	running.Wait()
	return results, ctx.Err()
}

// Close gives the connections back.
func (e *endpoint) Close() error {
	e.o.Client.CloseIdleConnections()
	return nil
}
