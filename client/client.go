package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/denseflow/densereward/reward"
)

// Client asks a server for scores.
type Client struct {
	base string
	opts options
}

// New makes a client of the server at an address such as
// "http://localhost:8080".
func New(address string, opts ...Option) (*Client, error) {
	u, err := url.Parse(address)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, fmt.Errorf("client: address %q: want http://host:port or https://host:port", address)
	}
	c := &Client{base: strings.TrimSuffix(address, "/"), opts: defaultOptions()}
	for _, o := range opts {
		o(&c.opts)
	}
	return c, nil
}

// Score sends q and waits for its answer. A failure of the whole request that
// the server reported is an *reward.Error; failures of single samples are in
// the response's Errors. What ctx has left of its deadline travels along, so
// that the server drops work nobody waits for.
func (c *Client) Score(ctx context.Context, q *reward.Request) (*reward.Response, error) {
	message, err := q.Encode(c.opts.limits)
	if err != nil {
		return nil, err
	}
	for try := 1; ; try++ {
		response, pause, err := c.try(ctx, message)
		if err == nil {
			return response, nil
		}
		if !retryable(err) || try >= c.opts.tries || ctx.Err() != nil {
			return nil, fmt.Errorf("client: %w", err)
		}
		if sleepErr := c.opts.sleep(ctx, max(pause, c.opts.backoff(try))); sleepErr != nil {
			return nil, fmt.Errorf("client: %w (last try: %w)", sleepErr, err)
		}
	}
}

// try sends the message once. pause is what the server's Retry-After asks for.
func (c *Client) try(ctx context.Context, message *reward.Message) (response *reward.Response, pause time.Duration, err error) {
	r, err := c.request(ctx, message)
	if err != nil {
		return nil, 0, err
	}
	answer, err := c.opts.http.Do(r)
	if err != nil {
		return nil, 0, &connectionError{err}
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := readAll(answer, c.opts.maxResponse)
	if err != nil {
		return nil, 0, err
	}
	if answer.StatusCode != http.StatusOK {
		return nil, retryAfter(answer.Header, c.opts.now()), failure(answer, body)
	}
	response, err = reward.DecodeResponse(body)
	if err != nil {
		return nil, 0, fmt.Errorf("response: %w", err)
	}
	return response, 0, nil
}

// request is a POST whose body is read from the message again at every try.
func (c *Client) request(ctx context.Context, message *reward.Message) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+reward.ScorePath, message.Reader())
	if err != nil {
		return nil, err
	}
	r.ContentLength = message.Len()
	r.GetBody = func() (io.ReadCloser, error) { return message.Reader(), nil }
	r.Header.Set("Content-Type", reward.MediaType)
	if c.opts.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.opts.token)
	}
	if deadline, ok := ctx.Deadline(); ok {
		left := deadline.Sub(c.opts.now()).Seconds()
		r.Header.Set(reward.HeaderTimeout, strconv.FormatFloat(max(left, 0.001), 'f', 3, 64))
	}
	return r, nil
}

// readAll reads a body of at most limit bytes into one buffer.
func readAll(answer *http.Response, limit int64) ([]byte, error) {
	if answer.ContentLength > limit {
		return nil, fmt.Errorf("response has %d bytes, limit %d", answer.ContentLength, limit)
	}
	if n := answer.ContentLength; n >= 0 {
		body := make([]byte, n)
		if _, err := io.ReadFull(answer.Body, body); err != nil {
			return nil, &connectionError{err}
		}
		return body, nil
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, limit+1))
	if err != nil {
		return nil, &connectionError{err}
	}
	if int64(len(body)) > limit {
		return nil, fmt.Errorf("response exceeds %d bytes", limit)
	}
	return body, nil
}

// failure is the error of an answer that is not a response.
func failure(answer *http.Response, body []byte) error {
	if e, err := reward.DecodeError(body, answer.StatusCode); err == nil {
		return e
	}
	return reward.ErrorByCode("http_"+strconv.Itoa(answer.StatusCode), answer.StatusCode, answer.Status)
}

// connectionError is a failure below HTTP: refused, reset, cut short.
type connectionError struct{ cause error }

func (e *connectionError) Error() string { return e.cause.Error() }
func (e *connectionError) Unwrap() error { return e.cause }

// retryable reports whether another try can do better.
func retryable(err error) bool {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	var connection *connectionError
	if errors.As(err, &connection) {
		return true
	}
	var e *reward.Error
	return errors.As(err, &e) && (e.Status() == http.StatusTooManyRequests || e.Status() == http.StatusServiceUnavailable)
}

// retryAfter reads the header in seconds or as a date; 0 without one.
func retryAfter(h http.Header, now time.Time) time.Duration {
	text := h.Get("Retry-After")
	if seconds, err := strconv.ParseFloat(text, 64); err == nil && seconds > 0 && seconds < math.MaxInt32 {
		return time.Duration(seconds * float64(time.Second))
	}
	if date, err := http.ParseTime(text); err == nil {
		return max(date.Sub(now), 0)
	}
	return 0
}

// backoff is the pause after the given try: the base, doubled at every try up
// to the cap, of which a random half is left out so that clients spread.
func (o *options) backoff(try int) time.Duration {
	pause := o.maxPause
	if shift := try - 1; shift < 30 && o.firstPause<<shift < o.maxPause {
		pause = o.firstPause << shift
	}
	return pause/2 + time.Duration(o.random()*float64(pause/2))
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

func random() float64 { return rand.Float64() }
