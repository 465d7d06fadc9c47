package otlp_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/denseflow/densereward/reward/rewardtest"
	"github.com/denseflow/densereward/reward/server"
	"github.com/denseflow/densereward/reward/server/servertest"
	"github.com/denseflow/densereward/reward/server/telemetry"
	"github.com/denseflow/densereward/reward/server/telemetry/otlp"
)

// collector keeps what is posted to it: path, kind and body.
func collector(t *testing.T) (url string, got chan string) {
	t.Helper()
	got = make(chan string, 8)
	web := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- r.URL.Path + " " + r.Header.Get("Content-Type") + " " + string(body)
	}))
	t.Cleanup(web.Close)
	return web.URL, got
}

func TestMetricsArePushedToACollector(t *testing.T) {
	url, got := collector(t)
	m := telemetry.NewMetrics("test")
	p, err := otlp.PushMetrics(t.Context(), url+"/v1/metrics", "test", m.Registry())
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	text := <-got
	for _, want := range []string{"/v1/metrics application/x-protobuf ", "densereward_warnings_total", "service.name", "densereward_build_info"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in what came", want)
		}
	}
}

func TestSpansAreSentToTheCollector(t *testing.T) {
	url, got := collector(t)
	provider, err := otlp.NewTracing(t.Context(), url+"/v1/traces", "test", 1)
	if err != nil {
		t.Fatal(err)
	}
	s := servertest.New(t, server.Config{Tracing: provider}, &rewardtest.Fake{})
	s.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/healthz", nil))
	if err := provider.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	text := <-got
	for _, want := range []string{"/v1/traces application/x-protobuf ", "GET /healthz", "service.name"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in what came", want)
		}
	}
	if len(got) != 0 {
		t.Errorf("the collector received %d posts, want 1", 1+len(got))
	}
	if _, err := otlp.NewTracing(t.Context(), "", "test", 1.5); err == nil {
		t.Error("a ratio of 1.5 was taken")
	}
}
