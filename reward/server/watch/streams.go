package watch

import (
	"context"
	"encoding/json"
	"io"
	"sync"
	"time"

	"github.com/denseflow/densereward/reward/groups"
	"github.com/denseflow/densereward/reward/server/recent"
)

// Path is where the stream is asked for with GET.
const Path = "/v1/watch"

// MediaType is that of the stream: an object of JSON a line.
const MediaType = "application/x-ndjson"

// How many streams there may be, each of which holds a connection.
const (
	mostStreams      = 16
	mostOwnerStreams = 4 // of one token
)

// shownGroups is how many waiting groups a state names.
const shownGroups = 32

// Config is what Streams tell of. All fields are required but Recent.
type Config struct {
	Activity *Activity
	Recent   *recent.Store // nil keeps none
	Waiting  func(owner string, most int) ([]groups.Waiting, int)
	Held     func() int64 // bytes of bodies and answers
	Ending   func() bool  // whether the server is shutting down
	Now      func() time.Time
}

// Interval is the time between two states.
const Interval = time.Second

// Streams are the open ones. It is safe for concurrent use.
type Streams struct {
	cfg Config

	mu     sync.Mutex
	open   int
	owners map[string]int
}

// New makes Streams of which none is open.
func New(cfg Config) *Streams { return &Streams{cfg: cfg, owners: map[string]int{}} }

// Enter takes a place for a stream of an owner, "" where nobody has a token. It reports
// whether there was one; leave gives it back.
func (s *Streams) Enter(owner string) (leave func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open >= mostStreams || owner != "" && s.owners[owner] >= mostOwnerStreams {
		return nil, false
	}
	s.open++
	s.owners[owner]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.open--
		if s.owners[owner]--; s.owners[owner] == 0 {
			delete(s.owners, owner)
		}
	}, true
}

// Write writes the recent samples of an owner and the server's state, and both again
// every second as they change, until ctx ends, the server shuts down or a write fails.
// flush is called when there is nothing more to write for now.
func (s *Streams) Write(ctx context.Context, w io.Writer, owner string, flush func() error) error {
	every := time.NewTicker(Interval)
	defer every.Stop()
	var last uint64
	for {
		if err := s.writeOnce(w, owner, &last); err != nil {
			return err
		}
		if err := flush(); err != nil {
			return err
		}
		if s.cfg.Ending() {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-every.C:
		}
	}
}

func (s *Streams) writeOnce(w io.Writer, owner string, last *uint64) error {
	state := s.cfg.Activity.state()
	state.At, state.Held, state.Keep = s.cfg.Now().UnixMilli(), s.cfg.Held(), s.cfg.Recent.Size()
	waiting, all := s.cfg.Waiting(owner, shownGroups)
	state.AllGroups = all
	for _, g := range waiting {
		state.Groups = append(state.Groups, Group(g))
	}
	text, err := json.Marshal(state)
	if err != nil {
		return err
	}
	if _, err := w.Write(append(text, '\n')); err != nil {
		return err
	}
	entries, upTo := s.cfg.Recent.After(*last, owner)
	*last = upTo
	for _, e := range entries {
		if _, err := w.Write(e.Line); err != nil {
			return err
		}
	}
	return nil
}
