// Package recent keeps the last samples that a server scored, small enough for a person
// to look through: a thumbnail, the prompt, scores, maps of a few cells, boxes.
package recent

import (
	"sync"
	"time"

	"github.com/denseflow/densereward/reward"
)

// EntryBytes is the most that an entry takes.
const EntryBytes = 64 << 10

// Entry is one sample as a line of JSON.
type Entry struct {
	ID   uint64 // rises by one from entry to entry
	Line []byte // with its newline; not to be changed

	owner string
}

// Store keeps the last entries. It is safe for concurrent use.
type Store struct {
	now func() time.Time

	mu   sync.Mutex
	ring []Entry // of the last len(ring); place ID % len
	next uint64  // ID of the entry that comes next, from 1 on
}

// New makes a store of the last n entries, at most EntryBytes each; nil for none, which
// records nothing.
func New(n int, now func() time.Time) *Store {
	if n <= 0 {
		return nil
	}
	return &Store{now: now, ring: make([]Entry, n), next: 1}
}

// Size is how many entries are kept, 0 for a nil Store.
func (s *Store) Size() int {
	if s == nil {
		return 0
	}
	return len(s.ring)
}

// add gives a line the next ID and keeps it in place of the oldest.
func (s *Store) add(owner string, line func(id uint64) []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ring[s.next%uint64(len(s.ring))] = Entry{ID: s.next, Line: line(s.next), owner: owner}
	s.next++
}

// After gives the entries of an owner that came after the one of an ID, the oldest
// first, and the ID to go on from. Nobody learns of the entries of another owner.
func (s *Store) After(id uint64, owner string) (entries []Entry, last uint64) {
	if s == nil {
		return nil, id
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	first := max(id+1, 1)
	if kept := uint64(len(s.ring)); s.next > kept {
		first = max(first, s.next-kept)
	}
	for ; first < s.next; first++ {
		if e := s.ring[first%uint64(len(s.ring))]; e.owner == owner {
			entries = append(entries, e)
		}
	}
	return entries, s.next - 1
}

// Recorder collects what becomes of the samples of one request.
type Recorder struct {
	store *Store
	owner string

	mu     sync.Mutex
	images map[int]thumbnail
}

// Record begins to record a request of an owner; nil for a nil Store.
func (s *Store) Record(owner string) *Recorder {
	if s == nil {
		return nil
	}
	return &Recorder{store: s, owner: owner, images: map[int]thumbnail{}}
}

// Preview is the OnPreview of the request's scoring.Options; nil for a nil Recorder.
func (r *Recorder) Preview() func(i int, image *reward.Image) {
	if r == nil {
		return nil
	}
	return func(i int, image *reward.Image) {
		small := newThumbnail(image)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.images[i] = small
	}
}
