package server

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/denseflow/densereward/reward"
)

// Gathering bounds the groups that span requests.
type Gathering struct {
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

// DefaultGathering suits rollouts of a few minutes.
func DefaultGathering() Gathering {
	return Gathering{Timeout: 5 * time.Minute, Linger: 30 * time.Second, Groups: 4096, Bytes: 1 << 30}
}

// gatherer brings together the members of groups that span requests.
type gatherer struct {
	cfg Gathering

	mu        sync.Mutex
	gathering map[gatherKey]*gathering
	complete  []gatherKey // those remembered after their end, oldest first
	bytes     int64       // of all gatherings
}

// gatherKey names a group of a step; group is empty where the members of a
// whole step are gathered.
type gatherKey struct{ step, group string }

func newGatherer(cfg Gathering) *gatherer {
	return &gatherer{cfg: cfg, gathering: map[gatherKey]*gathering{}}
}

// gather waits until the groups of the members are complete and returns the
// members' shares. It fails with an *reward.Error: group_incomplete after the
// timeout or ctx's deadline, group_conflict where requests disagree,
// too_many_groups at the limits. What fails leaves nothing behind.
func (g *gatherer) gather(ctx context.Context, groups *reward.Groups, u rule, members []member) ([]share, error) {
	keys := make([]gatherKey, len(members))
	parts := map[gatherKey]*party{}
	for i := range members {
		keys[i] = gatherKey{groups.Step, members[i].group}
		if u.globalStd {
			keys[i].group = ""
		}
		p := parts[keys[i]]
		if p == nil {
			p = &party{rule: u, size: groups.Size, count: max(groups.Count, 1), whole: u.globalStd}
			parts[keys[i]] = p
		}
		at := anySeat
		if groups.Members != nil {
			at = groups.Members[i]
		}
		p.add(i, seat{members[i].group, at}, &members[i])
	}
	if err := g.joinAll(parts); err != nil {
		return nil, err
	}
	defer g.leaveAll(parts)
	for _, p := range parts {
		select {
		case <-p.at.done:
		case <-ctx.Done():
			return nil, g.interrupted(ctx, p)
		}
		if p.at.err != nil {
			return nil, p.at.err
		}
	}
	shares := make([]share, len(members))
	for _, p := range parts {
		for k, i := range p.samples {
			shares[i] = p.at.shares[p.seats[k]]
		}
	}
	return shares, nil
}

// interrupted is the error of a request whose context ended first.
func (g *gatherer) interrupted(ctx context.Context, p *party) error {
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return contextError(context.Cause(ctx), reward.ErrInternal)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return p.at.incomplete()
}

// joinAll seats every party or none.
func (g *gatherer) joinAll(parts map[gatherKey]*party) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for key, p := range parts {
		if err := g.join(key, p); err != nil {
			for key, p := range parts {
				g.leave(key, p)
			}
			return err
		}
	}
	return nil
}

func (g *gatherer) leaveAll(parts map[gatherKey]*party) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for key, p := range parts {
		g.leave(key, p)
	}
}

// join seats a party. The last one to come completes the gathering.
func (g *gatherer) join(key gatherKey, p *party) error {
	t := g.gathering[key]
	if t == nil {
		if err := g.room(); err != nil {
			return err
		}
		t = newGathering(p)
		t.timer = time.AfterFunc(g.cfg.Timeout, func() { g.expire(key, t) })
		g.gathering[key] = t
	}
	before := t.bytes
	err := t.seat(p)
	g.bytes += t.bytes - before
	if err != nil {
		return err
	}
	for g.bytes > g.cfg.Bytes {
		if !g.forgetOldest() {
			return reward.ErrTooManyGroups.With("groups: waiting members exceed %d bytes", g.cfg.Bytes)
		}
	}
	if !t.ended && t.full() {
		t.conclude()
		g.remember(key, t)
	}
	return nil
}

// room makes sure that one more gathering can be opened.
func (g *gatherer) room() error {
	for len(g.gathering) >= g.cfg.Groups {
		if !g.forgetOldest() {
			return reward.ErrTooManyGroups.With("groups: %d groups wait for members, limit %d", len(g.gathering), g.cfg.Groups)
		}
	}
	return nil
}

// remember keeps a complete gathering for Linger, for requests that come again.
func (g *gatherer) remember(key gatherKey, t *gathering) {
	t.timer.Stop()
	if !t.named || g.cfg.Linger <= 0 {
		g.forget(key, t)
		return
	}
	g.complete = append(g.complete, key)
	t.timer = time.AfterFunc(g.cfg.Linger, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.forget(key, t)
	})
}

// forgetOldest forgets the gathering that was completed first, and reports
// whether there was one.
func (g *gatherer) forgetOldest() bool {
	for len(g.complete) > 0 {
		key := g.complete[0]
		g.complete = g.complete[1:]
		if t := g.gathering[key]; t != nil && t.ended {
			g.forget(key, t)
			return true
		}
	}
	return false
}

// forget drops a gathering. Parties that still hold it can read their shares.
func (g *gatherer) forget(key gatherKey, t *gathering) {
	if g.gathering[key] != t {
		return
	}
	t.timer.Stop()
	delete(g.gathering, key)
	g.bytes -= t.bytes
}

// expire fails a gathering that waited too long.
func (g *gatherer) expire(key gatherKey, t *gathering) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if t.ended || g.gathering[key] != t {
		return
	}
	t.fail(t.incomplete())
	g.forget(key, t)
}

// leave takes back a party's hold of its seats. A seat that nobody holds in a
// gathering that goes on is free again.
func (g *gatherer) leave(key gatherKey, p *party) {
	if p.at == nil {
		return
	}
	t := p.at
	if t.ended {
		return
	}
	before := t.bytes
	t.unseat(p)
	if g.gathering[key] == t {
		g.bytes += t.bytes - before
		if len(t.seats) == 0 {
			g.forget(key, t)
		}
	}
}
