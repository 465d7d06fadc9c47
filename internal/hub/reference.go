package hub

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
)

// Reference names a model, a folder or a file of the hub.
type Reference struct {
	ID       string // ORG/NAME
	Revision string // a branch, a tag or a commit
	Path     string // within the repository, with slashes; "" is all of it
}

// MainRevision is the branch of a reference that names none.
const MainRevision = "main"

// Scheme begins references that can be nothing else.
const Scheme = "hf://"

// String is the reference as it is written.
func (r Reference) String() string {
	s := r.ID
	if r.Revision != MainRevision {
		revision := r.Revision
		if !strings.HasPrefix(revision, "refs/") {
			revision = strings.ReplaceAll(revision, "/", "%2F")
		}
		s += "@" + revision
	}
	if r.Path != "" {
		s = Scheme + s + "/" + r.Path
	}
	return s
}

var (
	idPattern       = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]*/[A-Za-z0-9_][A-Za-z0-9._-]*$`)
	revisionPattern = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._+-]*(/[A-Za-z0-9_][A-Za-z0-9._+-]*)*$`)
	commitPattern   = regexp.MustCompile(`^[0-9a-f]{40}$`)
)

func (r *Reference) UnmarshalText(text []byte) (err error) {
	*r, err = ParseReference(string(text))
	return err
}

// maxReference bounds what is looked at.
const maxReference = 1024

// ParseReference reads ORG/NAME, ORG/NAME@REVISION or hf://ORG/NAME@REVISION/PATH. A
// revision that has slashes itself is a pull request's, refs/pr/N, or is written with
// %2F.
func ParseReference(text string) (Reference, error) {
	wrong := func(why string) (Reference, error) {
		return Reference{}, fmt.Errorf("%.80q is no model of the hub such as ORG/NAME, ORG/NAME@REVISION or %sORG/NAME/PATH: %s", text, Scheme, why)
	}
	rest, full := strings.CutPrefix(text, Scheme)
	if len(text) > maxReference {
		return wrong(fmt.Sprintf("longer than %d characters", maxReference))
	}
	rest = strings.TrimSuffix(rest, "/")
	org, rest, _ := strings.Cut(rest, "/")
	name, within, _ := strings.Cut(rest, "/")
	r := Reference{Revision: MainRevision}
	var revised bool
	if name, r.Revision, revised = strings.Cut(name, "@"); !revised {
		r.Revision = MainRevision
	}
	if revised && r.Revision == "refs" {
		parts := strings.SplitN(within, "/", 3)
		if len(parts) < 2 {
			return wrong("the revision refs/... lacks a name")
		}
		r.Revision, within = "refs/"+parts[0]+"/"+parts[1], strings.Join(parts[2:], "/")
	}
	r.Revision = strings.ReplaceAll(r.Revision, "%2F", "/")
	r.ID, r.Path = org+"/"+name, within
	switch {
	case !idPattern.MatchString(r.ID) || strings.Contains(r.ID, "..") || strings.Contains(r.ID, "--") || len(r.ID) > 200:
		return wrong("ORG/NAME has letters, digits, single - and . and _")
	case !isRevision(r.Revision):
		return wrong("no revision")
	case r.Path != "" && !full:
		return wrong("a path in a repository needs " + Scheme)
	case r.Path != "" && !isLocal(r.Path):
		return wrong("the path leads out of the repository")
	}
	return r, nil
}

// At names another revision, a branch, tag or commit, of the same repository.
func (r Reference) At(revision string) (Reference, error) {
	if !isRevision(revision) {
		return Reference{}, fmt.Errorf("%.80q is no revision", revision)
	}
	r.Revision = revision
	return r, nil
}

func isRevision(text string) bool {
	return revisionPattern.MatchString(text) && !strings.Contains(text, "..")
}

// isLocal reports whether a path with slashes stays below where it begins, on every
// system.
func isLocal(name string) bool {
	return name == path.Clean(name) && filepath.IsLocal(filepath.FromSlash(name)) && !strings.ContainsAny(name, "\\:\x00") && len(name) <= maxReference
}

// Refers reports whether a source names a model of the hub and no file of this machine:
// it begins with hf://, or it reads ORG/NAME and there is neither such a file nor a
// folder ORG here.
func Refers(source string) bool {
	if strings.HasPrefix(source, Scheme) {
		return true
	}
	r, err := ParseReference(source)
	if err != nil {
		return false
	}
	org, _, _ := strings.Cut(r.ID, "/")
	for _, p := range []string{source, org} {
		if _, err := os.Lstat(filepath.FromSlash(p)); err == nil {
			return false
		}
	}
	return true
}
