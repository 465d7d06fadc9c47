package server

import (
	"github.com/denseflow/densereward/reward/batch"
	"github.com/prometheus/client_golang/prometheus"
)

// queueGauges asks a Scheduler for its state at each scrape, all of one moment.
type queueGauges struct {
	stats  func() batch.Stats
	gauges []queueGauge
}

type queueGauge struct {
	desc  *prometheus.Desc
	value func(*batch.Stats) float64
}

var _ prometheus.Collector = (*queueGauges)(nil)

// Watch adds the gauges of a model's Scheduler, whose Stats is stats. It panics
// if the model is watched already.
func (m *Metrics) Watch(model string, stats func() batch.Stats) {
	q := &queueGauges{stats: stats}
	add := func(name, help string, labels prometheus.Labels, value func(*batch.Stats) float64) {
		all := prometheus.Labels{"model": model}
		for k, v := range labels {
			all[k] = v
		}
		desc := prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, nil, all)
		q.gauges = append(q.gauges, queueGauge{desc, value})
	}
	const depth = "Samples in the queue by state."
	add("queue_samples", depth, prometheus.Labels{"state": "waiting"}, func(s *batch.Stats) float64 { return float64(s.Waiting) })
	add("queue_samples", depth, prometheus.Labels{"state": "preparing"}, func(s *batch.Stats) float64 { return float64(s.Preparing) })
	add("queue_samples", depth, prometheus.Labels{"state": "ready"}, func(s *batch.Stats) float64 { return float64(s.Ready) })
	add("queue_held_samples", "Samples admitted and not let go of.", nil, func(s *batch.Stats) float64 { return float64(s.Samples) })
	add("queue_held_bytes", "Bytes that the queue's samples hold.", nil, func(s *batch.Stats) float64 { return float64(s.Bytes) })
	add("evaluators", "Places for a batch.", nil, func(s *batch.Stats) float64 { return float64(s.Evaluators) })
	add("evaluators_busy", "Evaluators with a batch.", nil, func(s *batch.Stats) float64 { return float64(s.Busy) })
	add("evaluators_hung", "Evaluators that do not return although nobody waits for them.", nil, func(s *batch.Stats) float64 { return float64(s.Hung) })
	add("max_batch_size", "Largest batch now; lowered after running out of memory.", nil, func(s *batch.Stats) float64 { return float64(s.MaxBatchSize) })
	add("samples_per_second", "Rate at which busy evaluators score, of late.", nil, func(s *batch.Stats) float64 { return s.SamplesPerSec })
	add("cache_entries", "Results in the cache.", nil, func(s *batch.Stats) float64 { return float64(s.CacheEntries) })
	add("cache_bytes", "Bytes of the cache.", nil, func(s *batch.Stats) float64 { return float64(s.CacheBytes) })
	m.registry.MustRegister(q)
}

// Describe implements prometheus.Collector.
func (q *queueGauges) Describe(ch chan<- *prometheus.Desc) {
	for _, g := range q.gauges {
		ch <- g.desc
	}
}

// Collect implements prometheus.Collector.
func (q *queueGauges) Collect(ch chan<- prometheus.Metric) {
	stats := q.stats()
	for _, g := range q.gauges {
		ch <- prometheus.MustNewConstMetric(g.desc, prometheus.GaugeValue, g.value(&stats))
	}
}
