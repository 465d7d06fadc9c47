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
	// AnswerBytes bounds the bodies of finished jobs: at it, no job is taken, and the
	// answer of one that ends beyond it is lost.
	AnswerBytes int64
	// Keep is how long a finished job's answer can be fetched.
	Keep time.Duration
}

// shareOf is the most of what there is that a client may have who has some already:
// three quarters.
func shareOf[T int | int64](all T) T { return all - all/4 }

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

	mu      sync.Mutex
	jobs    map[string]*job
	order   []*job // finished, the oldest first
	held    use
	clients map[string]use // of held, by whose they are
}

// use is what jobs take.
type use struct {
	jobs  int
	bytes int64 // of answers
}

type job struct {
	id      string
	owner   string
	client  string
	bytes   int64 // of the answer's body, as counted
	cancel  context.CancelFunc
	done    chan struct{} // closed when answer is there
	answer  Answer
	until   time.Time // of its answer
	dropped bool      // nobody wants the answer
}

// New makes an empty store, which ages its jobs by now.
func New(cfg Config, now func() time.Time) *Store {
	return &Store{cfg: cfg, now: now, jobs: map[string]*job{}, clients: map[string]use{}}
}

// count changes what is held, under the lock.
func (s *Store) count(j *job, jobs int, bytes int64) {
	j.bytes += bytes
	s.held.jobs += jobs
	s.held.bytes += bytes
	of := s.clients[j.client]
	of.jobs += jobs
	of.bytes += bytes
	s.clients[j.client] = of
	if of == (use{}) {
		delete(s.clients, j.client)
	}
}

// fits reports whether there is room for so much more of a client's, of which one
// leaves some to others. It is called under the lock.
func (s *Store) fits(client string, jobs int, bytes int64) bool {
	of := s.clients[client]
	return s.held.jobs+jobs <= s.cfg.Jobs && s.held.bytes+bytes <= s.cfg.AnswerBytes &&
		of.jobs+jobs <= shareOf(s.cfg.Jobs) && (of.bytes == 0 || of.bytes+bytes <= shareOf(s.cfg.AnswerBytes))
}

// forget ends what a job takes, under the lock.
func (s *Store) forget(j *job) {
	s.count(j, -1, -j.bytes)
	delete(s.jobs, j.id)
}

// Start runs an owner's job in a goroutine of its own and gives its id, which cannot
// be guessed; "" where the store is full or the client, who is the owner or else an
// address, has its share. The job has the values of ctx and ends with Drop alone. lost
// makes what takes the place of an answer for which there is no room, or never is.
func (s *Store) Start(ctx context.Context, owner, client string, lost func(forever bool) Answer, run func(context.Context) Answer) string {
	j := &job{id: newID(), owner: owner, client: client, done: make(chan struct{})}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire()
	if !s.fits(client, 1, 1) {
		return ""
	}
	s.jobs[j.id] = j
	s.count(j, 1, 0)
	ctx, j.cancel = context.WithCancel(context.WithoutCancel(ctx)) // finish calls it
	go func() { s.finish(j, run(ctx), lost) }()
	return j.id
}

func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // crypto/rand never fails
	return hex.EncodeToString(b[:])
}

func (s *Store) finish(j *job, a Answer, lost func(forever bool) Answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j.cancel()
	defer close(j.done)
	if j.dropped {
		s.forget(j)
		return
	}
	s.expire()
	if size := int64(cap(a.Body)); !s.fits(j.client, 0, size) {
		a = lost(size > s.cfg.AnswerBytes)
	}
	j.answer, j.until = a, s.now().Add(s.cfg.Keep)
	s.order = append(s.order, j)
	s.count(j, 0, int64(cap(a.Body)))
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
		s.forget(j)
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
		s.forget(j)
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
