package lines_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/relabel"
	"github.com/denseflow/densereward/reward/relabel/lines"
	"github.com/denseflow/densereward/reward/relabel/relabeltest"
	"github.com/denseflow/densereward/reward/relabel/store"
)

func write(t *testing.T, files map[string]string) store.Folder {
	t.Helper()
	dir := t.TempDir()
	for name, data := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return store.Folder(dir)
}

func jsonl(t *testing.T) relabeltest.Source {
	return relabeltest.Source{
		Format: lines.JSONL{}, Path: "data/list.jsonl", Records: 5, Failing: []int{2, 3},
		Columns: relabel.Columns{Metadata: []string{"big", "f", "prompt", "absent"}}, Metadata: map[string]any{"big": 12345678901234567890.0, "f": 1.1, "prompt": "p"},
		Store: write(t, map[string]string{
			"data/images/1.png": "one", "data/2.png": "two",
			"data/list.jsonl": `{"image":"images/1.png","prompt":"p", "big":12345678901234567890, "f":1.10}
			{ "image" : "2.png", "caption": "<ü>" }

{"image":null,"prompt":"p"}
{"image":"2.png","prompt":7}
{"file_name":"images/../2.png","text":"p"}`,
		}),
	}
}

func table(t *testing.T) relabeltest.Source {
	return relabeltest.Source{
		Format: lines.CSV{}, Path: "list.csv", Records: 3, Failing: []int{1},
		Columns: relabel.Columns{Metadata: []string{"id"}}, Metadata: map[string]any{"id": "1"},
		Store: write(t, map[string]string{"1.png": "one", "list.csv": "id,image,caption\n1,1.png,\"a, \"\"b\"\"\nc\"\n2,,x\n3,1.png,y\n"}),
	}
}

func folder(t *testing.T) relabeltest.Source {
	return relabeltest.Source{
		Format: lines.Folder{}, Path: "data", Records: 3, Failing: []int{1},
		Store: write(t, map[string]string{
			"data/1.png": "one", "data/1.txt": " prompt\n", "data/2.JPG": "two", "data/sub/3.webp": "three", "data/sub/3.txt": "p", "other/1.png": "no",
		}),
	}
}

// withoutMaps labels with what lines hold themselves.
func withoutMaps() relabel.Labels {
	labels := relabeltest.Labels("x_")
	labels.Maps = nil
	return labels
}

func TestFormats(t *testing.T) {
	for name, s := range map[string]relabeltest.Source{"jsonl": jsonl(t), "csv": table(t), "folder": folder(t)} {
		t.Run(name, func(t *testing.T) {
			relabeltest.Run(t, s)
		})
	}
}

// Label's second map is missing in every third record, and every fifth failed.
func TestMapsLieBesideAndTheRowsNameThem(t *testing.T) {
	for name, s := range map[string]relabeltest.Source{"list.jsonl": jsonl(t), "list.csv": table(t), "metadata.jsonl": folder(t)} {
		t.Run(name, func(t *testing.T) {
			s.Beside = map[string][]byte{}
			records, out := relabeltest.Read(t, s, relabeltest.Labels("x_"))
			for i := range records {
				want := relabeltest.Label(i)
				for k, m := range []string{"dense", "artifact"} {
					file := fmt.Sprintf("%s.maps/%08d.x_%s.npy", name, i, m)
					there := !want.Failed() && want.Maps[k].Height > 0
					if got := bytes.Contains(out, []byte(file)); got != there {
						t.Errorf("record %d: the output names %s: %v", i, file, got)
					}
					if data, got := s.Beside[file]; got != there || there && !bytes.HasSuffix(data, want.Maps[k].Data) {
						t.Errorf("record %d: %s has %q, %v; want %+v", i, file, data, got, want)
					}
				}
			}
		})
	}
}

// Spreadsheets and some editors begin files with a mark, end lines with CRLF, and
// leave out the last.
func TestLinesComeFromEveryEditor(t *testing.T) {
	for name, s := range map[string]relabeltest.Source{
		"jsonl": {Format: lines.JSONL{}, Path: "list", Records: 3, Failing: []int{2}, Store: write(t, map[string]string{
			"ü 1.png": "one", "list": "\ufeff{\"image\":\"ü 1.png\",\"caption\":\"a\"}\r\n\r\n \t\r\n{\"image\":\"ü 1.png\",\"caption\":\"b\"}\n{\"image\":\"ü 1.png\",\"caption\":\"\xff\"}"})},
		"csv": {Format: lines.CSV{}, Path: "list", Records: 3, Failing: []int{2}, Store: write(t, map[string]string{
			"ü 1.png": "one", "list": "\ufeffimage,caption\r\nü 1.png,\"a \"\"b\"\",\r\nc\"\r\nü 1.png,b\r\nü 1.png,"})},
	} {
		t.Run(name, func(t *testing.T) { relabeltest.Run(t, s) })
	}
}

func TestJSONLKeepsTheSpellingOfTheSource(t *testing.T) {
	_, out := relabeltest.Read(t, jsonl(t), withoutMaps())
	got := strings.Split(strings.TrimSpace(string(out)), "\n")
	for i, begin := range []string{
		`{"image":"images/1.png","prompt":"p", "big":12345678901234567890, "f":1.10,"x_reward":0,`,
		`{ "image" : "2.png", "caption": "<ü>","x_reward":0.14285714285714285,`,
	} {
		if !strings.HasPrefix(got[i], begin) {
			t.Errorf("line %d is %s, want it to begin with %s", i, got[i], begin)
		}
	}
	if want := `,"x_reward":null,"x_alignment":null,"x_quality":null,"x_missing":[],"x_text":null,"x_boxes":[],"x_error_code":"image_corrupt","x_error_message":"image 4 \"cannot\" be decoded,\nnot at all"}`; !strings.HasSuffix(got[4], want) {
		t.Errorf("a failed record is %s, want it to end with %s", got[4], want)
	}
	for _, line := range got {
		if !json.Valid([]byte(line)) {
			t.Errorf("not JSON: %s", line)
		}
	}
}

func TestCSVHasTheLabelsInMoreColumns(t *testing.T) {
	_, out := relabeltest.Read(t, table(t), withoutMaps())
	rows, err := csv.NewReader(bytes.NewReader(out)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	want := [][]string{
		{"id", "image", "caption", "x_reward", "x_alignment", "x_quality", "x_missing", "x_text", "x_boxes", "x_error_code", "x_error_message"},
		{"1", "1.png", "a, \"b\"\nc", "0", "0", "-1e-300", "[]", "text 0, \"ü\"\n", "[]", "", ""},
	}
	for i := range want {
		if strings.Join(rows[i], "|") != strings.Join(want[i], "|") {
			t.Errorf("row %d is %q, want %q", i, rows[i], want[i])
		}
	}
	if boxes := rows[3][8]; boxes != `[{"box":[1,2,3.5,0],"label":"artifact","importance":50},{"box":[1,2,3.5,1],"label":"artifact","importance":50}]` {
		t.Errorf("boxes %s", boxes)
	}
}

func TestFoldersBecomeMetadata(t *testing.T) {
	_, out := relabeltest.Read(t, folder(t), relabel.Labels{})
	want := `{"file_name":"1.png","prompt":"prompt","reward":0,"missing":[],"error_code":null,"error_message":null}`
	if first, _, _ := strings.Cut(string(out), "\n"); first != want {
		t.Errorf("the first line is %s, want %s", first, want)
	}
}

func TestAnImageThatIsGoneFailsAlone(t *testing.T) {
	s := jsonl(t)
	if err := os.Remove(filepath.Join(string(s.Store.(store.Folder)), "data/2.png")); err != nil {
		t.Fatal(err)
	}
	records, _ := relabeltest.Read(t, s, relabel.Labels{})
	if _, err := records[0].Load(); err != nil {
		t.Error(err)
	}
	if _, err := records[1].Load(); err == nil || !strings.Contains(err.Error(), "2.png") {
		t.Errorf("error %v, want one that names the image", err)
	}
}

func TestALineThatCannotBeReadFailsAlone(t *testing.T) {
	for _, c := range []struct {
		name, data, out string
		format          relabel.Format
		failed          int
		want            string // of its error
	}{
		{"nonsense", "{\"image\":\"a\",\"prompt\":\"p\"}\nnonsense\n{\"image\":\"b\",\"prompt\":\"p\"}\n", `{"reward":0.14`, lines.JSONL{}, 1, "line 2 is no JSON object"},
		{"NaN, as Python writes it", "{\"image\":\"a\",\"v\":NaN}\n{\"image\":\"b\",\"prompt\":\"p\"}\n", `{"reward":0,`, lines.JSONL{}, 0, "line 1 is no JSON object"},
		{"another value", "[1]\n{\"image\":\"b\",\"prompt\":\"p\"}\n", `{"reward":0,`, lines.JSONL{}, 0, "line 1 is no JSON object"},
		{"a cell too few", "image,prompt\na\nb,p\n", "a,,0,", lines.CSV{}, 0, "wrong number of fields; the first line names 2 columns"},
		{"a cell too many", "image,prompt\na,p,q\nb,p\n", "a,p,0,", lines.CSV{}, 0, "record on line 2"},
		{"a quote within a cell", "image,prompt\na,5\" nail\nb,p\n", "a,,0,", lines.CSV{}, 0, "bare"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := relabeltest.Source{Format: c.format, Store: write(t, map[string]string{"list": c.data}), Path: "list"}
			records, out := relabeltest.Read(t, s, relabel.Labels{})
			for i, r := range records {
				if (r.Err != nil) != (i == c.failed) {
					t.Errorf("%s: error %v", r.Name, r.Err)
				}
			}
			if err := records[c.failed].Err; !errors.Is(err, reward.ErrInvalidValue) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %s", err, c.want)
			}
			header := strings.Count(c.data, "\n") - len(records)
			if got := strings.Split(string(out), "\n")[header+c.failed]; !strings.HasPrefix(got, c.out) {
				t.Errorf("its row is %s, want it to begin with %s", got, c.out)
			}
		})
	}
}

func TestUnusableShardsAreErrors(t *testing.T) {
	for _, c := range []struct {
		name   string
		format relabel.Format
		data   string
		labels relabel.Labels
		want   string
	}{
		{"a JSONL that was cut short", lines.JSONL{}, "{\"image\":\"a\"}\n{\"image\":", relabel.Labels{}, "line 2, the last, was cut short"},
		{"a member of the label's name", lines.JSONL{}, `{"reward":1}`, relabel.Labels{}, `already has a column "reward"`},
		{"an empty CSV", lines.CSV{}, "", relabel.Labels{}, "names the columns"},
		{"a CSV without prompts", lines.CSV{}, "image,id\n", relabel.Labels{}, `none of ["prompt" "caption" "text"] is among the columns ["image" "id"]`},
		{"a CSV whose last quote is not closed", lines.CSV{}, "image,prompt\na,\"b\nc,d\n", relabel.Labels{}, "extraneous or missing"},
		{"a CSV column of the label's name", lines.CSV{}, "image,prompt,missing\n", relabel.Labels{}, `already has a column "missing"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := process(write(t, map[string]string{"list": c.data}), c.format, c.labels)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %s", err, c.want)
			}
		})
	}
}

func process(s store.Folder, format relabel.Format, labels relabel.Labels) error {
	r, err := format.Open(context.Background(), s, "list", relabel.Columns{})
	if err != nil {
		return err
	}
	defer r.Close() //nolint:errcheck // it was only read
	w, err := r.Writer(io.Discard, nil, labels)
	if err != nil {
		return err
	}
	for {
		record, err := r.Next()
		if errors.Is(err, io.EOF) {
			return w.Close()
		}
		if err != nil {
			return err
		}
		if err := w.Write(record, &relabel.Label{}); err != nil {
			return err
		}
	}
}
