package groups

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/scoring"
)

// Config bounds the groups that span requests.
type Config struct {
	// Timeout is how long a group waits for its members from the first on.
	Timeout time.Duration
	// Linger is how long a complete group is remembered, so that a request
	// that was repeated because its answer got lost is answered again.
	Linger time.Duration
	// Groups is how many are remembered at a time, waiting or complete.
	Groups int
	// Bytes is what the maps of all their members may take.
	Bytes int64
}

// DefaultConfig suits rollouts of a few minutes.
func DefaultConfig() Config {
	return Config{Timeout: 5 * time.Minute, Linger: 30 * time.Second, Groups: 4096, Bytes: 1 << 30}
}

// Barrier brings together the members of groups that span requests. It is safe
// for concurrent use.
type Barrier struct {
	cfg Config

	mu       sync.Mutex
	groups   map[groupKey]*group
	complete []groupKey // those remembered after their end, oldest first
	bytes    int64      // of all groups
}

var _ scoring.Barrier = (*Barrier)(nil)

// groupKey names a group of a step; group is empty where the members of a
// whole step come together.
type groupKey struct{ evaluator, step, group string }

// New makes a barrier at which nobody waits.
func New(cfg Config) *Barrier {
	return &Barrier{cfg: cfg, groups: map[groupKey]*group{}}
}

// Gather waits until the groups of the members are complete and returns the
// members' shares. It fails with an *reward.Error: group_incomplete after the
// timeout or ctx's deadline, group_conflict where requests disagree,
// too_many_groups at the limits. What fails leaves nothing behind.
func (b *Barrier) Gather(ctx context.Context, groups *reward.Groups, rule scoring.Rule, members []scoring.Member) ([]scoring.Share, error) {
	participants := newParticipants(groups, rule, members)
	if err := b.joinAll(participants); err != nil {
		return nil, err
	}
	defer b.leaveAll(participants)
	for _, p := range participants {
		select {
		case <-p.group.done:
		case <-ctx.Done():
			return nil, b.interrupted(ctx, p)
		}
		if p.group.err != nil {
			return nil, p.group.err
		}
	}
	shares := make([]scoring.Share, len(members))
	for _, p := range participants {
		for k, i := range p.samples {
			shares[i] = p.group.shares[p.places[k]]
		}
	}
	return shares, nil
}

// interrupted is the error of a request whose context ended first.
func (b *Barrier) interrupted(ctx context.Context, p *participant) error {
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return reward.ContextError(context.Cause(ctx), reward.ErrInternal)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return p.group.incomplete()
}

// joinAll gives every participant its places, or none.
func (b *Barrier) joinAll(participants map[groupKey]*participant) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for key, p := range participants {
		if err := b.join(key, p); err != nil {
			for key, p := range participants {
				b.leave(key, p)
			}
			return err
		}
	}
	return nil
}

func (b *Barrier) leaveAll(participants map[groupKey]*participant) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for key, p := range participants {
		b.leave(key, p)
	}
}

// join gives a participant its places. The last one to come completes the group.
func (b *Barrier) join(key groupKey, p *participant) error {
	t := b.groups[key]
	if t == nil {
		if err := b.room(); err != nil {
			return err
		}
		t = newGroup(p)
		t.timer = time.AfterFunc(b.cfg.Timeout, func() { b.expire(key, t) })
		b.groups[key] = t
	}
	before := t.bytes
	err := t.place(p)
	b.bytes += t.bytes - before
	if err != nil {
		return err
	}
	for b.bytes > b.cfg.Bytes {
		if !b.forgetOldest() {
			return reward.ErrTooManyGroups.With("groups: waiting members exceed %d bytes", b.cfg.Bytes)
		}
	}
	if !t.ended && t.full() {
		t.conclude()
		b.remember(key, t)
	}
	return nil
}

// room makes sure that one more group can be opened.
func (b *Barrier) room() error {
	for len(b.groups) >= b.cfg.Groups {
		if !b.forgetOldest() {
			return reward.ErrTooManyGroups.With("groups: %d groups wait for members, limit %d", len(b.groups), b.cfg.Groups)
		}
	}
	return nil
}

// remember keeps a complete group for Linger, for requests that come again.
func (b *Barrier) remember(key groupKey, t *group) {
	t.timer.Stop()
	if !t.named || b.cfg.Linger <= 0 {
		b.forget(key, t)
		return
	}
	b.complete = append(b.complete, key)
	t.timer = time.AfterFunc(b.cfg.Linger, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.forget(key, t)
	})
}

// forgetOldest forgets the group that was completed first, and reports
// whether there was one.
func (b *Barrier) forgetOldest() bool {
	for len(b.complete) > 0 {
		key := b.complete[0]
		b.complete = b.complete[1:]
		if t := b.groups[key]; t != nil && t.ended {
			b.forget(key, t)
			return true
		}
	}
	return false
}

// forget drops a group. Participants that still hold it can read their shares.
func (b *Barrier) forget(key groupKey, t *group) {
	if b.groups[key] != t {
		return
	}
	t.timer.Stop()
	delete(b.groups, key)
	b.bytes -= t.bytes
}

// expire fails a group that waited too long.
func (b *Barrier) expire(key groupKey, t *group) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if t.ended || b.groups[key] != t {
		return
	}
	t.fail(t.incomplete())
	b.forget(key, t)
}

// leave takes back a participant's hold of its places. A place that nobody holds
// in a group that goes on is free again.
func (b *Barrier) leave(key groupKey, p *participant) {
	if p.group == nil {
		return
	}
	t := p.group
	if t.ended {
		return
	}
	before := t.bytes
	t.unplace(p)
	if b.groups[key] == t {
		b.bytes += t.bytes - before
		if len(t.members) == 0 {
			b.forget(key, t)
		}
	}
}
