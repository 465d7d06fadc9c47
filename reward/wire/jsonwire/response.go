package jsonwire

import (
	"bytes"
	"image"
	"image/png"
	"math"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/wire"
)

// response is a wire.Response as JSON.
type response struct {
	Rewards    numbers            `json:"rewards"`
	Scores     named[numbers]     `json:"scores"`
	Missing    [][]string         `json:"missing"`
	Errors     []*failure         `json:"errors"`
	Cached     []bool             `json:"cached"`
	Dense      *dense             `json:"dense,omitzero"`
	Advantages any                `json:"advantages,omitzero"` // numbers, tensor, or arrays of these
	Heatmaps   named[any]         `json:"heatmaps,omitzero"`
	Texts      []string           `json:"texts,omitzero"`
	Ranks      []int              `json:"ranks,omitzero"`
	Boxes      [][]box            `json:"boxes,omitzero"`
	Images     [][]byte           `json:"images,omitzero"` // base64
	Warnings   []string           `json:"warnings,omitzero"`
	Evaluator  string             `json:"evaluator"`
	Model      string             `json:"model"`
	Resize     string             `json:"resize,omitzero"`
	TimingMS   map[string]float64 `json:"timing_ms"`
}

type dense struct {
	Grid   []int `json:"grid,omitzero"`
	Weight any   `json:"weight"`
	Reward any   `json:"reward"`
}

type tensor struct {
	DType reward.DType `json:"dtype"`
	Shape []int        `json:"shape"`
	Data  []byte       `json:"data"` // base64
}

type box struct {
	Box        [4]float64 `json:"box"`
	Label      string     `json:"label"`
	Importance float64    `json:"importance"`
}

type failure struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// numbers are null where they are not finite.
type numbers []float64

// MarshalJSONTo writes an array.
func (values numbers) MarshalJSONTo(e *jsontext.Encoder) error {
	if err := e.WriteToken(jsontext.BeginArray); err != nil {
		return err
	}
	for _, v := range values {
		t := jsontext.Null
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			t = jsontext.Float(v)
		}
		if err := e.WriteToken(t); err != nil {
			return err
		}
	}
	return e.WriteToken(jsontext.EndArray)
}

// named is an object whose keys keep their order.
type named[T any] []struct {
	name  string
	value T
}

func (n *named[T]) add(name string, value T) {
	*n = append(*n, struct {
		name  string
		value T
	}{name, value})
}

// MarshalJSONTo writes an object.
func (n named[T]) MarshalJSONTo(e *jsontext.Encoder) error {
	if err := e.WriteToken(jsontext.BeginObject); err != nil {
		return err
	}
	for _, entry := range n {
		if err := e.WriteToken(jsontext.String(entry.name)); err != nil {
			return err
		}
		if err := json.MarshalEncode(e, entry.value); err != nil {
			return err
		}
	}
	return e.WriteToken(jsontext.EndObject)
}

// Response is p as JSON, its maps in a format.
func Response(p *wire.Response, format MapFormat) ([]byte, error) {
	out := response{
		Rewards: p.Rewards, Scores: named[numbers]{}, Missing: make([][]string, len(p.Missing)), Errors: make([]*failure, len(p.Errors)), Cached: p.Cached,
		Texts: p.Texts, Ranks: p.Ranks, Images: p.Images, Warnings: p.Warnings,
		Evaluator: p.Evaluator, Model: p.Model, Resize: p.Resize, TimingMS: p.TimingMS,
	}
	for _, s := range p.Scores {
		out.Scores.add(s.Name, s.Values)
	}
	for i, names := range p.Missing {
		out.Missing[i] = append([]string{}, names...)
	}
	for i, e := range p.Errors {
		if e != nil {
			out.Errors[i] = &failure{e.Code(), e.Message()}
		}
	}
	for _, boxes := range p.Boxes {
		of := make([]box, len(boxes))
		for i, b := range boxes {
			of[i] = box{b.Coords, b.Label, b.Importance}
		}
		out.Boxes = append(out.Boxes, of)
	}
	if err := out.addMaps(p, format); err != nil {
		return nil, err
	}
	return json.Marshal(&out, jsontext.AllowInvalidUTF8(true))
}

func (out *response) addMaps(p *wire.Response, format MapFormat) error {
	unbounded := format
	if format == MapsAsPNG {
		unbounded = MapsAsTensors
	}
	w := mapWriter{}
	if d := p.Dense; d != nil {
		out.Dense = &dense{Weight: w.maps(d.Weight, d.Weights, format), Reward: w.maps(d.Reward, d.Rewards, unbounded)}
		if d.Weights == nil {
			out.Dense.Grid = []int{d.Height, d.Width}
		}
	}
	for _, h := range p.Heatmaps {
		out.Heatmaps.add(h.Name, w.maps(h.Maps, h.Each, format))
	}
	switch a := p.Advantages; {
	case a != nil && len(a.Shape) == 1:
		out.Advantages = w.array(a)
	case a != nil || p.AdvantageMaps != nil:
		out.Advantages = w.maps(a, p.AdvantageMaps, unbounded)
	}
	return w.err
}

// mapWriter keeps the first error.
type mapWriter struct{ err error }

// maps writes one tensor of N maps, or N of one map each.
func (w *mapWriter) maps(one *reward.Tensor, each []*reward.Tensor, format MapFormat) any {
	switch {
	case format == MapsAsPNG:
		n := len(each)
		if one != nil {
			n = one.Shape[0]
		}
		files := make([]*[]byte, n) // null where the sample failed
		for i := range files {
			files[i] = w.png(wire.OfSample(one, each, i))
		}
		return files
	case one != nil && format == MapsAsArrays:
		return w.array(one)
	case one != nil:
		return tensor{one.Type, one.Shape, one.Data}
	}
	all := make([]any, len(each))
	for i, t := range each {
		all[i] = any(tensor{t.Type, t.Shape, t.Data})
		if format == MapsAsArrays {
			all[i] = w.array(t)
		}
	}
	return all
}

// array is a tensor of floats as nested arrays.
func (w *mapWriter) array(t *reward.Tensor) any {
	values, err := t.Float64s()
	if err != nil {
		w.err = err
		return nil
	}
	return nested(values, t.Shape)
}

func nested(values []float64, shape []int) any {
	if len(shape) < 2 {
		return numbers(values)
	}
	rows := make([]any, shape[0])
	step := len(values) / max(shape[0], 1)
	for i := range rows {
		rows[i] = nested(values[i*step:(i+1)*step], shape[1:])
	}
	return rows
}

// png is a map (h,w) in [0,1] as a file of 16-bit grey, nil where it is NaN.
func (w *mapWriter) png(t *reward.Tensor) *[]byte {
	values, err := t.Float32s()
	if err != nil {
		w.err = err
		return nil
	}
	height, width := t.Shape[0], t.Shape[1]
	if len(values) == 0 {
		return nil
	}
	grey := image.NewGray16(image.Rect(0, 0, width, height))
	for i, v := range values {
		if math.IsNaN(float64(v)) {
			return nil
		}
		level := uint16(math.RoundToEven(float64(min(max(v, 0), 1)) * math.MaxUint16))
		grey.Pix[2*i], grey.Pix[2*i+1] = byte(level>>8), byte(level)
	}
	var file bytes.Buffer
	if err := png.Encode(&file, grey); err != nil {
		w.err = err
		return nil
	}
	data := file.Bytes()
	return &data
}
