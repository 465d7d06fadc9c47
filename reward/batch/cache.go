package batch

import (
	"math"
	"slices"
	"strings"
	"unsafe"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/denseflow/densereward/reward"
)

// cache holds the results used last, up to a number of bytes, by the pixels they
// are of, and which files have those pixels. It does no locking.
type cache struct {
	entries      *simplelru.LRU[key, entry]
	results      int
	bytes, limit int64
}

// entry is a result by its pixelKey, or, by a fileKey, the pixelKey of the file's
// image.
type entry struct {
	result reward.Result
	isFile bool
	pixels key
}

// newCache makes a cache of limit bytes; nil, which is an empty cache that
// takes nothing, if limit is 0.
func newCache(limit int64) *cache {
	if limit == 0 {
		return nil
	}
	c := &cache{limit: limit}
	entries, err := simplelru.NewLRU(math.MaxInt, func(_ key, e entry) { c.count(&e, -1) })
	if err != nil {
		panic("batch: " + err.Error()) // only a size below 1 is refused
	}
	c.entries = entries
	return c
}

// get finds the result of an image by its pixels or by its file.
func (c *cache) get(k key) (reward.Result, bool) {
	if c == nil {
		return reward.Result{}, false
	}
	e, ok := c.entries.Get(k)
	if ok && e.isFile {
		e, ok = c.entries.Get(e.pixels)
	}
	return e.result, ok
}

// add keeps r and lets go of what was used longest ago. A result larger than the
// whole cache is not kept.
func (c *cache) add(pixels key, r reward.Result) { c.put(pixels, entry{result: r}) }

func (c *cache) addFile(file, pixels key) { c.put(file, entry{isFile: true, pixels: pixels}) }

func (c *cache) put(k key, e entry) {
	if c == nil || e.bytes() > c.limit || c.entries.Contains(k) {
		return
	}
	c.entries.Add(k, e)
	c.count(&e, 1)
	for c.bytes > c.limit {
		c.entries.RemoveOldest()
	}
}

// count counts an entry that came, with 1, or went, with -1.
func (c *cache) count(e *entry, sign int) {
	c.bytes += int64(sign) * e.bytes()
	if !e.isFile {
		c.results += sign
	}
}

// size is the number of results and the bytes held.
func (c *cache) size() (results int, bytes int64) {
	if c == nil {
		return 0, 0
	}
	return c.results, c.bytes
}

// entryOverhead is about what the map, the list and the key take for an entry.
const entryOverhead = 256

// cloneResults copies what results refer to: evaluators often cut a batch's
// maps from one array, which a single result in the cache would keep whole.
func cloneResults(results []reward.Result) []reward.Result {
	clones := slices.Clone(results)
	for i := range clones {
		r := &clones[i]
		r.Scores = slices.Clone(r.Scores)
		r.Maps = slices.Clone(r.Maps)
		for k := range r.Maps {
			r.Maps[k].Data = slices.Clone(r.Maps[k].Data)
		}
		r.Missing = slices.Clone(r.Missing)
		r.Trace.InputIDs = slices.Clone(r.Trace.InputIDs)
		r.Trace.GeneratedIDs = slices.Clone(r.Trace.GeneratedIDs)
		r.Boxes = slices.Clone(r.Boxes)
		r.Text = strings.Clone(r.Text)
		if r.Generation != nil {
			g := *r.Generation
			g.Text = strings.Clone(g.Text)
			r.Generation = &g
		}
	}
	return clones
}

// bytes is the memory that e holds.
func (e *entry) bytes() int64 {
	r := &e.result
	n := entryOverhead + int(unsafe.Sizeof(*e)) + len(r.Text)
	n += 8 * len(r.Scores)
	if r.Generation != nil {
		n += int(unsafe.Sizeof(*r.Generation)) + len(r.Generation.Text)
	}
	for _, m := range r.Maps {
		n += int(unsafe.Sizeof(m)) + 4*len(m.Data)
	}
	n += len(r.Missing) * int(unsafe.Sizeof("")) // the names are the description's own
	n += 4 * (len(r.Trace.InputIDs) + len(r.Trace.GeneratedIDs))
	n += len(r.Boxes) * int(unsafe.Sizeof(reward.Box{}))
	for _, b := range r.Boxes {
		n += len(b.Label)
	}
	return int64(n)
}
