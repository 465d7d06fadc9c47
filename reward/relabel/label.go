package relabel

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/x448/float16"

	"github.com/denseflow/densereward/internal/npy"
	"github.com/denseflow/densereward/reward"
)

// Names of the columns that every label has; those of scores and maps follow the
// evaluator.
const (
	ColumnReward       = "reward"
	ColumnMissing      = "missing"
	ColumnText         = "text"
	ColumnBoxes        = "boxes"
	ColumnErrorCode    = "error_code"
	ColumnErrorMessage = "error_message"
	ColumnDense        = "dense"
)

// MapType is the type of a stored map's values, in [0,1].
type MapType string

// The types of maps: IEEE half precision, or value = byte/255.
const (
	Float16 MapType = "float16"
	Uint8   MapType = "uint8"
)

// Labels says what the labels of a run hold.
type Labels struct {
	Prefix  string   `json:"prefix"` // of every column
	Scores  []string `json:"scores"` // in the order of Label.Scores
	Text    bool     `json:"text"`
	Boxes   bool     `json:"boxes"`
	Maps    []string `json:"maps"` // in the order of Label.Maps: "dense" or the name of a heatmap
	MapType MapType  `json:"map_type"`
}

// Columns lists the names of all columns that labels add, in their order.
func (l *Labels) Columns() []string {
	names := append([]string{ColumnReward}, l.Scores...)
	names = append(names, ColumnMissing)
	if l.Text {
		names = append(names, ColumnText)
	}
	if l.Boxes {
		names = append(names, ColumnBoxes)
	}
	names = append(names, ColumnErrorCode, ColumnErrorMessage)
	names = append(names, l.Maps...)
	for i := range names {
		names[i] = l.Prefix + names[i]
	}
	return names
}

// ErrDoNotFit is wrapped by the errors of a shard whose own columns leave labels
// no room. A Writer's other errors end the run.
var ErrDoNotFit = errors.New("the labels do not fit")

// CheckCollision fails, with an ErrDoNotFit, if the source has a column of a
// label's name.
func (l *Labels) CheckCollision(source []string) error {
	for _, name := range l.Columns() {
		if slices.Contains(source, name) {
			return fmt.Errorf("%w: the source already has a column %q; give the new ones a prefix, --column-prefix", ErrDoNotFit, name)
		}
	}
	return nil
}

// Label is what a run says of one record. A record that could not be scored has
// an ErrorCode and nothing else.
type Label struct {
	Reward  float64   `json:"reward"`
	Scores  []float64 `json:"scores,omitempty"`
	Missing []string  `json:"missing,omitempty"`
	Text    string    `json:"text,omitempty"`
	Boxes   []Box     `json:"boxes,omitempty"`
	Maps    []Map     `json:"maps,omitempty"`

	ErrorCode    string `json:"error_code,omitempty"`
	ErrorMessage string `json:"error_message,omitempty"`
}

// Failed tells that the record could not be scored.
func (l *Label) Failed() bool { return l.ErrorCode != "" }

// Failure is the label of a record that could not be scored.
func Failure(err error) Label {
	e := reward.AsError(err, reward.ErrInternal)
	return Label{ErrorCode: e.Code(), ErrorMessage: e.Message()}
}

// Box is a region as labels hold it; see [reward.Box].
type Box struct {
	Box        [4]float64 `json:"box"`
	Label      string     `json:"label"`
	Importance float64    `json:"importance"`
}

// Map is a map as it is stored: Height*Width values of the run's MapType, little
// endian, row major. A map that an answer lacks is 0x0.
type Map struct {
	Height int    `json:"height"`
	Width  int    `json:"width"`
	Data   []byte `json:"data"`
}

// NewMap stores m. Values outside [0,1] are clamped.
func NewMap(m reward.Map, t MapType) Map {
	stored := Map{Height: m.Height, Width: m.Width}
	for _, v := range m.Data {
		v = max(0, min(1, v))
		if t == Uint8 {
			stored.Data = append(stored.Data, byte(v*255+0.5))
		} else {
			bits := float16.Fromfloat32(v).Bits()
			stored.Data = append(stored.Data, byte(bits), byte(bits>>8))
		}
	}
	return stored
}

// NPY is the map as a .npy file: float16, or uint8 for value*255.
func (m *Map) NPY(t MapType) ([]byte, error) {
	descr := "<f2"
	if t == Uint8 {
		descr = "|u1"
	}
	var file bytes.Buffer
	err := npy.Write(&file, npy.Array{Descr: descr, Shape: []int{m.Height, m.Width}, Data: m.Data})
	return file.Bytes(), err
}

// MapValues undoes what a label stores: float16 is little-endian, a byte counts 255ths.
func MapValues(data []byte, t MapType) []float32 {
	var values []float32
	if t == Uint8 {
		for _, b := range data {
			values = append(values, float32(b)/255)
		}
		return values
	}
	for i := 0; i+1 < len(data); i += 2 {
		values = append(values, float16.Frombits(uint16(data[i])|uint16(data[i+1])<<8).Float32())
	}
	return values
}
