package safetensors

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func sha256Of(data string) string {
	sum := sha256.Sum256([]byte(data))
	return hex.EncodeToString(sum[:])
}

func gitSHA1(data string) string {
	sum := sha1.Sum(fmt.Appendf(nil, "blob %d\x00%s", len(data), data))
	return hex.EncodeToString(sum[:])
}

func TestFilesAreComparedWithWhatIsKnownOfThem(t *testing.T) {
	const weights, config = "some weights", "{}"
	metadata := func(etag string) string { return "41b7b4a8\n" + etag + "\n1732600000.5\n" }
	tests := []struct {
		name   string
		extra  map[string]string // files beside model.safetensors and config.json
		source string            // of model.safetensors
		bad    string            // file that is damaged
		says   string
	}{
		{"nothing is known", nil, "", "", ""},
		{"SHA256SUMS agrees", map[string]string{"SHA256SUMS": sha256Of(weights) + "  model.safetensors\n" + sha256Of(config) + " *./config.json\n"}, "SHA256SUMS", "", ""},
		{"SHA256SUMS disagrees", map[string]string{"SHA256SUMS": strings.ToUpper(sha256Of("others")) + "  model.safetensors\n"}, "SHA256SUMS", "model.safetensors", sha256Of("others")},
		{"a file is missing", map[string]string{"SHA256SUMS": sha256Of("x") + "  b.safetensors\n"}, "", "b.safetensors", "missing"},
		{"files in folders are left out", map[string]string{"SHA256SUMS": sha256Of("x") + "  sub/b.safetensors\n"}, "", "", ""},
		{"the hub's metadata agrees", map[string]string{".cache/huggingface/download/model.safetensors.metadata": metadata(sha256Of(weights)),
			".cache/huggingface/download/config.json.metadata": metadata(gitSHA1(config))}, "the hub's metadata", "", ""},
		{"the hub's metadata disagrees", map[string]string{".cache/huggingface/download/model.safetensors.metadata": metadata(sha256Of("others"))}, "the hub's metadata", "model.safetensors", "the hub's metadata says"},
		{"the hub's metadata disagrees on a small file", map[string]string{".cache/huggingface/download/config.json.metadata": metadata(gitSHA1("{ }"))}, "", "config.json", gitSHA1(config)},
		{"the hub's metadata is something else", map[string]string{".cache/huggingface/download/model.safetensors.metadata": "W/abc\n"}, "", "", ""},
		{"a pointer", map[string]string{"tokenizer.json": pointer}, "", "tokenizer.json", "Git LFS"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			files := map[string]string{"model.safetensors": weights, "config.json": config}
			for name, data := range test.extra {
				files[name] = data
			}
			for name, data := range files {
				path := filepath.Join(dir, filepath.FromSlash(name))
				if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(data), 0o600)); err != nil {
					t.Fatal(err)
				}
			}
			digests, err := Digests(context.Background(), dir)
			if err != nil {
				t.Fatal(err)
			}
			bad := ""
			for _, d := range digests {
				if d.Err != nil {
					bad += d.Name
					if !errors.Is(d.Err, ErrDamaged) || !strings.Contains(d.Err.Error(), test.says) {
						t.Errorf("error %v", d.Err)
					}
				}
				if d.Name == "model.safetensors" && (d.Source != test.source || d.SHA256 != sha256Of(weights) || d.Size != int64(len(weights))) {
					t.Errorf("%+v", d)
				}
			}
			if bad != test.bad {
				t.Errorf("damaged: %q, want %q", bad, test.bad)
			}
		})
	}
}

func TestABlobOfTheHubsCacheIsNamedByItsDigest(t *testing.T) {
	for data, damaged := range map[string]bool{"weights": false, "others": true} {
		root := t.TempDir()
		blob := filepath.Join(root, "blobs", sha256Of("weights"))
		snapshot := filepath.Join(root, "snapshots", "main")
		if err := errors.Join(os.MkdirAll(filepath.Dir(blob), 0o700), os.MkdirAll(snapshot, 0o700),
			os.WriteFile(blob, []byte(data), 0o600), os.Symlink(blob, filepath.Join(snapshot, "model.safetensors"))); err != nil {
			t.Fatal(err)
		}
		digests, err := Digests(context.Background(), snapshot)
		if err != nil || len(digests) != 1 || digests[0].Source != "the hub's cache" || errors.Is(digests[0].Err, ErrDamaged) != damaged {
			t.Errorf("%+v, %v", digests, err)
		}
	}
}

func TestAPartOfAPipelineIsNotedWithThePipeline(t *testing.T) {
	root := t.TempDir()
	part := filepath.Join(root, "vae")
	notes := filepath.Join(root, ".cache", "huggingface", "download", "vae")
	if err := errors.Join(os.Mkdir(part, 0o700), os.MkdirAll(notes, 0o700),
		os.WriteFile(filepath.Join(part, "model.safetensors"), []byte("weights"), 0o600),
		os.WriteFile(filepath.Join(notes, "model.safetensors.metadata"), []byte("41b7b4a8\n"+sha256Of("others")+"\n1732600000.5\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	digests, err := Digests(context.Background(), part)
	if err != nil || len(digests) != 1 || !errors.Is(digests[0].Err, ErrDamaged) {
		t.Errorf("%+v, %v", digests, err)
	}
}

func TestHashingEndsWithTheContext(t *testing.T) {
	dir := folder(t, map[string]any{"model.safetensors": []Source{bytesSource("one", 1)}})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Digests(ctx, dir); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestSumsThatAreNoneAreErrors(t *testing.T) {
	for name, text := range map[string]string{"a web page": "<html>", "MD5": "d41d8cd98f00b204e9800998ecf8427e  a", "a digest alone": sha256Of("")} {
		dir := folder(t, map[string]any{"SHA256SUMS": text})
		if _, err := Digests(context.Background(), dir); err == nil || !strings.Contains(err.Error(), "line 1") {
			t.Errorf("%s: error %v", name, err)
		}
	}
}
