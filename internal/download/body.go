// Package download is what downloads of all kinds share: a progress bar, and bodies
// that are given up on when they stall.
package download

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// stallTimeout is how long a body may bring no byte.
const stallTimeout = 30 * time.Second

// ErrStalled is the error of a body that was given up on.
var ErrStalled = fmt.Errorf("no data for %v", stallTimeout)

// Copy copies an answer's body of at most limit bytes to w and returns how many it
// copied. cancel ends the request when the body stalls; ctx is the request's. Of a
// longer body one byte more than the limit is copied.
func Copy(ctx context.Context, cancel context.CancelCauseFunc, w io.Writer, body io.Reader, limit int64) (int64, error) {
	stalled := time.AfterFunc(stallTimeout, func() { cancel(ErrStalled) })
	defer stalled.Stop()
	n, err := io.Copy(w, &watched{r: io.LimitReader(body, limit+1), seen: func() { stalled.Reset(stallTimeout) }})
	if cause := context.Cause(ctx); err != nil && errors.Is(cause, ErrStalled) {
		err = cause
	}
	return n, err
}

// watched tells of every read.
type watched struct {
	r    io.Reader
	seen func()
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	if n > 0 {
		w.seen()
	}
	return n, err
}
