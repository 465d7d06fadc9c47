package inputs_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/denseflow/densereward/reward/relabel/inputs"
)

func TestShardsAreFoundByTheirNames(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{
		"set/train/b.parquet", "set/train/a.tar.zst", "set/c.jsonl.gz", "set/d.csv", "set/e.tgz", "set/readme.md",
		"set/.densereward/shards/x.parquet", "set/.hidden/y.tar", "images/1.png", "images/1.txt", "list/metadata.jsonl", "list/1.png",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "empty"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ in, want string }{
		{"set", "c.jsonl.gz lines.JSONL, d.csv lines.CSV, e.tgz webdataset.Format, train/a.tar.zst webdataset.Format, train/b.parquet parquet.Format"},
		{"set/train", "a.tar.zst webdataset.Format, b.parquet parquet.Format"},
		{"set/train/b.parquet", "b.parquet parquet.Format"},
		{"set/d.csv set/train/b.parquet", "b.parquet parquet.Format, d.csv lines.CSV"},
		{"images", "metadata.jsonl lines.Folder"},
		{"list", "metadata.jsonl lines.JSONL"},
		{"empty", "the folder has neither shards nor images"},
		{"set/readme.md", "neither Parquet, tar, JSONL, CSV nor a folder"},
		{"absent", "no such file"},
		{"s3://", "is not s3://BUCKET/PREFIX"},
	} {
		var in []string
		for name := range strings.FieldsSeq(c.in) {
			if !strings.HasPrefix(name, "s3:") {
				name = filepath.Join(dir, name)
			}
			in = append(in, name)
		}
		shards, err := inputs.Find(context.Background(), in, func(string) string { return "" })
		if err != nil {
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: error %v, want one with %s", c.in, err, c.want)
			}
			continue
		}
		var got []string
		for _, s := range shards {
			got = append(got, fmt.Sprintf("%s %T", s.Name, s.Format))
		}
		if strings.Join(got, ", ") != c.want {
			t.Errorf("%s: %s, want %s", c.in, strings.Join(got, ", "), c.want)
		}
	}
}
