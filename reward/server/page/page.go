// Package page is what people see who open the server in a browser: files without
// data, which are open to everybody. The data comes from the server's other paths, which
// ask for the token that the page was given.
package page

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"

	"github.com/denseflow/densereward/reward/drawing"
)

// Root is the path of the page, Folder that of its files.
const (
	Root   = "/"
	Folder = "/page/"
)

// policy lets the page run and load its own files and connect to its own server, and
// makes of text nothing but text.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; " +
	"frame-ancestors 'none'; base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// kinds are told by the page itself: what the system takes for a script may be none.
var kinds = map[string]string{
	".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8",
}

//go:embed assets
var assets embed.FS

// file is one file, ready to be sent.
type file struct {
	kind           string
	plain, gzipped []byte
	tag            string // of its contents, without quotes
}

// Page answers GET and HEAD of Root and of what lies in Folder.
type Page struct {
	files map[string]*file // by path
}

var _ http.Handler = (*Page)(nil)

// New makes the page of a server that asks for tokens, or does not.
func New(tokens bool) (*Page, error) {
	p := &Page{files: map[string]*file{}}
	names, err := fs.Glob(assets, "assets/*")
	if err != nil {
		return nil, fmt.Errorf("page: %w", err)
	}
	for _, name := range names {
		data, err := assets.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("page: %w", err)
		}
		at := Folder + path.Base(name)
		if path.Base(name) == "index.html" {
			at = Root
			data = bytes.Replace(data, []byte(`data-tokens="false"`), []byte(`data-tokens="`+strconv.FormatBool(tokens)+`"`), 1)
		}
		if err := p.add(at, kinds[path.Ext(name)], data); err != nil {
			return nil, err
		}
	}
	return p, errors.Join(p.add(Folder+"drawing.js", kinds[".js"], []byte(drawing.Module)), p.add(Folder+"drawing.css", kinds[".css"], []byte(drawing.Style)))
}

func (p *Page) add(at, kind string, data []byte) error {
	var packed bytes.Buffer
	w, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return fmt.Errorf("page: %w", err)
	}
	if _, err := w.Write(data); err != nil {
		return fmt.Errorf("page: %w", err)
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("page: %w", err)
	}
	digest := sha256.Sum256(data)
	p.files[at] = &file{kind: kind, plain: data, gzipped: packed.Bytes(), tag: hex.EncodeToString(digest[:8])}
	return nil
}

func (p *Page) Has(path string) bool { return p != nil && p.files[path] != nil }

// ServeHTTP sends a file, or says that the browser has it already.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f := p.files[r.URL.Path]
	if f == nil {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	data, tag := f.plain, `"`+f.tag+`"`
	if acceptsGzip(r.Header.Values("Accept-Encoding")) {
		data, tag = f.gzipped, `"`+f.tag+`-gzip"`
		h.Set("Content-Encoding", "gzip")
	}
	h.Set("Content-Type", f.kind)
	h.Set("Content-Security-Policy", policy)
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-cache") // asks each time, and is told 304
	h.Set("Vary", "Accept-Encoding")
	h.Set("ETag", tag)
	if known(r.Header.Get("If-None-Match"), tag) {
		h.Del("Content-Encoding")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Length", strconv.Itoa(len(data)))
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = w.Write(data) // a client that left is the server's to note
	}
}

// acceptsGzip reports whether Accept-Encoding names gzip, and not with a weight of 0.
func acceptsGzip(values []string) bool {
	for item := range strings.SplitSeq(strings.Join(values, ","), ",") {
		name, weight, _ := strings.Cut(strings.ReplaceAll(item, " ", ""), ";q=")
		if !strings.EqualFold(name, "gzip") {
			continue
		}
		if weight == "" {
			return true
		}
		q, err := strconv.ParseFloat(weight, 64)
		return err == nil && q > 0
	}
	return false
}

// known reports whether If-None-Match has a tag. Proxies that compress weaken it.
func known(header, tag string) bool {
	for item := range strings.SplitSeq(header, ",") {
		if item = strings.TrimSpace(item); item == "*" || strings.TrimPrefix(item, "W/") == tag {
			return true
		}
	}
	return false
}
