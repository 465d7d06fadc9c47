package page_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/denseflow/densereward/reward/rewardtest"
	"github.com/denseflow/densereward/reward/server"
	"github.com/denseflow/densereward/reward/server/servertest"
)

const token = "4f0c1d6a9b2e8f7733d1"

// guarded is a server that asks for the token.
func guarded(t *testing.T, withPage bool) *server.Server {
	t.Helper()
	return servertest.New(t, server.Config{Tokens: servertest.Tokens(t, token), Page: withPage}, &rewardtest.Fake{})
}

func TestThePageIsOpenAndItsDataIsNot(t *testing.T) {
	with, without := guarded(t, true), guarded(t, false)
	for _, tt := range []struct {
		name, path, token string
		at                *server.Server
		status            int
	}{
		{"the page", "/", "", with, http.StatusOK},
		{"a file of the page", "/page/app.js", "", with, http.StatusOK},
		{"the drawing", "/page/drawing.js", "", with, http.StatusOK},
		{"a file that is not there tells nothing without a token", "/page/secrets", "", with, http.StatusUnauthorized},
		{"a file that is not there", "/page/secrets", token, with, http.StatusNotFound},
		{"a folder above", "/page/../v1/models", "", with, http.StatusUnauthorized},
		{"the models", "/v1/models", "", with, http.StatusUnauthorized},
		{"no page where none is wanted", "/", token, without, http.StatusNotFound},
		{"and none of its files", "/page/app.js", token, without, http.StatusNotFound},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, tt.path, nil)
			r.Header.Set("Authorization", "Bearer "+tt.token)
			w := httptest.NewRecorder()
			tt.at.ServeHTTP(w, r)
			if w.Code != tt.status {
				t.Fatalf("status %d: %s", w.Code, w.Body)
			}
			policy := w.Header().Get("Content-Security-Policy")
			if page := strings.Contains(policy, "script-src 'self'"); page != (tt.status == http.StatusOK) {
				t.Errorf("policy %q", policy)
			}
		})
	}
}
