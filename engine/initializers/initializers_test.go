package initializers_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/denseflow/densereward/engine/initializers"
	"github.com/denseflow/densereward/engine/onnx"
	"github.com/denseflow/densereward/engine/safetensors"
)

// source is a checkpoint of tensors in one file.
type source map[string]safetensors.Tensor

func (s source) Tensor(name string) (safetensors.Tensor, bool) {
	t, ok := s[name]
	return t, ok
}

func checkpoint() source {
	return source{
		"half":    {Name: "half", File: "a.safetensors", DType: safetensors.F16, Shape: []int64{2, 3}, Offset: 64, Length: 12},
		"brain":   {Name: "brain", File: "a.safetensors", DType: safetensors.BF16, Shape: []int64{2, 3, 1, 1}, Offset: 76, Length: 12},
		"single":  {Name: "single", File: "a.safetensors", DType: safetensors.F32, Shape: []int64{4}, Offset: 88, Length: 16},
		"integer": {Name: "integer", File: "a.safetensors", DType: safetensors.I64, Shape: []int64{4}, Offset: 104, Length: 32},
	}
}

func TestATensorHasTheShapeAndTypeAskedFor(t *testing.T) {
	for name, dims := range map[string][]int64{"half": {2, 3}, "brain": {2, 3}, "single": {1, 4}} {
		g := onnx.New("g")
		set := initializers.New(g, checkpoint(), "model")
		v := set.Tensor(name, onnx.Float32, dims...)
		if v.DType() != onnx.Float32 || fmt.Sprint(v.Shape()) != fmt.Sprint(onnx.Dims(dims...)) {
			t.Errorf("%s is %v %v", name, v.DType(), v.Shape())
		}
		if again := set.Tensor(name, onnx.Float32, dims...); again.Name() != v.Name() {
			t.Errorf("%s is cast twice", name)
		}
		g.Output("v", v)
		if err := set.Err(); err != nil {
			t.Error(err)
		}
		if _, err := g.Marshal(); err != nil {
			t.Error(err)
		}
	}
}

func TestAllThatIsWrongIsNamed(t *testing.T) {
	set := initializers.New(onnx.New("g"), checkpoint(), "model")
	for _, ask := range []struct {
		name string
		dims []int64
		want string
	}{
		{"none", []int64{7}, "model: tensor none is missing"},
		{"half", []int64{3, 2}, "model: tensor half has shape [2 3], the configuration demands [3 2]"},
		{"integer", []int64{4}, "model: tensor integer is I64; BF16, F16 and F32 can be used"},
	} {
		v := set.Tensor(ask.name, onnx.Float16, ask.dims...)
		if v.DType() != onnx.Float16 || fmt.Sprint(v.Shape()) != fmt.Sprint(onnx.Dims(ask.dims...)) {
			t.Errorf("the stand-in of %s is %v %v", ask.name, v.DType(), v.Shape())
		}
		if err := set.Err(); err == nil || !strings.HasSuffix(err.Error(), ask.want) {
			t.Errorf("error %v, want %s at its end", err, ask.want)
		}
	}
	if lines := strings.Split(set.Err().Error(), "\n"); len(lines) != 3 {
		t.Errorf("errors %q, want 3", lines)
	}
}

func TestAnErrorHasAnEnd(t *testing.T) {
	set := initializers.New(onnx.New("g"), checkpoint(), "model")
	for i := range 100 {
		set.Tensor(fmt.Sprint("none", i), onnx.Float32, 1)
	}
	if lines := strings.Split(set.Err().Error(), "\n"); len(lines) != 17 || lines[16] != "and 84 more tensors" {
		t.Errorf("errors %q", lines)
	}
}

func TestAnInventoryListsWhatAGraphAsksFor(t *testing.T) {
	list := &initializers.Inventory{}
	list.Add("width", 5, 6)
	set := initializers.New(onnx.New("g"), list, "model")
	if _, ok := set.Lookup("weight"); ok {
		t.Error("a tensor is there before it is asked for")
	}
	set.Tensor("weight", onnx.Float32, 2, 3)
	set.Tensor("weight", onnx.BFloat16, 2, 3)
	set.Tensor("width", onnx.BFloat16, 5, 6)
	var got []string
	for _, tensor := range list.Tensors() {
		got = append(got, fmt.Sprintf("%s %s %d %d", tensor.Name, tensor.DType, tensor.Shape, tensor.Length))
	}
	if want := []string{"width BF16 [5 6] 60", "weight BF16 [2 3] 12"}; !slices.Equal(got, want) {
		t.Errorf("listed %q, want %q", got, want)
	}
	if err := set.Err(); err != nil {
		t.Error(err)
	}
}
