// Package models finds what evaluators and decoders are loaded from: files of this
// machine, or models of the Hugging Face hub.
package models

import (
	"context"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/denseflow/densereward/cmd/densereward/cli"
	"github.com/denseflow/densereward/internal/download"
	"github.com/denseflow/densereward/internal/hub"
)

// Store is the hub of the environment; offline forbids downloads whatever that says.
func Store(t cli.Terminal, offline bool) (*hub.Store, error) {
	s, err := hub.FromEnvironment(os.Getenv)
	if err != nil {
		return nil, err
	}
	s.Offline = s.Offline || offline
	s.Bar, s.Say = download.NewBar(t.Err), t.Say
	return s, nil
}

// Finder turns sources into paths.
type Finder struct {
	Terminal cli.Terminal
	Offline  bool
}

// Path is where a source lies: the source itself, or the folder or file of the hub that
// it names, which is downloaded if need be.
func (f Finder) Path(ctx context.Context, source string) (string, error) {
	if !hub.Refers(source) {
		return source, nil
	}
	reference, err := hub.ParseReference(source)
	if err != nil {
		return "", err
	}
	store, err := Store(f.Terminal, f.Offline)
	if err != nil {
		return "", err
	}
	found, err := store.Find(ctx, reference, Needed)
	return found.Path, err
}

// NameOf is what a model is called that nobody named: its folder's, file's or
// repository's own name.
func NameOf(source string) string {
	name := filepath.Base(source)
	if hub.Refers(source) {
		if r, err := hub.ParseReference(source); err == nil {
			if name = path.Base(r.ID); strings.HasSuffix(r.Path, suffix) {
				name = path.Base(r.Path)
			}
		}
	}
	return strings.TrimSuffix(name, suffix)
}
