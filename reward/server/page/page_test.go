package page_test

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/denseflow/densereward/reward/server/page"
)

func get(t *testing.T, p *page.Page, method, path string, header ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(method, path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, from io.Reader) string {
	t.Helper()
	text, err := io.ReadAll(from)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestThePageIsCompressedAndKnownByItsTag(t *testing.T) {
	p, err := page.New(true)
	if err != nil {
		t.Fatal(err)
	}
	plain := get(t, p, http.MethodGet, page.Root)
	text := body(t, plain.Body)
	if !strings.Contains(text, `data-tokens="true"`) {
		t.Error("the page does not know that the server asks for tokens")
	}
	for _, tt := range []struct {
		name, method, accept, match string
		status                      int
		encoding                    string
		empty                       bool
	}{
		{"a browser gets gzip", http.MethodGet, "gzip, deflate, br", "", http.StatusOK, "gzip", false},
		{"gzip of weight 0 is refused", http.MethodGet, "gzip;q=0", "", http.StatusOK, "", false},
		{"HEAD has no body", http.MethodHead, "", "", http.StatusOK, "", true},
		{"what the browser has is not sent again", http.MethodGet, "", plain.Header.Get("ETag"), http.StatusNotModified, "", true},
		{"nor where a proxy weakened the tag", http.MethodGet, "", `"x", W/` + plain.Header.Get("ETag"), http.StatusNotModified, "", true},
		{"the tag of another encoding is another", http.MethodGet, "gzip", plain.Header.Get("ETag"), http.StatusOK, "gzip", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := get(t, p, tt.method, page.Root, "Accept-Encoding", tt.accept, "If-None-Match", tt.match)
			from := io.Reader(got.Body)
			if got.Header.Get("Content-Encoding") == "gzip" {
				if from, err = gzip.NewReader(got.Body); err != nil {
					t.Fatal(err)
				}
			}
			found := body(t, from)
			if got.StatusCode != tt.status || got.Header.Get("Content-Encoding") != tt.encoding {
				t.Errorf("status %d, encoding %q", got.StatusCode, got.Header.Get("Content-Encoding"))
			}
			if want := text; !tt.empty && found != want || tt.empty && found != "" {
				t.Errorf("a body of %d bytes", len(found))
			}
		})
	}
}

func TestWhatThePageNamesIsThereAndOfItsOwnOrigin(t *testing.T) {
	p, err := page.New(false)
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`(?:src|href)="(page/[^"]+)"|from "\./([^"]+)"`)
	seen := map[string]bool{}
	var follow func(path string)
	follow = func(path string) {
		if seen[path] {
			return
		}
		seen[path] = true
		got := get(t, p, http.MethodGet, path)
		if got.StatusCode != http.StatusOK || !p.Has(path) {
			t.Errorf("%s: status %d", path, got.StatusCode)
			return
		}
		policy := got.Header.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "script-src 'self'", "connect-src 'self'", "require-trusted-types-for 'script'"} {
			if !strings.Contains(policy, want) {
				t.Errorf("%s: policy %q lacks %q", path, policy, want)
			}
		}
		text := body(t, got.Body)
		for _, address := range regexp.MustCompile(`https?://[^\s"')]+`).FindAllString(text, -1) {
			if !strings.HasPrefix(address, "http://www.w3.org/2000/svg") {
				t.Errorf("%s names %s", path, address)
			}
		}
		for _, m := range named.FindAllStringSubmatch(text, -1) {
			if m[1] != "" {
				follow("/" + m[1])
			} else {
				follow(page.Folder + m[2])
			}
		}
	}
	follow(page.Root)
	if len(seen) < 5 {
		t.Errorf("followed %d files alone", len(seen))
	}
	if got := get(t, p, http.MethodGet, page.Folder+"other.js"); got.StatusCode != http.StatusNotFound {
		t.Errorf("a file that is not there: status %d", got.StatusCode)
	}
}
