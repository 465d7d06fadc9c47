package server

import (
	"errors"
	"io"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/batch"
	"github.com/denseflow/densereward/reward/server/budget"
	"github.com/denseflow/densereward/reward/server/contentencoding"
)

// firstPiece is the first buffer of a body of unannounced length. Further ones double
// it until they are evenPiece, and are a quarter of those before later on, so that
// little is held that is not filled.
const (
	firstPiece  = 4 << 10
	evenPiece   = 256 << 10
	pieceShares = 4
)

// body is a request's body. It holds its buffer until every holder has released
// it: the handler, and each job that may read an image in it.
type body struct {
	bytes   []byte
	buffers *budget.Buffers
	loan    *budget.Loan // of the capacity of all buffers
	holders atomic.Int32
}

// lend holds the buffer for one more reader and returns what gives it back.
func (b *body) lend() (release func()) {
	b.holders.Add(1)
	return b.release
}

func (b *body) release() {
	if b.holders.Add(-1) == 0 {
		b.buffers.Put(b.bytes)
		b.bytes = nil
		b.loan.Return()
	}
}

// translate replaces a body of JSON by the message that it stands for, before anybody
// was lent it. A number or a list of one digit grows to twice its text.
func (b *body) translate(request func(body []byte) (message []byte, err error)) error {
	if err := b.loan.Grow(2 * int64(len(b.bytes))); err != nil {
		return overfull(err)
	}
	message, err := request(b.bytes)
	if err != nil {
		return err
	}
	before := 2*int64(len(b.bytes)) + int64(cap(b.bytes))
	b.buffers.Put(b.bytes)
	b.bytes = message
	b.loan.Shrink(before - int64(cap(message)))
	return nil
}

// openBody reads the body of r, of at most limit bytes, which its caller holds. A body
// of announced length is allocated once; any other grows in pieces, which are joined
// at its end. stop makes a read that waits for the client fail.
func (s *Server) openBody(r *http.Request, stop func()) (*body, error) {
	limit := s.cfg.Limits.BodyBytes
	if r.ContentLength > limit {
		return nil, reward.ErrBodyTooLarge.With("the body has %d bytes, limit %d", r.ContentLength, limit)
	}
	b := &body{buffers: &s.buffers, loan: s.budget.Open(batch.ClientOf(r.Context()))}
	b.holders.Add(1)
	b.loan.Watch(stop)
	var err error
	if r.ContentLength >= 0 {
		err = b.readAnnounced(r.Body, r.ContentLength)
	} else {
		err = b.readPieces(r.Body, limit)
	}
	b.loan.Settle()
	if err != nil {
		b.release()
		return nil, err
	}
	return b, nil
}

// take borrows the memory of a buffer for n bytes.
func (b *body) take(n int64) ([]byte, error) {
	if err := b.loan.Grow(budget.Capacity(n)); err != nil {
		return nil, overfull(err)
	}
	return b.buffers.Take(n), nil
}

func (b *body) give(buffer []byte) {
	n := int64(cap(buffer))
	b.buffers.Put(buffer)
	b.loan.Shrink(n)
}

// fill reads into the rest of buffer. ended says that nothing follows.
func (b *body) fill(buffer []byte, from io.Reader, before int) (filled []byte, ended bool, err error) {
	for len(buffer) < cap(buffer) {
		n, err := from.Read(buffer[len(buffer):cap(buffer)])
		buffer = buffer[:len(buffer)+n]
		b.loan.Moved(n)
		if err == io.EOF {
			return buffer, true, nil
		}
		if err != nil {
			return buffer, false, readError(err, before+len(buffer))
		}
	}
	return buffer, false, nil
}

func (b *body) readAnnounced(from io.Reader, n int64) (err error) {
	if b.bytes, err = b.take(n); err != nil {
		return err
	}
	part, ended, err := b.fill(b.bytes[:0:n], from, 0)
	b.bytes = b.bytes[:len(part)]
	if err != nil || ended {
		return err
	}
	// The end is to be seen as well: the server then listens for the client's leaving.
	var end [1]byte
	if _, _, err = b.fill(end[:0], from, len(part)); err != nil {
		return err
	}
	return nil
}

// readPieces reads a body of unannounced length.
func (b *body) readPieces(from io.Reader, limit int64) error {
	var pieces [][]byte
	total, ended := int64(0), false
	working := int64(0) // of a decoder
	for !ended {
		size := min(max(firstPiece, min(total, evenPiece), total/pieceShares), limit+1-total)
		more := contentencoding.Working(from, total+size) - working
		if err := b.loan.Grow(more); err != nil {
			return overfull(err)
		}
		working += more
		piece, err := b.take(size)
		if err != nil {
			return err
		}
		if piece, ended, err = b.fill(piece, from, int(total)); err != nil {
			return err
		}
		pieces = append(pieces, piece)
		if total += int64(len(piece)); total > limit {
			return reward.ErrBodyTooLarge.With("the body exceeds %d bytes", limit)
		}
	}
	if len(pieces) == 1 {
		b.loan.Shrink(working)
		b.bytes = pieces[0]
		return nil
	}
	b.loan.Shrink(working)
	whole, err := b.take(total)
	if err != nil {
		return err
	}
	for _, piece := range pieces {
		whole = append(whole, piece...)
		b.give(piece)
	}
	b.bytes = whole
	return nil
}

// retryHeld is when to come back if the bodies and answers of others fill the memory:
// about as long as an upload takes.
const retryHeld = 2 * time.Second

// overfull is the protocol's error where the budget has nothing left.
func overfull(err error) error {
	var large *budget.TooLargeError
	if errors.As(err, &large) {
		return reward.ErrBodyTooLarge.With("the request takes %d bytes, the memory for bodies and answers is %d", large.Bytes, large.Limit)
	}
	return &batch.OverloadError{RetryAfter: retryHeld}
}

func readError(err error, n int) error {
	var tooLarge *http.MaxBytesError
	var broken *reward.Error
	var overload *batch.OverloadError
	switch {
	case errors.As(err, &broken), errors.As(err, &overload):
		return err
	case errors.As(err, &tooLarge):
		return reward.ErrBodyTooLarge.Wrap(err)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return reward.ErrBodyTimeout.Wrap(err)
	}
	return reward.ErrMalformedBody.With("the body ends after %d bytes: it was cut short", n).Wrap(err)
}
