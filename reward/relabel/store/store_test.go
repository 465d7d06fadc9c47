package store_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/denseflow/densereward/reward/relabel"
	"github.com/denseflow/densereward/reward/relabel/store"
)

func list(t *testing.T, s relabel.Store, prefix string) string {
	t.Helper()
	var names []string
	if err := s.List(context.Background(), prefix, func(name string, _ int64) error { names = append(names, name); return nil }); err != nil {
		t.Fatal(err)
	}
	return strings.Join(names, " ")
}

func create(t *testing.T, s relabel.Store, name, data string) relabel.Upload {
	t.Helper()
	u, err := s.Create(context.Background(), name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(u, data); err != nil {
		t.Fatal(err)
	}
	return u
}

func TestAFileAppearsWhenItIsCommitted(t *testing.T) {
	s := store.Folder(t.TempDir())
	u := create(t, s, "a/b.txt", "new")
	if got := list(t, s, ""); got != "" {
		t.Errorf("before: %q", got)
	}
	if err := u.Commit(); err != nil {
		t.Fatal(err)
	}
	data, err := relabel.ReadFile(context.Background(), s, "a/b.txt")
	if err != nil || string(data) != "new" {
		t.Errorf("%q, %v", data, err)
	}
	create(t, s, "a/b.txt", "newer").Abort()
	if data, _ := relabel.ReadFile(context.Background(), s, "a/b.txt"); string(data) != "new" {
		t.Errorf("after one was given up: %q", data)
	}
	if entries, _ := os.ReadDir(filepath.Join(string(s), "a")); len(entries) != 1 {
		t.Errorf("%d files are left", len(entries))
	}
}

func TestWhatIsNotThereIsSaidSo(t *testing.T) {
	s := store.Folder(t.TempDir())
	if _, err := s.Open(context.Background(), "a"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v", err)
	}
	if err := s.Remove(context.Background(), "a"); err != nil {
		t.Error(err)
	}
	if got := list(t, s, "a/"); got != "" {
		t.Errorf("files %q", got)
	}
}

func TestListsFollowThePrefix(t *testing.T) {
	s := store.Folder(t.TempDir())
	for _, name := range []string{"b/2", "b/1", "bc", "a", "b/.x.partial"} {
		if err := create(t, s, name, "").Commit(); err != nil {
			t.Fatal(err)
		}
	}
	for prefix, want := range map[string]string{"": "a b/1 b/2 bc", "b": "b/1 b/2 bc", "b/": "b/1 b/2", "c": ""} {
		if got := list(t, s, prefix); got != want {
			t.Errorf("%q: %q, want %q", prefix, got, want)
		}
	}
}

func TestAddressesOfBucketsAreChecked(t *testing.T) {
	for _, c := range []struct{ address, endpoint, want string }{
		{"s3://bucket/a/b", "", "s3://bucket/a/b/"},
		{"s3://bucket", "http://localhost:9000", "s3://bucket/"},
		{"s3://", "", `"s3://" is not s3://BUCKET/PREFIX`},
		{"/bucket", "", `"/bucket" is not s3://BUCKET/PREFIX`},
		{"s3://bucket", "localhost:9000", `the endpoint "localhost:9000" is not http://HOST or https://HOST`},
	} {
		b, err := store.OpenBucket(c.address, func(name string) string {
			if name == "AWS_ENDPOINT_URL" {
				return c.endpoint
			}
			return ""
		})
		got := ""
		if err != nil {
			got = err.Error()
		} else {
			got = b.String()
		}
		if got != c.want {
			t.Errorf("%s at %q: %s, want %s", c.address, c.endpoint, got, c.want)
		}
	}
}

func TestLinksAreFollowed(t *testing.T) {
	dir := t.TempDir()
	for name, data := range map[string]string{"real/1.png": "1", "real/sub/2.png": "22", "in/0.png": "0"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, to := range map[string]string{"in/a": "../real", "in/b.png": "../real/1.png", "in/gone.png": "nowhere", "in/loop": "../in", "real/sub/up": "../..", "root": "in"} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for prefix, want := range map[string]string{
		"":    "0.png a/1.png a/sub/2.png b.png gone.png",
		"a/1": "a/1.png", "a/sub/2": "a/sub/2.png", "absent/": "",
	} {
		if got := list(t, store.Folder(filepath.Join(dir, "root")), prefix); got != want {
			t.Errorf("%q: %q, want %q", prefix, got, want)
		}
	}
}
