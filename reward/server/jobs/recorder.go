package jobs

import (
	"bytes"
	"net/http"
)

// Recorder is a http.ResponseWriter that keeps an answer.
type Recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

var _ http.ResponseWriter = (*Recorder)(nil)

// NewRecorder makes one with no answer yet.
func NewRecorder() *Recorder { return &Recorder{header: http.Header{}} }

// Header is what the answer's header will be.
func (r *Recorder) Header() http.Header { return r.header }

// WriteHeader sets the status, once.
func (r *Recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
}

// Write adds to the body.
func (r *Recorder) Write(b []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	return r.body.Write(b)
}

// Answer is what was written; nothing may be written after.
func (r *Recorder) Answer() Answer {
	return Answer{Status: r.status, Header: r.header, Body: r.body.Bytes()}
}
