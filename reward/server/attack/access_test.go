package attack_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/rewardtest"
	"github.com/denseflow/densereward/reward/server"
	"github.com/denseflow/densereward/reward/server/telemetry"
	"github.com/denseflow/densereward/reward/wire"
)

func TestAPageThatGivesItsNameALoopbackAddressIsRefused(t *testing.T) {
	s := newServer(t, &rewardtest.Fake{}, func(c *server.Config) { c.Hosts = []string{"localhost", "reward.example"} })
	debug := server.DebugHandler(telemetry.NewMetrics(""))
	for host, want := range map[string]struct{ status, debug int }{
		"127.0.0.1:8080":         {200, 200},
		"127.8.8.8":              {200, 200},
		"[::1]:8080":             {200, 200},
		"[::ffff:127.0.0.1]":     {200, 200},
		"localhost:8080":         {200, 200},
		"LocalHost.":             {200, 200},
		"reward.example:443":     {200, 403},
		"":                       {200, 200},
		"evil.example":           {400, 403},
		"evil.example:8080":      {400, 403},
		"127.0.0.1.evil.example": {400, 403},
		"localhost.evil.example": {400, 403},
		"192.0.2.1":              {400, 403},
		"0.0.0.0:8080":           {400, 403},
		"[::]:8080":              {400, 403},
	} {
		for _, c := range []struct {
			h      http.Handler
			path   string
			status int
		}{{s, wire.ModelsPath, want.status}, {debug, "/metrics", want.debug}} {
			r := httptest.NewRequest(http.MethodGet, c.path, nil)
			r.Host = host
			w := httptest.NewRecorder()
			c.h.ServeHTTP(w, r)
			if w.Code != c.status {
				t.Errorf("host %q, %s: status %d, want %d", host, c.path, w.Code, c.status)
			}
		}
	}
}

// records are lines of a log.
type records struct {
	mu    sync.Mutex
	lines bytes.Buffer
}

func (r *records) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lines.Write(p)
}

func (r *records) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lines.String()
}

func TestKeysThatMeanNothingAreFewAndTheirLineIsShort(t *testing.T) {
	var log records
	s := newServer(t, &rewardtest.Fake{}, func(c *server.Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	post := func(body string) int {
		r := httptest.NewRequest(http.MethodPost, "/compute", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		return w.Code
	}
	keys := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `"%0200d":0,`, i)
		}
		return b.String()
	}
	for name, body := range map[string]string{
		"a hundred thousand keys":            `{` + keys(100_000) + `"x":0}`,
		"a hundred thousand keys in a value": `{"x":{` + keys(100_000) + `"x":0}}`,
	} {
		if status := post(body); status != http.StatusBadRequest {
			t.Errorf("%s: status %d, want 400", name, status)
		}
	}
	file := base64.StdEncoding.EncodeToString(rewardtest.PNG(rewardtest.Image(1, 8, 8)))
	if status := post(`{` + keys(32) + `"prompt":["a"],"image":["` + file + `"]}`); status != http.StatusOK {
		t.Errorf("as many keys as are ignored: status %d, want 200", status)
	}
	if n := len(log.String()); n == 0 || n > 4<<10 {
		t.Errorf("the log has %d bytes", n)
	}
}

func TestAClientThatLeavesInMidAnswerIsNoFaultOfTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log, access records
		s := newServer(t, &rewardtest.Fake{Side: 256}, func(c *server.Config) {
			c.Logger = slog.New(slog.NewTextHandler(&log, nil))
			c.AccessLog = slog.New(slog.NewTextHandler(&access, nil))
		})
		l, stop := serve(t, s)
		body := scoreBody(t, "a cat", 4, wire.ReturnHeatmaps)
		conn := start(t, l, len(body), body)
		if _, err := io.ReadFull(conn, make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
		synctest.Wait()
		if log.String() != "" {
			t.Errorf("the log says %s", log.String())
		}
		if !strings.Contains(access.String(), "code="+reward.ErrCanceled.Code()) {
			t.Errorf("the access log says %s", access.String())
		}
		stop()
	})
}
