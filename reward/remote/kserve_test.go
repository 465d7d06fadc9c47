package remote

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/rewardtest"
)

// inference is a model of one image of 4x2 and its prompt.
func inference() Inference {
	return Inference{
		Model: "deqa", Image: Tensor{Name: "image", Width: 4, Height: 2}, Prompt: "text",
		Outputs: []Output{{Tensor: "quality", Score: "deqa", Factor: 0.2, Min: 0, Max: 1, Weight: 1}},
	}
}

// kserve answers with what answer makes of the request's JSON and tensors.
func kserve(t *testing.T, model Inference, answer func(q inferRequest, tensors []byte) string) *KServe {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		length, lengthErr := strconv.Atoi(r.Header.Get("Inference-Header-Content-Length"))
		if err != nil || lengthErr != nil || r.URL.Path != "/v2/models/deqa/infer" {
			t.Errorf("%s: %v, %v", r.URL.Path, err, lengthErr)
			return
		}
		var q inferRequest
		if err := json.Unmarshal(body[:length], &q); err != nil {
			t.Error(err)
		}
		fmt.Fprint(w, answer(q, body[length:]))
	}))
	t.Cleanup(server.Close)
	k, err := NewKServe(model, Options{URL: server.URL, Pause: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestAnImageModelConforms(t *testing.T) {
	rewardtest.Run(t, func() reward.Evaluator {
		return kserve(t, inference(), func(inferRequest, []byte) string {
			return `{"outputs": [{"name": "quality", "shape": [1], "datatype": "FP32", "data": [4]}]}`
		})
	})
}

func TestTensorsTravelInTheBinaryExtension(t *testing.T) {
	white := &reward.Image{Width: 4, Height: 2, Pix: make([]uint8, 24)}
	for i := range white.Pix {
		white.Pix[i] = []uint8{255, 128, 0}[i%3]
	}
	for _, floats := range []bool{false, true} {
		model := inference()
		model.Image.ChannelsFirst, model.Image.Floats = true, floats
		model.Image.Mean, model.Image.Std = [3]float32{0.5, 0, 0}, [3]float32{0.5, 1, 2}
		k := kserve(t, model, func(q inferRequest, tensors []byte) string {
			image, text := q.Inputs[0], q.Inputs[1]
			if fmt.Sprint(image.Shape) != "[1 3 2 4]" || text.Name != "text" || text.Datatype != "BYTES" || q.Outputs[0].Name != "quality" {
				t.Errorf("asked %+v", q)
			}
			size := 24
			if floats {
				size *= 4
				first := math.Float32frombits(binary.LittleEndian.Uint32(tensors))
				second := math.Float32frombits(binary.LittleEndian.Uint32(tensors[8*4:]))
				if first != 1 || second != float32(128)/255 {
					t.Errorf("values %v and %v", first, second)
				}
			} else if tensors[0] != 255 || tensors[8] != 128 || tensors[16] != 0 {
				t.Errorf("planes of %v", tensors[:24])
			}
			if rest := tensors[size:]; string(rest) != "\x05\x00\x00\x00a cat" {
				t.Errorf("the prompt is %q", rest)
			}
			return `{"outputs": [{"name": "quality", "data": [4.5]}]}`
		})
		results, err := k.Evaluate(t.Context(), []reward.Sample{{Image: white, Prompt: "a cat"}})
		if err != nil || results[0].Err != nil || math.Abs(results[0].Scores[0]-0.9) > 1e-12 {
			t.Errorf("got %+v, %v", results, err)
		}
	}
}

func TestAnAnswerWithoutTheScoreFailsItsSample(t *testing.T) {
	for name, answer := range map[string]string{
		"no JSON":               "oh",
		"another tensor":        `{"outputs": [{"name": "other", "data": [1]}]}`,
		"an empty tensor":       `{"outputs": [{"name": "quality", "data": []}]}`,
		"a score out of range":  `{"outputs": [{"name": "quality", "data": [7]}]}`,
		"a text for the score":  `{"outputs": [{"name": "quality", "data": ["a"]}]}`,
		"nothing of the answer": `{}`,
	} {
		k := kserve(t, inference(), func(inferRequest, []byte) string { return answer })
		results, err := k.Evaluate(t.Context(), []reward.Sample{{Image: rewardtest.Image(1, 8, 8)}})
		if err != nil || !errors.Is(results[0].Err, reward.ErrEvaluatorFailed) {
			t.Errorf("%s: %+v, %v", name, results, err)
		}
	}
}

func TestModelsThatCannotBeAskedAreRefused(t *testing.T) {
	for name, change := range map[string]func(*Inference){
		"no model":            func(m *Inference) { m.Model = "" },
		"no image input":      func(m *Inference) { m.Image.Name = "" },
		"an image of nothing": func(m *Inference) { m.Image.Width = 0 },
		"no outputs":          func(m *Inference) { m.Outputs = nil },
		"a deviation of 0":    func(m *Inference) { m.Image.Floats = true },
		"an unnamed output":   func(m *Inference) { m.Outputs[0].Tensor = "" },
	} {
		m := inference()
		change(&m)
		if _, err := NewKServe(m, Options{URL: "http://a"}); err == nil || !strings.HasPrefix(err.Error(), "remote: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
