// Package hub finds models of the Hugging Face hub in the cache that its own client
// keeps, and downloads what is missing there.
//
// The cache has a folder for each repository, laid out as huggingface_hub does it: one
// program reads what the other wrote.
//
//	models--ORG--NAME/refs/REVISION           the commit that a branch or tag stood for
//	models--ORG--NAME/blobs/DIGEST            a file's content; DIGEST.incomplete while it comes
//	models--ORG--NAME/snapshots/COMMIT/PATH   a link to the content
//	models--ORG--NAME/trees/COMMIT.json       what the repository holds at the commit
//	.locks/models--ORG--NAME/DIGEST.lock      held by who downloads it
//
// Large files are named by their SHA-256 and others by Git's SHA-1, and are held
// against it.
package hub

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cenkalti/backoff/v5"

	"github.com/denseflow/densereward/internal/download"
)

// DefaultEndpoint is the hub itself.
const DefaultEndpoint = "https://huggingface.co"

// Errors that callers tell apart with errors.Is.
var (
	// ErrNotFound is returned for a model, revision or file that the hub does not
	// have or does not show.
	ErrNotFound = errors.New("not found")
	// ErrDenied is returned where a token is missing, wrong, or not allowed to.
	ErrDenied = errors.New("access denied")
	// ErrOffline is returned for what the cache lacks while downloads are forbidden.
	ErrOffline = errors.New("downloads are forbidden")
	// ErrUnreachable is returned when the hub does not answer, or not sensibly.
	ErrUnreachable = errors.New("the hub cannot be reached")
	// ErrDamaged is returned for a file whose content is not what its digest says.
	ErrDamaged = errors.New("damaged")
)

// Store is a cache and the hub behind it. It is safe for concurrent use, by several
// processes too.
type Store struct {
	Endpoint string // without a slash at its end
	Token    string // sent to the endpoint alone
	Cache    string
	Offline  bool // never downloads
	Client   *http.Client
	Bar      download.Bar
	// Say is told of each model that is downloaded; nil says nothing.
	Say func(format string, args ...any)

	pauses func() backoff.BackOff // between attempts; nil is the usual ones
}

// FromEnvironment is the store that the environment names, as huggingface_hub reads
// it: HF_ENDPOINT, HF_TOKEN or the token file, HF_HUB_CACHE or HF_HOME, and
// HF_HUB_OFFLINE. getenv is os.Getenv.
func FromEnvironment(getenv func(string) string) (*Store, error) {
	first := func(names ...string) string {
		for _, name := range names {
			if value := getenv(name); value != "" {
				return value
			}
		}
		return ""
	}
	s := &Store{
		Endpoint: strings.TrimRight(first("HF_ENDPOINT"), "/"),
		Token:    strings.TrimSpace(first("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")),
		Offline:  isTrue(first("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")),
		Client:   download.Client(),
	}
	if s.Endpoint == "" {
		s.Endpoint = DefaultEndpoint
	}
	home, err := homeFolder(getenv)
	if err != nil {
		return nil, err
	}
	if s.Cache = expand(first("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"), getenv); s.Cache == "" {
		s.Cache = filepath.Join(home, "hub")
	}
	if s.Token == "" && !isTrue(getenv("HF_HUB_DISABLE_IMPLICIT_TOKEN")) {
		path := expand(getenv("HF_TOKEN_PATH"), getenv)
		if path == "" {
			path = filepath.Join(home, "token")
		}
		// A token that is not there is none.
		text, _ := os.ReadFile(path)
		s.Token = strings.TrimSpace(string(text))
	}
	return s, nil
}

// homeFolder is HF_HOME, or huggingface in the user's caches: ~/.cache on all systems.
func homeFolder(getenv func(string) string) (string, error) {
	if home := expand(getenv("HF_HOME"), getenv); home != "" {
		return home, nil
	}
	if caches := expand(getenv("XDG_CACHE_HOME"), getenv); caches != "" {
		return filepath.Join(caches, "huggingface"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("hub: %w; HF_HOME names a folder for models", err)
	}
	return filepath.Join(home, ".cache", "huggingface"), nil
}

// expand puts values for $NAME and a leading ~.
func expand(path string, getenv func(string) string) string {
	path = os.Expand(path, getenv)
	if rest, tilde := strings.CutPrefix(path, "~"); tilde && (rest == "" || rest[0] == '/' || rest[0] == filepath.Separator) {
		if home, err := os.UserHomeDir(); err == nil {
			return home + rest
		}
	}
	return path
}

// isTrue reads a switch as huggingface_hub does.
func isTrue(value string) bool {
	return slices.Contains([]string{"1", "ON", "YES", "TRUE"}, strings.ToUpper(value))
}

// Pick chooses the files of a repository that are needed, of their names in it. read
// gives one's content, for files that name others.
type Pick func(names []string, read func(name string) ([]byte, error)) ([]string, error)

// Found is a model on this machine.
type Found struct {
	Path    string // the snapshot's folder, or the reference's path in it
	Commit  string
	Fetched int64 // bytes that were downloaded
	Files   int   // that were picked
}

// Find finds the files of a reference that pick chooses. What the cache has of the
// revision is used as it lies there, without asking whether its branch has moved on;
// otherwise what is missing is downloaded. Nothing is written where nothing is missing.
// Where the cache does not say what the commit holds the hub is asked, and if it cannot
// be reached, what lies there has to do.
func (s *Store) Find(ctx context.Context, r Reference, pick Pick) (Found, error) {
	repo := s.repository(r)
	commit := repo.commit()
	if commit == "" {
		return s.Fetch(ctx, r, pick)
	}
	listing, whole := repo.readListing(commit)
	if !whole && !s.Offline {
		at := r
		at.Revision = commit
		found, err := s.Fetch(ctx, at, pick)
		if !errors.Is(err, ErrUnreachable) && !errors.Is(err, ErrDenied) && !errors.Is(err, ErrNotFound) {
			return found, err
		}
		local, lacking := s.complete(ctx, repo, commit, listing, false, pick)
		if lacking != nil {
			return Found{}, err
		}
		return local, nil
	}
	found, err := s.complete(ctx, repo, commit, listing, whole, pick)
	if err != nil {
		return Found{}, fmt.Errorf("hub: %s in the cache %s: %w", r, s.Cache, err)
	}
	return found, nil
}

// Fetch asks the hub for a reference's revision and downloads what is missing of it.
func (s *Store) Fetch(ctx context.Context, r Reference, pick Pick) (Found, error) {
	if s.Offline {
		return Found{}, fmt.Errorf("hub: %s is not in the cache %s: %w", r, s.Cache, ErrOffline)
	}
	repo := s.repository(r)
	commit, listing, err := repo.ask(ctx)
	if err != nil {
		return Found{}, fmt.Errorf("hub: %s: %w", r, err)
	}
	found, err := s.complete(ctx, repo, commit, listing, true, pick)
	if err != nil {
		return Found{}, fmt.Errorf("hub: %s: %w", r, err)
	}
	repo.remember(commit, listing)
	return found, nil
}

// complete picks files of a listing and downloads those that the snapshot lacks. Of a
// listing that was read from the snapshot itself, not known to be whole, nothing can be
// missing that it names.
func (s *Store) complete(ctx context.Context, repo repository, commit string, listing []File, known bool, pick Pick) (Found, error) {
	names := make([]string, len(listing))
	byName := make(map[string]File, len(listing))
	for i, f := range listing {
		names[i], byName[f.Name] = f.Name, f
	}
	found := Found{Path: filepath.Join(repo.snapshot(commit), filepath.FromSlash(repo.Path)), Commit: commit}
	ensure := func(files ...string) error {
		n, err := repo.ensure(ctx, commit, byName, files)
		found.Fetched += n
		return err
	}
	wanted, err := pickBelow(repo.Path, names, pick, func(name string) ([]byte, error) {
		if err := ensure(name); err != nil {
			return nil, err
		}
		return os.ReadFile(repo.file(commit, name))
	})
	if err != nil {
		return Found{}, err
	}
	if found.Files = len(wanted); known {
		return found, ensure(wanted...)
	}
	return found, repo.present(commit, wanted)
}

// pickBelow picks among the files in the folder that a path names, or the file that it
// names with those that lie beside it.
func pickBelow(path string, names []string, pick Pick, read func(name string) ([]byte, error)) ([]string, error) {
	folder, chosen := path, ""
	if slices.Contains(names, path) {
		folder, chosen = "", path
		if i := strings.LastIndexByte(path, '/'); i >= 0 {
			folder = path[:i]
		}
	}
	prefix := ""
	if folder != "" {
		prefix = folder + "/"
	}
	var inner []string
	for _, name := range names {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			inner = append(inner, rest)
		}
	}
	if len(inner) == 0 {
		return nil, fmt.Errorf("%q: %w: the repository has neither a file nor a folder of this name", path, ErrNotFound)
	}
	if chosen != "" {
		return append(beside(names, prefix), chosen), nil
	}
	wanted, err := pick(inner, func(name string) ([]byte, error) { return read(prefix + name) })
	for i := range wanted {
		wanted[i] = prefix + wanted[i]
	}
	return wanted, err
}

// beside are the small files of a folder that configure what lies there.
func beside(names []string, prefix string) []string {
	var found []string
	for _, name := range names {
		if rest, ok := strings.CutPrefix(name, prefix); ok && Configures(rest) {
			found = append(found, name)
		}
	}
	return found
}

// Configures reports whether a file in a folder is one of those that say how a model is
// built and its text is split: JSON that is no index of weights, and vocabularies.
func Configures(name string) bool {
	if strings.Contains(name, "/") || strings.HasSuffix(name, ".index.json") {
		return false
	}
	return strings.HasSuffix(name, ".json") || strings.HasSuffix(name, ".txt") || strings.HasSuffix(name, ".txt.gz")
}
