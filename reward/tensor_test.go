package reward_test

import (
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/denseflow/densereward/reward"
)

func TestATensorsShapeMustFitItsData(t *testing.T) {
	for name, c := range map[string]struct {
		tensor reward.Tensor
		want   *reward.Error
	}{
		"a scalar":                  {tensor: reward.Tensor{Type: reward.Float32, Data: make([]byte, 4)}},
		"no elements":               {tensor: reward.Tensor{Type: reward.Float32, Shape: []int{0, 7}}},
		"a byte too few":            {tensor: reward.Tensor{Type: reward.Float32, Shape: []int{2}, Data: make([]byte, 7)}, want: reward.ErrInvalidValue},
		"a negative dimension":      {tensor: reward.Tensor{Type: reward.Uint8, Shape: []int{-1, -1}, Data: make([]byte, 1)}, want: reward.ErrInvalidValue},
		"a size past an int":        {tensor: reward.Tensor{Type: reward.Uint8, Shape: []int{math.MaxInt, 2}}, want: reward.ErrInvalidValue},
		"bytes past an int":         {tensor: reward.Tensor{Type: reward.Float64, Shape: []int{math.MaxInt / 4}}, want: reward.ErrInvalidValue},
		"a size that wraps to zero": {tensor: reward.Tensor{Type: reward.Uint8, Shape: []int{1 << 32, 1 << 32}}, want: reward.ErrInvalidValue},
		"a type of nobody":          {tensor: reward.Tensor{Type: "<c8"}, want: reward.ErrUnsupportedDType},
	} {
		err := c.tensor.Check()
		if (c.want == nil) != (err == nil) || (c.want != nil && !errors.Is(err, c.want)) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestFloatsComeBack(t *testing.T) {
	narrow := reward.Float32Tensor([]float32{1, 2.5}, 2)
	wide := reward.Float64Tensor([]float64{1, 2.5}, 2)
	for _, tensor := range []*reward.Tensor{narrow, wide} {
		a, err := tensor.Float32s()
		if err != nil || !slices.Equal(a, []float32{1, 2.5}) {
			t.Errorf("%s as float32: %v, %v", tensor.Type, a, err)
		}
		b, err := tensor.Float64s()
		if err != nil || !slices.Equal(b, []float64{1, 2.5}) {
			t.Errorf("%s as float64: %v, %v", tensor.Type, b, err)
		}
	}
	if _, err := reward.Uint8Tensor([]uint8{1}, 1).Float32s(); !errors.Is(err, reward.ErrUnsupportedDType) {
		t.Errorf("uint8: %v", err)
	}
}

func TestTensorsThatDoNotFitPanic(t *testing.T) {
	for name, f := range map[string]func(){
		"float32": func() { reward.Float32Tensor(make([]float32, 3), 2, 2) },
		"float64": func() { reward.Float64Tensor(make([]float64, 3), 4) },
		"uint8":   func() { reward.Uint8Tensor(make([]uint8, 3), -3) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
}
