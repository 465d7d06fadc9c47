package hub

import (
	"crypto/sha1"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// fakeHub answers as the hub does: models at a commit, large files from another host.
type fakeHub struct {
	files   map[string]string // of org/model; those that end in .safetensors are large
	commit  string
	token   string // that it asks for
	code    string // of the error that it answers everything with
	status  int
	said    string
	sparse  bool           // a mirror, whose listings have names alone
	deaf    bool           // knows no ranges
	cuts    map[string]int // after how many bytes answers with a file break off; each once
	busy    int            // how many answers are 429 yet
	garbage string         // what files consist of instead

	mu       sync.Mutex
	requests []string
	leaked   bool // the token came to the other host

	hub, storage *httptest.Server
}

func newFakeHub(t *testing.T) *fakeHub {
	t.Helper()
	h := &fakeHub{
		commit: strings.Repeat("c", 40),
		files: map[string]string{
			"config.json": `{"model_type": "clip"}`, "README.md": "words", "vae/config.json": "{}",
			"model.safetensors": strings.Repeat("0123456789abcdef", 4096),
		},
		cuts: map[string]int{},
	}
	h.hub = httptest.NewServer(http.HandlerFunc(h.serve))
	h.storage = httptest.NewServer(http.HandlerFunc(h.store))
	t.Cleanup(h.hub.Close)
	t.Cleanup(h.storage.Close)
	return h
}

// cached is a store with an empty cache in front of the hub.
func (h *fakeHub) cached(t *testing.T) *Store {
	t.Helper()
	s, err := FromEnvironment(func(name string) string {
		return map[string]string{"HF_ENDPOINT": h.hub.URL + "/", "HF_HOME": t.TempDir(), "HF_TOKEN": h.token}[name]
	})
	if err != nil {
		t.Fatal(err)
	}
	s.pauses = func() backoff.BackOff { return backoff.NewConstantBackOff(time.Millisecond) }
	return s
}

func large(name string) bool { return strings.HasSuffix(name, ".safetensors") }

func digestOf(name, content string) string {
	if large(name) {
		return fmt.Sprintf("%x", sha256.Sum256([]byte(content)))
	}
	return fmt.Sprintf("%x", sha1.Sum([]byte(fmt.Sprintf("blob %d\x00%s", len(content), content))))
}

func (h *fakeHub) note(r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	line := r.Method + " " + r.URL.Path
	if at := r.Header.Get("Range"); at != "" {
		line += " " + at
	}
	h.requests = append(h.requests, line)
}

// asked are the requests since the last call.
func (h *fakeHub) asked() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	requests := h.requests
	h.requests = nil
	return requests
}

func (h *fakeHub) serve(w http.ResponseWriter, r *http.Request) {
	h.note(r)
	switch {
	case h.busy > 0:
		h.busy--
		w.Header().Set("Retry-After", "0")
		w.WriteHeader(http.StatusTooManyRequests)
		return
	case h.status != 0:
		if h.code != "" {
			w.Header().Set(headerErrorCode, h.code)
		}
		if h.said != "" {
			w.Header().Set(headerError, h.said)
		}
		w.WriteHeader(h.status)
		return
	case h.token != "" && r.Header.Get("Authorization") != "Bearer "+h.token:
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if revision, ok := strings.CutPrefix(r.URL.Path, "/api/models/org/model/revision/"); ok {
		if revision != "main" && revision != h.commit && revision != "refs/pr/1" {
			w.Header().Set(headerErrorCode, "RevisionNotFound")
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_ = json.NewEncoder(w).Encode(h.listing())
		return
	}
	name, ok := strings.CutPrefix(r.URL.Path, "/org/model/resolve/"+h.commit+"/")
	content, there := h.files[name]
	if !ok || !there {
		w.Header().Set(headerErrorCode, "RepoNotFound")
		w.WriteHeader(http.StatusNotFound)
		return
	}
	w.Header().Set(headerCommit, h.commit)
	if large(name) {
		w.Header().Set(headerLinkedETag, `"`+digestOf(name, content)+`"`)
		w.Header().Set(headerLinkedSize, strconv.Itoa(len(content)))
		http.Redirect(w, r, strings.Replace(h.storage.URL, "127.0.0.1", "localhost", 1)+"/"+name, http.StatusFound)
		return
	}
	w.Header().Set("ETag", `"`+digestOf(name, content)+`"`)
	h.send(w, r, name)
}

func (h *fakeHub) listing() map[string]any {
	var siblings []map[string]any
	for name, content := range h.files {
		s := map[string]any{"rfilename": name}
		if !h.sparse {
			s["size"], s["blobId"] = len(content), digestOf("", content)
			if large(name) {
				s["lfs"] = map[string]any{"sha256": digestOf(name, content), "size": len(content), "pointerSize": 134}
			}
		}
		siblings = append(siblings, s)
	}
	return map[string]any{"id": "org/model", "sha": h.commit, "siblings": siblings}
}

func (h *fakeHub) store(w http.ResponseWriter, r *http.Request) {
	h.note(r)
	if r.Header.Get("Authorization") != "" {
		h.leaked = true
	}
	h.send(w, r, r.URL.Path[1:])
}

func (h *fakeHub) send(w http.ResponseWriter, r *http.Request, name string) {
	content := h.files[name]
	if h.garbage != "" {
		content = h.garbage
	}
	if h.deaf {
		r.Header.Del("Range")
	}
	if n, ok := h.cuts[name]; ok {
		delete(h.cuts, name)
		w.Header().Set("Content-Length", strconv.Itoa(len(content)))
		_, _ = w.Write([]byte(content[:n]))
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	http.ServeContent(w, r, "", time.Time{}, strings.NewReader(content))
}
