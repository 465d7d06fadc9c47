package server_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/denseflow/densereward/reward/batch"
	"github.com/denseflow/densereward/reward/rewardtest"
	"github.com/denseflow/densereward/reward/server"
	"github.com/denseflow/densereward/reward/server/credentials"
	"github.com/denseflow/densereward/reward/wire"
)

const (
	aliceToken = "alice-token-0123456789"
	plainToken = "another-token-9876543210"
)

// writeFile writes a file into the test's folder and returns its path.
func writeFile(t testing.TB, path, text string) string {
	t.Helper()
	if !filepath.IsAbs(path) {
		path = filepath.Join(t.TempDir(), path)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// get answers a GET of path by h, with header lines "Name: value".
func get(t testing.TB, h http.Handler, path string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestOnlyOwnersOfATokenAreLetIn(t *testing.T) {
	path := writeFile(t, "tokens", "# trainers\nalice "+aliceToken+"\n\n"+plainToken+"\n")
	tokens, err := credentials.OpenTokens(path)
	if err != nil {
		t.Fatal(err)
	}
	s := newStack(t, &rewardtest.Fake{}, func(_ *batch.Config, c *server.Config) { c.Tokens = tokens })
	for _, tt := range []struct {
		name, path, header string
		want               int
	}{
		{"a named token", wire.ModelsPath, "Authorization: Bearer " + aliceToken, 200},
		{"a token without a name", wire.ModelsPath, "Authorization: Bearer " + plainToken, 200},
		{"the scheme in small letters", wire.ModelsPath, "Authorization: bearer " + plainToken, 200},
		{"no token", wire.ModelsPath, "X-Nothing: 1", 401},
		{"a wrong token", wire.ModelsPath, "Authorization: Bearer " + aliceToken + "x", 401},
		{"a part of a token", wire.ModelsPath, "Authorization: Bearer " + aliceToken[:20], 401},
		{"another scheme", wire.ModelsPath, "Authorization: Basic " + aliceToken, 401},
		{"a name instead of a token", wire.ModelsPath, "Authorization: Bearer alice", 401},
		{"an empty token", wire.ModelsPath, "Authorization: Bearer ", 401},
		{"the metrics without a token", "/metrics", "X-Nothing: 1", 401},
		{"a path that does not exist, without a token", "/nowhere", "X-Nothing: 1", 401},
		{"a probe without a token", "/healthz", "X-Nothing: 1", 200},
		{"the other probe without a token", "/readyz", "X-Nothing: 1", 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := get(t, s.server, tt.path, tt.header)
			if w.Code != tt.want {
				t.Errorf("status %d, want %d", w.Code, tt.want)
			}
			if challenge := w.Header().Get("WWW-Authenticate"); (challenge != "") != (tt.want == 401) {
				t.Errorf("WWW-Authenticate is %q", challenge)
			}
		})
	}
}

func TestTokensFollowTheirFile(t *testing.T) {
	path := writeFile(t, "tokens", aliceToken)
	tokens, err := credentials.OpenTokens(path)
	if err != nil {
		t.Fatal(err)
	}
	s := newStack(t, &rewardtest.Fake{}, func(_ *batch.Config, c *server.Config) { c.Tokens = tokens })
	status := func(token string) int {
		return get(t, s.server, wire.ModelsPath, "Authorization: Bearer "+token).Code
	}
	writeFile(t, path, plainToken)
	if status(aliceToken) != 200 || status(plainToken) != 401 {
		t.Error("the tokens changed before Reload")
	}
	if err := tokens.Reload(); err != nil {
		t.Fatal(err)
	}
	if status(aliceToken) != 401 || status(plainToken) != 200 {
		t.Error("the tokens did not change with Reload")
	}
	writeFile(t, path, "short")
	if err := tokens.Reload(); err == nil {
		t.Error("a spoilt file was taken")
	}
	if status(plainToken) != 200 {
		t.Error("a failed Reload changed the tokens")
	}
}
