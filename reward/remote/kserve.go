package remote

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strconv"

	"github.com/denseflow/densereward/engine/image/resize"
	"github.com/denseflow/densereward/reward"
)

// Tensor says what an image model behind the Open Inference Protocol takes.
type Tensor struct {
	Name          string
	Width, Height int
	// Floats sends float32, (v/255 - Mean) / Std, rather than uint8.
	Floats    bool
	Mean, Std [3]float32
	// ChannelsFirst sends (1,3,h,w) rather than (1,h,w,3).
	ChannelsFirst bool
}

// Output is a score: the first element of a tensor, times Factor.
type Output struct {
	Tensor   string
	Score    string  // "" is the tensor's name
	Factor   float64 // 0 is 1
	Min, Max float64 // of the score; both 0 are no bounds
	Weight   float64
	Doc      string
}

// Inference says which model is asked and what it takes and gives.
type Inference struct {
	Model   string
	Version string // "" is the server's choice
	Image   Tensor
	Prompt  string // the input of type BYTES that takes the prompt; "" for none
	Outputs []Output
}

// KServe is an image model behind the Open Inference Protocol version 2, as KServe,
// Triton and others serve it. It is safe for concurrent use.
type KServe struct {
	*endpoint
	model Inference
	about reward.Description
}

var _ reward.Evaluator = (*KServe)(nil)

// NewKServe makes an evaluator of a model. Options.URL is the server's address. Nothing
// is sent yet.
func NewKServe(model Inference, o Options) (*KServe, error) {
	e, err := newEndpoint(o)
	if err != nil {
		return nil, err
	}
	if err := model.check(); err != nil {
		return nil, fmt.Errorf("remote: %w", err)
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %+v", e.base, model))
	k := &KServe{endpoint: e, model: model, about: reward.Description{
		Name: model.Model, Kind: "kserve", Fingerprint: hex.EncodeToString(sum[:]), Modes: []reward.Mode{reward.ModeAnswer},
	}}
	if o.Name != "" {
		k.about.Name = o.Name
	}
	for _, out := range model.Outputs {
		spec := reward.ScoreSpec{Name: out.Score, Min: out.Min, Max: out.Max, Weight: out.Weight, Doc: out.Doc}
		if spec.Name == "" {
			spec.Name = out.Tensor
		}
		if spec.Min == 0 && spec.Max == 0 {
			spec.Min, spec.Max = math.Inf(-1), math.Inf(1)
		}
		k.about.Scores = append(k.about.Scores, spec)
	}
	return k, k.about.Validate()
}

func (m *Inference) check() error {
	switch {
	case m.Model == "" || m.Image.Name == "":
		return errors.New("model and the name of its image input are needed")
	case m.Image.Width < 1 || m.Image.Height < 1 || m.Image.Width > maxSide || m.Image.Height > maxSide:
		return fmt.Errorf("image input %s: %dx%d is not in 1 to %d", m.Image.Name, m.Image.Width, m.Image.Height, maxSide)
	case len(m.Outputs) == 0:
		return errors.New("no outputs: nothing says which tensor is a score")
	}
	for _, s := range m.Image.Std {
		if m.Image.Floats && !(s > 0) {
			return fmt.Errorf("image input %s: std %v is not positive", m.Image.Name, m.Image.Std)
		}
	}
	for _, out := range m.Outputs {
		if out.Tensor == "" {
			return errors.New("an output without the name of its tensor")
		}
	}
	return nil
}

// maxSide bounds what an image is resized to.
const maxSide = 1 << 13

// Describe says which scores the outputs are.
func (k *KServe) Describe() reward.Description { return k.about }

// Evaluate sends each sample in a request of its own: the server forms batches.
func (k *KServe) Evaluate(ctx context.Context, samples []reward.Sample) ([]reward.Result, error) {
	return k.each(ctx, samples, func(s *reward.Sample) reward.Result { return k.evaluate(ctx, s) })
}

func (k *KServe) evaluate(ctx context.Context, s *reward.Sample) reward.Result {
	if s.Mode != "" && s.Mode != reward.ModeAnswer {
		return reward.Result{Err: reward.ErrUnsupportedMode.With("mode: %s does not answer in mode %q", k.about.Name, s.Mode)}
	}
	if err := s.Check(); err != nil {
		return reward.Result{Err: err}
	}
	head, data, err := k.question(s)
	if err != nil {
		return reward.Result{Err: err}
	}
	path := "/v2/models/" + url.PathEscape(k.model.Model)
	if k.model.Version != "" {
		path += "/versions/" + url.PathEscape(k.model.Version)
	}
	answer, err := k.post(ctx, path+"/infer", http.Header{
		"Content-Type":                    {"application/octet-stream"},
		"Inference-Header-Content-Length": {strconv.Itoa(len(head))},
	}, append(head, data...))
	if err != nil {
		return reward.Result{Err: err}
	}
	r, err := k.read(answer)
	if err != nil {
		return reward.Result{Err: reward.ErrEvaluatorFailed.With("%s: %v", k.base.Host, err)}
	}
	return r
}

// The parts of the protocol that are used. Inputs travel in the binary extension,
// outputs as JSON.
type (
	inferRequest struct {
		Inputs  []inferInput  `json:"inputs"`
		Outputs []inferOutput `json:"outputs"`
	}
	inferInput struct {
		Name       string         `json:"name"`
		Shape      []int          `json:"shape"`
		Datatype   string         `json:"datatype"`
		Parameters map[string]any `json:"parameters"`
	}
	inferOutput struct {
		Name       string         `json:"name"`
		Parameters map[string]any `json:"parameters"`
	}
	inferResponse struct {
		Outputs []struct {
			Name string     `json:"name"`
			Data []*float64 `json:"data"` // null, which some servers make of NaN, is nil
		} `json:"outputs"`
	}
)

// question is the request's JSON and the tensors behind it.
func (k *KServe) question(s *reward.Sample) (head, data []byte, err error) {
	in := k.model.Image
	pix := resize.Resize(s.Image, in.Width, in.Height).Pix
	if in.ChannelsFirst {
		pix = planes(pix)
	}
	input := inferInput{Name: in.Name, Shape: []int{1, in.Height, in.Width, 3}, Datatype: "UINT8"}
	if in.ChannelsFirst {
		input.Shape = []int{1, 3, in.Height, in.Width}
	}
	data = pix
	if in.Floats {
		input.Datatype = "FP32"
		data = make([]byte, 0, 4*len(pix))
		cells := in.Width * in.Height
		for i, v := range pix {
			channel := i % 3
			if in.ChannelsFirst {
				channel = i / cells
			}
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits((float32(v)/255-in.Mean[channel])/in.Std[channel]))
		}
	}
	input.Parameters = map[string]any{"binary_data_size": len(data)}
	q := inferRequest{Inputs: []inferInput{input}}
	if k.model.Prompt != "" {
		text := binary.LittleEndian.AppendUint32(nil, uint32(len(s.Prompt)))
		text = append(text, s.Prompt...)
		q.Inputs = append(q.Inputs, inferInput{
			Name: k.model.Prompt, Shape: []int{1}, Datatype: "BYTES", Parameters: map[string]any{"binary_data_size": len(text)},
		})
		data = append(data, text...)
	}
	for _, out := range k.model.Outputs {
		q.Outputs = append(q.Outputs, inferOutput{Name: out.Tensor, Parameters: map[string]any{"binary_data": false}})
	}
	head, err = json.Marshal(q)
	return head, data, err
}

// planes lays the channels of pixels behind each other.
func planes(pix []uint8) []uint8 {
	out := make([]uint8, len(pix))
	cells := len(pix) / 3
	for i := range cells {
		for c := range 3 {
			out[c*cells+i] = pix[i*3+c]
		}
	}
	return out
}

// read takes the scores from an answer.
func (k *KServe) read(answer []byte) (reward.Result, error) {
	var p inferResponse
	if err := json.Unmarshal(answer, &p); err != nil {
		return reward.Result{}, fmt.Errorf("the answer is no inference response: %w", err)
	}
	var r reward.Result
	for i, out := range k.model.Outputs {
		value := math.NaN()
		for _, got := range p.Outputs {
			if got.Name == out.Tensor && len(got.Data) > 0 && got.Data[0] != nil {
				value = *got.Data[0]
			}
		}
		if out.Factor != 0 {
			value *= out.Factor
		}
		spec := k.about.Scores[i]
		if math.IsNaN(value) || math.IsInf(value, 0) || value < spec.Min || value > spec.Max {
			return reward.Result{}, fmt.Errorf("output %s is %v, not in [%v,%v]", out.Tensor, value, spec.Min, spec.Max)
		}
		r.Scores = append(r.Scores, value)
	}
	return r, nil
}
