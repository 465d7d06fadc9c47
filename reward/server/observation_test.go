package server_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/batch"
	"github.com/denseflow/densereward/reward/rewardtest"
	"github.com/denseflow/densereward/reward/server"
	"github.com/denseflow/densereward/reward/server/credentials"
	"github.com/denseflow/densereward/reward/server/telemetry"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// ask answers a POST of body to /v1/score by h, with header lines "Name: value".
func ask(t testing.TB, h http.Handler, body []byte, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := post(t.Context(), t, bytes.NewReader(body))
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestMetricsTellWhatHappened(t *testing.T) {
	fake := &rewardtest.Fake{Fail: func(s reward.Sample) error {
		if rewardtest.Identity(s.Image) == rewardtest.Identity(rewardtest.Image(3, 64, 64)) {
			return reward.ErrInvalidValue
		}
		return nil
	}}
	s := newStack(t, fake, func(q *batch.Config, _ *server.Config) { q.CacheBytes = 1 << 20; q.MaxDelay = time.Millisecond })
	body := question(t, 1, 2, 3)
	ask(t, s.server, body)
	ask(t, s.server, body)
	ask(t, s.server, body[:100])
	ask(t, s.server, nil)
	get(t, s.server, "/no/such/path")
	get(t, s.server, "/another")
	s.wantMetrics(t,
		`densereward_build_info{version="test"} 1`,
		`densereward_http_requests_total{code="ok",method="POST",path="/v1/score",status="200"} 2`,
		`densereward_http_requests_total{code="malformed_body",method="POST",path="/v1/score",status="400"} 2`,
		`densereward_http_requests_total{code="not_found",method="GET",path="other",status="404"} 2`,
		`densereward_http_request_duration_seconds_count{path="/v1/score"} 4`,
		`densereward_http_requests_in_flight 0`,
		`densereward_request_stage_seconds_count{stage="read"} 2`,
		`densereward_sample_errors_total{code="invalid_value"} 2`,
		`densereward_samples_total{event="admitted",model="fake"} 6`,
		`densereward_samples_total{event="cache_hit",model="fake"} 2`,
		`densereward_samples_total{event="scored",model="fake"} 4`,
		`densereward_samples_total{event="sample_failed",model="fake"} 2`,
		`densereward_sample_stage_seconds_count{model="fake",stage="evaluate"} 6`,
		`densereward_batch_samples_sum{model="fake"} 4`,
		`densereward_queue_samples{model="fake",state="waiting"} 0`,
		`densereward_queue_held_bytes{model="fake"} 0`,
		`densereward_cache_entries{model="fake"} 2`,
		`densereward_evaluators{model="fake"} 1`,
		`densereward_rewards_count{model="fake"} 4`,
		`densereward_scores_count{model="fake",score="overall"} 4`,
		`densereward_scores_bucket{model="fake",score="overall",le="1"} 4`,
		`densereward_answer_tokens_count{model="fake"} 0`,
		`densereward_groups_waiting 0`,
		`densereward_group_members_waiting 0`,
		`densereward_body_memory_held_bytes 0`,
	)
	if w := get(t, s.server, "/metrics"); w.Code != 200 || !strings.Contains(w.Body.String(), "go_goroutines") {
		t.Errorf("GET /metrics: %d\n%s", w.Code, w.Body)
	}
}

func TestEachRequestHasALineInTheAccessLog(t *testing.T) {
	var log bytes.Buffer
	tokens, err := credentials.OpenTokens(writeFile(t, "tokens", "alice "+aliceToken))
	if err != nil {
		t.Fatal(err)
	}
	s := newStack(t, &rewardtest.Fake{}, func(_ *batch.Config, c *server.Config) {
		c.AccessLog = slog.New(slog.NewJSONHandler(&log, nil))
		c.Tokens = tokens
	})
	body := question(t, 1)
	sent := ask(t, s.server, body, "Authorization: Bearer "+aliceToken, "X-Request-ID: abc-1").Body.Len()
	ask(t, s.server, body, "X-Request-ID: abc-2", "Authorization: Bearer wrong-and-secret-token")
	get(t, s.server, "/healthz") // a probe, at level debug
	var lines []map[string]any
	for d := json.NewDecoder(&log); ; {
		line := map[string]any{}
		if err := d.Decode(&line); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line)
	}
	want := []map[string]any{
		{"request_id": "abc-1", "owner": "alice", "method": "POST", "path": "/v1/score", "status": 200.0, "code": "ok",
			"received": float64(len(body)), "sent": float64(sent)},
		{"request_id": "abc-2", "owner": "", "status": 401.0, "code": "unauthorized", "received": 0.0},
	}
	if len(lines) != len(want) {
		t.Fatalf("%d lines, want %d: %v", len(lines), len(want), lines)
	}
	for i := range want {
		for k, v := range want[i] {
			if lines[i][k] != v {
				t.Errorf("line %d: %s is %v, want %v", i, k, lines[i][k], v)
			}
		}
	}
}

func TestSpansFollowTheCallersTrace(t *testing.T) {
	memory := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(memory))
	s := newStack(t, &rewardtest.Fake{}, func(_ *batch.Config, c *server.Config) { c.Tracing = provider })
	const trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	ask(t, s.server, question(t, 1, 2), "traceparent: 00-"+trace+"-"+parent+"-01")
	spans := map[string]tracetest.SpanStub{}
	for _, span := range memory.GetSpans() {
		spans[span.Name] = span
	}
	root, ok := spans["POST /v1/score"]
	if !ok || root.SpanContext.TraceID().String() != trace || root.Parent.SpanID().String() != parent {
		t.Fatalf("spans %v", spans)
	}
	for _, stage := range []string{"read", "decode", "score", "maps"} {
		child, ok := spans[stage]
		if !ok || child.Parent.SpanID() != root.SpanContext.SpanID() {
			t.Errorf("stage %s is no child of the request", stage)
		}
		if child.StartTime.Before(root.StartTime) || child.EndTime.After(root.EndTime) {
			t.Errorf("stage %s reaches beyond the request", stage)
		}
	}
	memory.Reset()
	ask(t, s.server, nil)
	if spans := memory.GetSpans(); len(spans) != 1 || spans[0].Status.Description != "malformed_body" {
		t.Errorf("spans of a failed request: %+v", spans)
	}
}

func TestAnswersTellBrowsersToKeepStill(t *testing.T) {
	s := newStack(t, &rewardtest.Fake{}, nil)
	for _, path := range []string{"/healthz", "/v1/models", "/nowhere"} {
		h := get(t, s.server, path).Header()
		for name, want := range map[string]string{
			"X-Content-Type-Options":  "nosniff",
			"Content-Security-Policy": "default-src 'none'",
			"Referrer-Policy":         "no-referrer",
			"Cache-Control":           "no-store",
		} {
			if !strings.HasPrefix(h.Get(name), want) {
				t.Errorf("%s: %s is %q, want %q", path, name, h.Get(name), want)
			}
		}
		if h.Get("Strict-Transport-Security") != "" {
			t.Errorf("%s: Strict-Transport-Security over plain HTTP", path)
		}
	}
}

func TestTheDebugHandlerShowsProfilesAndMetrics(t *testing.T) {
	m := telemetry.NewMetrics("test")
	h := server.DebugHandler(m)
	for path, want := range map[string]string{
		"/debug/pprof/": "goroutine", "/metrics": "densereward_build_info", "/debug/pprof/goroutine?debug=1": "goroutine profile",
	} {
		if w := get(t, h, "http://localhost"+path); w.Code != 200 || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: status %d without %q", path, w.Code, want)
		}
	}
	s := newStack(t, &rewardtest.Fake{}, nil)
	if w := get(t, s.server, "/debug/pprof/"); w.Code != 404 {
		t.Errorf("the public server answers /debug/pprof/ with %d", w.Code)
	}
}
