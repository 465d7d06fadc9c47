package ort

import (
	"fmt"
	"runtime"

	onnx "github.com/yalue/onnxruntime_go"
)

var elementTypes = map[DType]onnx.TensorElementDataType{
	Float32:  onnx.TensorElementDataTypeFloat,
	Float64:  onnx.TensorElementDataTypeDouble,
	Float16:  onnx.TensorElementDataTypeFloat16,
	BFloat16: onnx.TensorElementDataTypeBFloat16,
	Int8:     onnx.TensorElementDataTypeInt8,
	Int16:    onnx.TensorElementDataTypeInt16,
	Int32:    onnx.TensorElementDataTypeInt32,
	Int64:    onnx.TensorElementDataTypeInt64,
	Uint8:    onnx.TensorElementDataTypeUint8,
	Uint16:   onnx.TensorElementDataTypeUint16,
	Uint32:   onnx.TensorElementDataTypeUint32,
	Uint64:   onnx.TensorElementDataTypeUint64,
	Bool:     onnx.TensorElementDataTypeBool,
}

// values owns the runtime's side of one run's tensors. The runtime keeps
// pointers into the tensors' Data, which stays pinned until release.
type values struct {
	all []onnx.Value
	pin runtime.Pinner
}

// add wraps t, whose memory the runtime then reads or writes in place.
func (v *values) add(t Tensor) (onnx.Value, error) {
	if err := t.check(); err != nil {
		return nil, err
	}
	var (
		value onnx.Value
		err   error
	)
	if len(t.Shape) == 0 {
		value, err = scalar(t)
	} else {
		data := t.Data
		if len(data) == 0 {
			data = make([]byte, 1) // an address; the shape says that nothing is read
		}
		v.pin.Pin(&data[0])
		value, err = onnx.NewCustomDataTensor(t.Shape, data, elementTypes[t.DType])
	}
	if err != nil {
		return nil, err
	}
	v.all = append(v.all, value)
	return value, nil
}

// release hands every value back. It must follow every run, failed ones too.
func (v *values) release() {
	for _, value := range v.all {
		_ = value.Destroy() // cannot fail for tensors
	}
	v.all = nil
	v.pin.Unpin()
}

// scalar wraps a tensor without dimensions. onnxruntime_go keeps a copy of the
// element, so that a scalar cannot receive an output.
func scalar(t Tensor) (onnx.Value, error) {
	switch t.DType {
	case Float32:
		return onnx.NewScalar(t.Float32s()[0])
	case Float64:
		return onnx.NewScalar(t.Float64s()[0])
	case Int32:
		return onnx.NewScalar(t.Int32s()[0])
	case Int64:
		return onnx.NewScalar(t.Int64s()[0])
	case Uint8:
		return onnx.NewScalar(t.Uint8s()[0])
	case Bool:
		return onnx.NewScalar(t.Bools()[0])
	}
	return nil, fmt.Errorf("scalar of type %s: give it the shape [1] instead", t.DType)
}

// tensorOf takes the Go memory over that onnxruntime_go copied an output into.
func tensorOf(value onnx.Value) (Tensor, error) {
	shape := []int64(value.GetShape())
	switch v := value.(type) {
	case *onnx.Tensor[float32]:
		return wrap(Float32, shape, v.GetData()), nil
	case *onnx.Tensor[float64]:
		return wrap(Float64, shape, v.GetData()), nil
	case *onnx.Tensor[int8]:
		return wrap(Int8, shape, v.GetData()), nil
	case *onnx.Tensor[int16]:
		return wrap(Int16, shape, v.GetData()), nil
	case *onnx.Tensor[int32]:
		return wrap(Int32, shape, v.GetData()), nil
	case *onnx.Tensor[int64]:
		return wrap(Int64, shape, v.GetData()), nil
	case *onnx.Tensor[uint8]:
		return wrap(Uint8, shape, v.GetData()), nil
	case *onnx.Tensor[uint16]:
		return wrap(Uint16, shape, v.GetData()), nil
	case *onnx.Tensor[uint32]:
		return wrap(Uint32, shape, v.GetData()), nil
	case *onnx.Tensor[uint64]:
		return wrap(Uint64, shape, v.GetData()), nil
	case *onnx.Tensor[bool]:
		return wrap(Bool, shape, v.GetData()), nil
	}
	return Tensor{}, fmt.Errorf("output of unsupported kind %T", value)
}
