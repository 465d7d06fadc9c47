// Package watch tells people what a server is doing, as a stream of JSON lines: its
// state every second, and samples as they are scored.
package watch

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/denseflow/densereward/reward/batch"
)

// How much of the past the figures look back on.
const (
	keptDurations = 1024 // requests
	keptBatches   = 64   // of each evaluator
)

// Activity is what a server has done of late. It is safe for concurrent use.
type Activity struct {
	mu        sync.Mutex
	durations ring[time.Duration] // of requests for scores that were answered
	requests  uint64              // for scores that ended, with an error or not
	errors    map[string]uint64   // of requests of any kind, by code
	names     []string            // of evaluators, in order
	models    map[string]*Model
	gpus      func() []GPU // nil without
}

// NewActivity is that of a server that has done nothing.
func NewActivity() *Activity {
	return &Activity{durations: ring[time.Duration]{most: keptDurations}, errors: map[string]uint64{}, models: map[string]*Model{}}
}

// Request notes a request that ended, whether it asked for scores, and how long it took;
// code is "" for one without an error, and otherwise one of a bounded set.
func (a *Activity) Request(code string, scores bool, d time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if scores {
		a.requests++
	}
	switch {
	case code != "":
		a.errors[code]++
	case scores:
		a.durations.add(d)
	}
}

// GPUs says where the memory of the machine's GPUs is to be had.
func (a *Activity) GPUs(memory func() []GPU) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.gpus = memory
}

// Model is what one evaluator's batches were. It is safe for concurrent use.
type Model struct {
	mu      sync.Mutex
	batches ring[batchRun]
	events  [batch.NumEvents]uint64
	stats   func() batch.Stats
}

type batchRun struct {
	Samples int
	Took    time.Duration
}

// Model is that of an evaluator's name, made at its first call.
func (a *Activity) Model(name string) *Model {
	a.mu.Lock()
	defer a.mu.Unlock()
	m := a.models[name]
	if m == nil {
		m = &Model{batches: ring[batchRun]{most: keptBatches}}
		a.models[name] = m
		a.names = append(a.names, name)
	}
	return m
}

// Queue says where the state of the evaluator's queue is to be had.
func (m *Model) Queue(stats func() batch.Stats) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stats = stats
}

// Batch notes one evaluation.
func (m *Model) Batch(samples int, d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.batches.add(batchRun{samples, d})
}

func (m *Model) Count(e batch.Event, n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.events[e] += uint64(n)
}

// The JSON of a server's state. Counters are since the start, percentiles in
// milliseconds over the last requests.
type (
	// State is the whole of it.
	State struct {
		Type       string            `json:"type"`
		At         int64             `json:"at"` // milliseconds since 1970
		Requests   uint64            `json:"requests"`
		Latency    *Percentiles      `json:"latency_ms"` // null before the first request
		Errors     map[string]uint64 `json:"errors"`
		Held       int64             `json:"held_bytes"` // of bodies and answers
		GPUs       []GPU             `json:"gpus"`       // of the machine, by the driver's number
		Evaluators []EvaluatorState  `json:"evaluators"`
		Groups     []Group           `json:"groups"`
		AllGroups  int               `json:"all_groups"`
		Keep       int               `json:"keep_recent"`
	}

	// GPU is the memory of one, all processes' together, in bytes.
	GPU struct {
		Used  uint64 `json:"used"`
		Total uint64 `json:"total"`
	}

	// Percentiles are of the time of requests.
	Percentiles struct {
		P50 float64 `json:"p50"`
		P90 float64 `json:"p90"`
		P99 float64 `json:"p99"`
	}

	// EvaluatorState is that of one evaluator.
	EvaluatorState struct {
		Name         string  `json:"name"`
		Waiting      int     `json:"waiting"`
		Preparing    int     `json:"preparing"`
		Ready        int     `json:"ready"`
		Held         int     `json:"held"`
		HeldBytes    int64   `json:"held_bytes"`
		Places       int     `json:"places"`
		Busy         int     `json:"busy"`
		Hung         int     `json:"hung"`
		MaxBatch     int     `json:"max_batch"`
		PerSecond    float64 `json:"samples_per_second"`
		CacheEntries int     `json:"cache_entries"`
		CacheBytes   int64   `json:"cache_bytes"`
		// Batches are the sizes of the last ones, the oldest first.
		Batches []int             `json:"batches"`
		Events  map[string]uint64 `json:"events"` // by package batch's names
	}

	// Group is one that waits for members.
	Group struct {
		Evaluator string `json:"evaluator"`
		Step      string `json:"step"`
		Group     string `json:"group"`
		Have      int    `json:"have"`
		Want      int    `json:"want"`
		Missing   []int  `json:"missing"`
	}
)

// state is that of now, without groups.
func (a *Activity) state() State {
	a.mu.Lock()
	s := State{Type: "state", Requests: a.requests, Errors: maps.Clone(a.errors), GPUs: []GPU{}, Evaluators: []EvaluatorState{}, Groups: []Group{}}
	if took := slices.Clone(a.durations.kept); len(took) > 0 {
		slices.Sort(took)
		at := func(share float64) float64 {
			return float64(took[int(share*float64(len(took)-1)+0.5)]) / float64(time.Millisecond)
		}
		s.Latency = &Percentiles{at(0.5), at(0.9), at(0.99)}
	}
	names, models, gpus := slices.Clone(a.names), maps.Clone(a.models), a.gpus
	a.mu.Unlock()
	if gpus != nil {
		s.GPUs = append(s.GPUs, gpus()...)
	}
	for _, name := range names {
		s.Evaluators = append(s.Evaluators, models[name].state(name))
	}
	return s
}

func (m *Model) state(name string) EvaluatorState {
	m.mu.Lock()
	e := EvaluatorState{Name: name, Batches: []int{}, Events: map[string]uint64{}}
	for _, run := range m.batches.inOrder() {
		e.Batches = append(e.Batches, run.Samples)
	}
	for k, n := range m.events {
		e.Events[batch.Event(k).String()] = n
	}
	stats := m.stats
	m.mu.Unlock()
	if stats == nil {
		return e
	}
	now := stats() // outside the lock: the scheduler calls Batch and Count under its own
	e.Waiting, e.Preparing, e.Ready = now.Waiting, now.Preparing, now.Ready
	e.Held, e.HeldBytes = now.Samples, now.Bytes
	e.Places, e.Busy, e.Hung, e.MaxBatch = now.Evaluators, now.Busy, now.Hung, now.MaxBatchSize
	e.PerSecond, e.CacheEntries, e.CacheBytes = now.SamplesPerSec, now.CacheEntries, now.CacheBytes
	return e
}

// ring keeps the last values.
type ring[T any] struct {
	most int
	kept []T
	next int // place of the oldest, once it is full
}

func (r *ring[T]) add(v T) {
	if len(r.kept) < r.most {
		r.kept = append(r.kept, v)
		return
	}
	r.kept[r.next] = v
	r.next = (r.next + 1) % r.most
}

func (r *ring[T]) inOrder() []T { return append(slices.Clone(r.kept[r.next:]), r.kept[:r.next]...) }
