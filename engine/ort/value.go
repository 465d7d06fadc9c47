package ort

import (
	"fmt"
	"runtime"
	"sync/atomic"

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
	all  []onnx.Value
	pin  runtime.Pinner
	live *atomic.Int64 // counts what is not yet released
}

// own takes over a value that the runtime made.
func (v *values) own(value onnx.Value) {
	v.all = append(v.all, value)
	v.live.Add(1)
}

// wrap makes a value over t, whose memory the runtime reads or writes in place.
func (v *values) wrap(t Tensor) (onnx.Value, error) {
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
	v.own(value)
	return value, nil
}

// release hands every value back. It must follow every run, failed ones too.
func (v *values) release() {
	for _, value := range v.all {
		_ = value.Destroy() // cannot fail for tensors
		v.live.Add(-1)
	}
	v.all = nil
	v.pin.Unpin()
}

// scalar makes a value without dimensions. onnxruntime_go keeps the element in
// memory of its own, so that an output is read back by unwrap.
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

// unwrap completes t from the value that a run has filled: nothing is to be
// done where the runtime wrote into t's own memory, a scalar is copied, and of
// a value that the runtime made t takes over the memory.
func unwrap(value onnx.Value, t *Tensor) error {
	switch v := value.(type) {
	case *onnx.CustomDataTensor:
	case *onnx.Scalar[float32]:
		t.Float32s()[0] = v.GetData()
	case *onnx.Scalar[float64]:
		t.Float64s()[0] = v.GetData()
	case *onnx.Scalar[int32]:
		t.Int32s()[0] = v.GetData()
	case *onnx.Scalar[int64]:
		t.Int64s()[0] = v.GetData()
	case *onnx.Scalar[uint8]:
		t.Uint8s()[0] = v.GetData()
	case *onnx.Scalar[bool]:
		t.Bools()[0] = v.GetData()
	case *onnx.Tensor[float32]:
		*t = wrap(Float32, v.GetShape(), v.GetData())
	case *onnx.Tensor[float64]:
		*t = wrap(Float64, v.GetShape(), v.GetData())
	case *onnx.Tensor[int8]:
		*t = wrap(Int8, v.GetShape(), v.GetData())
	case *onnx.Tensor[int16]:
		*t = wrap(Int16, v.GetShape(), v.GetData())
	case *onnx.Tensor[int32]:
		*t = wrap(Int32, v.GetShape(), v.GetData())
	case *onnx.Tensor[int64]:
		*t = wrap(Int64, v.GetShape(), v.GetData())
	case *onnx.Tensor[uint8]:
		*t = wrap(Uint8, v.GetShape(), v.GetData())
	case *onnx.Tensor[uint16]:
		*t = wrap(Uint16, v.GetShape(), v.GetData())
	case *onnx.Tensor[uint32]:
		*t = wrap(Uint32, v.GetShape(), v.GetData())
	case *onnx.Tensor[uint64]:
		*t = wrap(Uint64, v.GetShape(), v.GetData())
	case *onnx.Tensor[bool]:
		*t = wrap(Bool, v.GetShape(), v.GetData())
	default:
		return fmt.Errorf("a value of kind %T is no tensor of numbers", value)
	}
	return nil
}
