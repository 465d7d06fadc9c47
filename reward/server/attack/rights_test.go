package attack_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/denseflow/densereward/reward/rewardtest"
	"github.com/denseflow/densereward/reward/server"
	"github.com/denseflow/densereward/reward/server/credentials"
	"github.com/denseflow/densereward/reward/wire"
)

func TestATokenLetsItsOwnerDoWhatItsRightsSay(t *testing.T) {
	const scorer, scraper, both, admin, old = "scorer-0123456789abcdef", "scraper-0123456789abcdef", "both-0123456789abcdef", "admin-0123456789abcdef", "old-0123456789abcdef"
	path := filepath.Join(t.TempDir(), "tokens")
	text := "a " + scorer + " score\nb " + scraper + " metrics\nc " + both + " score,metrics\nd " + admin + " admin\n" + old + "\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	tokens, err := credentials.OpenTokens(path)
	if err != nil {
		t.Fatal(err)
	}
	s := newServer(t, &rewardtest.Fake{}, func(c *server.Config) { c.Tokens = tokens })
	gone, leave := context.WithCancel(t.Context()) // of those who watch, or they would stay
	leave()
	const no = http.StatusUnauthorized
	for token, want := range map[string]struct{ score, models, metrics, watch int }{
		scorer:  {200, 200, no, no},
		scraper: {no, no, 200, no},
		both:    {200, 200, 200, no},
		admin:   {200, 200, 200, 200},
		old:     {200, 200, 200, 200},
	} {
		for _, c := range []struct {
			r    *http.Request
			want int
		}{
			{scoreRequest(t, "a cat", 1), want.score},
			{httptest.NewRequest(http.MethodGet, wire.ModelsPath, nil), want.models},
			{httptest.NewRequest(http.MethodGet, "/metrics", nil), want.metrics},
			{httptest.NewRequestWithContext(gone, http.MethodGet, "/v1/watch", nil), want.watch},
		} {
			c.r.Header.Set("Authorization", "Bearer "+token)
			w := httptest.NewRecorder()
			s.ServeHTTP(w, c.r)
			if w.Code != c.want {
				t.Errorf("%s, %s: status %d, want %d", token, c.r.URL.Path, w.Code, c.want)
			}
		}
	}
	if err := os.WriteFile(path, []byte("a "+scorer+" everything\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := tokens.Reload(); err == nil {
		t.Error("a right that there is not was taken")
	}
}
