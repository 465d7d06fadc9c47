package qwenvl

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/denseflow/densereward/engine/onnx"
	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/engine/safetensors"
)

// Session is a graph that is ready to run. It is safe for concurrent use.
type Session struct {
	*ort.Session
	Inputs, Outputs []string // names, in the order of the tensors
	cuda            bool
}

// OpenSession loads a graph for the weights of a checkpoint. Failing to allocate
// them is an ort.ErrOutOfMemory.
func OpenSession(runtime *ort.Runtime, g *onnx.Graph, weights *safetensors.Checkpoint, o ort.SessionOptions) (*Session, error) {
	model, err := g.Marshal()
	if err != nil {
		return nil, err
	}
	o.InitializersDir, o.Unchanged = weights.Folder(), weights.Unchanged
	o.CustomOperators, o.EightBit = g.Custom(), g.EightBit()
	s := &Session{Inputs: g.InputNames(), Outputs: g.OutputNames(), cuda: o.Provider.Kind == ort.CUDA}
	if s.Session, err = runtime.NewSession(model, s.Inputs, s.Outputs, o); err != nil {
		return nil, fmt.Errorf("loading the graph: %w", err)
	}
	return s, nil
}

// Run runs the graph on inputs by name. A GPU that ran out of memory is full of
// what the batch left behind, in pieces of its sizes: the session is unloaded, and
// loaded again in seconds by the next run, to have room for smaller batches and
// for the decoders of latents beside it.
func (s *Session) Run(ctx context.Context, inputs map[string]ort.Tensor) (map[string]ort.Tensor, error) {
	tensors := make([]ort.Tensor, len(s.Inputs))
	for i, name := range s.Inputs {
		tensors[i] = inputs[name]
	}
	results, err := s.Session.Run(ctx, tensors)
	if err != nil {
		if errors.Is(err, ort.ErrOutOfMemory) && s.cuda {
			err = errors.Join(err, s.Unload())
		}
		return nil, err
	}
	out := make(map[string]ort.Tensor, len(results))
	for i, name := range s.Outputs {
		out[name] = results[i]
	}
	return out, nil
}

// UsableOperators are the custom operators that a graph in half precision may have on a
// provider: those asked for, or, where nil is asked, all. Where the driver takes none, a
// graph has plain nodes in their place, and without says why.
func UsableOperators(runtime *ort.Runtime, p ort.Provider, asked *onnx.Operators) (use onnx.Operators, without error) {
	if asked != nil {
		return *asked, nil
	}
	if p.Kind != ort.CUDA {
		return 0, nil
	}
	if err := runtime.LoadOperators(p); err != nil {
		return 0, err
	}
	return onnx.AllOperators, nil
}

// Provider is p with what a graph needs whose activations are of type dtype:
// convolutions with channels last for half precision, and no TensorFloat-32 for
// what is to be exact.
func Provider(p ort.Provider, dtype onnx.DType) ort.Provider {
	if p.Kind != ort.CUDA {
		return p
	}
	options := map[string]string{"prefer_nhwc": "1"}
	if dtype == onnx.Float32 {
		options = map[string]string{"use_tf32": "0"}
	}
	maps.Copy(options, p.Options)
	p.Options = options
	return p
}
