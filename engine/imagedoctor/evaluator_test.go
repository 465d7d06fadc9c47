package imagedoctor

import (
	"bytes"
	"context"
	"fmt"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/denseflow/densereward/engine/ort/orttest"
	"github.com/denseflow/densereward/engine/pixels"
	"github.com/denseflow/densereward/engine/tokenizer"
	"github.com/denseflow/densereward/reward"
)

var _ = png.Decode
var _ = bytes.NewReader

func loadNano(t testing.TB, o Options) *Evaluator {
	e, err := Load(orttest.Open(t), "nano", o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

func refSamples(t testing.TB) ([]refCase, []reward.Sample) {
	cs := readCases(t)
	var ss []reward.Sample
	for _, c := range cs {
		b, err := os.ReadFile(filepath.Join("testdata", "cases", c.Name+".png"))
		if err != nil {
			t.Fatal(err)
		}
		img, err := pixels.Decode(b, pixels.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		ss = append(ss, reward.Sample{Image: (*reward.Image)(img), Prompt: c.Prompt})
	}
	return cs, ss
}

func TestNanoBatch(t *testing.T) {
	for _, one := range []bool{true, false} {
		t.Run(fmt.Sprint(one), func(t *testing.T) { nanoBatch(t, one) })
	}
}

func nanoBatch(t *testing.T, one bool) {
	none := ""
	e := loadNano(t, Options{Prefix: &none, OneByOne: one})
	cs, ss := refSamples(t)
	all, err := e.Evaluate(context.Background(), ss)
	if err != nil {
		t.Fatal(err)
	}
	for i := range ss {
		one, err := e.Evaluate(context.Background(), ss[i:i+1])
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range []reward.Result{all[i], one[0]} {
			if r.Err != nil {
				t.Fatal(r.Err)
			}
			if !slices.Equal(r.Trace.InputIDs, cs[i].InputIDs) {
				t.Errorf("%d input ids differ %v %v", i, r.Trace.InputIDs[:20], cs[i].InputIDs[:20])
			}
			if !slices.Equal(r.Trace.GeneratedIDs, cs[i].GeneratedIDs) {
				t.Errorf("%d gen ids differ\n%q\n%q", i, r.Text, cs[i].Text)
			}
			if r.Text != cs[i].Text {
				t.Errorf("text %q %q", r.Text, cs[i].Text)
			}
			z := readNPZ(t, cs[i].Name+".npz")
			for k, m := range map[string]reward.Heatmap{"misalignment": r.Misalignment, "artifact": r.Artifact} {
				want, err := z[k].Float32s()
				if err != nil {
					t.Fatal(err)
				}
				var mx, sum float64
				for i := range want {
					d := math.Abs(float64(m.Data[i] - want[i]))
					mx = max(mx, d)
					sum += d
				}
				t.Logf("%s %s: max %g mean %g", cs[i].Name, k, mx, sum/float64(len(want)))
			}
		}
	}
}

func TestDraft(t *testing.T) {
	tk, err := tokenizer.Load("nano/tokenizer.json")
	if err != nil {
		t.Fatal(err)
	}
	d := newDraft(tk, 1536)
	w := places(tk)
	for i, p := range w {
		t.Logf("%d %q digit %d guesses %d next same %d", i, tk.Decode([]int32{p.id}, false), p.digit, d.lengths[i], d.next[i*d.width+int(d.classes[p.id])])
	}
	cs := readCases(t)
	for _, c := range cs {
		s, steps, at := int64(0), 0, 0
		ids := c.GeneratedIDs
		s = d.next[int(s)*d.width+int(d.classes[ids[0]])]
		for at = 1; at < len(ids); {
			n := 0
			for n < int(d.lengths[s]) && at+n < len(ids) && d.guesses[int(s)*d.longest+n] == int64(ids[at+n]) {
				n++
			}
			if at+n >= len(ids) {
				n--
			}
			s = d.next[(int(s)+n)*d.width+int(d.classes[ids[at+n]])]
			at += n + 1
			steps++
		}
		t.Log(c.Name, len(ids), "steps", steps, "longest", d.longest)
	}
}
