package groups

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/advantages"
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
	// OwnerGroups and OwnerBytes are what of it one owner may have. They do not bind
	// the owner "", which all are where nobody has a token.
	OwnerGroups int
	OwnerBytes  int64
}

// DefaultConfig suits rollouts of a few minutes.
func DefaultConfig() Config {
	return Config{
		Timeout: 5 * time.Minute, Linger: 30 * time.Second,
		Groups: 4096, Bytes: 1 << 30, OwnerGroups: 2048, OwnerBytes: 512 << 20,
	}
}

// Barrier brings together the members of groups that span requests. It is safe
// for concurrent use.
type Barrier struct {
	cfg Config

	mu       sync.Mutex
	groups   map[groupKey]*group
	complete []groupKey // those remembered after their end, oldest first
	bytes    int64      // of all groups
	owners   map[string]use
}

// use is what an owner has of a Barrier.
type use struct {
	groups int
	bytes  int64
}

// Owned is a Barrier as one owner sees it.
type Owned struct {
	barrier *Barrier
	owner   string
}

// For is the barrier of an owner, whose groups no other owner meets.
func (b *Barrier) For(owner string) Owned { return Owned{b, owner} }

// groupKey names a group of a step; group is empty where the members of a
// whole step come together.
type groupKey struct{ owner, evaluator, step, group string }

// New makes a barrier at which nobody waits.
func New(cfg Config) *Barrier {
	return &Barrier{cfg: cfg, groups: map[groupKey]*group{}, owners: map[string]use{}}
}

// Gather waits until the groups of the members are complete and returns the
// members' shares. It fails with an *reward.Error: group_incomplete after the
// timeout or ctx's deadline, group_conflict where requests disagree,
// too_many_groups at the limits. What fails leaves nothing behind.
func (o Owned) Gather(ctx context.Context, groups *reward.Groups, rule advantages.Rule, members []advantages.Member) ([]advantages.Share, error) {
	b := o.barrier
	participants := newParticipants(o.owner, groups, rule, members)
	full, err := b.joinAll(participants)
	for key, t := range full {
		b.conclude(key, t)
	}
	if err != nil {
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
	shares := make([]advantages.Share, len(members))
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

// joinAll gives every participant its places, or none. It returns the groups that are
// full now, which the caller has to conclude, with an error as well.
func (b *Barrier) joinAll(participants map[groupKey]*participant) (full map[groupKey]*group, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	full = map[groupKey]*group{}
	for key, p := range participants {
		if err := b.join(key, p); err != nil {
			for key, p := range participants {
				b.leave(key, p)
			}
			return full, err
		}
		if t := p.group; !t.full && t.isFull() {
			t.full = true
			t.timer.Stop()
			full[key] = t
		}
	}
	return full, nil
}

// conclude computes the shares of a full group, outside the lock: other groups do not
// wait for it.
func (b *Barrier) conclude(key groupKey, t *group) {
	b.mu.Lock()
	order, members := t.ordered()
	b.mu.Unlock()
	var shares []advantages.Share
	err := error(reward.ErrInternal) // stays if the mathematics panics
	defer func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		t.conclude(order, shares, err)
		b.remember(key, t)
	}()
	shares, err = t.rule.Shares(members)
}

func (b *Barrier) leaveAll(participants map[groupKey]*participant) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for key, p := range participants {
		b.leave(key, p)
	}
}

// join gives a participant its places.
func (b *Barrier) join(key groupKey, p *participant) error {
	t := b.groups[key]
	if t == nil {
		if err := b.room(key.owner); err != nil {
			return err
		}
		t = newGroup(p)
		t.timer = time.AfterFunc(b.cfg.Timeout, func() { b.expire(key, t) })
		b.groups[key] = t
		b.count(key.owner, 1, 0)
	}
	before := t.bytes
	err := t.place(p)
	b.count(key.owner, 0, t.bytes-before)
	if err != nil {
		return err
	}
	for b.bytes > b.cfg.Bytes {
		if !b.forgetOldest(nil) {
			return reward.ErrTooManyGroups.With("groups: waiting members exceed %d bytes", b.cfg.Bytes)
		}
	}
	for limit := b.cfg.OwnerBytes; key.owner != "" && limit > 0 && b.owners[key.owner].bytes > limit; {
		if !b.forgetOldest(&key.owner) {
			return reward.ErrTooManyGroups.With("groups: waiting members of one token exceed %d bytes", limit)
		}
	}
	return nil
}

// count notes what an owner has more, or less.
func (b *Barrier) count(owner string, groups int, bytes int64) {
	u := b.owners[owner]
	u.groups += groups
	u.bytes += bytes
	b.bytes += bytes
	if b.owners[owner] = u; u == (use{}) {
		delete(b.owners, owner)
	}
}

// room makes sure that one more group of an owner can be opened.
func (b *Barrier) room(owner string) error {
	for limit := b.cfg.OwnerGroups; owner != "" && limit > 0 && b.owners[owner].groups >= limit; {
		if !b.forgetOldest(&owner) {
			return reward.ErrTooManyGroups.With("groups: %d groups of one token wait for members, limit %d", b.owners[owner].groups, limit)
		}
	}
	for len(b.groups) >= b.cfg.Groups {
		if !b.forgetOldest(nil) {
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

// forgetOldest forgets the group that was completed first, of an owner if one is
// given, and reports whether there was one.
func (b *Barrier) forgetOldest(owner *string) bool {
	b.complete = slices.DeleteFunc(b.complete, func(key groupKey) bool { return b.groups[key] == nil || !b.groups[key].ended })
	i := slices.IndexFunc(b.complete, func(key groupKey) bool { return owner == nil || key.owner == *owner })
	if i < 0 {
		return false
	}
	key := b.complete[i]
	b.complete = slices.Delete(b.complete, i, i+1)
	b.forget(key, b.groups[key])
	return true
}

// forget drops a group. Participants that still hold it can read their shares.
func (b *Barrier) forget(key groupKey, t *group) {
	if b.groups[key] != t {
		return
	}
	t.timer.Stop()
	delete(b.groups, key)
	b.count(key.owner, -1, -t.bytes)
}

// expire fails a group that waited too long.
func (b *Barrier) expire(key groupKey, t *group) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if t.full || t.ended || b.groups[key] != t {
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
	if t.full || t.ended {
		return
	}
	before := t.bytes
	t.unplace(p)
	if b.groups[key] == t {
		b.count(key.owner, 0, t.bytes-before)
		if len(t.members) == 0 {
			b.forget(key, t)
		}
	}
}
