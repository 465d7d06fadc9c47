package ort

import (
	"context"
	"errors"
	"fmt"
	"sync"

	onnx "github.com/yalue/onnxruntime_go"
)

// Session is a graph that is ready to run. It is safe for concurrent use: runs
// share the weights and, on a CPU, the threads.
type Session struct {
	inputs, outputs []string

	// mu is held for reading by every run, so that Close waits for them.
	mu      sync.RWMutex
	session *onnx.DynamicAdvancedSession
}

// NewSession loads an ONNX model, the bytes of a ModelProto. Inputs and outputs
// name the graph's tensors in the order in which Run takes and returns them.
// Failing to allocate the weights is an ErrOutOfMemory.
func (r *Runtime) NewSession(model []byte, inputs, outputs []string, o SessionOptions) (*Session, error) {
	if len(inputs) == 0 || len(outputs) == 0 {
		return nil, errors.New("a session needs at least one input and one output")
	}
	if err := r.retain(); err != nil {
		return nil, err
	}
	session, err := newSession(model, inputs, outputs, o)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("creating session: %w", classify(err)), process.release())
	}
	return &Session{inputs: inputs, outputs: outputs, session: session}, nil
}

func newSession(model []byte, inputs, outputs []string, o SessionOptions) (*onnx.DynamicAdvancedSession, error) {
	options, err := onnx.NewSessionOptions()
	if err != nil {
		return nil, err
	}
	defer func() { _ = options.Destroy() }()
	if err := o.apply(options); err != nil {
		return nil, err
	}
	return onnx.NewDynamicAdvancedSessionWithONNXData(model, inputs, outputs, options)
}

// Run evaluates the graph. Inputs are read in place and must not change until
// Run returns; outputs are the caller's own. When ctx is done the run stops
// after the operator at hand and ctx's error is returned. An output of type
// float16 or bfloat16, or without dimensions, cannot be allocated for the
// caller (a limit of onnxruntime_go): cast it, or use RunInto.
func (s *Session) Run(ctx context.Context, inputs []Tensor) ([]Tensor, error) {
	out := make([]onnx.Value, len(s.outputs))
	defer func() {
		for _, value := range out {
			if value != nil {
				_ = value.Destroy() // the tensors below keep the memory, not the value
			}
		}
	}()
	if err := s.run(ctx, inputs, nil, out); err != nil {
		return nil, err
	}
	tensors := make([]Tensor, len(out))
	for i, value := range out {
		var err error
		if tensors[i], err = tensorOf(value); err != nil {
			return nil, fmt.Errorf("output %s: %w", s.outputs[i], err)
		}
	}
	return tensors, nil
}

// RunInto is Run with the memory of every output given by the caller: the
// runtime writes into outputs' Data, whose types and shapes must be those that
// the graph computes. It saves the copy that Run makes.
func (s *Session) RunInto(ctx context.Context, inputs, outputs []Tensor) error {
	if len(outputs) != len(s.outputs) {
		return fmt.Errorf("%d outputs given, the session has %d: %v", len(outputs), len(s.outputs), s.outputs)
	}
	return s.run(ctx, inputs, outputs, make([]onnx.Value, len(outputs)))
}

// run evaluates the graph into out. Where outputs is nil the runtime allocates.
func (s *Session) run(ctx context.Context, inputs, outputs []Tensor, out []onnx.Value) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(inputs) != len(s.inputs) {
		return fmt.Errorf("%d inputs given, the session has %d: %v", len(inputs), len(s.inputs), s.inputs)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.session == nil {
		return fmt.Errorf("session: %w", ErrClosed)
	}
	var owned values
	defer owned.release()
	in := make([]onnx.Value, len(inputs))
	for i, t := range inputs {
		var err error
		if in[i], err = owned.add(t); err != nil {
			return fmt.Errorf("input %s: %w", s.inputs[i], err)
		}
	}
	for i, t := range outputs {
		if len(t.Shape) == 0 {
			return fmt.Errorf("output %s: a tensor without dimensions cannot receive an output", s.outputs[i])
		}
		var err error
		if out[i], err = owned.add(t); err != nil {
			return fmt.Errorf("output %s: %w", s.outputs[i], err)
		}
	}
	return s.runCancellable(ctx, in, out)
}

// runCancellable raises the run's terminate flag when ctx is done.
func (s *Session) runCancellable(ctx context.Context, in, out []onnx.Value) error {
	options, err := onnx.NewRunOptions()
	if err != nil {
		return err
	}
	defer func() { _ = options.Destroy() }()
	raised := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(raised)
		_ = options.Terminate()
	})
	err = s.session.RunWithOptions(in, out, options)
	if !stop() {
		<-raised // options must outlive the call that sets their flag
	}
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return classify(err)
}

// Close waits for the runs at hand and frees the graph and its weights. Closing
// twice is harmless.
func (s *Session) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.session == nil {
		return nil
	}
	err := s.session.Destroy()
	s.session = nil
	return errors.Join(err, process.release())
}
