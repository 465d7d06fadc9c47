package provision

import (
	"archive/zip"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzStore: whatever an archive holds, nothing but the pinned file arrives in the
// cache, and nothing anywhere else.
func FuzzStore(f *testing.F) {
	add := func(zipped bool, members map[string]string) {
		if !zipped {
			f.Add(false, tarball(f, members))
			return
		}
		var buf bytes.Buffer
		w := zip.NewWriter(&buf)
		for name, data := range members {
			member, err := w.Create(name)
			if err != nil {
				f.Fatal(err)
			}
			if _, err := io.WriteString(member, data); err != nil {
				f.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			f.Fatal(err)
		}
		f.Add(true, buf.Bytes())
	}
	for _, zipped := range []bool{false, true} {
		add(zipped, map[string]string{"a/lib/core.so": coreData, "a/LICENSE": "MIT"})
		add(zipped, map[string]string{"a/lib/core.so": nodeData})
		add(zipped, map[string]string{"../../lib/core.so": coreData, "/lib/core.so": coreData})
		add(zipped, map[string]string{"a/lib/core.so": strings.Repeat("x", 1<<16)})
		add(zipped, nil)
	}
	a := archive{files: []file{{member: "lib/core.so", name: "core.so", sha256: sum([]byte(coreData)), size: int64(len(coreData))}}}
	f.Fuzz(func(t *testing.T, zipped bool, data []byte) {
		root := t.TempDir()
		path := filepath.Join(root, "archive.tgz")
		if zipped {
			path = filepath.Join(root, "archive.zip")
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		c := cache{dir: filepath.Join(root, "cache")}
		stored := c.store("linux", a, path)
		if held := c.verify("linux", a); (stored == nil) != (held == nil) {
			t.Errorf("store: %v; verify: %v", stored, held)
		}
		err := filepath.WalkDir(root, func(found string, entry os.DirEntry, err error) error {
			if err == nil && !entry.IsDir() && found != path && found != filepath.Join(c.dir, "linux", "core.so") {
				t.Errorf("a file %s appeared", found)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}
