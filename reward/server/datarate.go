package server

import (
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/denseflow/densereward/reward/batch"
	"github.com/denseflow/densereward/reward/server/budget"
	"github.com/labstack/echo/v4"
)

// DataRate bounds how long clients may keep bodies and answers waiting.
type DataRate struct {
	// Grace is how far a client may fall behind MinRate. What it was faster before
	// does not count: a body that stalls is cut off after Grace however long it is.
	Grace time.Duration
	// MinRate, in bytes a second, is the least rate up and down.
	MinRate int64
}

// DefaultDataRate is 128 KiB a second, and ten seconds.
func DefaultDataRate() DataRate { return DataRate{Grace: 10 * time.Second, MinRate: 128 << 10} }

// piece is how much of an answer is written between two looks at the clock.
func (p DataRate) piece() int {
	const least, most = 4 << 10, 256 << 10
	return int(min(max(p.Grace.Seconds()*float64(p.MinRate)/4, least), most))
}

// takes is how long n bytes take at MinRate.
func (p DataRate) takes(n int) time.Duration {
	return time.Duration(float64(n) / float64(p.MinRate) * float64(time.Second))
}

// deadline is that of one direction of a connection.
type deadline struct {
	set func(time.Time) error

	mu      sync.Mutex
	until   time.Time
	stopped bool
}

// deadlineStep is how much a deadline has to move before the connection is
// told, which takes the runtime longer than reading a few bytes.
const deadlineStep = 100 * time.Millisecond

// extend moves the deadline. What cannot be timed, such as a test's recorder, is not
// slow either.
func (d *deadline) extend(until time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if step := until.Sub(d.until); !d.stopped && (until.IsZero() || step >= deadlineStep) {
		d.until = until
		_ = d.set(until)
	}
}

// stop makes what waits for the client fail at once.
func (d *deadline) stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stopped = true
	_ = d.set(time.Unix(1, 0))
}

// wasStopped reports whether the client's memory was needed for another.
func (d *deadline) wasStopped() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stopped
}

// limitDataRate watches the body and the answer of each request.
func (s *Server) limitDataRate(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		conn := http.NewResponseController(c.Response().Writer)
		w := &timedWriter{ResponseWriter: c.Response().Writer, rate: s.cfg.DataRate, deadline: deadline{set: conn.SetWriteDeadline}}
		w.begin() // what the connection's last request left has passed
		c.Response().Writer = w
		c.Set(writerKey, w)
		if r.Body == nil || r.Body == http.NoBody {
			return next(c)
		}
		b := &timedBody{ReadCloser: r.Body, rate: s.cfg.DataRate, deadline: deadline{set: conn.SetReadDeadline}, clock: time.Now()}
		b.extend(b.clock.Add(b.rate.Grace))
		// The body goes into a copy of the request: by the original's, the HTTP
		// server knows whether bytes of it are left on the connection, which it
		// would otherwise take for the next request.
		r = r.WithContext(r.Context())
		c.SetRequest(r)
		r.Body, w.body = b, b
		c.Set(bodyKey, b)
		// A request that is refused by its header gets its answer before its
		// body has arrived.
		_ = conn.EnableFullDuplex()
		defer b.linger()
		return next(c)
	}
}

// lingerTime is how long the rest of a body that was not read is listened to
// after the answer: a connection that is closed at once takes the answer away
// from clients that still send.
const lingerTime = time.Second

// bodyKey and writerKey are where limitDataRate leaves the body and the writer.
const (
	bodyKey   = "densereward.body"
	writerKey = "densereward.writer"
)

// timedBody fails when its bytes come too slowly.
type timedBody struct {
	io.ReadCloser
	deadline
	rate  DataRate
	clock time.Time // up to when the client has kept the rate
	n     int64     // bytes so far
	ended bool
}

// Read fails when bytes do not come in time.
func (b *timedBody) Read(p []byte) (int, error) {
	b.extend(b.clock.Add(b.rate.Grace))
	n, err := b.ReadCloser.Read(p)
	b.n += int64(n)
	b.clock = budget.Advance(b.clock, time.Now(), n, b.rate.MinRate)
	switch {
	case err == io.EOF:
		b.ended = true
		// The server now listens for the client's departure, which the
		// deadline must not look like.
		b.extend(time.Time{})
	case err != nil && b.wasStopped():
		return n, &batch.OverloadError{RetryAfter: retryHeld}
	}
	return n, err
}

// Close leaves the body to the HTTP server, which closes it after the answer: one that
// is closed before, with its deadline passed, is not lingered on.
func (b *timedBody) Close() error { return nil }

// linger bounds what the server does with the rest of the body.
func (b *timedBody) linger() {
	if !b.ended {
		_ = b.set(time.Now().Add(lingerTime))
	}
}

// timedWriter fails when the client takes its bytes too slowly.
type timedWriter struct {
	http.ResponseWriter
	deadline
	rate  DataRate
	body  *timedBody   // of the request; nil if it has none
	loan  *budget.Loan // of the answer; nil for small ones
	clock time.Time    // up to when the client has kept the rate; zero before the first write

	failed error // of a write: the client left, or took its answer too slowly
}

// begin allows a first write.
func (w *timedWriter) begin() { w.extend(time.Now().Add(w.rate.Grace)) }

// holds says that the loan is of what is written from now on: a client that does not
// take its answer is cut off when its memory is needed.
func (w *timedWriter) holds(loan *budget.Loan) {
	loan.Watch(w.stop)
	w.loan = loan
}

// WriteHeader says that a connection on which a body was left unread is of no
// more use.
func (w *timedWriter) WriteHeader(status int) {
	if w.body != nil && !w.body.ended {
		w.Header().Set("Connection", "close")
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write fails when the client does not take its bytes in time. They count once they
// are written, piece by piece.
func (w *timedWriter) Write(p []byte) (written int, err error) {
	if w.clock.IsZero() {
		w.clock = time.Now()
	}
	for first := true; err == nil && (first || len(p) > 0); first = false {
		piece := p[:min(len(p), w.rate.piece())]
		w.extend(w.clock.Add(w.rate.Grace + w.rate.takes(len(piece))))
		var n int
		n, err = w.ResponseWriter.Write(piece)
		w.clock = budget.Advance(w.clock, time.Now(), n, w.rate.MinRate)
		if w.loan != nil {
			w.loan.Moved(n)
		}
		written += n
		p = p[n:]
	}
	if err != nil {
		w.failed = err
	}
	return written, err
}

// rest says that the client has taken all that there was: time until the next write is
// not its own.
func (w *timedWriter) rest() { w.clock = time.Time{} }

// Unwrap is for http.ResponseController.
func (w *timedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
