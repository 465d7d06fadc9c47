package client_test

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/denseflow/densereward/client"
	"github.com/denseflow/densereward/reward/rewardtest"
)

func TestWhatNoRepetitionBettersEndsAtOnceWithItsRemedy(t *testing.T) {
	redirect := func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://elsewhere/v1/score", http.StatusTemporaryRedirect)
	}
	notFound := func(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }
	real := newServer(t, &rewardtest.Fake{})
	for name, c := range map[string]struct {
		handler http.Handler
		tls     bool
		address func(string) string
		want    string
	}{
		"https to a plain server":       {handler: real, address: func(a string) string { return "https" + strings.TrimPrefix(a, "http") }, want: "try http://127"},
		"plain http to a server of TLS": {handler: real, tls: true, address: func(a string) string { return "http" + strings.TrimPrefix(a, "https") }, want: "try https://127"},
		"a certificate of nobody":       {handler: real, tls: true, want: "certificate"},
		"a wrong path":                  {handler: real, address: func(a string) string { return a + "/wrong" }, want: "/wrong/v1/score is not there: give the root"},
		"another server":                {handler: http.HandlerFunc(notFound), want: "/v1/score is not there: give the root"},
		"a redirection":                 {handler: http.HandlerFunc(redirect), want: "redirected to http://elsewhere/v1/score, which is not followed"},
	} {
		t.Run(name, func(t *testing.T) {
			s := &script{next: c.handler}
			web := httptest.NewUnstartedServer(s)
			web.Config.ErrorLog = log.New(io.Discard, "", 0)
			if c.tls {
				web.StartTLS()
			} else {
				web.Start()
			}
			defer web.Close()
			address := web.URL
			if c.address != nil {
				address = c.address(address)
			}
			clock := newClock()
			_, err := newClient(t, address, client.WithToken("secret"), clock.option()).Score(t.Context(), rollout(1))
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret") {
				t.Errorf("got %v, want %q in it", err, c.want)
			}
			// A server of TLS hangs up while the request is still written, which may be
			// all that a try sees of it.
			if len(clock.pauses) != 0 && !c.tls {
				t.Errorf("paused for %v", clock.pauses)
			}
		})
	}
}

func TestATokenIsTrimmedOrRefusedUnseen(t *testing.T) {
	s := &script{next: newServer(t, &rewardtest.Fake{})}
	mustScore(t, newClient(t, listen(t, s), client.WithToken(" secret\r\n")), rollout(1))
	if got := s.seen[0].Header.Get("Authorization"); got != "Bearer secret" {
		t.Errorf("sent %q", got)
	}
	for name, token := range map[string]string{"two words": "one secret", "a line break within": "one\nsecret", "a letter beyond ASCII": "größe-secret"} {
		if _, err := client.New("http://host", client.WithToken(token)); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := client.New("http://user:secret@host"); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("a password in the address: got %v", err)
	}
}
