package batch

import (
	"math"
	"slices"
	"strings"
	"unsafe"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/denseflow/densereward/reward"
)

// cache holds the results used last, up to a number of bytes. It does no
// locking.
type cache struct {
	entries      *simplelru.LRU[key, reward.Result]
	bytes, limit int64
}

// newCache makes a cache of limit bytes; nil, which is an empty cache that
// takes nothing, if limit is 0.
func newCache(limit int64) *cache {
	if limit == 0 {
		return nil
	}
	c := &cache{limit: limit}
	entries, err := simplelru.NewLRU(math.MaxInt, func(_ key, r reward.Result) { c.bytes -= resultBytes(&r) })
	if err != nil {
		panic("batch: " + err.Error()) // only a size below 1 is refused
	}
	c.entries = entries
	return c
}

func (c *cache) get(k key) (reward.Result, bool) {
	if c == nil {
		return reward.Result{}, false
	}
	return c.entries.Get(k)
}

// add keeps r and lets go of the results used longest ago. A result larger
// than the whole cache is not kept.
func (c *cache) add(k key, r reward.Result) {
	size := resultBytes(&r)
	if c == nil || size > c.limit || c.entries.Contains(k) {
		return
	}
	c.entries.Add(k, r)
	c.bytes += size
	for c.bytes > c.limit {
		c.entries.RemoveOldest()
	}
}

// size is the number of results and bytes held.
func (c *cache) size() (entries int, bytes int64) {
	if c == nil {
		return 0, 0
	}
	return c.entries.Len(), c.bytes
}

// entryOverhead is about what the map, the list and the key take for an entry.
const entryOverhead = 256

// cloneResults copies what results refer to: evaluators often cut a batch's
// heatmaps from one array, which a single result in the cache would keep whole.
func cloneResults(results []reward.Result) []reward.Result {
	clones := slices.Clone(results)
	for i := range clones {
		r := &clones[i]
		r.Misalignment.Data = slices.Clone(r.Misalignment.Data)
		r.Artifact.Data = slices.Clone(r.Artifact.Data)
		r.Trace.InputIDs = slices.Clone(r.Trace.InputIDs)
		r.Trace.GeneratedIDs = slices.Clone(r.Trace.GeneratedIDs)
		r.Boxes = slices.Clone(r.Boxes)
		r.Text = strings.Clone(r.Text)
	}
	return clones
}

// resultBytes is the memory that r holds.
func resultBytes(r *reward.Result) int64 {
	n := entryOverhead + int(unsafe.Sizeof(*r)) + len(r.Text)
	n += 4 * (len(r.Misalignment.Data) + len(r.Artifact.Data))
	n += 4 * (len(r.Trace.InputIDs) + len(r.Trace.GeneratedIDs))
	n += len(r.Boxes) * int(unsafe.Sizeof(reward.Box{}))
	for _, b := range r.Boxes {
		n += len(b.Label)
	}
	return int64(n)
}
