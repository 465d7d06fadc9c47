package watch_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/denseflow/densereward/reward/rewardtest"
	"github.com/denseflow/densereward/reward/server"
	"github.com/denseflow/densereward/reward/server/front"
	"github.com/denseflow/densereward/reward/server/servertest"
	"github.com/denseflow/densereward/reward/server/watch"
)

const alice, bob = "4f0c1d6a9b2e8f7733d1", "9a6be2c04d5f18e3c7a1"

// start starts a server of a fake evaluator that keeps recent samples.
func start(t *testing.T, ready *front.Readiness) *httptest.Server {
	t.Helper()
	cfg := server.Config{Tokens: servertest.Tokens(t, "alice "+alice, "bob "+bob), KeepRecent: 8, Ready: ready.Err}
	web := httptest.NewServer(servertest.New(t, cfg, &rewardtest.Fake{}))
	t.Cleanup(web.Close)
	return web
}

func ask(ctx context.Context, t *testing.T, method, url, token, body string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// score has alice score an image.
func score(t *testing.T, web *httptest.Server, prompt, more string) {
	t.Helper()
	image := base64.StdEncoding.EncodeToString(rewardtest.PNG(rewardtest.Image(1, 64, 64)))
	text, err := json.Marshal(prompt)
	if err != nil {
		t.Fatal(err)
	}
	answer := ask(t.Context(), t, http.MethodPost, web.URL+"/v1/score", alice, fmt.Sprintf(`{"prompts": [%s], "images": [%q], "return": []%s}`, text, image, more))
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		told, _ := io.ReadAll(answer.Body)
		t.Fatalf("status %d: %s", answer.StatusCode, told)
	}
}

type event struct {
	Type       string
	Requests   int
	Latency    *struct{ P50, P99 float64 } `json:"latency_ms"`
	Errors     map[string]int
	Evaluators []struct {
		Name    string
		Batches []int
		Events  map[string]int
	}
	Groups []struct {
		Step, Group string
		Have, Want  int
		Missing     []int
	}
	Keep   int `json:"keep_recent"`
	Prompt string
	Cached bool
	Image  *struct{ Width int }
}

// watching opens a stream and gives its next event.
func watching(t *testing.T, web *httptest.Server, token string) (next func() event, close func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	answer := ask(ctx, t, http.MethodGet, web.URL+watch.Path, token, "")
	if kind := answer.Header.Get("Content-Type"); answer.StatusCode != http.StatusOK || kind != watch.MediaType {
		t.Fatalf("status %d, %s", answer.StatusCode, kind)
	}
	lines := bufio.NewScanner(answer.Body)
	lines.Buffer(nil, 1<<20)
	return func() event {
			var e event
			if !lines.Scan() {
				e.Type = "end"
			} else if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
				t.Fatalf("%v: %s", err, lines.Text())
			}
			return e
		}, func() {
			cancel()
			answer.Body.Close()
		}
}

func TestAStreamTellsWhatTheServerDidAndItsSamples(t *testing.T) {
	web := start(t, &front.Readiness{})
	score(t, web, "a red circle", "")
	score(t, web, "a red circle", "") // from the cache
	next, stop := watching(t, web, alice)
	defer stop()
	s := next()
	if s.Type != "state" || s.Requests != 2 || s.Latency == nil || s.Keep != 8 || len(s.Evaluators) != 1 {
		t.Fatalf("got %+v", s)
	}
	if e := s.Evaluators[0]; e.Name != "fake" || e.Events["scored"] != 2 || e.Events["cache_hit"] != 1 || len(e.Batches) != 1 || e.Batches[0] != 1 {
		t.Errorf("got %+v", e)
	}
	for i, cached := range []bool{false, true} {
		if e := next(); e.Type != "sample" || e.Prompt != "a red circle" || e.Cached != cached || e.Image == nil || e.Image.Width != 64 {
			t.Errorf("sample %d: %+v", i, e)
		}
	}
	score(t, web, "another", "")
	for e := next(); e.Type != "sample" || e.Prompt != "another"; e = next() {
		if e.Type == "end" {
			t.Fatal("the stream ended")
		}
	}
}

func TestAnotherTokenLearnsNothingOfSamplesAndGroups(t *testing.T) {
	web := start(t, &front.Readiness{})
	score(t, web, "a secret", "")
	ctx, leave := context.WithCancel(t.Context())
	waiting := make(chan struct{})
	go func() { // one member of two, until the test ends
		defer close(waiting)
		image := base64.StdEncoding.EncodeToString(rewardtest.PNG(rewardtest.Image(2, 64, 64)))
		body := fmt.Sprintf(`{"prompts": ["p"], "images": [%q], "advantage": {"method": "flowgrpo"}, "groups": {"step": "run 1", "size": 2, "names": ["g"], "members": [1]}}`, image)
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, web.URL+"/v1/score", strings.NewReader(body))
		if err != nil {
			return
		}
		r.Header.Set("Authorization", "Bearer "+alice)
		r.Header.Set("Content-Type", "application/json")
		if answer, err := http.DefaultClient.Do(r); err == nil {
			answer.Body.Close()
		}
	}()
	defer func() {
		leave()
		<-waiting
	}()
	hers, stop := watching(t, web, alice)
	defer stop()
	for e := hers(); ; e = hers() {
		if e.Type == "end" {
			t.Fatal("the stream ended")
		}
		if len(e.Groups) == 1 {
			if g := e.Groups[0]; g.Step != "run 1" || g.Group != "g" || g.Have != 1 || g.Want != 2 || len(g.Missing) != 1 || g.Missing[0] != 0 {
				t.Errorf("got %+v", g)
			}
			break
		}
	}
	his, stopHis := watching(t, web, bob)
	defer stopHis()
	for range 2 {
		if e := his(); e.Type != "state" || len(e.Groups) != 0 {
			t.Errorf("bob learns of %+v", e)
		}
	}
}

func TestStreamsAreFewAndEndWithTheServer(t *testing.T) {
	ready := &front.Readiness{}
	web := start(t, ready)
	if answer := ask(t.Context(), t, http.MethodGet, web.URL+watch.Path, "nobody's token at all", ""); answer.StatusCode != http.StatusUnauthorized {
		t.Errorf("without a token: status %d", answer.StatusCode)
	}
	var first func() event
	for i := range 4 {
		next, stop := watching(t, web, alice)
		defer stop()
		if next(); i == 0 {
			first = next
		}
	}
	refused := ask(t.Context(), t, http.MethodGet, web.URL+watch.Path, alice, "")
	defer refused.Body.Close()
	if refused.StatusCode != http.StatusTooManyRequests || refused.Header.Get("Retry-After") == "" {
		t.Errorf("a fifth stream of one token: status %d", refused.StatusCode)
	}
	if next, stop := watching(t, web, bob); next().Type != "state" {
		t.Error("another token has no stream")
	} else {
		stop()
	}
	ready.Drain()
	for range 3 {
		if first().Type == "end" {
			return
		}
	}
	t.Error("the stream goes on while the server shuts down")
}
