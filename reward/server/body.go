package server

import (
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"sync/atomic"

	"github.com/denseflow/densereward/reward"
)

// Buffers come in classes, each four times the one before. A body that grows
// through them leaves at most a third of its size behind as garbage, so one
// body takes less than twice the limit at its worst.
const (
	smallestClass = 256 << 10
	classes       = 5 // 256 KiB to 64 MiB; larger buffers are not kept
	growth        = 4
)

// bodyPool keeps buffers for bodies.
type bodyPool struct {
	classes [classes]sync.Pool // of *[]byte with cap smallestClass*growth^i
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
// it: the handler, and each job that may read a picture in it.
type body struct {
	bytes   []byte
	pool    *bodyPool
	holders atomic.Int32
}

func (b *body) hold() { b.holders.Add(1) }

func (b *body) release() {
	if b.holders.Add(-1) == 0 {
		b.pool.put(b.bytes)
	}
}

// open reads the body of r, which its caller holds.
func (p *bodyPool) open(r *http.Request, limit int64) (*body, error) {
	buf, err := p.read(r, limit)
	if err != nil {
		return nil, err
	}
	b := &body{bytes: buf, pool: p}
	b.hold()
	return b, nil
}

// read reads a body of at most limit bytes. A buffer from the pool may be
// taken on the word of Content-Length, because it costs nothing new; a fresh
// one grows with what has arrived.
func (p *bodyPool) read(r *http.Request, limit int64) ([]byte, error) {
	if r.ContentLength > limit {
		return nil, reward.ErrBodyTooLarge.With("the body has %d bytes, limit %d", r.ContentLength, limit)
	}
	buf := p.take(max(r.ContentLength, 0))
	if buf == nil {
		buf = make([]byte, 0, smallestClass)
	}
	for {
		if len(buf) == cap(buf) {
			if int64(len(buf)) > limit {
				return nil, reward.ErrBodyTooLarge.With("the body exceeds %d bytes", limit)
			}
			buf = p.grow(buf, r.ContentLength, limit)
		}
		n, err := r.Body.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if int64(len(buf)) > limit {
			return nil, reward.ErrBodyTooLarge.With("the body exceeds %d bytes", limit)
		}
		if err == io.EOF {
			return buf, nil
		}
		if err != nil {
			return nil, readError(err, len(buf))
		}
	}
}

// grow moves a full buffer to the next class, or to what the announced length
// or the limit leave to be read. One byte more than those shows the end.
func (p *bodyPool) grow(full []byte, announced, limit int64) []byte {
	size := int64(cap(full)) * growth
	if class(size) == classes {
		if announced >= 0 {
			size = min(size, announced+1)
		}
		size = min(size, limit+1)
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
	switch {
	case errors.As(err, &tooLarge):
		return reward.ErrBodyTooLarge.Wrap(err)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return reward.ErrBodyTimeout.Wrap(err)
	}
	return reward.ErrMalformedBody.With("the body ends after %d bytes: it was cut short", n).Wrap(err)
}
