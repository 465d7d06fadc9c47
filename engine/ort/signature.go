package ort

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// signature is what a model declares of its graph's inputs and outputs.
// onnxruntime_go does not tell of a session that it has loaded, and without it
// a wrong name, or an output type that it cannot allocate, shows only in a run.
type signature struct {
	inputs, outputs map[string]declared
}

// declared is a tensor's type and shape as far as the model fixes them.
type declared struct {
	dtype  DType
	shape  []dim
	ranked bool // shape is declared
}

// dim is a number, a name that stands for one, or neither.
type dim struct {
	size int64 // -1 where it is not fixed
	name string
}

// The fields of onnx.proto that lead to a graph's inputs and outputs.
const (
	modelGraph    = 7
	graphInput    = 11
	graphOutput   = 12
	valueName     = 1
	valueType     = 2
	typeTensor    = 1
	tensorElement = 1
	tensorShape   = 2
	shapeDim      = 1
	dimValue      = 1
	dimParam      = 2
)

// elementDTypes maps TensorProto.DataType.
var elementDTypes = map[uint64]DType{
	1: Float32, 2: Uint8, 3: Int8, 4: Uint16, 5: Int16, 6: Int32, 7: Int64, 9: Bool,
	10: Float16, 11: Float64, 12: Uint32, 13: Uint64, 16: BFloat16,
}

func parseSignature(model []byte) (signature, error) {
	s := signature{inputs: map[string]declared{}, outputs: map[string]declared{}}
	err := fields(model, func(field int, _ uint64, graph []byte) error {
		if field != modelGraph {
			return nil
		}
		return fields(graph, func(field int, _ uint64, value []byte) error {
			if field != graphInput && field != graphOutput {
				return nil
			}
			name, d, err := parseValue(value)
			if err != nil {
				return err
			}
			if field == graphInput {
				s.inputs[name] = d
			} else {
				s.outputs[name] = d
			}
			return nil
		})
	})
	if err != nil {
		return signature{}, fmt.Errorf("reading the model: %w", err)
	}
	return s, nil
}

// parseValue reads a ValueInfoProto.
func parseValue(value []byte) (name string, d declared, err error) {
	err = fields(value, func(field int, _ uint64, body []byte) error {
		switch field {
		case valueName:
			name = string(body)
		case valueType:
			return fields(body, func(field int, _ uint64, body []byte) error {
				if field != typeTensor {
					return nil
				}
				return d.parseTensor(body)
			})
		}
		return nil
	})
	return name, d, err
}

// parseTensor reads a TypeProto.Tensor.
func (d *declared) parseTensor(tensor []byte) error {
	return fields(tensor, func(field int, number uint64, shape []byte) error {
		switch field {
		case tensorElement:
			d.dtype = elementDTypes[number]
		case tensorShape:
			d.ranked = true
			return fields(shape, func(field int, _ uint64, body []byte) error {
				if field != shapeDim {
					return nil
				}
				n := dim{size: -1}
				err := fields(body, func(field int, number uint64, body []byte) error {
					switch field {
					case dimValue:
						n.size = int64(number)
					case dimParam:
						n.name = string(body)
					}
					return nil
				})
				d.shape = append(d.shape, n)
				return err
			})
		}
		return nil
	})
}

// fields gives each field of a protobuf message to visit: its number, and its
// value or its bytes.
func fields(message []byte, visit func(field int, number uint64, body []byte) error) error {
	for len(message) > 0 {
		field, wire, n := protowire.ConsumeTag(message)
		if n < 0 {
			return fmt.Errorf("not a valid protobuf message: %w", protowire.ParseError(n))
		}
		message = message[n:]
		var number uint64
		var body []byte
		switch wire {
		case protowire.VarintType:
			number, n = protowire.ConsumeVarint(message)
		case protowire.BytesType:
			body, n = protowire.ConsumeBytes(message)
		default:
			n = protowire.ConsumeFieldValue(field, wire, message)
		}
		if n < 0 {
			return fmt.Errorf("not a valid protobuf message: %w", protowire.ParseError(n))
		}
		message = message[n:]
		if err := visit(int(field), number, body); err != nil {
			return err
		}
	}
	return nil
}

// check reports names that the graph does not have.
func (s signature) check(inputs, outputs []string) error {
	for _, name := range inputs {
		if _, ok := s.inputs[name]; !ok {
			return fmt.Errorf("the graph has no input %q", name)
		}
	}
	for _, name := range outputs {
		if _, ok := s.outputs[name]; !ok {
			return fmt.Errorf("the graph has no output %q", name)
		}
	}
	return nil
}

// bind finds the numbers that the names in the inputs' shapes stand for.
func (s signature) bind(names []string, inputs []Tensor) map[string]int64 {
	bound := map[string]int64{}
	for i, name := range names {
		for j, d := range s.inputs[name].shape {
			if d.name != "" && j < len(inputs[i].Shape) {
				bound[d.name] = inputs[i].Shape[j]
			}
		}
	}
	return bound
}

// resolve is the shape that the graph will compute, where its names are bound.
func (d declared) resolve(bound map[string]int64) (shape []int64, ok bool) {
	if !d.ranked || d.dtype == Undefined {
		return nil, false
	}
	shape = make([]int64, len(d.shape))
	for i, n := range d.shape {
		shape[i] = n.size
		if n.size < 0 {
			if shape[i], ok = bound[n.name]; !ok {
				return nil, false
			}
		}
	}
	return shape, true
}
