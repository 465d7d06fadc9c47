package telemetry

import (
	"errors"
	"math"
	"slices"
	"strconv"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/scoring"
	"github.com/denseflow/densereward/reward/server/watch"
	"github.com/prometheus/client_golang/prometheus"
)

// distributions are those of what one evaluator found.
type distributions struct {
	rewards prometheus.Observer
	scores  []prometheus.Observer // in the order of its description
	tokens  prometheus.Observer   // of its answers
}

// buckets are how many a distribution of scores has.
const buckets = 20

// between are the buckets of values from low to high; those of a bound that is infinite go
// to 10, in which scores of CLIP and of judges lie.
func between(low, high float64) []float64 {
	if math.IsInf(low, 0) || math.IsInf(high, 0) || !(high > low) {
		low, high = -10, 10
	}
	all := make([]float64, buckets)
	for i := range all {
		all[i] = low + (high-low)*float64(i+1)/buckets
	}
	return all
}

// Describe begins the distributions of an evaluator, whose names bound their labels. Those
// that are there already stay.
func (m *Metrics) Describe(d reward.Description) {
	low, high := 0.0, 0.0
	found := &distributions{}
	for _, s := range d.Scores {
		low, high = low+s.Weight*s.Min, high+s.Weight*s.Max
		found.scores = append(found.scores, m.distribution("scores", "Scores of samples that were scored, by their name.", between(s.Min, s.Max),
			prometheus.Labels{"model": d.Name, "score": s.Name}))
	}
	of := prometheus.Labels{"model": d.Name}
	found.rewards = m.distribution("rewards", "Rewards of samples that were scored; buckets are those of the evaluator's own weights.", between(low, high), of)
	if d.Text {
		found.tokens = m.distribution("answer_tokens", "Tokens of answers that were generated.", prometheus.ExponentialBuckets(8, 2, 10), of)
	}
	m.found.Store(d.Name, found)
}

// distribution is a histogram of the registry, the one that is there if there is.
func (m *Metrics) distribution(name, help string, buckets []float64, labels prometheus.Labels) prometheus.Observer {
	h := prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: buckets, ConstLabels: labels})
	var taken prometheus.AlreadyRegisteredError
	if err := m.registry.Register(h); errors.As(err, &taken) {
		if there, ok := taken.ExistingCollector.(prometheus.Histogram); ok {
			return there
		}
	}
	return h
}

// Found notes what was found in samples: rewards and scores, what answers lacked, and the
// warnings to the caller.
func (m *Metrics) Found(e *scoring.Evaluated) {
	m.warnings.Add(float64(len(e.Warnings)))
	described, _ := m.found.Load(e.Evaluator.Name)
	into, _ := described.(*distributions)
	for i := range e.Outcomes {
		o := &e.Outcomes[i]
		for _, part := range o.Missing {
			m.missing.WithLabelValues(e.Evaluator.Name, part).Inc()
		}
		if into == nil || e.Errors[i] != nil {
			continue
		}
		into.rewards.Observe(e.Rewards[i])
		for k, score := range o.Scores {
			if !slices.Contains(o.Missing, e.Evaluator.Scores[k].Name) {
				into.scores[k].Observe(score)
			}
		}
		if n := len(o.Trace.GeneratedIDs); n > 0 && into.tokens != nil {
			into.tokens.Observe(float64(n))
		}
	}
}

// WatchServer adds gauges of the whole server: groups that wait and the members that came
// to them, bytes of bodies and answers that are held, and how often a client had its
// share of those. Those that are there stay.
func (m *Metrics) WatchServer(waiting func() (groups, members int), held, refused func() int64) {
	gauge := func(name, help string, value func() float64) {
		g := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}, value)
		_ = m.registry.Register(g) // one that is there stays
	}
	gauge("groups_waiting", "Groups that span requests and lack members.", func() float64 { groups, _ := waiting(); return float64(groups) })
	gauge("group_members_waiting", "Samples that wait for other members of their groups.", func() float64 { _, members := waiting(); return float64(members) })
	gauge("body_memory_held_bytes", "Bytes of bodies and answers that are held.", func() float64 { return float64(held()) })
	m.count("client_memory_refused_total", "Bodies and answers refused because their client had its share of the memory.", refused)
}

// WatchConnections adds a counter of connections that were refused because their client
// had its share.
func (m *Metrics) WatchConnections(refused func() int64) {
	m.count("client_connections_refused_total", "Connections refused because their client had its share.", refused)
}

func (m *Metrics) count(name, help string, value func() int64) {
	c := prometheus.NewCounterFunc(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, func() float64 { return float64(value()) })
	_ = m.registry.Register(c) // one that is there stays
}

// gpus asks the driver at each scrape.
type gpus struct {
	memory func() []watch.GPU
	desc   *prometheus.Desc
}

var _ prometheus.Collector = (*gpus)(nil)

// WatchGPUs adds the memory of the machine's GPUs, as memory tells it: without those that
// do not answer. It may be called at any time.
func (m *Metrics) WatchGPUs(memory func() []watch.GPU) {
	m.registry.MustRegister(&gpus{memory, prometheus.NewDesc(namespace+"_gpu_memory_bytes",
		"Memory of the machine's GPUs, all processes' together, by the driver's number.", []string{"gpu", "state"}, nil)})
	m.activity.GPUs(memory)
}

// Describe implements prometheus.Collector.
func (g *gpus) Describe(ch chan<- *prometheus.Desc) { ch <- g.desc }

// Collect implements prometheus.Collector.
func (g *gpus) Collect(ch chan<- prometheus.Metric) {
	for i, one := range g.memory() {
		number := strconv.Itoa(i)
		ch <- prometheus.MustNewConstMetric(g.desc, prometheus.GaugeValue, float64(one.Used), number, "used")
		ch <- prometheus.MustNewConstMetric(g.desc, prometheus.GaugeValue, float64(one.Total), number, "total")
	}
}
