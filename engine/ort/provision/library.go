// Package provision finds the shared library of ONNX Runtime on this machine, or
// fetches it. It does not load it and uses no cgo.
package provision

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/denseflow/densereward/internal/download"
)

// EnvLibrary is the environment variable that names the shared library's file.
const EnvLibrary = "DENSEREWARD_ONNXRUNTIME"

// Errors that callers tell apart with errors.Is.
var (
	// ErrNotFound is returned when no source could provide the shared library.
	ErrNotFound = errors.New("onnx runtime library not found")
	// ErrCorrupt is returned when a library's file is not what was published, or
	// no whole library.
	ErrCorrupt = errors.New("onnx runtime library is corrupt")
)

// Library is a shared library of ONNX Runtime on this machine.
type Library struct {
	Path   string
	Source string // where it came from, for the log
	CUDA   bool   // the CUDA provider lies beside it; false where it was not asked for
	Known  bool   // it is a published build to the last byte
}

// Options say where Find may look and what it may do. The zero
// value looks everywhere and downloads quietly.
type Options struct {
	// Path names the library's file; nothing else is tried where it is set.
	// Empty is the environment variable DENSEREWARD_ONNXRUNTIME.
	Path string
	// CacheDir is the folder that keeps downloads; empty is densereward in the
	// user's cache folder.
	CacheDir string
	// Offline forbids downloads.
	Offline bool
	// CUDA asks for the CUDA provider beside the library.
	CUDA bool
	// Progress receives a progress bar while downloading. A file gets one only
	// if it is a terminal; nil is none.
	Progress io.Writer
}

// Find finds the shared library or fetches it: the file that Path or the
// environment names, else the user's cache, else ONNX Runtime's release archive
// on GitHub, else the npm package onnxruntime-node by way of the npm client,
// which also serves closed networks that have an npm mirror. What is fetched is
// checked against a pinned SHA-256 and kept in the cache, whole or not at all;
// concurrent processes fetch it once. A source that cannot be reached is passed
// over within seconds. When none is left the error is an ErrNotFound that says
// what was tried and how to name a file.
func Find(ctx context.Context, o Options) (Library, error) {
	if o.Path != "" {
		return named(o.Path, "named by the caller", o.CUDA)
	}
	if path := os.Getenv(EnvLibrary); path != "" {
		return named(path, "named by "+EnvLibrary, o.CUDA)
	}
	dir, err := cacheDir(o.CacheDir)
	if err != nil {
		return Library{}, err
	}
	p := provisioner{
		platform: platform(),
		releases: releasesFor(platform()),
		cache:    cache{dir: filepath.Join(dir, "onnxruntime", Version)},
		cuda:     o.CUDA,
		offline:  o.Offline,
		fetcher:  fetcher{client: download.Client(), npm: "npm", bar: download.NewBar(o.Progress), pauses: pauses},
	}
	return p.provision(ctx)
}

func platform() string { return runtime.GOOS + "-" + runtime.GOARCH }

func cacheDir(dir string) (string, error) {
	if dir != "" {
		return filepath.Abs(dir)
	}
	user, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("onnx runtime needs a cache folder: %w", err)
	}
	return filepath.Join(user, "densereward"), nil
}

// named takes a file on the user's word: a build of one's own is as welcome as a
// published one, but for a damaged copy of one.
func named(path, source string, cuda bool) (Library, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return Library{}, err
	}
	if err := regular(path); err != nil {
		return Library{}, fmt.Errorf("%w: the file %s: %w", ErrNotFound, source, err)
	}
	known, err := whole(path, releasesFor(platform()))
	if err != nil {
		return Library{}, err
	}
	for _, name := range []string{sharedProvider, CUDAProvider} {
		beside := filepath.Join(filepath.Dir(path), name)
		if !cuda {
			continue
		}
		if err := regular(beside); err != nil {
			return Library{}, fmt.Errorf("%w: the cuda provider must lie beside the file %s: %w", ErrNotFound, source, err)
		}
		if _, err := whole(beside, nil); err != nil {
			return Library{}, err
		}
	}
	return Library{Path: path, Source: source, CUDA: cuda, Known: known}, nil
}

func regular(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a file", path)
	}
	return nil
}

// provisioner is one call of Find with everything it depends on.
type provisioner struct {
	platform string
	releases []release
	cache    cache
	cuda     bool
	offline  bool
	fetcher  fetcher
}

func (p provisioner) provision(ctx context.Context) (Library, error) {
	lib, damage := p.cached()
	if lib.Path != "" {
		return lib, nil
	}
	if len(p.wanted()) == 0 {
		return Library{}, p.notFound(damage, fmt.Errorf("no published build with cuda=%t is known for %s", p.cuda, p.platform))
	}
	if p.offline {
		return Library{}, p.notFound(damage, errors.New("downloads are turned off"))
	}
	unlock, err := p.cache.lock(ctx)
	if err != nil {
		return Library{}, err
	}
	defer unlock()
	if lib, damage = p.cached(); lib.Path != "" {
		return lib, nil // another process was faster
	}
	var tried []error
	for _, r := range p.wanted() {
		lib, err := p.install(ctx, r)
		if err == nil {
			return lib, nil
		}
		if ctx.Err() != nil {
			return Library{}, ctx.Err()
		}
		tried = append(tried, err)
	}
	return Library{}, p.notFound(damage, tried...)
}

// wanted are the releases worth fetching for what was asked.
func (p provisioner) wanted() []release {
	var wanted []release
	for _, r := range p.releases {
		if p.cuda && r.cuda || !p.cuda && !r.onlyCUDA {
			wanted = append(wanted, r)
		}
	}
	return wanted
}

// cached looks for a release that lies in the cache whole and unchanged. damage
// says what is wrong with the files that lie there otherwise.
func (p provisioner) cached() (lib Library, damage error) {
	for _, r := range p.releases {
		if p.cuda && !r.cuda {
			continue
		}
		err := p.complete(r)
		switch {
		case err == nil:
			return p.library(r, "cache"), nil
		case damage == nil && !errors.Is(err, fs.ErrNotExist):
			damage = err
		}
	}
	return Library{}, damage
}

// complete returns nil if the cache holds all of r that is asked for.
func (p provisioner) complete(r release) error {
	for _, a := range r.archives {
		if a.cuda && !p.cuda {
			continue
		}
		if err := p.cache.verify(p.folder(r), a); err != nil {
			return err
		}
	}
	return nil
}

func (p provisioner) library(r release, source string) Library {
	return Library{
		Path:   filepath.Join(p.cache.dir, p.folder(r), r.archives[0].files[0].name),
		Source: source,
		CUDA:   p.cuda,
		Known:  true,
	}
}

func (p provisioner) folder(r release) string { return p.platform + "-" + r.name }

// install fetches the archives of r that the cache lacks.
func (p provisioner) install(ctx context.Context, r release) (Library, error) {
	var source string
	for _, a := range r.archives {
		if a.cuda && !p.cuda || p.cache.verify(p.folder(r), a) == nil {
			continue
		}
		if err := p.installArchive(ctx, r, a); err != nil {
			return Library{}, fmt.Errorf("%s: %w", a.source(), err)
		}
		source = a.source()
	}
	return p.library(r, source), nil
}

func (p provisioner) installArchive(ctx context.Context, r release, a archive) error {
	temp, err := os.MkdirTemp("", "densereward-onnxruntime-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(temp) }()
	path, err := p.fetcher.fetch(ctx, a, temp)
	if err != nil {
		return err
	}
	return p.cache.store(p.folder(r), a, path)
}

// notFound lists what was tried and says what the user can do. damage is what
// ails the cache.
func (p provisioner) notFound(damage error, tried ...error) error {
	if damage == nil {
		damage = errors.New("not there")
	}
	return fmt.Errorf("%w for %s\n  cache %s: %w\n%w\n"+
		"name a file with the environment variable %s, such as the library unpacked from %s",
		ErrNotFound, p.platform, p.cache.dir, damage, indented(tried), EnvLibrary, githubReleases)
}

// indented joins errors one a line, set in below a headline.
type indented []error

func (e indented) Error() string {
	var text string
	for i, err := range e {
		if i > 0 {
			text += "\n"
		}
		text += "  " + err.Error()
	}
	return text
}

func (e indented) Unwrap() []error { return e }
