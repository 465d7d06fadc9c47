// Package jobs runs requests whose answers are fetched later, so that a lost
// connection loses nothing and a trainer waits where it likes.
package jobs

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Config bounds a Store.
type Config struct {
	// Jobs is how many there may be, running and finished together.
	Jobs int
	// AnswerBytes bounds the bodies of finished jobs: at it, no job is taken.
	AnswerBytes int64
	// Keep is how long a finished job's answer can be fetched.
	Keep time.Duration
}

// DefaultConfig is that of a server that nobody told otherwise.
func DefaultConfig() Config {
	return Config{Jobs: 1024, AnswerBytes: 1 << 30, Keep: 10 * time.Minute}
}

// Answer is the answer of a job. Its fields are read alone.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Store keeps jobs by their ids. It is safe for concurrent use.
type Store struct {
	cfg Config
	now func() time.Time

	mu    sync.Mutex
	jobs  map[string]*job
	order []*job // finished, the oldest first
	bytes int64  // of their answers
}

type job struct {
	id      string
	owner   string
	cancel  context.CancelFunc
	done    chan struct{} // closed when answer is there
	answer  Answer
	until   time.Time // of its answer
	dropped bool      // nobody wants the answer
}

// New makes an empty store, which ages its jobs by now.
func New(cfg Config, now func() time.Time) *Store {
	return &Store{cfg: cfg, now: now, jobs: map[string]*job{}}
}

// Start runs an owner's job in a goroutine of its own and gives its id, which cannot
// be guessed; "" where the store is full. The job has the values of ctx and ends with
// Drop alone.
func (s *Store) Start(ctx context.Context, owner string, run func(context.Context) Answer) string {
	j := &job{id: newID(), owner: owner, done: make(chan struct{})}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire()
	if len(s.jobs) >= s.cfg.Jobs || s.bytes >= s.cfg.AnswerBytes {
		return ""
	}
	s.jobs[j.id] = j
	ctx, j.cancel = context.WithCancel(context.WithoutCancel(ctx)) // finish calls it
	go func() { s.finish(j, run(ctx)) }()
	return j.id
}

func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // crypto/rand never fails
	return hex.EncodeToString(b[:])
}

func (s *Store) finish(j *job, a Answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j.cancel()
	defer close(j.done)
	if j.dropped {
		delete(s.jobs, j.id)
		return
	}
	j.answer, j.until = a, s.now().Add(s.cfg.Keep)
	s.order = append(s.order, j)
	s.bytes += int64(len(a.Body))
	s.expire()
}

// Drop ends an owner's job, or forgets its answer. It reports whether there was such a
// job. One that runs counts until it has ended.
func (s *Store) Drop(owner, id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	j := s.jobs[id]
	if j == nil || j.owner != owner || j.dropped {
		return false
	}
	j.dropped = true
	j.cancel()
	if i := slices.Index(s.order, j); i >= 0 {
		s.order = slices.Delete(s.order, i, i+1)
		s.bytes -= int64(len(j.answer.Body))
		delete(s.jobs, id)
	}
	return true
}

// expire drops answers past their time. The lock is held.
func (s *Store) expire() {
	now := s.now()
	for len(s.order) > 0 && !now.Before(s.order[0].until) {
		j := s.order[0]
		s.order[0] = nil
		s.order = s.order[1:]
		s.bytes -= int64(len(j.answer.Body))
		delete(s.jobs, j.id)
	}
}

// Wait gives the answer of an owner's job, nil where it is still running when ctx
// ends. It reports whether there is such a job.
func (s *Store) Wait(ctx context.Context, owner, id string) (answer *Answer, known bool) {
	s.mu.Lock()
	s.expire()
	j := s.jobs[id]
	known = j != nil && j.owner == owner && !j.dropped
	s.mu.Unlock()
	if !known {
		return nil, false
	}
	select {
	case <-j.done:
		return s.answer(j)
	default:
	}
	select {
	case <-j.done:
		return s.answer(j)
	case <-ctx.Done():
		return nil, true
	}
}

// answer is that of a finished job, unless it was dropped.
func (s *Store) answer(j *job) (answer *Answer, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if j.dropped {
		return nil, false
	}
	return &j.answer, true
}
