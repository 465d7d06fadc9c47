package server

import (
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/batch"
)

// Buffers come in classes, each four times the one before. A body that grows
// through them leaves at most a third of its size behind as garbage, so one
// body takes less than twice the limit at its worst.
const (
	smallestClass = 256 << 10
	classes       = 5 // 256 KiB to 64 MiB; larger buffers are not kept
	growth        = 4
)

// bodyPool keeps buffers for bodies, and counts the bytes of those in use.
type bodyPool struct {
	classes [classes]sync.Pool // of *[]byte with cap smallestClass*growth^i
	held    atomic.Int64
	limit   int64 // of held
}

// class is the smallest class that holds n bytes, classes if none does.
func class(n int64) int {
	size := int64(smallestClass)
	for i := range classes {
		if n <= size {
			return i
		}
		size *= growth
	}
	return classes
}

// take is a buffer that is in the pool already and holds n bytes, or nil.
func (p *bodyPool) take(n int64) []byte {
	i := class(n)
	if i == classes {
		return nil
	}
	if b, ok := p.classes[i].Get().(*[]byte); ok {
		return (*b)[:0]
	}
	return nil
}

// put keeps a buffer that nobody reads any more.
func (p *bodyPool) put(b []byte) {
	i := class(int64(cap(b)))
	if i == classes || int64(cap(b)) != int64(smallestClass)<<(2*i) {
		return
	}
	b = b[:0]
	p.classes[i].Put(&b)
}

// body is a request's body. It holds its buffer until every holder has released
// it: the handler, and each job that may read an image in it.
type body struct {
	bytes   []byte
	pool    *bodyPool
	holders atomic.Int32
}

func (b *body) hold() { b.holders.Add(1) }

// lend holds the buffer for one more reader and returns what gives it back.
func (b *body) lend() (release func()) {
	b.holders.Add(1)
	return b.release
}

func (b *body) release() {
	if b.holders.Add(-1) == 0 {
		b.pool.held.Add(-int64(len(b.bytes)))
		b.pool.put(b.bytes)
	}
}

// become replaces what was read by its translation, before anybody was lent it.
func (b *body) become(translated []byte) {
	b.pool.held.Add(int64(len(translated)) - int64(len(b.bytes)))
	b.pool.put(b.bytes)
	b.bytes = translated
}

// open reads the body of r, of at most limit bytes, which its caller holds. A
// buffer from the pool may be taken on the word of Content-Length, because it
// costs nothing new; a fresh one grows with what has arrived.
func (p *bodyPool) open(r *http.Request, limit int64) (*body, error) {
	if r.ContentLength > limit {
		return nil, reward.ErrBodyTooLarge.With("the body has %d bytes, limit %d", r.ContentLength, limit)
	}
	if held := p.held.Load(); held+r.ContentLength > p.limit {
		return nil, overfull(held)
	}
	b := &body{pool: p, bytes: p.take(max(r.ContentLength, 0))}
	b.hold()
	if b.bytes == nil {
		b.bytes = make([]byte, 0, smallestClass)
	}
	if err := b.read(r, limit); err != nil {
		b.release()
		return nil, err
	}
	return b, nil
}

// read reads the body of r to its end.
func (b *body) read(r *http.Request, limit int64) error {
	for {
		if len(b.bytes) == cap(b.bytes) {
			if int64(len(b.bytes)) > limit {
				return reward.ErrBodyTooLarge.With("the body exceeds %d bytes", limit)
			}
			b.bytes = b.pool.grow(b.bytes, r.ContentLength, limit)
		}
		n, err := r.Body.Read(b.bytes[len(b.bytes):cap(b.bytes)])
		b.bytes = b.bytes[:len(b.bytes)+n]
		held := b.pool.held.Add(int64(n))
		switch {
		case int64(len(b.bytes)) > limit:
			return reward.ErrBodyTooLarge.With("the body exceeds %d bytes", limit)
		case err == io.EOF:
			return nil
		case err != nil:
			return readError(err, len(b.bytes))
		case held > b.pool.limit:
			return overfull(held)
		}
	}
}

// retryHeld is when to come back if the bodies of others fill the memory:
// about as long as an upload takes.
const retryHeld = 2 * time.Second

func overfull(held int64) error { return &batch.OverloadError{RetryAfter: retryHeld, Bytes: held} }

// grow moves a full buffer to the next class, or to what the announced length
// or the limit leave to be read. One byte more than those shows the end.
func (p *bodyPool) grow(full []byte, announced, limit int64) []byte {
	size := int64(cap(full)) * growth
	if announced >= 0 && size >= announced && class(size) == classes {
		size = announced + 1
	}
	if size >= limit {
		size = limit + 1
	}
	next := p.take(size)
	if next == nil {
		next = make([]byte, 0, size)
	}
	next = append(next, full...)
	p.put(full)
	return next
}

func readError(err error, n int) error {
	var tooLarge *http.MaxBytesError
	var broken *reward.Error
	switch {
	case errors.As(err, &broken):
		return broken
	case errors.As(err, &tooLarge):
		return reward.ErrBodyTooLarge.Wrap(err)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return reward.ErrBodyTimeout.Wrap(err)
	}
	return reward.ErrMalformedBody.With("the body ends after %d bytes: it was cut short", n).Wrap(err)
}
