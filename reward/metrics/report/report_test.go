package report_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/denseflow/densereward/internal/numtest"
	"github.com/denseflow/densereward/reward/metrics"
	"github.com/denseflow/densereward/reward/metrics/report"
	"github.com/denseflow/densereward/reward/relabel/table"
)

// rows reads JSONL.
func rows(t *testing.T, lines ...string) []*table.Row {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rows.jsonl")
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	var all []*table.Row
	err := table.Read(context.Background(), []string{path}, os.Getenv, func(r *table.Row) error { all = append(all, r); return nil })
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func options() report.Options {
	return report.Options{Scores: []string{"reward"}, Level: 0.9, Rounds: 200, Seed: 3}
}

func add(t *testing.T, b *report.Builder, predicted, truth []*table.Row) {
	t.Helper()
	for i, row := range predicted {
		var other *table.Row
		if truth != nil {
			other = truth[i]
		}
		if err := b.Add(row, other); err != nil {
			t.Fatal(err)
		}
	}
}

func finish(t *testing.T, b, other *report.Builder, preferences ...[2]string) *report.Report {
	t.Helper()
	r, err := b.Finish(other, preferences)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestScoresAreAveragedByGroup(t *testing.T) {
	o := options()
	o.By = "kind"
	b := report.NewBuilder(o)
	add(t, b, rows(t, `{"id":1,"kind":"x","reward":1}`, `{"id":2,"kind":"y","reward":2}`, `{"id":3,"kind":"x","reward":4}`, `{"id":4,"reward":null,"error_code":"image_corrupt"}`), nil)
	r := finish(t, b, nil)
	if r.Rows != 4 || r.Failed != 1 || r.Unmatched != 0 {
		t.Errorf("%+v", r)
	}
	want, err := metrics.MeanInterval([]float64{1, 4}, 0.9)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Means) != 3 || r.Means[1].Group != "x" || r.Means[1].N != 2 || r.Means[1].Interval != want || r.Means[0].N != 3 {
		t.Errorf("means %+v", r.Means)
	}
}

func TestAgreementIsThatOfTheMetrics(t *testing.T) {
	o := options()
	o.Truth = []report.Pair{{Predicted: "reward", Truth: "human"}}
	o.Maps = []report.Pair{{Predicted: "map", Truth: "human_map"}}
	o.Boxes = &report.Pair{Predicted: "boxes", Truth: "human_boxes"}
	random := rand.New(rand.NewPCG(1, 2))
	var lines []string
	var x, y []float64
	for i := range 20 {
		a, b := random.Float64(), random.Float64()
		x, y = append(x, a), append(y, b)
		lines = append(lines, fmt.Sprintf(`{"id":%d,"reward":%v,"human":%v,"map":[[%v,1],[0,0]],"human_map":[[1,0],[0,%d]],"boxes":[{"box":[0,0,10,10],"label":"artifact"}],"human_boxes":[{"box_2d":[0,0,10,%d],"label":"artifact"}]}`,
			i, a, b, a, i%2, i+1))
	}
	lines = append(lines, `{"id":99,"reward":5,"human":null,"human_map":null,"human_boxes":null}`)
	b := report.NewBuilder(o)
	table := rows(t, lines...)
	add(t, b, table, table)
	r := finish(t, b, nil)
	want, err := metrics.Correlate(x, y)
	if err != nil {
		t.Fatal(err)
	}
	got := r.Agreement[0]
	if got.N != 20 || got.PLCC.Value != want.PLCC || got.SRCC.Value != want.SRCC || got.Kendall.Value != want.Kendall || !(got.PLCC.Low < got.PLCC.Value && got.PLCC.Value < got.PLCC.High) {
		t.Errorf("%+v, want %+v", got, want)
	}
	if h := r.Heatmaps[0]; h.MSE.N != 20 || h.MSEEmpty.N != 0 || len(h.Presence) != 3 || h.Presence[0].TruePositives != 20 || h.Presence[0].F1 != 1 {
		t.Errorf("%+v", h)
	}
	// Boxes of heights 5 to 20 overlap by half.
	if all := r.Boxes[0]; all.TruePositives != 16 || all.FalsePositives != 4 || all.Precision != 0.8 || r.Boxes[1].Label != "artifact" || r.Boxes[1].Rates != all.Rates {
		t.Errorf("%+v", r.Boxes)
	}
}

func TestATruthOfAnotherSizeIsPooled(t *testing.T) {
	o := options()
	o.Maps = []report.Pair{{Predicted: "map", Truth: "human"}}
	b := report.NewBuilder(o)
	table := rows(t, `{"id":1,"reward":1,"map":[[0.5,0.25]],"human":[[0,1,0.5,0],[1,0,0,0.5]]}`)
	add(t, b, table, table)
	numtest.Value(t, "MSE", finish(t, b, nil).Heatmaps[0].MSE.Value, 0, numtest.Tolerance{Abs: 1e-12})
}

func TestTwoModelsAreComparedByKey(t *testing.T) {
	mine, theirs := report.NewBuilder(options()), report.NewBuilder(options())
	add(t, mine, rows(t, `{"id":"a","reward":3}`, `{"id":"b","reward":5}`, `{"id":"c","reward":0}`), nil)
	add(t, theirs, rows(t, `{"id":"b","reward":5}`, `{"id":"a","reward":1}`, `{"id":"d","reward":9}`), nil)
	r := finish(t, mine, theirs)
	if c := r.Comparison[0]; c.N != 2 || c.Difference.Value != 1 || c.Won != 1 || c.Tied != 1 || c.Lost != 0 || c.WinRate.Value != 0.75 || r.Unmatched != 2 {
		t.Errorf("%+v, %d unmatched", c, r.Unmatched)
	}
	if _, err := mine.Finish(report.NewBuilder(options()), nil); err == nil {
		t.Error("two models without a common key are compared")
	}
}

// A key such as the prompt may belong to several images, one of which would stand
// for all.
func TestAKeyOfTwoRowsComparesNothing(t *testing.T) {
	mine, theirs := report.NewBuilder(options()), report.NewBuilder(options())
	add(t, mine, rows(t, `{"id":"a","reward":3}`, `{"id":"a","reward":5}`, `{"id":"b","reward":5}`), nil)
	add(t, theirs, rows(t, `{"id":"a","reward":3}`, `{"id":"b","reward":5}`), nil)
	for name, err := range map[string]error{
		"of this model":  second(mine.Finish(theirs, nil)),
		"of the other":   second(theirs.Finish(mine, nil)),
		"of preferences": second(mine.Finish(nil, [][2]string{{"a", "b"}})),
	} {
		if err == nil || !strings.Contains(err.Error(), "key of two rows") {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func second(_ *report.Report, err error) error { return err }

func TestPreferencesAreCounted(t *testing.T) {
	b := report.NewBuilder(options())
	add(t, b, rows(t, `{"id":"a","reward":3}`, `{"id":"b","reward":5}`, `{"id":"c","reward":5}`), nil)
	r := finish(t, b, nil, [2]string{"b", "a"}, [2]string{"a", "c"}, [2]string{"b", "c"}, [2]string{"c", "a"})
	if p := r.Preferences[0]; p.Won != 2 || p.Tied != 1 || p.Lost != 1 || p.Accuracy.Value != 0.625 {
		t.Errorf("%+v", p)
	}
	if _, err := b.Finish(nil, [][2]string{{"a", "z"}}); err == nil || !strings.Contains(err.Error(), `"z"`) {
		t.Errorf("error %v", err)
	}
}

func TestRowsThatCannotBeMeasuredAreNamed(t *testing.T) {
	o := options()
	o.Maps = []report.Pair{{Predicted: "map", Truth: "human"}}
	o.Boxes = &report.Pair{Predicted: "boxes", Truth: "boxes"}
	for line, want := range map[string]string{
		`{"id":1}`:                 `row 0 has no number "reward"`,
		`{"id":1,"reward":"high"}`: `row 0 has no number "reward"`,
		`{"id":1,"reward":1,"human":[[1],[1,2]]}`:   "row 1 is not as long as the first",
		`{"id":1,"reward":1,"human":"absent.npy"}`:  "absent.npy",
		`{"id":1,"reward":1,"human":true}`:          "a bool is no map",
		`{"id":1,"reward":1,"human":[[-1]]}`:        "negative",
		`{"id":1,"reward":1,"boxes":[{"box":[1]}]}`: "box 0 has no four numbers",
		`{"id":1,"reward":1,"boxes":"none"}`:        "a string is no list of boxes",
	} {
		row := rows(t, line)[0]
		if err := report.NewBuilder(o).Add(row, row); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one with %s", line, err, want)
		}
	}
}

func TestScoresOfAnySizeAreRendered(t *testing.T) {
	for _, values := range [][]string{{"1e308", "-1e308", "1e307", "5"}, {"0", "5e-324"}, {"-0.0", "0"}, {"3"}, {"1e8", "100000000.00000001"}} {
		b := report.NewBuilder(options())
		for _, v := range values {
			add(t, b, rows(t, `{"id":"`+v+`","reward":`+v+`}`), nil)
		}
		var page, text bytes.Buffer
		r := finish(t, b, nil)
		if err := errors.Join(r.HTML(&page), r.Markdown(&text)); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(text.String(), "NaN") || strings.Contains(text.String(), "Inf") {
			t.Errorf("%v: %s", values, text.String())
		}
	}
}

func TestReportsAreRendered(t *testing.T) {
	o := options()
	o.Examples, o.Draw = 2, func(r *table.Row) *report.Image {
		return &report.Image{
			File:  fmt.Append(nil, "PNG of ", r.Number),
			Maps:  []report.ImageMap{{Name: "</script><b>", Height: 1, Width: 2, Data: []byte{0, 255}}},
			Boxes: []report.ImageBox{{Box: [4]float64{0, 0, 500, 1000}, Label: "artifact"}},
		}
	}
	b := report.NewBuilder(o)
	add(t, b, rows(t, `{"id":1,"reward":1,"prompt":"<one> | two"}`, `{"id":2,"reward":3,"prompt":"b"}`, `{"id":3,"reward":2,"prompt":"c"}`), nil)
	r := finish(t, b, nil)
	var markdown, page bytes.Buffer
	if err := r.Markdown(&markdown); err != nil {
		t.Fatal(err)
	}
	if err := r.HTML(&page); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(markdown.String(), "| all | reward | 3 | 2.0000 [") {
		t.Errorf("Markdown:\n%s", markdown.String())
	}
	text := page.String()
	for _, want := range []string{
		html.EscapeString("<one> | two"), "best, 3: b", "best, 2: c", "worst, 1: ", "worst, 2: c",
		`src="data:image/png;base64,UE5HIG9mIDE="`, "reward, 1 to 3", "<rect ",
		`"height":1,"width":2,"data":"AP8="`, `"box":[0,0,500,1000],"label":"artifact"`, "export function paintHeat",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	if strings.Contains(text, "</script><b>") {
		t.Error("the name of a map is markup")
	}
	text = strings.ReplaceAll(text, "http://www.w3.org/2000/svg", "") // a name, not an address
	if strings.Contains(text, "http://") || strings.Contains(text, "https://") {
		t.Error("the page needs something from elsewhere")
	}
	if _, err := json.Marshal(r); err != nil {
		t.Error(err)
	}
}
