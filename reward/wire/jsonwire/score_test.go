package jsonwire_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"math"
	"net/http"
	"strings"
	"testing"

	"github.com/denseflow/densereward/client"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/rewardtest"
	"github.com/denseflow/densereward/reward/server"
	"github.com/denseflow/densereward/reward/server/servertest"
	"github.com/denseflow/densereward/reward/wire"
)

// serve starts a server of the fake evaluator and gives its address.
func serve(t *testing.T) string {
	t.Helper()
	return servertest.Listen(t, server.Config{}, &rewardtest.Fake{})
}

func post(t *testing.T, address, contentType, accept string, body []byte) (*http.Response, []byte) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address+wire.ScorePath, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if accept != "" {
		r.Header.Set("Accept", accept)
	}
	return servertest.Do(t, r, contentType)
}

// answer is a response as a caller without this module's code reads it.
type answer struct {
	Rewards []*float64
	Scores  map[string][]*float64
	Missing [][]string
	Errors  []*struct{ Code, Message string }
	Cached  []bool
	Dense   struct {
		Grid           []int
		Weight, Reward json.RawMessage
	}
	Advantages    json.RawMessage
	Heatmaps      map[string]json.RawMessage
	Evaluator     string
	Code, Message string
}

func read(t *testing.T, text []byte) answer {
	t.Helper()
	var a answer
	if err := json.Unmarshal(text, &a); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return a
}

// ask is a request for three images, the second of which is no image.
func ask(options string) (string, *wire.Request) {
	q := &wire.Request{Return: []wire.Return{wire.ReturnDense, wire.ReturnHeatmaps}, Advantage: &reward.Advantage{Method: reward.AdvantageDenseFlow}}
	var files, prompts []string
	for i := range 3 {
		file := rewardtest.PNG(rewardtest.Image(uint64(i), 48, 32))
		if i == 1 {
			file = []byte("no image")
		}
		q.Prompts, q.Images = append(q.Prompts, "a cat"), append(q.Images, wire.Image{Encoded: file})
		files, prompts = append(files, fmt.Sprintf("%q", base64.StdEncoding.EncodeToString(file))), append(prompts, `"a cat"`)
	}
	return fmt.Sprintf(`{"prompts": [%s], "images": [%s], "return": ["dense", "heatmaps"], "advantage": {"method": "denseflow"}%s}`,
		strings.Join(prompts, ", "), strings.Join(files, ", "), options), q
}

func TestAJSONAnswerIsTheMsgpackAnswer(t *testing.T) {
	address := serve(t)
	text, q := ask("")
	c, err := client.New(address, client.WithTries(1))
	if err != nil {
		t.Fatal(err)
	}
	want, err := c.Score(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	h, body := post(t, address, "application/json; charset=utf-8", "", []byte(text))
	got := read(t, body)
	if h.StatusCode != http.StatusOK || h.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("status %d, %s: %s", h.StatusCode, h.Header.Get("Content-Type"), body)
	}
	same := func(name string, got []*float64, want []float64) {
		for i, v := range want {
			if math.IsNaN(v) != (got[i] == nil) || (got[i] != nil && *got[i] != v) {
				t.Errorf("%s[%d] is %v, want %v", name, i, got[i], v)
			}
		}
	}
	same("rewards", got.Rewards, want.Rewards)
	for _, s := range want.Scores {
		same(s.Name, got.Scores[s.Name], s.Values)
	}
	if got.Errors[0] != nil || got.Errors[1].Code != want.Errors[1].Code() || got.Rewards[1] != nil {
		t.Errorf("errors %v, want that of the second", got.Errors)
	}
	for name, of := range map[string]struct {
		got  json.RawMessage
		want *reward.Tensor
	}{
		"dense.weight": {got.Dense.Weight, want.Dense.Weight}, "dense.reward": {got.Dense.Reward, want.Dense.Reward},
		"advantages": {got.Advantages, want.Advantages}, "artifact": {got.Heatmaps["artifact"], want.Heatmap("artifact")},
	} {
		var sent struct {
			DType string
			Shape []int
			Data  []byte
		}
		if err := json.Unmarshal(of.got, &sent); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if sent.DType != "<f4" || fmt.Sprint(sent.Shape) != fmt.Sprint(of.want.Shape) || !bytes.Equal(sent.Data, of.want.Data) {
			t.Errorf("%s is %s %v, want the tensor of msgpack, %v", name, sent.DType, sent.Shape, of.want.Shape)
		}
	}
}

func TestMapsComeAsArraysAndFiles(t *testing.T) {
	address := serve(t)
	text, _ := ask(`, "map_format": "array"`)
	_, body := post(t, address, "application/json", "", []byte(text))
	arrays := read(t, body)
	var weight [][][]*float64
	if err := json.Unmarshal(arrays.Dense.Weight, &weight); err != nil {
		t.Fatal(err)
	}
	if len(weight) != 3 || len(weight[0]) != 4 || len(weight[0][0]) != 6 || weight[1][0][0] != nil {
		t.Errorf("weight is %s", arrays.Dense.Weight)
	}
	text, _ = ask(`, "map_format": "png"`)
	_, body = post(t, address, "application/json", "", []byte(text))
	files := read(t, body)
	var encoded []*[]byte
	if err := json.Unmarshal(files.Dense.Weight, &encoded); err != nil {
		t.Fatal(err)
	}
	if encoded[1] != nil {
		t.Error("the failed sample has a map")
	}
	picture, err := png.Decode(bytes.NewReader(*encoded[2]))
	if err != nil {
		t.Fatal(err)
	}
	grey, ok := picture.(*image.Gray16)
	if !ok || grey.Bounds().Dx() != 6 || grey.Bounds().Dy() != 4 {
		t.Fatalf("a map as file is %T of %v", picture, picture.Bounds())
	}
	for y := range 4 {
		for x := range 6 {
			if got := float64(grey.Gray16At(x, y).Y) / 65535; math.Abs(got-*weight[2][y][x]) > 0.5/65535+1e-12 {
				t.Errorf("(%d,%d) is %v, want %v", x, y, got, *weight[2][y][x])
			}
		}
	}
}

func TestAcceptDecidesTheAnswer(t *testing.T) {
	address := serve(t)
	text, q := ask("")
	m, err := q.Encode(wire.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	const asJSON, asMsgpack = "application/json", wire.MediaType
	for _, tt := range []struct{ sent, accept, want string }{
		{asJSON, "", asJSON},
		{asJSON, "*/*", asJSON},
		{asJSON, asMsgpack, asMsgpack},
		{asMsgpack, "", asMsgpack},
		{asMsgpack, "*/*", asMsgpack},
		{asMsgpack, asJSON, asJSON},
		{asMsgpack, "application/json;q=0.5, application/msgpack", asMsgpack},
		{asMsgpack, "text/html, application/json, application/msgpack", asJSON},
		{asJSON, "application/json;q=0", asJSON},
	} {
		body := []byte(text)
		if tt.sent == asMsgpack {
			body = m.Bytes()
		}
		for name, body := range map[string][]byte{"an answer": body, "an error": body[:9]} {
			h, got := post(t, address, tt.sent, tt.accept, body)
			if kind := h.Header.Get("Content-Type"); kind != tt.want || json.Valid(got) != (tt.want == asJSON) {
				t.Errorf("%s to %s with Accept %q is %s", name, tt.sent, tt.accept, kind)
			}
		}
	}
}

func TestAnErrorOfTheWholeRequestIsJSON(t *testing.T) {
	h, body := post(t, serve(t), "application/json", "", []byte(`{"prompts": ["a"], "images": ["aGk="], "evaluator": "nobody"}`))
	if got := read(t, body); h.StatusCode != http.StatusNotFound || got.Code != "unknown_evaluator" || got.Message == "" {
		t.Errorf("status %d: %s", h.StatusCode, body)
	}
	h, body = post(t, serve(t), "text/plain", "", []byte(`{}`))
	if h.StatusCode != http.StatusUnsupportedMediaType {
		t.Errorf("status %d: %s", h.StatusCode, body)
	}
}
