package provision

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cenkalti/backoff/v5"

	"github.com/denseflow/densereward/internal/download"
)

func sum(data []byte) string {
	h := sha256.Sum256(data)
	return hex.EncodeToString(h[:])
}

func tarball(t testing.TB, members map[string]string) []byte {
	t.Helper()
	var buf bytes.Buffer
	plain := gzip.NewWriter(&buf)
	w := tar.NewWriter(plain)
	for name, data := range members {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(data)), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(data)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), plain.Close()); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// site serves archives by path and counts what it served.
type site struct {
	archives map[string][]byte
	served   atomic.Int32
	failures atomic.Int32 // answers to come that break off
}

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	data, ok := s.archives[r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	if s.failures.Add(-1) >= 0 {
		w.Header().Set("Content-Length", strconv.Itoa(len(data)))
		_, _ = w.Write(data[:len(data)/2])
		return
	}
	s.served.Add(1)
	_, _ = w.Write(data)
}

// fakeNPM is a client that "packs" the archive at path, or fails where there
// is none.
func fakeNPM(t *testing.T, archive string) string {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Fatal("the fake npm client is a shell script")
	}
	script := "#!/bin/sh\nwhile [ $# -gt 1 ]; do shift; done\ncp '" + archive + "' \"$1/pack.tgz\"\n"
	path := filepath.Join(t.TempDir(), "npm")
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

const (
	coreData     = "the core library"
	nodeData     = "another build of the core library"
	sharedData   = "the shared provider"
	providerData = "the cuda provider"
)

// world is a GitHub and an npm registry of small files.
func world(t *testing.T) (provisioner, *site) {
	t.Helper()
	full := tarball(t, map[string]string{
		"gpu/lib/core.so": coreData, "gpu/lib/shared.so": sharedData, "gpu/lib/cuda.so": providerData, "gpu/LICENSE": "MIT",
	})
	s := &site{archives: map[string][]byte{
		"/cpu.tgz": tarball(t, map[string]string{"cpu/lib/core.so": coreData, "cpu/LICENSE": "MIT"}),
		"/gpu.tgz": full,
	}}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	packed := filepath.Join(t.TempDir(), "node.tgz")
	if err := os.WriteFile(packed, tarball(t, map[string]string{"package/bin/core.so.1": nodeData}), 0o644); err != nil {
		t.Fatal(err)
	}
	return provisioner{
		platform: "plan9-mips",
		cache:    cache{dir: filepath.Join(t.TempDir(), "cache")},
		fetcher:  fetcher{client: server.Client(), npm: fakeNPM(t, packed), pauses: func() backoff.BackOff { return &backoff.ZeroBackOff{} }},
		releases: []release{{
			name: "github",
			archives: []archive{{url: server.URL + "/cpu.tgz", files: []file{
				{member: "lib/core.so", name: "core.so", sha256: sum([]byte(coreData)), size: int64(len(coreData))},
			}}},
		}, {
			name: "github-cuda", cuda: true, onlyCUDA: true,
			archives: []archive{{url: server.URL + "/gpu.tgz", sha256: sum(full), files: []file{
				{member: "lib/core.so", name: "core.so"},
				{member: "lib/shared.so", name: "shared.so"},
				{member: "lib/cuda.so", name: "cuda.so"},
			}}},
		}, {
			name: "npm",
			archives: []archive{{npm: "node@1", files: []file{
				{member: "bin/core.so.1", name: "core.so.1", sha256: sum([]byte(nodeData)), size: int64(len(nodeData))},
			}}},
		}},
	}, s
}

func TestTheFirstSourceThatAnswersFillsTheCache(t *testing.T) {
	p, _ := world(t)
	lib, err := p.provision(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(lib.Path)
	if err != nil || string(data) != coreData {
		t.Fatalf("%s holds %q, %v", lib.Path, data, err)
	}
	if !strings.HasSuffix(lib.Source, "/cpu.tgz") {
		t.Errorf("source %q, want the first archive", lib.Source)
	}
	p.fetcher, p.offline = fetcher{}, true
	again, err := p.provision(context.Background())
	if err != nil {
		t.Fatalf("offline with a full cache: %v", err)
	}
	if again.Path != lib.Path || again.Source != "cache" {
		t.Errorf("cached library is %+v", again)
	}
}

func TestAnUnreachableSourceIsPassedOver(t *testing.T) {
	p, s := world(t)
	s.archives = nil
	lib, err := p.provision(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if lib.Source != "npm package node@1" || filepath.Base(lib.Path) != "core.so.1" {
		t.Errorf("library %+v, want the npm package's", lib)
	}
}

func TestCUDATakesTheCoreAndBothProviders(t *testing.T) {
	p, _ := world(t)
	if _, err := p.provision(context.Background()); err != nil {
		t.Fatal(err)
	}
	p.cuda = true
	lib, err := p.provision(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if !lib.CUDA {
		t.Error("the library does not say that it has CUDA")
	}
	for name, want := range map[string]string{"core.so": coreData, "shared.so": sharedData, "cuda.so": providerData} {
		if data, err := os.ReadFile(filepath.Join(filepath.Dir(lib.Path), name)); err != nil || string(data) != want {
			t.Errorf("%s holds %q, %v", name, data, err)
		}
	}
}

func TestADamagedCacheIsFilledAgain(t *testing.T) {
	for _, cuda := range []bool{false, true} {
		p, s := world(t)
		p.cuda = cuda
		lib, err := p.provision(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(lib.Path, []byte("the core librarx"), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := p.provision(context.Background()); err != nil {
			t.Fatal(err)
		}
		if data, _ := os.ReadFile(lib.Path); string(data) != coreData || s.served.Load() != 2 {
			t.Errorf("cuda %t: after damage the file holds %q, %d downloads", cuda, data, s.served.Load())
		}
	}
}

func TestWhatIsNotPinnedIsRefused(t *testing.T) {
	forged := map[string]string{"forged/lib/core.so": "the c0re library"}
	for name, path := range map[string]string{"file": "/cpu.tgz", "archive": "/gpu.tgz"} {
		t.Run("a forged "+name, func(t *testing.T) {
			p, s := world(t)
			s.archives[path] = tarball(t, forged)
			p.cuda = path == "/gpu.tgz"
			p.releases = p.releases[:2]
			_, err := p.provision(context.Background())
			if !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "pinned is") {
				t.Fatalf("error %v", err)
			}
			left, _ := filepath.Glob(filepath.Join(p.cache.dir, "*", "*"))
			if len(left) != 0 {
				t.Errorf("the cache keeps %v", left)
			}
		})
	}
}

func TestAFileLargerThanPinnedIsRefusedUnread(t *testing.T) {
	p, s := world(t)
	s.archives["/cpu.tgz"] = tarball(t, map[string]string{"cpu/lib/core.so": strings.Repeat("x", 1<<20)})
	p.releases = p.releases[:1]
	if _, err := p.provision(context.Background()); err == nil || !strings.Contains(err.Error(), "larger than 16 bytes") {
		t.Fatalf("error %v", err)
	}
}

func TestTheErrorSaysWhatWasTriedAndWhatToDo(t *testing.T) {
	p, s := world(t)
	s.archives = nil
	p.fetcher.npm = "densereward-no-such-client"
	_, err := p.provision(context.Background())
	if !errors.Is(err, ErrNotFound) {
		t.Fatalf("error %v", err)
	}
	for _, part := range []string{"plan9-mips", "cpu.tgz: the server answered 404", "node@1: the npm client is not installed", EnvLibrary, p.cache.dir} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error does not mention %q:\n%v", part, err)
		}
	}
	p.offline = true
	if _, err := p.provision(context.Background()); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "turned off") {
		t.Errorf("offline: %v", err)
	}
	p.releases = nil
	if _, err := p.provision(context.Background()); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "no published build") {
		t.Errorf("unknown platform: %v", err)
	}
}

func TestConcurrentProcessesFetchOnce(t *testing.T) {
	p, s := world(t)
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			if _, err := p.provision(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if n := s.served.Load(); n != 1 {
		t.Errorf("%d downloads, want 1", n)
	}
}

func TestWaitingForAnotherProcessEndsWithTheContext(t *testing.T) {
	p, _ := world(t)
	unlock, err := p.cache.lock(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := p.provision(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestADownloadThatBreaksOffIsTriedAgain(t *testing.T) {
	for failures, want := range map[int32]string{1: "core.so", attempts - 1: "core.so", attempts: "core.so.1"} {
		p, s := world(t)
		s.failures.Store(failures)
		lib, err := p.provision(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if got := filepath.Base(lib.Path); got != want {
			t.Errorf("after %d failures: %s, want %s", failures, got, want)
		}
	}
}

func TestADamagedCacheIsCalledCorruptWhereNothingReplacesIt(t *testing.T) {
	p, _ := world(t)
	lib, err := p.provision(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(lib.Path, 5); err != nil {
		t.Fatal(err)
	}
	p.offline = true
	if _, err = p.provision(context.Background()); !errors.Is(err, ErrNotFound) || !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), lib.Path) {
		t.Errorf("error %v", err)
	}
}

// program is a file in the format of this platform's libraries: the test itself.
func program(t *testing.T) []byte {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestANamedFileIsTakenAsItIs(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "mine.so")
	if err := os.WriteFile(path, program(t), 0o644); err != nil {
		t.Fatal(err)
	}
	lib, err := Find(context.Background(), Options{Path: path, Offline: true})
	if err != nil || lib.Path != path {
		t.Fatalf("named by option: %+v, %v", lib, err)
	}
	if _, err := Find(context.Background(), Options{Path: dir}); !errors.Is(err, ErrNotFound) {
		t.Errorf("a folder: %v", err)
	}
	if _, err := Find(context.Background(), Options{Path: path, CUDA: true}); !errors.Is(err, ErrNotFound) {
		t.Errorf("cuda without the provider beside it: %v", err)
	}
	t.Setenv(EnvLibrary, path)
	if lib, err = Find(context.Background(), Options{Offline: true}); err != nil || lib.Path != path {
		t.Errorf("named by the environment: %+v, %v", lib, err)
	}
}

func TestANamedFileThatIsNoWholeLibraryIsCalledCorrupt(t *testing.T) {
	library := program(t)
	flipped := bytes.Clone(library)
	flipped[len(flipped)/2] ^= 1
	published := []release{{archives: []archive{{url: "https://example.org/a.tgz", files: []file{
		{name: "core.so", sha256: sum(library), size: int64(len(library))},
	}}}}}
	cases := []struct {
		name string
		data []byte
		says string // of the error; none where empty
	}{
		{"a published build", library, ""},
		{"a build of one's own", append(bytes.Clone(library), 0), ""},
		{"a published build with a flipped bit", flipped, "a.tgz"},
		{"the first half", library[:len(library)/2], "ends"},
		{"all but the last eighth", library[:len(library)/8*7], "corrupt"},
		{"a header alone", library[:64], "corrupt"},
		{"nothing", nil, "not a shared library"},
		{"a web page", []byte("<!DOCTYPE html><html>"), "not a shared library"},
		{"a pointer of Git LFS", []byte("version https://git-lfs.github.com/spec/v1\n"), "not a shared library"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "core.so")
			if err := os.WriteFile(path, c.data, 0o644); err != nil {
				t.Fatal(err)
			}
			known, err := whole(path, published)
			if known != (c.name == "a published build") {
				t.Errorf("known: %v", known)
			}
			if c.says == "" && err != nil {
				t.Error(err)
			}
			if c.says != "" && (!errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), path)) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestZipArchivesAreUnpacked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "win.zip")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := zip.NewWriter(f)
	member, err := w.Create("win/lib/core.dll")
	if err != nil {
		t.Fatal(err)
	}
	_, err = member.Write([]byte(coreData))
	if err := errors.Join(err, w.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	c := cache{dir: t.TempDir()}
	a := archive{files: []file{{member: "lib/core.dll", name: "core.dll", sha256: sum([]byte(coreData))}}}
	if err := c.store("win", a, path); err != nil {
		t.Fatal(err)
	}
	if err := c.verify("win", a); err != nil {
		t.Errorf("the library did not arrive: %v", err)
	}
}

func TestEveryPublishedBuildIsPinned(t *testing.T) {
	for _, platform := range []string{"linux-amd64", "linux-arm64", "darwin-arm64", "windows-amd64"} {
		for _, r := range releasesFor(platform) {
			for _, a := range r.archives {
				if (a.url == "") == (a.npm == "") {
					t.Errorf("%s %s: an archive needs one source", platform, r.name)
				}
				for _, f := range a.files {
					if len(a.sha256) != 64 && (len(f.sha256) != 64 || f.size == 0) {
						t.Errorf("%s %s: %s is not pinned", platform, r.name, f.name)
					}
				}
			}
		}
	}
}

func TestProgressIsDrawnWhenAskedFor(t *testing.T) {
	p, s := world(t)
	var drawn bytes.Buffer
	p.fetcher.bar = download.NewBar(&drawn)
	if _, err := p.provision(context.Background()); err != nil {
		t.Fatal(err)
	}
	s.archives = nil
	p.cache.dir = t.TempDir()
	if _, err := p.provision(context.Background()); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"fetching cpu.tgz", "fetching node@1 with npm"} {
		if !strings.Contains(drawn.String(), part) {
			t.Errorf("the bar does not say %q: %q", part, drawn.String())
		}
	}
	nobody, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer nobody.Close()
	if download.NewBar(nobody).Draws() || download.NewBar((*os.File)(nil)).Draws() {
		t.Error("a file that is no terminal gets a bar")
	}
}
