package server

import (
	"io"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
)

// DataRate bounds how long bodies may take.
type DataRate struct {
	// Grace is what a body may take however short it is.
	Grace time.Duration
	// MinRate, in bytes a second, is the least average rate after Grace, up and
	// down. A slower client is cut off.
	MinRate int64
}

// DefaultDataRate is ten seconds, then 128 KiB a second.
func DefaultDataRate() DataRate { return DataRate{Grace: 10 * time.Second, MinRate: 128 << 10} }

// allowance is how long n bytes may take.
func (p DataRate) allowance(n int64) time.Duration {
	return p.Grace + time.Duration(float64(n)/float64(p.MinRate)*float64(time.Second))
}

// limitDataRate watches the body and the answer of each request.
func (s *Server) limitDataRate(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		conn := http.NewResponseController(c.Response().Writer)
		w := &timedWriter{ResponseWriter: c.Response().Writer, rate: s.cfg.DataRate, conn: conn}
		w.extend() // what the connection's last request left has passed
		c.Response().Writer = w
		if r.Body == nil || r.Body == http.NoBody {
			return next(c)
		}
		b := &timedBody{ReadCloser: r.Body, rate: s.cfg.DataRate, conn: conn, began: time.Now()}
		b.extend()
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

// bodyKey is where limitDataRate leaves the body for the access log.
const bodyKey = "densereward.body"

// timedBody fails when its bytes come too slowly.
type timedBody struct {
	io.ReadCloser
	rate  DataRate
	conn  *http.ResponseController
	began time.Time
	n     int64 // bytes so far
	ended bool
	until time.Time
}

// deadlineStep is how much a deadline has to move before the connection is
// told, which takes the runtime longer than reading a few bytes.
const deadlineStep = 100 * time.Millisecond

// extend moves the deadline to what the bytes so far have earned.
func (b *timedBody) extend() {
	if until := b.began.Add(b.rate.allowance(b.n)); until.Sub(b.until) >= deadlineStep {
		b.until = until
		// What cannot be timed, such as a test's recorder, is not slow either.
		_ = b.conn.SetReadDeadline(until)
	}
}

// Read fails when bytes do not come in time.
func (b *timedBody) Read(p []byte) (int, error) {
	b.extend()
	n, err := b.ReadCloser.Read(p)
	b.n += int64(n)
	if err == io.EOF {
		b.ended = true
		// The server now listens for the client's departure, which the
		// deadline must not look like.
		_ = b.conn.SetReadDeadline(time.Time{})
	}
	return n, err
}

// linger bounds what the server does with the rest of the body.
func (b *timedBody) linger() {
	if !b.ended {
		_ = b.conn.SetReadDeadline(time.Now().Add(lingerTime))
	}
}

// timedWriter fails when the client takes its bytes too slowly.
type timedWriter struct {
	http.ResponseWriter
	rate  DataRate
	conn  *http.ResponseController
	body  *timedBody // of the request; nil if it has none
	began time.Time  // of the first write
	n     int64
	until time.Time
}

// extend moves the deadline to what the bytes so far have earned.
func (w *timedWriter) extend() {
	began := w.began
	if began.IsZero() {
		began = time.Now()
	}
	if until := began.Add(w.rate.allowance(w.n)); until.Sub(w.until) >= deadlineStep {
		w.until = until
		_ = w.conn.SetWriteDeadline(until)
	}
}

// WriteHeader says that a connection on which a body was left unread is of no
// more use.
func (w *timedWriter) WriteHeader(status int) {
	if w.body != nil && !w.body.ended {
		w.Header().Set("Connection", "close")
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write fails when the client does not take its bytes in time.
func (w *timedWriter) Write(p []byte) (int, error) {
	if w.began.IsZero() {
		w.began = time.Now()
	}
	w.n += int64(len(p))
	w.extend()
	return w.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (w *timedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
