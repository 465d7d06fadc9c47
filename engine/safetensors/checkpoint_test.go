package safetensors

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// nano is a checkpoint that torch's safetensors wrote.
const nano = "../imagedoctor/nano"

func TestShardsWrittenByTheReferenceAreRead(t *testing.T) {
	c, err := Open(nano)
	if err != nil {
		t.Fatal(err)
	}
	names := c.Names()
	if len(names) != 262 || !slices.IsSorted(names) {
		t.Errorf("%d names, sorted: %v", len(names), slices.IsSorted(names))
	}
	var total int64
	for _, name := range names {
		tensor, ok := c.Tensor(name)
		if !ok || tensor.Name != name {
			t.Fatalf("tensor %q is %v, %v", name, tensor, ok)
		}
		total += tensor.Length
	}
	if total != 1606904 { // total_size of the index
		t.Errorf("%d bytes, want 1606904", total)
	}
	// Offsets and digests were taken from the file by other means.
	for name, want := range map[string]struct {
		file, sum string
		offset    int64
		shape     []int64
	}{
		"model.norm.weight": {"model-00001-of-00002.safetensors",
			"f8221d84741545a5f999c1a26f8eebccfd56fbcaec7fea813233d027bce93051", 873384, []int64{96}},
		"visual.patch_embed.proj.weight": {"model-00001-of-00002.safetensors",
			"d01b43cd62769ca1c7ba1125f695cdfa596bc948f0e4fac004608fa6ac9adb0f", 1064184, []int64{40, 3, 2, 14, 14}},
		"heatmap.mask_tokens.weight": {"model-00002-of-00002.safetensors",
			"ce8c4b0ccd26ba4cba499ce1c43dd4ae832ac3549a4ca734f5b955f7753bf6a9", 18200, []int64{1, 48}},
	} {
		tensor, ok := c.Tensor(name)
		if !ok || tensor.File != want.file || tensor.Offset != want.offset || tensor.DType != BF16 || !slices.Equal(tensor.Shape, want.shape) {
			t.Errorf("%s: %+v", name, tensor)
		}
		data, err := c.Read(name)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(data)
		if got := hex.EncodeToString(sum[:]); got != want.sum {
			t.Errorf("%s: the bytes' digest is %s, want %s", name, got, want.sum)
		}
	}
	if c.Metadata()["format"] != "pt" {
		t.Errorf("metadata %v", c.Metadata())
	}
}

// bytesSource is a small tensor.
func bytesSource(name string, data ...byte) Source {
	return Source{Name: name, DType: U8, Shape: []int64{int64(len(data))}, Fill: func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	}}
}

// folder makes a checkpoint folder; content is a []byte, a string or, for a
// file of one tensor, a Source.
func folder(t *testing.T, files map[string]any) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		var err error
		switch content := content.(type) {
		case string:
			err = os.WriteFile(path, []byte(content), 0o600)
		case []Source:
			err = Write(path, content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestTheFileThatStandsForAFolderIsFound(t *testing.T) {
	one := []Source{bytesSource("one", 1)}
	two := []Source{bytesSource("two", 2)}
	const index = `{"weight_map":{"one":"a.safetensors","two":"b.safetensors"}}`
	for name, test := range map[string]struct {
		files map[string]any
		want  string
	}{
		"a model":                     {map[string]any{"model.safetensors": one}, "one"},
		"a file of any name":          {map[string]any{"weights.safetensors": one, "README.md": "x"}, "one"},
		"diffusers' file":             {map[string]any{"diffusion_pytorch_model.safetensors": one}, "one"},
		"a model among others":        {map[string]any{"model.safetensors": one, "adapter.safetensors": two}, "one"},
		"diffusers' file and fp16":    {map[string]any{"diffusion_pytorch_model.safetensors": one, "diffusion_pytorch_model.fp16.safetensors": two}, "one"},
		"an index of any base":        {map[string]any{"x.safetensors.index.json": index, "a.safetensors": one, "b.safetensors": two}, "one two"},
		"a model's index among files": {map[string]any{"model.safetensors.index.json": index, "a.safetensors": one, "b.safetensors": two, "other.safetensors": two}, "one two"},
		"a model beside an old index": {map[string]any{"model.safetensors.index.json": index, "a.safetensors": one, "b.safetensors": two, "model.safetensors": two}, "two"},
		"one shard of one":            {map[string]any{"model-00001-of-00001.safetensors": one}, "one"},
		"an index among indexes":      {map[string]any{"model.safetensors.index.json": index, "x.safetensors.index.json": "{}", "a.safetensors": one, "b.safetensors": two}, "one two"},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := Open(folder(t, test.files))
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(c.Names(), " "); got != test.want {
				t.Errorf("tensors %q, want %q", got, test.want)
			}
		})
	}
}

const pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"

func TestFoldersThatAreNoCheckpointAreErrors(t *testing.T) {
	one := []Source{bytesSource("one", 1)}
	for name, test := range map[string]struct {
		files map[string]any
		want  string
	}{
		"nothing":         {map[string]any{"config.json": "{}"}, "holds neither"},
		"two files alike": {map[string]any{"a.safetensors": one, "b.safetensors": one}, "2 files that could be meant: a.safetensors, b.safetensors"},
		"diffusers' file and index": {map[string]any{"diffusion_pytorch_model.safetensors": one, "diffusion_pytorch_model.safetensors.index.json": "{}"},
			"both diffusion_pytorch_model.safetensors and diffusion_pytorch_model.safetensors.index.json"},
		"shards without an index":    {map[string]any{"model-00001-of-00002.safetensors": one, "model-00002-of-00002.safetensors": one}, "without their index"},
		"a shard without an index":   {map[string]any{"model-00001-of-00002.safetensors": one}, "without their index"},
		"a pickle":                   {map[string]any{"config.json": "{}", "pytorch_model.bin": "x"}, "pytorch_model.bin, which is a pickle"},
		"a pointer of Git LFS":       {map[string]any{"model.safetensors": pointer}, "git lfs pull"},
		"an index that is a pointer": {map[string]any{"model.safetensors.index.json": pointer}, "git lfs pull"},
		"a shard that is a pointer": {map[string]any{"model.safetensors.index.json": `{"weight_map":{"one":"a.safetensors"}}`, "a.safetensors": pointer},
			"a.safetensors: a pointer to the file, not the file: Git LFS"},
		"a file that is broken": {map[string]any{"a.safetensors": "{}"}, "too few"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Open(folder(t, test.files)); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v does not say %q", err, test.want)
			}
		})
	}
	if _, err := Open(filepath.Join(t.TempDir(), "absent")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v of an absent folder", err)
	}
}

func TestFaultyIndexesAreErrorsThatNameTheTensor(t *testing.T) {
	for name, test := range map[string]struct{ index, tensor, reason string }{
		"a shard without the tensor":   {`{"weight_map":{"one":"a.safetensors","more":"a.safetensors"}}`, "more", "not in a.safetensors"},
		"a tensor in another shard":    {`{"weight_map":{"one":"b.safetensors","two":"a.safetensors"}}`, "one", "held by a.safetensors"},
		"a tensor twice":               {`{"weight_map":{"one":"a.safetensors","one":"b.safetensors"}}`, "one", "named twice"},
		"a shard in the parent":        {`{"weight_map":{"one":"../a.safetensors"}}`, "one", "not a plain file name"},
		"a shard by its full path":     {`{"weight_map":{"one":"/etc/passwd"}}`, "one", "not a plain file name"},
		"a shard in a folder":          {`{"weight_map":{"one":"sub/a.safetensors"}}`, "one", "not a plain file name"},
		"a shard in Windows' way":      {`{"weight_map":{"one":"..\\a.safetensors"}}`, "one", "not a plain file name"},
		"a shard on Windows' drive":    {`{"weight_map":{"one":"C:a.safetensors"}}`, "one", "not a plain file name"},
		"the folder itself":            {`{"weight_map":{"one":"."}}`, "one", "not a plain file name"},
		"the parent itself":            {`{"weight_map":{"one":".."}}`, "one", "not a plain file name"},
		"a shard without a name":       {`{"weight_map":{"one":""}}`, "one", "not a plain file name"},
		"a name with a zero byte":      {`{"weight_map":{"one":"a\u0000"}}`, "one", "not a plain file name"},
		"no weight map":                {`{"metadata":{"total_size":1}}`, "", "no weight_map"},
		"two weight maps":              {`{"weight_map":{},"weight_map":{}}`, "", "weight_map occurs twice"},
		"a weight map of numbers":      {`{"weight_map":{"one":1}}`, "", "not a string"},
		"an index that is cut":         {`{"weight_map":{"one":"a.safetensors"`, "", "EOF"},
		"an index with something more": {`{"weight_map":{}} {}`, "", "something follows"},
		"an index that is a list":      {`[]`, "", "[ where { belongs"},
		"deep nesting":                 {`{"metadata":` + strings.Repeat("[", 1<<20), "", "index:"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Open(folder(t, map[string]any{
				"model.safetensors.index.json": test.index,
				"a.safetensors":                []Source{bytesSource("one", 1)},
				"b.safetensors":                []Source{bytesSource("two", 2)},
			}))
			wantFault(t, err, test.tensor, test.reason)
		})
	}
}

func TestATensorInTwoShardsIsAnError(t *testing.T) {
	_, err := Open(folder(t, map[string]any{
		"model.safetensors.index.json": `{"weight_map":{"one":"a.safetensors","two":"b.safetensors"}}`,
		"a.safetensors":                []Source{bytesSource("one", 1)},
		"b.safetensors":                []Source{bytesSource("two", 2), bytesSource("one", 3)},
	}))
	wantFault(t, err, "one", "held by b.safetensors, but the index says a.safetensors")
}

func TestAMissingShardIsAnErrorThatNamesIt(t *testing.T) {
	_, err := Open(folder(t, map[string]any{
		"model.safetensors.index.json": `{"weight_map":{"one":"a.safetensors"}}`,
	}))
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "a.safetensors") {
		t.Errorf("error %v", err)
	}
}

func TestTensorsThatTheIndexLeavesOutAreLeftOut(t *testing.T) {
	c, err := Open(folder(t, map[string]any{
		"model.safetensors.index.json": `{"weight_map":{"one":"a.safetensors"}}`,
		"a.safetensors":                []Source{bytesSource("one", 1), bytesSource("more", 2)},
	}))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := c.Tensor("more"); ok || len(c.Names()) != 1 {
		t.Errorf("names %v", c.Names())
	}
}

func TestOversizedIndexesAreRefusedBeforeTheyAreRead(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "model.safetensors.index.json")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, maxHeaderBytes+1); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "exceeds the limit of 104857600 bytes") {
		t.Errorf("error %v", err)
	}
}

func TestSymbolicLinksAreResolved(t *testing.T) {
	// Download caches hold links to files that are named by their digest.
	blobs := folder(t, map[string]any{"0a1b2c": []Source{bytesSource("one", 7)}})
	dir := t.TempDir()
	if err := os.Symlink(filepath.Join(blobs, "0a1b2c"), filepath.Join(dir, "model.safetensors")); err != nil {
		t.Fatal(err)
	}
	c, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	tensor, _ := c.Tensor("one")
	if tensor.File != "0a1b2c" || filepath.Dir(tensor.Path) != resolve(t, blobs) {
		t.Errorf("the tensor lies in %s, called %s", tensor.Path, tensor.File)
	}
	if data, err := c.Read("one"); err != nil || len(data) != 1 || data[0] != 7 {
		t.Errorf("read %v, %v", data, err)
	}
	if at := c.Folder(); at != resolve(t, blobs) {
		t.Errorf("the files lie in %s", at)
	}
}

func resolve(t *testing.T, path string) string {
	t.Helper()
	resolved, err := filepath.EvalSymlinks(path)
	if err != nil {
		t.Fatal(err)
	}
	return resolved
}

func TestAFolderIsNoFile(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "model.safetensors"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := Open(dir)
	wantFault(t, err, "", "not a regular file")
}

func TestReading(t *testing.T) {
	dir := folder(t, map[string]any{"model.safetensors": []Source{
		bytesSource("one", 1, 2, 3), bytesSource("none"), bytesSource("two", 4, 5),
	}})
	c, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"one": "\x01\x02\x03", "none": "", "two": "\x04\x05"} {
		if data, err := c.Read(name); err != nil || string(data) != want {
			t.Errorf("%s is %v, %v, want %q", name, data, err, want)
		}
	}
	if _, err := c.Read("three"); !errors.Is(err, ErrNoTensor) || !strings.Contains(err.Error(), `"three"`) {
		t.Errorf("error %v of an unknown tensor", err)
	}
	path := filepath.Join(dir, "model.safetensors")
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, info.Size()-1); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read("two"); !errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(err.Error(), `"two"`) {
		t.Errorf("error %v of a file that has shrunk", err)
	}
	if _, err := c.Fingerprint(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("error %v of the fingerprint of a file that has shrunk", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read("one"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v of a file that is gone", err)
	}
	if _, err := c.Fingerprint(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v of the fingerprint of a file that is gone", err)
	}
}

func FuzzIndex(f *testing.F) {
	f.Add([]byte(`{"metadata":{"total_size":3},"weight_map":{"one":"a.safetensors","two":"b.safetensors"}}`))
	f.Add([]byte(`{"weight_map":{"one":"../a"}}`))
	f.Add([]byte(`{"weight_map":{"one":"a","one":"b"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		shardOf, err := parseIndex(data)
		if err != nil {
			return
		}
		for name, shard := range shardOf {
			if filepath.Base(shard) != shard || shard == "." || shard == ".." {
				t.Errorf("shard %q of %q leads out of the folder", shard, name)
			}
		}
	})
}
