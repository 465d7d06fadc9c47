package server_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"image"
	"image/png"
	"io"
	"math"
	"net/http"
	"os"
	"testing"

	"github.com/denseflow/densereward/internal/numtest"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/rewardtest"
	"github.com/denseflow/densereward/reward/server"
	"github.com/denseflow/densereward/reward/server/servertest"
	"github.com/denseflow/densereward/reward/wire"
)

// rftCase is one of package rft's, which the public code computed.
type rftCase struct {
	Completion            string             `json:"completion"`
	Solution              string             `json:"solution"`
	MisalignmentTruth     int                `json:"misalignment_truth"`
	ArtifactTruth         int                `json:"artifact_truth"`
	MisalignmentPredicted int                `json:"misalignment_predicted"`
	ArtifactPredicted     int                `json:"artifact_predicted"`
	Rewards               map[string]float64 `json:"rewards"`
}

const rftSide = 288

func rftCases(t *testing.T) (cases []rftCase, levels []uint8) {
	t.Helper()
	packed, err := os.Open("../rft/testdata/cases.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer packed.Close() //nolint:errcheck // it was only read
	z, err := gzip.NewReader(packed)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.NewDecoder(z).Decode(&cases); err != nil {
		t.Fatal(err)
	}
	maps, err := os.ReadFile("../rft/testdata/maps.png")
	if err != nil {
		t.Fatal(err)
	}
	decoded, err := png.Decode(bytes.NewReader(maps))
	if err != nil {
		t.Fatal(err)
	}
	return cases, decoded.(*image.Gray).Pix
}

// rftRequest asks for the first n cases, their heatmaps as uint8.
func rftRequest(cases []rftCase, levels []uint8, n int) *wire.RFTRequest {
	const cells = rftSide * rftSide
	stack := func(of func(rftCase) int) *reward.Tensor {
		var data []uint8
		for _, c := range cases[:n] {
			data = append(data, levels[of(c)*cells:(of(c)+1)*cells]...)
		}
		return reward.Uint8Tensor(data, n, rftSide, rftSide)
	}
	q := &wire.RFTRequest{
		Misalignment:          stack(func(c rftCase) int { return c.MisalignmentTruth }),
		Artifact:              stack(func(c rftCase) int { return c.ArtifactTruth }),
		PredictedMisalignment: stack(func(c rftCase) int { return c.MisalignmentPredicted }),
		PredictedArtifact:     stack(func(c rftCase) int { return c.ArtifactPredicted }),
	}
	for i, c := range cases[:n] {
		q.Completions, q.Solutions = append(q.Completions, c.Completion), append(q.Solutions, c.Solution)
		q.Groups = append(q.Groups, string(rune('a'+i/8)))
	}
	return q
}

// rftServer serves, whatever its evaluator is.
func rftServer(t *testing.T) string {
	t.Helper()
	return servertest.Listen(t, server.Config{}, &rewardtest.Fake{})
}

// postRFT posts a body and returns the answer's status and body.
func postRFT(t *testing.T, address, kind string, body []byte) (int, []byte) {
	t.Helper()
	answer, err := http.Post(address+wire.RFTPath, kind, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close() //nolint:errcheck // it was only read
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, text
}

func TestRewardsOfCompletionsAreThoseOfThePublicCode(t *testing.T) {
	cases, levels := rftCases(t)
	n := len(cases)
	m, err := rftRequest(cases, levels, n).Encode(wire.Limits{Samples: n, NameBytes: 10, MapCells: 1 << 24})
	if err != nil {
		t.Fatal(err)
	}
	status, body := postRFT(t, rftServer(t), wire.MediaType, m.Bytes())
	if status != http.StatusOK {
		t.Fatalf("status %d: %s", status, body)
	}
	p, err := wire.DecodeRFTResponse(body)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Rewards) != 12 || len(p.Sums) != n || len(p.Advantages) != n || len(p.Format) != n {
		t.Fatalf("%d rewards of %d completions", len(p.Rewards), len(p.Sums))
	}
	for i, c := range cases {
		var sum float64
		for _, r := range p.Rewards {
			numtest.Value(t, r.Name, r.Values[i], c.Rewards[r.Name], numtest.Tolerance{Abs: 1e-6})
			sum += r.Values[i]
		}
		numtest.Value(t, "sum", p.Sums[i], sum, numtest.Tolerance{Abs: 1e-12})
	}
	var mean float64
	for _, a := range p.Advantages[:8] {
		mean += a / 8
	}
	numtest.Value(t, "mean advantage of a group", mean, 0, numtest.Tolerance{Abs: 1e-12})
}

func TestATruthCanBeSharedAndPredictionsLeftOut(t *testing.T) {
	q := &wire.RFTRequest{
		Completions:  []string{"<answer>Aesthetic score: 0.5;</answer>", "none"},
		Scores:       reward.Float64Tensor([]float64{0, 0.5, 0, 0}, 1, 4),
		Misalignment: reward.Float32Tensor(make([]float32, 4), 1, 2, 2),
		Artifact:     reward.Float32Tensor([]float32{1, 0, 0, 0, 0, 0, 0, 0}, 2, 2, 2),
	}
	m, err := q.Encode(wire.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	status, body := postRFT(t, rftServer(t), wire.MediaType, m.Bytes())
	if status != http.StatusOK {
		t.Fatalf("status %d: %s", status, body)
	}
	p, err := wire.DecodeRFTResponse(body)
	if err != nil {
		t.Fatal(err)
	}
	// Heatmaps 0; four scores 1, or none without an answer; boxes: all three of an
	// empty truth 1, of the other 0.
	if p.Sums[0] != 0+4+3 || p.Sums[1] != 0+0+6 || p.Advantages[0] <= 0 {
		t.Errorf("sums %v, advantages %v", p.Sums, p.Advantages)
	}
}

// The same completions as JSON earn the same, to the last bit.
func TestCompletionsAndTheirRewardsTravelAsJSON(t *testing.T) {
	cases, levels := rftCases(t)
	q, address := rftRequest(cases, levels, 12), rftServer(t)
	q.Solutions, q.Scores = nil, reward.Float64Tensor([]float64{0.1, 0.25, 1, 0.7}, 1, 4)
	m, err := q.Encode(wire.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	_, body := postRFT(t, address, wire.MediaType, m.Bytes())
	want, err := wire.DecodeRFTResponse(body)
	if err != nil {
		t.Fatal(err)
	}
	tensor := func(m *reward.Tensor) any { return map[string]any{"dtype": m.Type, "shape": m.Shape, "data": m.Data} }
	text, err := json.Marshal(map[string]any{
		"completions": q.Completions, "groups": q.Groups, "scores": [][]float64{{0.1, 0.25, 1, 0.7}}, "solutions": nil,
		"truth":     map[string]any{"misalignment": tensor(q.Misalignment), "artifact": tensor(q.Artifact)},
		"predicted": map[string]any{"misalignment": tensor(q.PredictedMisalignment), "artifact": tensor(q.PredictedArtifact)},
	})
	if err != nil {
		t.Fatal(err)
	}
	status, body := postRFT(t, address, "application/json", text)
	var got struct {
		Rewards                  map[string][]float64
		Format, Sums, Advantages []float64
	}
	if err := json.Unmarshal(body, &got); err != nil || status != http.StatusOK {
		t.Fatalf("status %d, %v: %s", status, err, body)
	}
	if len(got.Rewards) != len(want.Rewards) {
		t.Errorf("%d rewards, want %d", len(got.Rewards), len(want.Rewards))
	}
	for _, r := range want.Rewards {
		numtest.Slice(t, r.Name, got.Rewards[r.Name], r.Values, numtest.Tolerance{})
	}
	numtest.Slice(t, "format", got.Format, want.Format, numtest.Tolerance{})
	numtest.Slice(t, "sums", got.Sums, want.Sums, numtest.Tolerance{})
	numtest.Slice(t, "advantages", got.Advantages, want.Advantages, numtest.Tolerance{})
}

func TestUnusableCompletionsAreRefused(t *testing.T) {
	cases, levels := rftCases(t)
	address := rftServer(t)
	whole := func(change func(q *wire.RFTRequest)) []byte {
		q := rftRequest(cases, levels, 2)
		m, err := q.Encode(wire.DefaultLimits())
		if err != nil {
			t.Fatal(err)
		}
		before := m.Bytes()
		if change == nil {
			return before
		}
		change(q)
		if _, err := q.Encode(wire.DefaultLimits()); err == nil {
			t.Fatal("a wrong request is encoded")
		}
		return before
	}
	whole(func(q *wire.RFTRequest) { q.Completions = nil })
	whole(func(q *wire.RFTRequest) { q.Solutions = q.Solutions[:1] })
	whole(func(q *wire.RFTRequest) { q.Solutions = nil })
	whole(func(q *wire.RFTRequest) { q.Scores = reward.Float64Tensor(make([]float64, 8), 2, 4) })
	whole(func(q *wire.RFTRequest) { q.Groups = q.Groups[:1] })
	whole(func(q *wire.RFTRequest) { q.Artifact = nil })
	whole(func(q *wire.RFTRequest) { q.Artifact = reward.Float64Tensor(make([]float64, 2), 2, 1, 1) })
	whole(func(q *wire.RFTRequest) { q.PredictedArtifact = reward.Float32Tensor(make([]float32, 1), 1, 1, 1) })
	nan := reward.Float32Tensor([]float32{0, float32(math.NaN()), 0, 0}, 2, 2, 1)
	q := &wire.RFTRequest{Completions: []string{"a", "b"}, Solutions: []string{"", ""}, Misalignment: nan, Artifact: nan}
	m, err := q.Encode(wire.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		kind   string
		body   []byte
		status int
		code   string
	}{
		"another media type": {"text/plain", whole(nil), http.StatusUnsupportedMediaType, "unsupported_media_type"},
		"cut short":          {wire.MediaType, whole(nil)[:1000], http.StatusBadRequest, "malformed_body"},
		"a NaN":              {wire.MediaType, m.Bytes(), http.StatusBadRequest, "not_finite"},
		"JSON cut short":     {"application/json", []byte(`{"completions": ["a"`), http.StatusBadRequest, "malformed_body"},
		"JSON's own key":     {"application/json", []byte(`{"completions": ["a"], "map_format": "png"}`), http.StatusBadRequest, "unknown_field"},
	} {
		status, body := postRFT(t, address, c.kind, c.body)
		if c.kind == "application/json" {
			var e struct{ Code string }
			if err := json.Unmarshal(body, &e); err != nil || status != c.status || e.Code != c.code {
				t.Errorf("%s: status %d, %s, %v", name, status, body, err)
			}
			continue
		}
		e, err := wire.DecodeError(body, status)
		if err != nil || status != c.status || e.Code() != c.code {
			t.Errorf("%s: status %d, %v, %v", name, status, e, err)
		}
	}
}
