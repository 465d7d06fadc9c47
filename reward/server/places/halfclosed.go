package places

import (
	"io"
	"net/http"
	"os"
	"time"
)

// A client may end what it sends and still wait for its answer: shutdown(SHUT_WR), as
// HTTP/1.1 allows. net/http takes that for a client that left, since both look alike
// until something is sent. So where it listens for the client's leaving, which it does
// by reading a single byte, the end is kept from it; in its place the client is sent
// interim answers, which those that are there pass over and those that left refuse.
const (
	// firstProbe is how long most answers take; they need no probe.
	firstProbe = time.Second
	// refusal is how long it takes a client that left to refuse a probe.
	refusal = 100 * time.Millisecond
	// nextProbe is how often one that stays is asked again.
	nextProbe = 5 * time.Second
)

// interim is what RFC 9110 has clients pass over.
const interim = "HTTP/1.1 100 Continue\r\n\r\n"

// Read is net.Conn's, but for the end of what a client sends while it is answered.
func (p *Place) Read(b []byte) (int, error) {
	n, err := p.Conn.Read(b)
	if n == 0 && err == io.EOF && len(b) == 1 {
		return 0, p.stay()
	}
	return n, err
}

// stay returns io.EOF once the client is gone, or os.ErrDeadlineExceeded when the
// reader is no longer wanted.
func (p *Place) stay() error {
	probe, wait := time.NewTimer(firstProbe), refusal
	defer probe.Stop()
	for {
		late, changed := p.lateness()
		if late {
			return os.ErrDeadlineExceeded
		}
		select {
		case <-p.gone:
			return io.EOF
		case <-changed:
		case <-probe.C:
			if !p.probe() {
				return io.EOF
			}
			probe.Reset(wait)
			wait = nextProbe
		}
	}
}

// begin notes that a request is to be answered.
func (p *Place) begin(r *http.Request) {
	p.writing.Lock()
	defer p.writing.Unlock()
	p.begun, p.old = false, !r.ProtoAtLeast(1, 1)
}

// probe sends an interim answer, unless the answer itself has begun, whose writes then
// tell as much. It reports whether the client is there.
func (p *Place) probe() bool {
	p.writing.Lock()
	defer p.writing.Unlock()
	if p.begun || p.old {
		return p.begun
	}
	_ = p.Conn.SetWriteDeadline(time.Now().Add(refusal))
	_, err := io.WriteString(p.Conn, interim)
	_ = p.Conn.SetWriteDeadline(p.writeDeadline)
	return err == nil
}

// Write is net.Conn's.
func (p *Place) Write(b []byte) (int, error) {
	p.writing.Lock()
	p.begun = true
	p.writing.Unlock()
	return p.Conn.Write(b)
}

// SetWriteDeadline is net.Conn's.
func (p *Place) SetWriteDeadline(t time.Time) error {
	p.writing.Lock()
	defer p.writing.Unlock()
	p.writeDeadline = t
	return p.Conn.SetWriteDeadline(t)
}

// SetReadDeadline is net.Conn's.
func (p *Place) SetReadDeadline(t time.Time) error {
	p.reading.Lock()
	defer p.reading.Unlock()
	p.readDeadline = t
	close(p.changed)
	p.changed = make(chan struct{})
	return p.Conn.SetReadDeadline(t)
}

// SetDeadline is net.Conn's.
func (p *Place) SetDeadline(t time.Time) error {
	if err := p.SetWriteDeadline(t); err != nil {
		return err
	}
	return p.SetReadDeadline(t)
}

// lateness reports whether the read's deadline has passed, and what ends when it is
// set anew. net/http sets none while it listens for a client's leaving but one in the
// past, to end that.
func (p *Place) lateness() (late bool, changed <-chan struct{}) {
	p.reading.Lock()
	defer p.reading.Unlock()
	return !p.readDeadline.IsZero() && time.Now().After(p.readDeadline), p.changed
}
