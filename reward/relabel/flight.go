package relabel

import (
	"context"
	"sync"
)

// flight bounds the chunks, and the bytes, that have been read and not written.
type flight struct {
	chunks chan struct{}
	most   int64

	mu    sync.Mutex
	bytes int64
	freed chan struct{} // has a token when bytes became fewer
}

func newFlight(chunks int, most int64) *flight {
	return &flight{chunks: make(chan struct{}, chunks), most: most, freed: make(chan struct{}, 1)}
}

// enter waits for room for another chunk and reports whether there is any before
// ctx ends.
func (f *flight) enter(ctx context.Context) bool {
	select {
	case f.chunks <- struct{}{}:
	case <-ctx.Done():
		return false
	}
	for {
		f.mu.Lock()
		room := f.most <= 0 || f.bytes < f.most
		f.mu.Unlock()
		if room {
			return true
		}
		select {
		case <-f.freed:
		case <-ctx.Done():
			return false
		}
	}
}

func (f *flight) hold(bytes int64) {
	f.mu.Lock()
	f.bytes += bytes
	f.mu.Unlock()
}

func (f *flight) leave(bytes int64) {
	f.mu.Lock()
	f.bytes -= bytes
	f.mu.Unlock()
	select {
	case f.freed <- struct{}{}:
	default:
	}
	<-f.chunks
}
