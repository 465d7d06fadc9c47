package remote

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

func TestWhatNoRepetitionBettersFailsAtOnceAndNamesTheRemedy(t *testing.T) {
	var requests atomic.Int64
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirection was followed") }))
	defer elsewhere.Close()
	moved := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
	})
	plain, secure := httptest.NewServer(moved), httptest.NewTLSServer(moved)
	defer plain.Close()
	defer secure.Close()
	for name, c := range map[string]struct {
		url, want string
		requests  int64
	}{
		"https to a plain server":          {strings.Replace(plain.URL, "http:", "https:", 1), "give " + plain.URL, 0},
		"an authority that is not trusted": {secure.URL, "certificate", 0},
		"a redirection":                    {plain.URL, "redirected to " + elsewhere.URL, 1},
	} {
		requests.Store(0)
		j, err := NewJudge(file(t, "yes-no"), "m", Options{URL: c.url, Token: "SECRET"})
		if err != nil {
			t.Fatal(err)
		}
		results, err := j.Evaluate(t.Context(), samples("a"))
		if err != nil || results[0].Err == nil {
			t.Fatalf("%s: %+v, %v", name, results, err)
		}
		if text := results[0].Err.Error(); !strings.Contains(text, c.want) || strings.Contains(text, "SECRET") || requests.Load() != c.requests {
			t.Errorf("%s: %s, after %d requests", name, text, requests.Load())
		}
	}
}
