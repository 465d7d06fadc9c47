package wire_test

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"testing"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/rewardtest"
	"github.com/denseflow/densereward/reward/wire"
)

func ptr[T any](v T) *T { return &v }

// requests has a request for each field and form of the protocol.
func requests() map[string]*wire.Request {
	file := wire.Image{Encoded: rewardtest.PNG(rewardtest.Image(1, 9, 7))}
	pixels := wire.Image{Tensor: rewardtest.Tensor(rewardtest.Image(2, 40, 30))}
	return map[string]*wire.Request{
		"a file":   {Prompts: []string{"a cat"}, Images: []wire.Image{file}},
		"a tensor": {Prompts: []string{"a cat"}, Images: []wire.Image{pixels}},
		"a file and a tensor, every option": {
			Prompts:   []string{"a cat", "größe 🐈"},
			Images:    []wire.Image{file, pixels},
			Mode:      reward.ModeThink,
			Grid:      reward.GridSpec{Height: 64, Width: 32},
			Groups:    reward.Groups{Names: []string{"g", "h"}},
			Rank:      true,
			Advantage: &reward.Advantage{Method: reward.AdvantageBoxFlow, GlobalStd: true, Floor: ptr(0.2), Smoothing: 5, Penalty: &reward.Penalty{Artifact: 1, Misalignment: 2, Min: 3}},
			Weights:   &reward.Weights{Scores: map[string]float64{"semantic_alignment": 1, "aesthetics": -2, "plausibility": 3, "overall": 4}, Maps: map[string]float64{"misalignment": 0.25, "artifact": 0.75}},
			Return:    []wire.Return{wire.ReturnDense, wire.ReturnHeatmaps, wire.ReturnText, wire.ReturnBoxes},
			Evaluator: "imagedoctor",
		},
		"metadata": {
			Prompts: []string{"a", "b"}, Images: []wire.Image{file, pixels},
			Metadata: []map[string]any{
				{"text": "OPEN", "seed": int64(-3), "cfg": 4.5, "ok": true, "none": nil, "reference": []byte{1, 2, 3}, "words": []any{"a", int64(1), []any{}}, "more": map[string]any{"deep": map[string]any{}}},
				{},
			},
		},
		"scores alone": {Prompts: []string{"a"}, Images: []wire.Image{file}, Return: []wire.Return{}},
		"latents": {
			Prompts: []string{"a", "b"}, VAE: "sd3", Grid: reward.GridSpec{Preset: "sd3"},
			Latents: &reward.Tensor{Type: reward.BFloat16, Shape: []int{2, 4, 2, 2}, Data: make([]byte, 64)},
			Return:  []wire.Return{wire.ReturnImages},
		},
		"groups across requests": {
			Prompts: []string{"a", "b"}, Images: []wire.Image{file, file},
			Groups:    reward.Groups{Step: "epoch 3", Size: 24, Names: []string{"g", "h"}, Members: []int{0, 23}, Count: 7},
			Advantage: &reward.Advantage{Method: reward.AdvantageFlowGRPO, GlobalStd: true},
		},
	}
}

func TestRequestsSurviveTheWire(t *testing.T) {
	for name, q := range requests() {
		t.Run(name, func(t *testing.T) {
			m, err := q.Encode(wire.DefaultLimits())
			if err != nil {
				t.Fatal(err)
			}
			body := m.Bytes()
			if int64(len(body)) != m.Len() {
				t.Errorf("Len is %d, the message has %d bytes", m.Len(), len(body))
			}
			got, err := wire.DecodeRequest(body, wire.DefaultLimits())
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, q) {
				t.Errorf("got %+v\nwant %+v", got, q)
			}
		})
	}
}

func TestAMessageReadsTheSameEveryWay(t *testing.T) {
	for name, q := range requests() {
		m, err := q.Encode(wire.DefaultLimits())
		if err != nil {
			t.Fatal(err)
		}
		var written bytes.Buffer
		if n, err := m.WriteTo(&written); err != nil || n != m.Len() {
			t.Fatalf("%s: WriteTo gave %d, %v", name, n, err)
		}
		for range 2 { // as for a retry
			var read bytes.Buffer
			small := make([]byte, 7)
			if _, err := io.CopyBuffer(&read, onlyReader{m.Reader()}, small); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(read.Bytes(), written.Bytes()) || !bytes.Equal(read.Bytes(), m.Bytes()) {
				t.Errorf("%s: reading and writing differ", name)
			}
		}
	}
}

// onlyReader hides every other method.
type onlyReader struct{ io.Reader }

func TestImagesAreNotCopied(t *testing.T) {
	image := rewardtest.Image(3, 64, 64)
	q := &wire.Request{Prompts: []string{"a"}, Images: []wire.Image{{Tensor: rewardtest.Tensor(image)}}}
	m, err := q.Encode(wire.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	image.Pix[0] ^= 0xff
	body := m.Bytes()
	got, err := wire.DecodeRequest(body, wire.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	if got.Images[0].Tensor.Data[0] != image.Pix[0] {
		t.Error("the encoded message holds a copy of the pixels")
	}
	got.Images[0].Tensor.Data[5] ^= 0xff
	if again, _ := wire.DecodeRequest(body, wire.DefaultLimits()); again.Images[0].Tensor.Data[5] != got.Images[0].Tensor.Data[5] {
		t.Error("the decoded request holds a copy of the pixels")
	}
}

func TestEncodingRefusesWhatAServerWould(t *testing.T) {
	file := wire.Image{Encoded: []byte("x")}
	broken := &reward.Tensor{Type: reward.Uint8, Shape: []int{2, 2, 3}, Data: make([]byte, 5)}
	small := wire.DefaultLimits()
	small.BodyBytes = 100
	for name, c := range map[string]struct {
		q      wire.Request
		limits wire.Limits
		want   *reward.Error
	}{
		"no prompts":               {q: wire.Request{Images: []wire.Image{file}}, want: reward.ErrMissingField},
		"neither images nor more":  {q: wire.Request{Prompts: []string{"a"}}, want: reward.ErrMissingField},
		"an image of nothing":      {q: wire.Request{Prompts: []string{"a"}, Images: []wire.Image{{}}}, want: reward.ErrMissingField},
		"too few images":           {q: wire.Request{Prompts: []string{"a", "b"}, Images: []wire.Image{file}}, want: reward.ErrImageCountMismatch},
		"a tensor that lies":       {q: wire.Request{Prompts: []string{"a"}, Images: []wire.Image{{Tensor: broken}}}, want: reward.ErrInvalidValue},
		"images and latents":       {q: wire.Request{Prompts: []string{"a"}, Images: []wire.Image{file}, Latents: broken}, want: reward.ErrInvalidValue},
		"images with a decoder":    {q: wire.Request{Prompts: []string{"a"}, Images: []wire.Image{file}, VAE: "sd3"}, want: reward.ErrInvalidValue},
		"latents with no decoder":  {q: wire.Request{Prompts: []string{"a"}, Latents: reward.Float32Tensor(make([]float32, 4), 1, 1, 2, 2)}, want: reward.ErrMissingField},
		"latents of uint8":         {q: wire.Request{Prompts: []string{"a"}, VAE: "v", Latents: reward.Uint8Tensor(make([]uint8, 4), 1, 1, 2, 2)}, want: reward.ErrUnsupportedDType},
		"latents of two axes":      {q: wire.Request{Prompts: []string{"a"}, VAE: "v", Latents: reward.Float32Tensor(make([]float32, 4), 1, 4)}, want: reward.ErrInvalidValue},
		"too few latents":          {q: wire.Request{Prompts: []string{"a", "b"}, VAE: "v", Latents: reward.Float32Tensor(make([]float32, 4), 1, 1, 2, 2)}, want: reward.ErrImageCountMismatch},
		"a step without a method":  {q: wire.Request{Prompts: []string{"a"}, Images: []wire.Image{file}, Groups: reward.Groups{Step: "1", Size: 2}}, want: reward.ErrMissingField},
		"a member past the size":   {q: step(file, reward.Groups{Step: "1", Size: 2, Members: []int{2}}, false), want: reward.ErrInvalidValue},
		"too few members":          {q: step(file, reward.Groups{Step: "1", Size: 2, Members: []int{}}, false), want: reward.ErrImageCountMismatch},
		"a global std of no count": {q: step(file, reward.Groups{Step: "1", Size: 2}, true), want: reward.ErrMissingField},
		"a count for no reason":    {q: step(file, reward.Groups{Step: "1", Size: 2, Count: 3}, false), want: reward.ErrInvalidValue},
		"a body past the limit":    {q: wire.Request{Prompts: []string{"a"}, Images: []wire.Image{{Encoded: make([]byte, 200)}}}, limits: small, want: reward.ErrBodyTooLarge},
	} {
		if c.limits == (wire.Limits{}) {
			c.limits = wire.DefaultLimits()
		}
		if _, err := c.q.Encode(c.limits); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %s", name, err, c.want.Code())
		}
	}
}

func step(file wire.Image, groups reward.Groups, global bool) wire.Request {
	return wire.Request{
		Prompts: []string{"a"}, Images: []wire.Image{file}, Groups: groups,
		Advantage: &reward.Advantage{Method: reward.AdvantageFlowGRPO, GlobalStd: global},
	}
}

func TestTwoSamplesCannotBeOneMember(t *testing.T) {
	file := wire.Image{Encoded: []byte("x")}
	q := wire.Request{
		Prompts: []string{"a", "a"}, Images: []wire.Image{file, file},
		Groups:    reward.Groups{Step: "1", Size: 2, Members: []int{1, 1}},
		Advantage: &reward.Advantage{Method: reward.AdvantageFlowGRPO},
	}
	if _, err := q.Encode(wire.DefaultLimits()); !errors.Is(err, reward.ErrInvalidValue) {
		t.Errorf("got %v", err)
	}
	q.Prompts[1] = "b" // another group
	if _, err := q.Encode(wire.DefaultLimits()); err != nil {
		t.Error(err)
	}
}

func TestOneTensorOfImagesIsSplit(t *testing.T) {
	data := make([]byte, 2*3*4*3)
	for i := range data {
		data[i] = byte(i)
	}
	for name, shape := range map[string][]int{"channels last": {2, 4, 3, 3}, "channels first": {2, 3, 4, 3}} {
		images, err := wire.SplitImages(&reward.Tensor{Type: reward.Uint8, Shape: shape, Data: data})
		if err != nil {
			t.Fatal(err)
		}
		if len(images) != 2 || !reflect.DeepEqual(images[1].Tensor.Shape, shape[1:]) || !bytes.Equal(images[1].Tensor.Data, data[36:]) {
			t.Errorf("%s: got %+v", name, images)
		}
	}
	if _, err := wire.SplitImages(reward.Uint8Tensor(data, 24, 3)); !errors.Is(err, reward.ErrInvalidValue) {
		t.Errorf("a matrix: got %v", err)
	}
}
