package ort

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
)

// Version is the version of ONNX Runtime that this package provisions.
const Version = "1.29.0"

// EnvLibrary is the environment variable that names the shared library's file.
const EnvLibrary = "DENSEREWARD_ONNXRUNTIME"

// Library is a shared library of ONNX Runtime on this machine.
type Library struct {
	Path   string
	Source string // where it came from, for the log
	CUDA   bool   // its CUDA provider lies beside it
}

// ProvisionOptions say where Provision may look and what it may do.
type ProvisionOptions struct {
	// Path names the library's file; nothing else is tried where it is set.
	// Empty is the environment variable DENSEREWARD_ONNXRUNTIME.
	Path string
	// CacheDir is the folder that keeps downloads; empty is the user's cache.
	CacheDir string
	// Offline forbids downloads.
	Offline bool
	// CUDA asks for the CUDA provider beside the library.
	CUDA bool
	// Progress receives a progress bar; nil is none.
	Progress io.Writer
}

var cores = map[string]struct{ name, sha256 string }{
	"linux-amd64": {"libonnxruntime.so.1", "89688f5cf51c7e31befbb7b9101bc027799009b18d1baa9a5b1146a72e69538d"},
}

// Provision finds the library.
func Provision(ctx context.Context, o ProvisionOptions) (Library, error) {
	path := o.Path
	if path == "" {
		path = os.Getenv(EnvLibrary)
	}
	if path != "" {
		if _, err := os.Stat(path); err != nil {
			return Library{}, err
		}
		return Library{Path: path, Source: "named"}, nil
	}
	dir := o.CacheDir
	if dir == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			return Library{}, err
		}
		dir = filepath.Join(base, "densereward")
	}
	platform := runtime.GOOS + "-" + runtime.GOARCH
	core, ok := cores[platform]
	if !ok {
		return Library{}, fmt.Errorf("%w: platform %s", ErrNotFound, platform)
	}
	path = filepath.Join(dir, "onnxruntime", Version, platform+"-"+core.sha256[:12], core.name)
	f, err := os.Open(path)
	if err != nil {
		return Library{}, fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return Library{}, err
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != core.sha256 {
		return Library{}, fmt.Errorf("%w: %s has sha-256 %s", ErrNotFound, path, got)
	}
	return Library{Path: path, Source: "cache"}, nil
}
