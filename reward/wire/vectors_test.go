package wire_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math"
	"os"
	"reflect"
	"testing"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/wire"
)

// vector is one entry of testdata/vectors.json, which vectors.py makes and
// both clients' tests read.
type vector struct {
	Kind, Name, Hex, Code string
}

func (v *vector) bytes(t *testing.T) []byte {
	b, err := hex.DecodeString(v.Hex)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// vectors gives those of a kind by name, and fails if there are not as many
// as the caller knows the meaning of.
func vectors(t *testing.T, kind string, known int) map[string]*vector {
	text, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var page struct{ Vectors []*vector }
	if err := json.Unmarshal(text, &page); err != nil {
		t.Fatal(err)
	}
	found := map[string]*vector{}
	for _, v := range page.Vectors {
		if v.Kind == kind {
			found[v.Name] = v
		}
	}
	if len(found) != known {
		t.Fatalf("%d vectors of kind %s, the test knows %d", len(found), kind, known)
	}
	return found
}

func vectorRequests(t *testing.T) map[string]*wire.Request {
	file := wire.Image{Encoded: vectorFile(t)}
	raw := make([]uint8, 12)
	for i := range raw {
		raw[i] = uint8(i)
	}
	tensor := wire.Image{Tensor: reward.Uint8Tensor(raw, 2, 2, 3)}
	floats := make([]float32, 24)
	for i := range floats {
		floats[i] = float32(float64(i) * (1.0 / 23))
	}
	batch, err := wire.SplitImages(reward.Float32Tensor(floats, 2, 3, 2, 2))
	if err != nil {
		t.Fatal(err)
	}
	latents := make([]byte, 32)
	for i := range latents {
		latents[i] = byte(i)
	}
	return map[string]*wire.Request{
		"a file":   {Prompts: []string{"a cat"}, Images: []wire.Image{file}},
		"a tensor": {Prompts: []string{"a cat"}, Images: []wire.Image{tensor}},
		"a batch":  {Prompts: []string{"a cat", "a dog"}, Images: batch},
		"every option": {
			Prompts: []string{"a cat", "größe"}, Images: []wire.Image{file, tensor}, Mode: reward.ModeThink,
			Grid: reward.GridSpec{Height: 64, Width: 32}, Groups: reward.Groups{Names: []string{"g", "h"}},
			Advantage: &reward.Advantage{Method: reward.AdvantageBoxFlow, GlobalStd: true, Floor: ptr(0.25),
				Penalty: &reward.Penalty{Artifact: 1, Misalignment: 0.5}},
			Weights:   &reward.Weights{Scores: map[string]float64{"semantic_alignment": 0.5, "aesthetics": 0, "plausibility": 0, "overall": 0.5}, Maps: map[string]float64{"misalignment": 0.25, "artifact": 0.75}},
			Return:    []wire.Return{wire.ReturnDense, wire.ReturnHeatmaps, wire.ReturnText, wire.ReturnBoxes},
			Evaluator: "imagedoctor",
		},
		"latents": {
			Prompts: []string{"a cat", "a dog"}, VAE: "sd3",
			Latents: &reward.Tensor{Type: reward.BFloat16, Shape: []int{2, 4, 1, 2}, Data: latents},
			Return:  []wire.Return{wire.ReturnDense, wire.ReturnImages},
		},
		"a group across requests": {
			Prompts: []string{"a cat"}, Images: []wire.Image{file},
			Groups:    reward.Groups{Step: "12", Size: 24, Members: []int{3}},
			Advantage: &reward.Advantage{Method: reward.AdvantageFlowGRPO},
		},
		"the steps of a sample": {
			Prompts: []string{"a cat", "a cat", "a cat"}, Images: []wire.Image{file, file, file},
			Advantage: &reward.Advantage{Method: reward.AdvantageDenseGRPO, Steps: 2},
		},
		"several scores": {
			Prompts: []string{"a cat", "a cat"}, Images: []wire.Image{file, file},
			Advantage: &reward.Advantage{Method: reward.AdvantageGDPO},
		},
	}
}

func vectorFile(t *testing.T) []byte {
	q, err := wire.DecodeRequest(vectors(t, "request", 8)["a file"].bytes(t), wire.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	return q.Images[0].Encoded
}

func TestRequestVectors(t *testing.T) {
	want := vectorRequests(t)
	for name, v := range vectors(t, "request", len(want)) {
		got, err := wire.DecodeRequest(v.bytes(t), wire.DefaultLimits())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !reflect.DeepEqual(got, want[name]) {
			t.Errorf("%s: got %+v\nwant %+v", name, got, want[name])
		}
		if name == "a batch" {
			continue // two encodings mean the same
		}
		m, err := want[name].Encode(wire.DefaultLimits())
		if err != nil || !bytes.Equal(m.Bytes(), v.bytes(t)) {
			t.Errorf("%s: encodes as %x (%v)\nwant %s", name, m.Bytes(), err, v.Hex)
		}
	}
}

func TestRefusedVectors(t *testing.T) {
	for name, v := range vectors(t, "refused", 6) {
		_, err := wire.DecodeRequest(v.bytes(t), wire.DefaultLimits())
		var e *reward.Error
		if !errors.As(err, &e) || e.Code() != v.Code {
			t.Errorf("%s: got %v, want %s", name, err, v.Code)
		}
	}
}

func TestResponseVectors(t *testing.T) {
	want := vectorResponses(t)
	for name, v := range vectors(t, "response", len(want)) {
		if got := want[name].Encode().Bytes(); !bytes.Equal(got, v.bytes(t)) {
			t.Errorf("%s: encodes as %x\nwant %s", name, got, v.Hex)
		}
		p, err := wire.DecodeResponse(v.bytes(t))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if !bytes.Equal(p.Encode().Bytes(), v.bytes(t)) {
			t.Errorf("%s: changes when it is decoded", name)
		}
	}
	overloaded := vectors(t, "error", 1)["overloaded"]
	if got := wire.EncodeError(reward.ErrOverloaded); !bytes.Equal(got, overloaded.bytes(t)) {
		t.Errorf("error: encodes as %x\nwant %s", got, overloaded.Hex)
	}
}

// scoreNames are those of the vectors.
func scoreNames() []string {
	return []string{"semantic_alignment", "aesthetics", "plausibility", "overall"}
}

func vectorResponses(t *testing.T) map[string]*wire.Response {
	base := func(n int) *wire.Response {
		p := &wire.Response{
			Rewards: make([]float64, n), Missing: make([][]string, n),
			Errors: make([]*reward.Error, n), Cached: make([]bool, n),
			Evaluator: "imagedoctor", Model: "0123abcd",
			TimingMS: map[string]float64{"evaluate": 10, "total": 12.5},
		}
		for i := range n {
			p.Rewards[i] = 0.53125
			for s, name := range scoreNames() {
				if i == 0 {
					p.Scores = append(p.Scores, wire.NamedScores{Name: name})
				}
				p.Scores[s].Values = append(p.Scores[s].Values, 0.5+float64(s)/8)
			}
		}
		return p
	}
	maps := func(values ...float32) *reward.Tensor {
		return reward.Float32Tensor(values, len(values)/2, 1, 2)
	}
	scores, dense, failed, all := base(1), base(2), base(2), base(1)
	scores.Missing[0] = []string{"overall"}
	all.Resize = "area"
	dense.Dense = &wire.DenseMaps{Height: 1, Width: 2, Weight: maps(1, 0.5, 0.25, 0), Reward: maps(0.5, 0.25, 0.125, 0)}
	dense.Advantages = reward.Float64Tensor([]float64{1, -1}, 2)
	nan := math.Float64frombits(0x7ff8 << 48) // numpy's; Go's has another payload
	failed.Rewards[1] = nan
	for s := range failed.Scores {
		failed.Scores[s].Values = []float64{0.5, nan}
	}
	failed.Errors[1] = reward.ErrImageCorrupt.With("corrupt image")
	all.Cached[0] = true
	all.Heatmaps = []wire.NamedMaps{{Name: "misalignment", Maps: maps(0, 1)}, {Name: "artifact", Maps: maps(1, 0)}}
	all.Texts = []string{"fine"}
	all.Boxes = [][]reward.Box{{{Coords: [4]float64{0, 10, 500, 1000}, Label: "artifact", Importance: 80}}}
	all.Images = [][]byte{vectorFile(t)}
	return map[string]*wire.Response{
		"scores": scores, "dense maps": dense, "a failed image": failed, "everything": all,
	}
}
