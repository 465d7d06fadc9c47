// Package telemetry is what a server tells of itself to those who operate it: metrics
// in Prometheus's form. Package otlp sends them elsewhere.
package telemetry

import (
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/batch"
	"github.com/denseflow/densereward/reward/server/watch"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics are a server's own, in a registry of their own. All names begin with
// densereward_. They are safe for concurrent use.
type Metrics struct {
	registry *prometheus.Registry
	activity *watch.Activity // the same for people

	requests  *prometheus.CounterVec   // path, method, status, code
	durations *prometheus.HistogramVec // path
	stages    *prometheus.HistogramVec // stage of a request
	inFlight  prometheus.Gauge
	bodyBytes *prometheus.CounterVec // direction
	failures  *prometheus.CounterVec // code, of single samples
	missing   *prometheus.CounterVec // model, part
	warnings  prometheus.Counter
	found     sync.Map // *distributions by model

	batchSizes   *prometheus.HistogramVec // model
	batchSeconds *prometheus.HistogramVec // model
	sampleStages *prometheus.HistogramVec // model, stage
	samples      *prometheus.CounterVec   // model, event
}

const namespace = "densereward"

// latencyBuckets go from what a cache takes to what a large batch waits, in
// seconds.
func latencyBuckets() []float64 { return prometheus.ExponentialBuckets(0.0005, 2, 18) }

// NewMetrics makes the metrics of one server. version names the build.
func NewMetrics(version string) *Metrics {
	m := &Metrics{
		registry:  prometheus.NewRegistry(),
		activity:  watch.NewActivity(),
		requests:  counters("http_requests_total", "Requests by what became of them; code is \"ok\" or the error's.", "path", "method", "status", "code"),
		durations: histograms("http_request_duration_seconds", "From a request's header to the end of its answer.", latencyBuckets(), "path"),
		stages:    histograms("request_stage_seconds", "Where the time of a scored request went.", latencyBuckets(), "stage"),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: namespace, Name: "http_requests_in_flight", Help: "Requests being answered.",
		}),
		bodyBytes:    counters("http_body_bytes_total", "Bytes of bodies, received and sent.", "direction"),
		failures:     counters("sample_errors_total", "Samples that were answered with an error in a scored request, by its code.", "code"),
		missing:      counters("missing_parts_total", "Scores and maps that answers lacked.", "model", "part"),
		warnings:     prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: "warnings_total", Help: "Warnings in responses."}),
		batchSizes:   histograms("batch_samples", "Samples in one evaluation.", prometheus.ExponentialBuckets(1, 2, 9), "model"),
		batchSeconds: histograms("batch_duration_seconds", "Time of one evaluation.", latencyBuckets(), "model"),
		sampleStages: histograms("sample_stage_seconds", "Where the time of a sample went.", latencyBuckets(), "model", "stage"),
		samples:      counters("samples_total", "Samples by what happened to them; see package batch's events.", "model", "event"),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: namespace, Name: "build_info", Help: "1; the label says which build this is.",
		ConstLabels: prometheus.Labels{"version": version},
	})
	build.Set(1)
	m.registry.MustRegister(build, m.requests, m.durations, m.stages, m.inFlight, m.bodyBytes, m.failures, m.missing, m.warnings,
		m.batchSizes, m.batchSeconds, m.sampleStages, m.samples,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func counters(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
}

func histograms(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: namespace, Name: name, Help: help, Buckets: buckets,
	}, labels)
}

// Unknown stands for whatever a server has no name of its own for. Each label
// value is a series for as long as the process lives, so that no text of a client or
// of a server behind it may become one.
const Unknown = "other"

// KnownMethod is an HTTP method that some path answers, or Unknown.
func KnownMethod(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodDelete:
		return method
	}
	return Unknown
}

// knownCode is "ok", a code of this version of the protocol, or Unknown: errors
// of remote evaluators keep codes that came later.
func knownCode(code string) string {
	if code == CodeOK || slices.ContainsFunc(reward.Errors(), func(e *reward.Error) bool { return e.Code() == code }) {
		return code
	}
	return Unknown
}

// CodeOK is the code of a request that was answered without an error.
const CodeOK = "ok"

// Handler answers GET /metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Registry: m.registry})
}

// Registry has all metrics, for those who send them elsewhere.
func (m *Metrics) Registry() *prometheus.Registry { return m.registry }

// Activity is the same for people who look at the server.
func (m *Metrics) Activity() *watch.Activity { return m.activity }

// Begin counts a request as being answered until end is called.
func (m *Metrics) Begin() (end func()) {
	m.inFlight.Inc()
	return m.inFlight.Dec
}

// Answered is what became of one request.
type Answered struct {
	Path    string // the pattern that it matched, or Unknown
	Method  string
	Status  int    // of HTTP
	Code    string // CodeOK or the error's
	Took    time.Duration
	In, Out int64 // bytes of the bodies
	Scores  bool  // it asked for scores, rather than what the server is or does
}

// Request notes one request that was answered.
func (m *Metrics) Request(a Answered) {
	m.requests.WithLabelValues(a.Path, KnownMethod(a.Method), strconv.Itoa(a.Status), knownCode(a.Code)).Inc()
	m.durations.WithLabelValues(a.Path).Observe(a.Took.Seconds())
	m.bodyBytes.WithLabelValues("in").Add(float64(a.In))
	m.bodyBytes.WithLabelValues("out").Add(float64(a.Out))
	code := ""
	if a.Code != CodeOK {
		code = knownCode(a.Code)
	}
	m.activity.Request(code, a.Scores, a.Took)
}

// Stage is a part of a request's time.
type Stage struct {
	Name string
	Took time.Duration
}

// Scored notes the stages of a scored request and the errors of its samples; nil is
// none.
func (m *Metrics) Scored(stages []Stage, errs []*reward.Error) {
	for _, s := range stages {
		m.stages.WithLabelValues(s.Name).Observe(s.Took.Seconds())
	}
	for _, e := range errs {
		if e != nil {
			m.failures.WithLabelValues(knownCode(e.Code())).Inc()
		}
	}
}

// Observer is for the batch.Config of the Scheduler of a model.
func (m *Metrics) Observer(model string) batch.Observer {
	o := &modelMetrics{
		activity: m.activity.Model(model),
		sizes:    m.batchSizes.WithLabelValues(model),
		seconds:  m.batchSeconds.WithLabelValues(model),
	}
	for s := range o.stages {
		o.stages[s] = m.sampleStages.WithLabelValues(model, batch.Stage(s).String())
	}
	for e := range o.events {
		o.events[e] = m.samples.WithLabelValues(model, batch.Event(e).String())
	}
	return o
}

// modelMetrics are the metrics of one model, looked up once.
type modelMetrics struct {
	activity       *watch.Model
	sizes, seconds prometheus.Observer
	stages         [batch.NumStages]prometheus.Observer
	events         [batch.NumEvents]prometheus.Counter
}

var _ batch.Observer = (*modelMetrics)(nil)

func (o *modelMetrics) Stage(s batch.Stage, d time.Duration) { o.stages[s].Observe(d.Seconds()) }

func (o *modelMetrics) Batch(samples int, d time.Duration) {
	o.sizes.Observe(float64(samples))
	o.seconds.Observe(d.Seconds())
	o.activity.Batch(samples, d)
}

func (o *modelMetrics) Count(e batch.Event, n int) {
	o.events[e].Add(float64(n))
	o.activity.Count(e, n)
}

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
	m.activity.Model(model).Queue(stats)
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
