package evaluators

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/engine/ort/orttest"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/rewardtest"
)

// optionsOf reads options as a table has them.
func optionsOf(t *testing.T, text string) (o Options) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		t.Fatal(err)
	}
	return o
}

// praise is a judge that gives everything five of five.
func praise(t *testing.T) *httptest.Server {
	chat := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var q map[string]any
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil || q["model"] != "ur2" {
			t.Errorf("asked %v, %v", q, err)
		}
		fmt.Fprint(w, `{"choices": [{"finish_reason": "stop", "message": {"content": "Alignment Score (1-5): 5\nCoherence Score (1-5): 5\nStyle Score (1-5): 5"}}]}`)
	}))
	t.Cleanup(chat.Close)
	return chat
}

// One server has ImageDoctor, text in images, a tiny CLIP and a remote judge in one
// mixture; the remote one's death costs its own component.
func TestAMixtureOfEveryKindOutlivesItsRemoteMember(t *testing.T) {
	chat := praise(t)
	clip, err := filepath.Abs("../../../engine/clip/testdata/quick")
	if err != nil {
		t.Fatal(err)
	}
	plan, err := Kinds().Plan([]Spec{
		{Name: "doctor", Kind: "imagedoctor", Options: optionsOf(t, `{"max-new-tokens": 100}`)},
		{Name: "ocr", Kind: "ocr", Options: optionsOf(t, `{"short-side": 64}`)},
		{Name: "pick", Kind: "pickscore", Source: clip},
		{Name: "ur2", Kind: "judge", Source: chat.URL + "/v1", Options: optionsOf(t, `{"model": "ur2", "file": "unifiedreward-2", "tries": 1}`)},
		{Name: "all", Kind: "mix", Source: "doctor=1, ocr=0.5,pick,ur2=2", Options: optionsOf(t, `{"optional": ["ur2"], "map-weights": {"doctor": 1, "ocr": 1}}`)},
	}, Defaults{Devices: []string{"cpu"}, Batch: 2}, 2)
	if err != nil {
		t.Fatal(err)
	}
	runtime := orttest.Open(t)
	set, err := Open(t.Context(), plan, func() (*ort.Runtime, error) { return runtime, nil }, here)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := set.Close(); err != nil {
			t.Error(err)
		}
	}()
	all := set.Hosted[4]
	score := func() reward.Result {
		t.Helper()
		results, err := all.Evaluators[0].Evaluate(t.Context(), []reward.Sample{
			{Image: rewardtest.Image(1, 64, 64), Prompt: `a sign that says "stop"`, Mode: reward.ModeAnswer},
		})
		if err != nil || results[0].Err != nil {
			t.Fatal(err, results[0].Err)
		}
		if err := all.Description.Check(&results[0]); err != nil {
			t.Fatal(err)
		}
		return results[0]
	}
	of := func(r reward.Result, name string) float64 { return r.Scores[all.Description.ScoreIndex(name)] }

	r := score()
	want := of(r, "doctor") + 0.5*of(r, "ocr") + of(r, "pick") + 2*of(r, "ur2")
	if got := of(r, "mixture"); of(r, "ur2") != 1 || got < want-1e-12 || got > want+1e-12 {
		t.Errorf("mixture %v of %v, want %v", got, r.Scores, want)
	}
	chat.Close()
	r = score()
	want = (of(r, "doctor") + 0.5*of(r, "ocr") + of(r, "pick")) * 4.5 / 2.5
	if got := of(r, "mixture"); !slices.Contains(r.Missing, "ur2") || got < want-1e-12 || got > want+1e-12 {
		t.Errorf("without the judge: mixture %v, missing %v, want %v", got, r.Missing, want)
	}
}

func TestOptionsOfRemoteKindsAndMixturesAreChecked(t *testing.T) {
	for name, c := range map[string]struct {
		spec Spec
		want string
	}{
		"a judge without model":         {Spec{Kind: "judge", Source: "http://a/v1", Options: Options{"file": []byte(`"yes-no"`)}}, "model and file"},
		"a judge file that is nowhere":  {Spec{Kind: "judge", Source: "http://a/v1", Options: Options{"file": []byte(`"x"`), "model": []byte(`"m"`)}}, "embedded are"},
		"a time that is none":           {Spec{Kind: "judge", Source: "http://a/v1", Options: Options{"file": []byte(`"yes-no"`), "model": []byte(`"m"`), "timeout": []byte(`"soon"`)}}, "timeout"},
		"a token that is not there":     {Spec{Kind: "remote", Source: "http://a", Options: Options{"token-env": []byte(`"DENSEREWARD_NO_SUCH_TOKEN"`)}}, "token-env"},
		"an image model without size":   {Spec{Kind: "kserve", Source: "http://a", Options: Options{"model": []byte(`"m"`)}}, "image.size"},
		"a mixture of nobody":           {Spec{Kind: "mix", Source: "nobody=1"}, "nobody"},
		"a mixture of itself":           {Spec{Name: "m", Kind: "mix", Source: "m=1"}, "no evaluator m"},
		"weights of nothing but 0":      {Spec{Name: "m", Kind: "mix", Source: "a=0"}, "all weights are 0"},
		"a weight of NaN":               {Spec{Name: "m", Kind: "mix", Source: "a=NaN"}, "not finite"},
		"an infinite weight":            {Spec{Name: "m", Kind: "mix", Source: "a=-Inf"}, "not finite"},
		"a weight that is no number":    {Spec{Kind: "mix", Source: "a=much"}, "NAME=WEIGHT"},
		"an optional that is no member": {Spec{Kind: "mix", Source: "a=1", Options: Options{"optional": []byte(`["b"]`)}}, "optional"},
		"a map of no member":            {Spec{Kind: "mix", Source: "a=1", Options: Options{"map-weights": []byte(`{"b": 1}`)}}, "map-weights"},
	} {
		kind, err := Kinds().find(c.spec.Kind)
		if err != nil {
			t.Fatal(err)
		}
		member := func(name string) (reward.Evaluator, error) {
			if name != "a" {
				return nil, errors.New("no evaluator " + name)
			}
			return &rewardtest.Fake{}, nil
		}
		if _, err := kind.Open(t.Context(), c.spec, Place{Member: member}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q in it", name, err, c.want)
		}
	}
}
