package webdataset_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/denseflow/densereward/internal/npy"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/relabel"
	"github.com/denseflow/densereward/reward/relabel/compress"
	"github.com/denseflow/densereward/reward/relabel/relabeltest"
	"github.com/denseflow/densereward/reward/relabel/store"
	"github.com/denseflow/densereward/reward/relabel/webdataset"
)

func source(path string, failing ...int) relabeltest.Source {
	return relabeltest.Source{Format: webdataset.Format{}, Store: store.Folder("testdata"), Path: path, Records: 12, Failing: failing}
}

func TestFormat(t *testing.T) {
	named := source("json.tar.zst")
	named.Columns.Metadata = []string{"seed", "nested", "cls", "absent"}
	named.Metadata = map[string]any{"seed": int64(0), "nested": map[string]any{"a": []any{int64(1), nil}}, "cls": "0"}
	for _, s := range []relabeltest.Source{source("captions.tar", 3, 8), source("captions.tar.gz", 3, 8), named} {
		t.Run(s.Path, func(t *testing.T) { relabeltest.Run(t, s) })
	}
}

// members lists the files of an archive in order.
func members(t *testing.T, name string, data []byte) (names []string, files map[string][]byte) {
	t.Helper()
	stream, err := compress.NewReader(object{bytes.NewReader(data)}, name)
	if err != nil {
		t.Fatal(err)
	}
	files = map[string][]byte{}
	for archive := tar.NewReader(stream); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return names, files
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, header.Name)
		if files[header.Name], err = io.ReadAll(archive); err != nil {
			t.Fatal(err)
		}
	}
}

type object struct{ *bytes.Reader }

func (object) Close() error { return nil }

func TestSourceFilesAreKeptAndLabelsAdded(t *testing.T) {
	for _, s := range []relabeltest.Source{source("captions.tar", 3, 8), source("json.tar.zst")} {
		before, err := os.ReadFile("testdata/" + s.Path)
		if err != nil {
			t.Fatal(err)
		}
		records, after := relabeltest.Read(t, s, relabeltest.Labels("x_"))
		_, old := members(t, s.Path, before)
		_, files := members(t, s.Path, after)
		for name, data := range old {
			if !strings.HasSuffix(name, ".json") && !bytes.Equal(files[name], data) {
				t.Errorf("%s: %s has changed", s.Path, name)
			}
		}
		for i, record := range records {
			checkLabel(t, relabeltest.Label(i), record.Name, old, files)
		}
	}
}

func checkLabel(t *testing.T, want relabel.Label, key string, old, files map[string][]byte) {
	t.Helper()
	var got struct {
		Reward    *float64      `json:"x_reward"`
		Text      *string       `json:"x_text"`
		Boxes     []relabel.Box `json:"x_boxes"`
		ErrorCode *string       `json:"x_error_code"`
	}
	labelled := files[key+".json"]
	if err := json.Unmarshal(labelled, &got); err != nil {
		t.Fatalf("%s: %v", key, err)
	}
	if object := bytes.TrimSuffix(bytes.TrimSpace(old[key+".json"]), []byte("}")); !bytes.HasPrefix(labelled, object) {
		t.Errorf("%s.json is %s, which does not begin with the source's %s", key, labelled, object)
	}
	if want.Failed() {
		if got.Reward != nil || got.ErrorCode == nil || *got.ErrorCode != want.ErrorCode {
			t.Errorf("%s failed, and has %s", key, labelled)
		}
		return
	}
	if got.Reward == nil || *got.Reward != want.Reward || *got.Text != want.Text || got.ErrorCode != nil || len(got.Boxes) != len(want.Boxes) {
		t.Errorf("%s: %s, want %+v", key, labelled, want)
	}
	for k, name := range []string{"dense", "artifact"} {
		file, there := files[key+".x_"+name+".npy"]
		if there != (want.Maps[k].Height > 0) {
			t.Errorf("%s: map %s is there: %v", key, name, there)
		}
		if !there {
			continue
		}
		a, err := npy.Read(bytes.NewReader(file), 1<<20)
		if err != nil || a.Descr != "|u1" || !bytes.Equal(a.Data, want.Maps[k].Data) {
			t.Errorf("%s: map %s is %+v, %v", key, name, a, err)
		}
	}
}

type file struct{ name, data string }

func shard(t *testing.T, files ...file) relabeltest.Source {
	t.Helper()
	var data bytes.Buffer
	archive := tar.NewWriter(&data)
	for _, f := range files {
		if err := archive.WriteHeader(&tar.Header{Name: f.name, Size: int64(len(f.data)), Mode: 0o600}); err != nil {
			t.Fatal(err)
		}
		if _, err := archive.Write([]byte(f.data)); err != nil {
			t.Fatal(err)
		}
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/a.tar", data.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return relabeltest.Source{Format: webdataset.Format{}, Store: store.Folder(dir), Path: "a.tar"}
}

func TestSamplesAreFilesOfOneKey(t *testing.T) {
	s := shard(t,
		file{"README", "no dot"}, file{"a/1.jpg", "1"}, file{"a/1.txt", "one"}, file{"b/1.JPG", "2"}, file{"b/1.Txt", "two"},
		file{"__meta.json", "{}"}, file{"2.webp", "3"}, file{"2.big.npy", "n"}, file{"2.json", `{"text":"three","caption":null}`}, file{"a/1.png", "4"}, file{".hidden", "h"},
	)
	records, data := relabeltest.Read(t, s, relabel.Labels{})
	var got []string
	for _, r := range records {
		image := ""
		if r.Load != nil {
			bytes, _ := r.Load()
			image = string(bytes)
		}
		got = append(got, r.Name+" "+image+" "+r.Prompt)
	}
	want := []string{"a/1 1 one", "b/1 2 two", "2 3 three", "a/1  "}
	if strings.Join(got, ";") != strings.Join(want, ";") {
		t.Errorf("records %q, want %q", got, want)
	}
	names, _ := members(t, "a.tar", data)
	if want := "README a/1.jpg a/1.txt a/1.json b/1.JPG b/1.Txt __meta.json b/1.json 2.webp 2.big.npy 2.json a/1.png .hidden a/1.json"; strings.Join(names, " ") != want {
		t.Errorf("files %q, want %q", names, want)
	}
}

func TestColumnsNameExtensionsAndMembers(t *testing.T) {
	files := []file{{"1.jpg", "j"}, {"1.edited.png", "e"}, {"1.txt", "plain"}, {"1.long.txt", "long"}, {"1.json", `{"caption":"c","title":"t"}`}}
	for _, c := range []struct {
		columns       relabel.Columns
		image, prompt string
	}{
		{relabel.Columns{}, "j", "plain"},
		{relabel.Columns{Image: "edited.png"}, "e", "plain"},
		{relabel.Columns{Prompt: "long.txt"}, "j", "long"},
		{relabel.Columns{Prompt: "title"}, "j", "t"},
	} {
		s := shard(t, files...)
		s.Columns = c.columns
		records, _ := relabeltest.Read(t, s, relabel.Labels{})
		data, _ := records[0].Load()
		if string(data) != c.image || records[0].Prompt != c.prompt {
			t.Errorf("%+v: image %q and prompt %q", c.columns, data, records[0].Prompt)
		}
	}
}

func TestLabelsThatDoNotFitAreRefused(t *testing.T) {
	for name, s := range map[string]relabeltest.Source{
		"a member of the label's name": shard(t, file{"1.jpg", "j"}, file{"1.json", `{"reward":1}`}),
		"a map of the label's name":    shard(t, file{"1.jpg", "j"}, file{"1.dense.npy", `n`}),
	} {
		r, err := s.Format.Open(context.Background(), s.Store, s.Path, s.Columns)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close() //nolint:errcheck // it was only read
		w, err := r.Writer(io.Discard, nil, relabel.Labels{Maps: []string{"dense"}})
		if err != nil {
			t.Fatal(err)
		}
		record, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Write(record, &relabel.Label{Maps: make([]relabel.Map, 1)}); !errors.Is(err, relabel.ErrDoNotFit) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestASampleWhoseJSONIsNoObjectFailsAlone(t *testing.T) {
	for _, text := range []string{`[1]`, `{nonsense`, `null`, ``} {
		records, out := relabeltest.Read(t, shard(t, file{"1.jpg", "j"}, file{"1.txt", "p"}, file{"1.json", text}, file{"2.jpg", "j"}, file{"2.txt", "p"}), relabeltest.Labels("x_"))
		if len(records) != 2 || !errors.Is(records[0].Err, reward.ErrInvalidValue) || records[1].Err != nil {
			t.Errorf("%q: %+v", text, records)
		}
		if !bytes.Contains(out, []byte(`{"x_reward":0,`)) {
			t.Errorf("%q: the output lacks the first sample's label", text)
		}
	}
}

// Two samples of one key behind one another are one to webdataset, which fails.
func TestASampleWithTwoFilesOfAnExtensionFailsAlone(t *testing.T) {
	records, out := relabeltest.Read(t, shard(t, file{"1.jpg", "a"}, file{"1.txt", "p"}, file{"1.jpg", "b"}, file{"1.txt", "q"}, file{"2.jpg", "j"}, file{"2.txt", "p"}), relabel.Labels{})
	if len(records) != 2 || !errors.Is(records[0].Err, reward.ErrInvalidValue) || records[1].Err != nil {
		t.Errorf("%+v", records)
	}
	if names, _ := members(t, "a.tar", out); strings.Join(names, " ") != "1.jpg 1.txt 1.jpg 1.txt 1.json 2.jpg 2.txt 2.json" {
		t.Errorf("files %q", names)
	}
}

// The archive is whole, but not the stream that holds it.
func TestACompressedShardIsReadToItsChecksum(t *testing.T) {
	whole, err := os.ReadFile("testdata/captions.tar.gz")
	if err != nil {
		t.Fatal(err)
	}
	damaged := bytes.Clone(whole)
	damaged[len(damaged)-6] ^= 1 // of the CRC
	for name, c := range map[string]struct {
		data []byte
		bad  bool
	}{
		"as it is": {whole, false}, "without its end": {whole[:len(whole)-4], true}, "another checksum": {damaged, true},
		"more behind it": {append(bytes.Clone(whole), "not gzip at all"...), false},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(dir+"/a.tar.gz", c.data, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := webdataset.Format{}.Open(context.Background(), store.Folder(dir), "a.tar.gz", relabel.Columns{})
		if err != nil {
			t.Fatal(err)
		}
		for err == nil {
			_, err = r.Next()
		}
		if (err != io.EOF) != c.bad { //nolint:errorlint // an unexpected one wraps it
			t.Errorf("%s: %v", name, err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestShardsCutShortAreErrors(t *testing.T) {
	for _, path := range []string{"captions.tar", "captions.tar.gz", "json.tar.zst"} {
		whole, err := os.ReadFile("testdata/" + path)
		if err != nil {
			t.Fatal(err)
		}
		for _, cut := range []int{len(whole) / 3, len(whole) / 3 / 512 * 512, len(whole)/3 + 100} {
			dir := t.TempDir()
			if err := os.WriteFile(dir+"/"+path, whole[:cut], 0o600); err != nil {
				t.Fatal(err)
			}
			r, err := webdataset.Format{}.Open(context.Background(), store.Folder(dir), path, relabel.Columns{})
			if err != nil {
				t.Fatal(err)
			}
			for err == nil {
				_, err = r.Next()
			}
			if err == io.EOF { //nolint:errorlint // an unexpected one wraps it
				t.Errorf("%s, cut after %d bytes, ends without an error", path, cut)
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}
