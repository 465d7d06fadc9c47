package loadgen

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"
)

// A Shot is one request of a Poster.
type Shot struct {
	Body   func() io.ReadCloser // called once for each try
	Length int64
	Images int
}

// A Poster posts shots over HTTP.
type Poster struct {
	URL         string
	ContentType string
	Token       string // bearer token; "" sends none
	// Deadline is a header that carries what is left of the request's time in
	// seconds; "" sends none.
	Deadline string
	Client   *http.Client
	// Make makes the next shot. It is called from many goroutines.
	Make func() (Shot, error)
	// Read checks an answer, which it must not keep: scored images and those
	// that failed if status is 200, else a word for what went wrong.
	Read func(s Shot, status int, body []byte) Answer
}

var _ Target = (*Poster)(nil)

// Codes of requests that had no answer.
const (
	CodeTimeout    = "timeout"
	CodeConnection = "connection"
	CodeAnswer     = "answer" // it cannot be read
	CodeRequest    = "request"
)

// NewClient has a connection for each request in flight and writes bodies in
// large pieces.
func NewClient(concurrency int) *http.Client {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConns, t.MaxIdleConnsPerHost = concurrency, concurrency
	t.WriteBufferSize, t.ReadBufferSize = 256<<10, 64<<10
	t.DisableCompression = true
	t.IdleConnTimeout = time.Minute
	return &http.Client{Transport: t}
}

func (p *Poster) Ask(ctx context.Context) Answer {
	s, err := p.Make()
	if err != nil {
		return Answer{Code: CodeRequest}
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, p.URL, s.Body())
	if err != nil {
		return Answer{Code: CodeRequest}
	}
	r.ContentLength = s.Length
	r.GetBody = func() (io.ReadCloser, error) { return s.Body(), nil }
	r.Header.Set("Content-Type", p.ContentType)
	if p.Token != "" {
		r.Header.Set("Authorization", "Bearer "+p.Token)
	}
	if deadline, ok := ctx.Deadline(); ok && p.Deadline != "" {
		r.Header.Set(p.Deadline, strconv.FormatFloat(max(time.Until(deadline).Seconds(), 0.001), 'f', 3, 64))
	}
	return p.exchange(r, s)
}

func (p *Poster) exchange(r *http.Request, s Shot) Answer {
	resp, err := p.Client.Do(r)
	if err != nil {
		return Answer{Code: failure(err)}
	}
	defer func() { _ = resp.Body.Close() }()
	var body bytes.Buffer
	if resp.ContentLength > 0 {
		body.Grow(int(min(resp.ContentLength, 1<<30)) + bytes.MinRead)
	}
	if _, err := body.ReadFrom(resp.Body); err != nil {
		return Answer{Code: failure(err)}
	}
	a := p.Read(s, resp.StatusCode, body.Bytes())
	a.Sent, a.Received = s.Length, int64(body.Len())
	return a
}

func failure(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return CodeTimeout
	}
	return CodeConnection
}
