package jobs

import (
	"net/http"
	"strconv"
)

// Recorder is a http.ResponseWriter that keeps an answer.
type Recorder struct {
	header http.Header
	status int
	body   []byte
}

var _ http.ResponseWriter = (*Recorder)(nil)

// NewRecorder makes one with no answer yet.
func NewRecorder() *Recorder { return &Recorder{header: http.Header{}} }

// Header is what the answer's header will be.
func (r *Recorder) Header() http.Header { return r.header }

// WriteHeader sets the status, once. A body of announced length is allocated once.
func (r *Recorder) WriteHeader(status int) {
	if r.status != 0 {
		return
	}
	r.status = status
	if n, err := strconv.Atoi(r.header.Get("Content-Length")); err == nil && n > 0 {
		r.body = make([]byte, 0, n)
	}
}

// Write adds to the body.
func (r *Recorder) Write(b []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	r.body = append(r.body, b...)
	return len(b), nil
}

// Answer is what was written; nothing may be written after.
func (r *Recorder) Answer() Answer {
	return Answer{Status: r.status, Header: r.header, Body: r.body}
}
