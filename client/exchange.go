package client

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/wire"
)

// exchangeError is a failure with where it happened.
type exchangeError struct {
	server    string
	requestID string        // "" if the server gave none
	pause     time.Duration // what the server's Retry-After asks for
	broken    bool          // below HTTP: refused, reset, cut short
	cause     error
}

func (e *exchangeError) Error() string {
	if e.requestID != "" {
		return fmt.Sprintf("%s: request %s: %v", e.server, e.requestID, e.cause)
	}
	return fmt.Sprintf("%s: %v", e.server, e.cause)
}

func (e *exchangeError) Unwrap() error { return e.cause }

// retryable reports whether another try can do better.
func retryable(err error) bool {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	var failed *exchangeError
	if errors.As(err, &failed) && failed.broken {
		return true
	}
	switch status(err) {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable,
		http.StatusBadGateway: // a proxy's, of a server that is being restarted
		return true
	}
	return false
}

// status is that of the answer that err stands for, 0 if there was none.
func status(err error) int {
	var e *reward.Error
	if !errors.As(err, &e) {
		return 0
	}
	return e.Status()
}

// exchange sends the message to s once.
func (c *Client) exchange(ctx context.Context, s *server, message *wire.Message) (*wire.Response, error) {
	answer, body, err := c.ask(ctx, s, http.MethodPost, wire.ScorePath, message, c.opts.maxResponse)
	if err != nil {
		return nil, err
	}
	return c.response(s, answer, body)
}

// ask sends a request to s once, with a message or none, and reads at most limit bytes.
func (c *Client) ask(ctx context.Context, s *server, method, path string, message *wire.Message, limit int64) (*http.Response, []byte, error) {
	r, err := c.newRequest(ctx, method, s.base+path)
	if err != nil {
		return nil, nil, err
	}
	if message != nil {
		r.Header.Set("Content-Type", wire.MediaType)
		r.ContentLength = message.Len()
		r.Body = message.Reader()
		r.GetBody = func() (io.ReadCloser, error) { return message.Reader(), nil }
	}
	answer, err := c.opts.http.Do(r)
	if err != nil {
		return nil, nil, &exchangeError{server: s.base, cause: explained(err, s.base), broken: !hopeless(err)}
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := readBody(answer, limit)
	if err != nil {
		return nil, nil, &exchangeError{server: s.base, requestID: answer.Header.Get(wire.HeaderRequestID), cause: err, broken: errors.Is(err, errCutShort)}
	}
	return answer, body, nil
}

// response is the answer to a request for scores.
func (c *Client) response(s *server, answer *http.Response, body []byte) (*wire.Response, error) {
	failed := &exchangeError{server: s.base, requestID: answer.Header.Get(wire.HeaderRequestID)}
	if answer.StatusCode != http.StatusOK {
		failed.cause, failed.pause = statusError(answer, body, s.base), RetryAfter(answer.Header, c.opts.now())
		return nil, failed
	}
	response, err := wire.DecodeResponse(body)
	if err != nil {
		failed.cause = fmt.Errorf("response: %w", err)
		return nil, failed
	}
	return response, nil
}

func (c *Client) newRequest(ctx context.Context, method, address string) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, method, address, nil)
	if err != nil {
		return nil, err
	}
	if c.opts.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.opts.token)
	}
	if key, ok := ctx.Value(placement{}).(string); ok {
		r.Header.Set(wire.HeaderPlacement, key)
	}
	if deadline, ok := ctx.Deadline(); ok {
		left := deadline.Sub(c.opts.now()).Seconds()
		r.Header.Set(wire.HeaderTimeout, strconv.FormatFloat(max(left, 0.001), 'f', 3, 64))
	}
	return r, nil
}

var errCutShort = errors.New("the answer was cut short")

// readBody reads a body of at most limit bytes into one buffer.
func readBody(answer *http.Response, limit int64) ([]byte, error) {
	n := answer.ContentLength
	if n > limit {
		return nil, fmt.Errorf("the answer has %d bytes, limit %d", n, limit)
	}
	if n >= 0 {
		body := make([]byte, n)
		if _, err := io.ReadFull(answer.Body, body); err != nil {
			return nil, fmt.Errorf("%w: %w", errCutShort, err)
		}
		return body, nil
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, limit+1))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errCutShort, err)
	}
	if int64(len(body)) > limit {
		return nil, fmt.Errorf("the answer exceeds %d bytes", limit)
	}
	return body, nil
}

// hopeless reports whether an exchange broke for a reason that another try would
// not better.
func hopeless(err error) bool {
	var certificate *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var alert tls.AlertError
	return errors.Is(err, http.ErrSchemeMismatch) || errors.As(err, &certificate) || errors.As(err, &record) || errors.As(err, &alert)
}

// explained adds the remedy to an error that has one.
func explained(err error, base string) error {
	if errors.Is(err, http.ErrSchemeMismatch) {
		return fmt.Errorf("%w: try http%s", err, strings.TrimPrefix(base, "https"))
	}
	return err
}

// statusError is the error that an answer other than 200 stands for.
func statusError(answer *http.Response, body []byte, base string) *reward.Error {
	e := told(answer, body)
	if remedy := remedyOf(answer, e, base); remedy != "" {
		return e.With("%s; %s", e.Message(), remedy)
	}
	return e
}

// told is the error in an answer, which is msgpack or JSON. One that is not the
// protocol's, such as a proxy's, has a code made of its status.
func told(answer *http.Response, body []byte) *reward.Error {
	var failure struct{ Code, Message string }
	if json.Unmarshal(body, &failure) == nil && failure.Code != "" {
		return reward.ErrorByCode(failure.Code, answer.StatusCode, failure.Message)
	}
	if e, err := wire.DecodeError(body, answer.StatusCode); err == nil {
		return e
	}
	return reward.ErrorByCode("http_"+strconv.Itoa(answer.StatusCode), answer.StatusCode, answer.Status)
}

// remedyOf is what to do about an answer that no other try would better, "" where
// the error says all.
func remedyOf(answer *http.Response, e *reward.Error, base string) string {
	foreign := strings.HasPrefix(e.Code(), "http_")
	switch s := answer.StatusCode; {
	case s >= 300 && s < 400:
		return fmt.Sprintf("redirected to %s, which is not followed: give the address of the server itself", answer.Header.Get("Location"))
	case errors.Is(e, reward.ErrNotFound), foreign && (s == http.StatusNotFound || s == http.StatusMethodNotAllowed):
		return fmt.Sprintf("%s is not there: give the root of a DenseReward server, such as http://host:8080", base+wire.ScorePath)
	case foreign && s == http.StatusBadRequest && strings.HasPrefix(base, "http:"):
		return "a server of TLS answers so to plain HTTP: try https" + strings.TrimPrefix(base, "http")
	}
	return ""
}

// RetryAfter is how long the Retry-After header of an answer asks to wait, in seconds or
// until a date; 0 without one that can be read.
func RetryAfter(h http.Header, now time.Time) time.Duration {
	text := h.Get("Retry-After")
	if seconds, err := strconv.ParseFloat(text, 64); err == nil && seconds > 0 && seconds < math.MaxInt32 {
		return time.Duration(seconds * float64(time.Second))
	}
	if date, err := http.ParseTime(text); err == nil {
		return max(date.Sub(now), 0)
	}
	return 0
}
