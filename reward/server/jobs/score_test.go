package jobs_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"testing"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/rewardtest"
	"github.com/denseflow/densereward/reward/server"
	"github.com/denseflow/densereward/reward/server/servertest"
	"github.com/denseflow/densereward/reward/wire"
)

func ask(t *testing.T, method, address, kind string, body []byte) (*http.Response, []byte) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, address, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return servertest.Do(t, r, kind)
}

// serve runs a server with an evaluator and returns its address.
func serve(t *testing.T, fake *rewardtest.Fake) string {
	t.Helper()
	return servertest.Listen(t, server.Config{}, fake)
}

func TestAJobsAnswerIsThatOfItsRequest(t *testing.T) {
	release := make(chan struct{})
	address := serve(t, &rewardtest.Fake{Before: func(ctx context.Context, samples []reward.Sample) error {
		select {
		case <-release:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}})
	q := &wire.Request{Prompts: []string{"a cat"}, Images: []wire.Image{{Encoded: rewardtest.PNG(rewardtest.Image(1, 32, 32))}}}
	m, err := q.Encode(wire.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	started, text := ask(t, http.MethodPost, address+"/v1/jobs", wire.MediaType, m.Bytes())
	var job struct{ ID, Status string }
	if err := json.Unmarshal(text, &job); err != nil || started.StatusCode != http.StatusAccepted || job.Status != "running" {
		t.Fatalf("status %d: %s", started.StatusCode, text)
	}
	at := address + started.Header.Get("Location")
	if h, text := ask(t, http.MethodGet, at+"?wait=0", "", nil); h.StatusCode != http.StatusAccepted {
		t.Errorf("while it runs: status %d: %s", h.StatusCode, text)
	}
	close(release)
	for range 2 { // the first answer may get lost
		h, body := ask(t, http.MethodGet, at+"?wait=60", "", nil)
		p, err := wire.DecodeResponse(body)
		if err != nil || h.StatusCode != http.StatusOK || h.Header.Get("Content-Type") != wire.MediaType {
			t.Fatalf("status %d, %v", h.StatusCode, err)
		}
		if p.Errors[0] != nil || len(p.Rewards) != 1 || p.Dense == nil {
			t.Errorf("got %+v", p)
		}
	}
	for _, want := range []int{http.StatusNoContent, http.StatusNotFound} {
		if h, text := ask(t, http.MethodDelete, at, "", nil); h.StatusCode != want {
			t.Errorf("dropping: status %d, want %d: %s", h.StatusCode, want, text)
		}
	}
}

func TestJobsThatCannotBeAreRefused(t *testing.T) {
	address := serve(t, &rewardtest.Fake{})
	for _, tt := range []struct {
		name, method, path, kind, body string
		status                         int
	}{
		{"a job that nobody started", http.MethodGet, "/v1/jobs/0123", "", "", http.StatusNotFound},
		{"dropping one", http.MethodDelete, "/v1/jobs/0123", "", "", http.StatusNotFound},
		{"a wait that is no number", http.MethodGet, "/v1/jobs/0123?wait=soon", "", "", http.StatusBadRequest},
		{"a wait without end", http.MethodGet, "/v1/jobs/0123?wait=1e9", "", "", http.StatusBadRequest},
		{"a wait of NaN", http.MethodGet, "/v1/jobs/0123?wait=NaN", "", "", http.StatusBadRequest},
	} {
		if h, text := ask(t, tt.method, address+tt.path, tt.kind, []byte(tt.body)); h.StatusCode != tt.status {
			t.Errorf("%s: status %d: %s", tt.name, h.StatusCode, text)
		}
	}
	h, _ := ask(t, http.MethodPost, address+"/v1/jobs", "application/json", []byte(`{"prompts": 3}`))
	if h, text := ask(t, http.MethodGet, address+h.Header.Get("Location"), "", nil); h.StatusCode != http.StatusBadRequest {
		t.Errorf("a job that cannot be: status %d: %s", h.StatusCode, text)
	}
	if h, text := ask(t, http.MethodPost, address+"/v1/jobs", "text/plain", nil); h.StatusCode != http.StatusUnsupportedMediaType {
		t.Errorf("a job of text: status %d: %s", h.StatusCode, text)
	}
}
