package client

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"hash/fnv"
	"slices"
	"sync"

	"github.com/denseflow/densereward/reward/wire"
)

// hash64 is FNV-1a of 64 bits and then murmur3's finalizer: without it addresses that
// differ in their last digit would not get even shares. All clients share it.
func hash64(text string) uint64 {
	f := fnv.New64a()
	_, _ = f.Write([]byte(text))
	h := f.Sum64()
	for _, multiplier := range [...]uint64{0xff51afd7ed558ccd, 0xc4ceb9fe1a85ec53} {
		h = (h ^ h>>33) * multiplier
	}
	return h ^ h>>33
}

// rank orders servers for a key, the lowest first (rendezvous hashing).
func rank(key, base string) uint64 { return hash64(key + "\x00" + base) }

// placementKey is the key as wire.HeaderPlacement carries it.
func placementKey(key string) string {
	return fmt.Sprintf("%016x", hash64(key))
}

// key is what all requests that sample i's group comes with have in common, "" where
// groups are of one request: its step and, unless statistics are of the whole step, its
// name, if anything can come of that.
func (c *Client) key(q *wire.Request, i int) string {
	if q.Groups.Step == "" || q.Groups.Count != 0 || len(c.servers.all) == 1 && !c.opts.splitGroups {
		return q.Groups.Step
	}
	return q.Groups.Step + "\x00" + q.GroupName(i)
}

// homes are the samples of q by where their groups meet, in the order in which they come:
// those that may come in one request, wherever it goes.
func (c *Client) homes(q *wire.Request) [][]int {
	var homes [][]int
	at := map[string]int{}
	for i := range q.Prompts {
		key := c.key(q, i)
		home := key
		if key != "" && !c.opts.splitGroups {
			home = ""
			for _, s := range c.servers.ordered(key) {
				home += s.base + "\x00"
			}
		}
		k, known := at[home]
		if !known {
			k = len(homes)
			at[home] = k
			homes = append(homes, nil)
		}
		homes[k] = append(homes[k], i)
	}
	return homes
}

// scoreHomes sends the groups of q to their servers, all at the same time. The first
// failure ends the others.
func (c *Client) scoreHomes(ctx context.Context, q *wire.Request, homes [][]int, once exchange) (*wire.Response, error) {
	responses, failures := make([]*wire.Response, len(homes)), make([]error, len(homes))
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var sending sync.WaitGroup
	for k, places := range homes {
		part := pick(q, places)
		sending.Go(func() {
			if responses[k], failures[k] = c.scoreHome(ctx, part, once); failures[k] != nil {
				cancel(failures[k])
			}
		})
	}
	sending.Wait()
	if slices.ContainsFunc(failures, func(err error) bool { return err != nil }) {
		return nil, context.Cause(ctx)
	}
	joined, err := join(responses)
	if err != nil {
		return nil, err
	}
	return reorder(joined, slices.Concat(homes...)), nil
}

// pick is the samples of q at places.
func pick(q *wire.Request, places []int) *wire.Request {
	p := *q
	p.Prompts = taken(q.Prompts, places)
	p.Images = taken(q.Images, places)
	p.Metadata = taken(q.Metadata, places)
	p.Groups.Names = taken(q.Groups.Names, places)
	p.Groups.Members = taken(q.Groups.Members, places)
	if q.Latents != nil {
		p.Latents = q.Latents.Gather(places)
	}
	return &p
}

// taken is list at places, nil for nil.
func taken[T any](list []T, places []int) []T {
	if list == nil {
		return nil
	}
	all := make([]T, len(places))
	for k, i := range places {
		all[k] = list[i]
	}
	return all
}

// reorder puts sample k of p at places[k].
func reorder(p *wire.Response, places []int) *wire.Response {
	from := make([]int, len(places))
	for k, i := range places {
		from[i] = k
	}
	r := *p
	r.Rewards, r.Missing, r.Errors = taken(p.Rewards, from), taken(p.Missing, from), taken(p.Errors, from)
	r.Cached, r.Texts, r.Boxes = taken(p.Cached, from), taken(p.Texts, from), taken(p.Boxes, from)
	r.Images, r.Ranks = taken(p.Images, from), taken(p.Ranks, from)
	r.Scores = slices.Clone(p.Scores)
	for i := range r.Scores {
		r.Scores[i].Values = taken(r.Scores[i].Values, from)
	}
	if p.Dense != nil {
		d := *p.Dense
		d.Weight, d.Reward = d.Weight.Gather(from), d.Reward.Gather(from)
		d.Weights, d.Rewards = taken(d.Weights, from), taken(d.Rewards, from)
		r.Dense = &d
	}
	r.Advantages, r.AdvantageMaps = p.Advantages.Gather(from), taken(p.AdvantageMaps, from)
	r.Heatmaps = slices.Clone(p.Heatmaps)
	for i := range r.Heatmaps {
		r.Heatmaps[i].Maps, r.Heatmaps[i].Each = r.Heatmaps[i].Maps.Gather(from), taken(r.Heatmaps[i].Each, from)
	}
	return &r
}

// ordered are the servers of a key, that where its requests should meet first.
func (s *servers) ordered(key string) []*server {
	order := slices.Clone(s.all)
	slices.SortFunc(order, func(x, y *server) int { return cmp.Compare(rank(key, x.base), rank(key, y.base)) })
	return order
}

// placement is the key under which a context carries that of its requests.
type placement struct{}

// withPlacement has all requests of a context carry a key, one of their own where it is
// "": those of a job must reach one server.
func withPlacement(ctx context.Context, key string) context.Context {
	if key == "" {
		key = rand.Text()
	}
	return context.WithValue(ctx, placement{}, placementKey(key))
}
