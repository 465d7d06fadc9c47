package attack_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/rewardtest"
	"github.com/denseflow/densereward/reward/server"
	"github.com/denseflow/densereward/reward/wire"
)

// series are the metrics of s, each a name with its labels.
func series(t *testing.T, s *server.Server) []string {
	t.Helper()
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	var names []string
	for line := range strings.Lines(w.Body.String()) {
		if name, _, found := strings.Cut(line, "} "); found {
			names = append(names, name+"}")
		}
	}
	return names
}

func TestNoTextFromOutsideBecomesALabel(t *testing.T) {
	const junk = "JUNK"
	fake := &rewardtest.Fake{Fail: func(s reward.Sample) error {
		return reward.ErrorByCode(junk+s.Prompt, 400, "of a server behind this one")
	}}
	s := newServer(t, fake, nil)
	flood := func(round int) {
		for i := range 50 {
			junk := fmt.Sprintf("%s%d-%d", junk, round, i)
			for _, r := range []*http.Request{
				httptest.NewRequest(junk, "/healthz", nil),
				httptest.NewRequest(junk, "/v1/score", nil),
				httptest.NewRequest(http.MethodGet, "/"+junk, nil),
				httptest.NewRequest(http.MethodPost, "/v1/score/"+junk+"?"+junk, strings.NewReader(junk)),
				httptest.NewRequest(http.MethodPost, wire.ScorePath, strings.NewReader(junk)),
				scoreRequest(t, junk, 1),
			} {
				for _, name := range []string{
					"X-Request-Id", "X-Request-Timeout", "User-Agent", "Authorization", "Content-Encoding", "Accept", "Traceparent", "Referer",
				} {
					if r.Header.Get("Content-Type") != wire.MediaType || name != "Content-Encoding" && name != "X-Request-Timeout" {
						r.Header.Set(name, junk)
					}
				}
				if r.Header.Get("Content-Type") == "" {
					r.Header.Set("Content-Type", junk)
				}
				r.Host = junk
				s.ServeHTTP(httptest.NewRecorder(), r)
			}
		}
	}
	flood(0)
	series(t, s) // which is counted itself
	before := series(t, s)
	flood(1)
	after := series(t, s)
	if !slices.ContainsFunc(after, func(name string) bool {
		return strings.Contains(name, `method="other"`) && strings.Contains(name, "http_requests_total")
	}) || !slices.Contains(after, `densereward_sample_errors_total{code="other"}`) {
		t.Error("the requests were not counted")
	}
	if len(after) != len(before) {
		t.Errorf("%d series after a second flood of other junk, %d before", len(after), len(before))
	}
	for _, name := range after {
		if strings.Contains(strings.ToUpper(name), junk) {
			t.Errorf("a label holds what was sent: %s", name)
		}
	}
}
