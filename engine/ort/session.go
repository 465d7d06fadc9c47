package ort

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	onnx "github.com/yalue/onnxruntime_go"
)

// Session is a graph that is ready to run. It is safe for concurrent use: runs
// share the weights and, on a CPU, the threads.
type Session struct {
	inputs, outputs []string
	signature       signature
	live            atomic.Int64 // the runtime's values at hand; 0 between runs
	threads         *threads     // those that run it; nil where any may
	load            func() (*onnx.DynamicAdvancedSession, error)

	// mu is held for reading by every run, so that Close and Unload wait for
	// them.
	mu      sync.RWMutex
	session *onnx.DynamicAdvancedSession // nil while unloaded
	closed  bool
}

// NewSession loads an ONNX model, the bytes of a ModelProto. Inputs and outputs
// name the graph's tensors in the order in which Run takes and returns them.
// Failing to allocate the weights is an ErrOutOfMemory, failing to start the
// CUDA provider an ErrNoCUDA.
func (r *Runtime) NewSession(model []byte, inputs, outputs []string, o SessionOptions) (*Session, error) {
	if len(inputs) == 0 || len(outputs) == 0 {
		return nil, errors.New("a session needs at least one input and one output")
	}
	declares, err := parseSignature(model)
	if err != nil {
		return nil, err
	}
	if err := declares.check(inputs, outputs); err != nil {
		return nil, err
	}
	if r.closed.Load() {
		return nil, fmt.Errorf("runtime: %w", ErrClosed)
	}
	s := &Session{inputs: inputs, outputs: outputs, signature: declares}
	s.load = func() (*onnx.DynamicAdvancedSession, error) { return r.newSession(model, inputs, outputs, o) }
	if o.Provider.Kind == CUDA {
		s.threads = &threads{}
	}
	if err := s.open(); err != nil {
		s.threads.close()
		return nil, err
	}
	return s, nil
}

// open loads the graph; mu is held, or nobody has s yet.
func (s *Session) open() (err error) {
	s.threads.do(func() { s.session, err = s.load() })
	if err != nil {
		s.session = nil
		return fmt.Errorf("creating session: %w", classify(err))
	}
	return nil
}

func (r *Runtime) newSession(model []byte, inputs, outputs []string, o SessionOptions) (*onnx.DynamicAdvancedSession, error) {
	if o.Provider.Kind == CUDA {
		if err := checkCUDA(r.library.Path, o.Provider.Device); err != nil {
			return nil, err
		}
	}
	options, err := onnx.NewSessionOptions()
	if err != nil {
		return nil, err
	}
	defer func() { _ = options.Destroy() }()
	if err := errors.Join(o.apply(options), o.unchanged()); err != nil {
		return nil, err
	}
	if o.CustomOperators {
		if err := r.addOperators(options, o); err != nil {
			return nil, err
		}
	}
	session, err := onnx.NewDynamicAdvancedSessionWithONNXData(model, inputs, outputs, options)
	if err != nil {
		return nil, err
	}
	if err := o.unchanged(); err != nil {
		return nil, errors.Join(err, session.Destroy())
	}
	return session, nil
}

// Run evaluates the graph. Inputs are read in place and must not change until
// Run returns; outputs are the caller's own. When ctx is done the run stops
// after the operator at hand and ctx's error is returned; running out of memory
// is an ErrOutOfMemory.
//
// An output whose declared shape the inputs determine is written where the
// caller finds it; any other is copied once. An output of type float16 or
// bfloat16 must be of the first sort, since onnxruntime_go cannot copy it.
func (s *Session) Run(ctx context.Context, inputs []Tensor) ([]Tensor, error) {
	if err := s.checkInputs(inputs); err != nil {
		return nil, err
	}
	tensors, err := s.allocate(inputs)
	if err != nil {
		return nil, err
	}
	if err := s.run(ctx, inputs, tensors); err != nil {
		return nil, err
	}
	return tensors, nil
}

// RunInto is Run with the memory of every output given by the caller: the
// runtime writes into outputs' Data, whose types and shapes must be those that
// the graph computes.
func (s *Session) RunInto(ctx context.Context, inputs, outputs []Tensor) error {
	if err := s.checkInputs(inputs); err != nil {
		return err
	}
	if len(outputs) != len(s.outputs) {
		return fmt.Errorf("%d outputs given, the session has %d: %v", len(outputs), len(s.outputs), s.outputs)
	}
	for i, t := range outputs {
		if err := t.check(); err != nil {
			return fmt.Errorf("output %s: %w", s.outputs[i], err)
		}
	}
	return s.run(ctx, inputs, outputs)
}

func (s *Session) checkInputs(inputs []Tensor) error {
	if len(inputs) != len(s.inputs) {
		return fmt.Errorf("%d inputs given, the session has %d: %v", len(inputs), len(s.inputs), s.inputs)
	}
	for i, t := range inputs {
		if err := t.check(); err != nil {
			return fmt.Errorf("input %s: %w", s.inputs[i], err)
		}
	}
	return nil
}

// allocate makes the outputs whose shapes follow from the inputs'. Those that
// the runtime must allocate stay undefined.
func (s *Session) allocate(inputs []Tensor) ([]Tensor, error) {
	tensors := make([]Tensor, len(s.outputs))
	bound := s.signature.bind(s.inputs, inputs)
	for i, name := range s.outputs {
		d := s.signature.outputs[name]
		shape, ok := d.resolve(bound)
		if !ok {
			if d.dtype.Size() == 2 && d.dtype != Int16 && d.dtype != Uint16 {
				return nil, fmt.Errorf("output %s: %s of a shape that only the run knows; cast it in the graph", name, d.dtype)
			}
			continue
		}
		var err error
		if tensors[i], err = Empty(d.dtype, shape...); err != nil {
			return nil, fmt.Errorf("output %s: %w", name, err)
		}
	}
	return tensors, nil
}

// run evaluates the graph into outputs and fills in those that are undefined.
func (s *Session) run(ctx context.Context, inputs, outputs []Tensor) error {
	if err := s.acquire(ctx); err != nil {
		return err
	}
	defer s.mu.RUnlock()
	owned := values{live: &s.live}
	defer owned.release()
	in := make([]onnx.Value, len(inputs))
	for i, t := range inputs {
		var err error
		if in[i], err = owned.wrap(t); err != nil {
			return fmt.Errorf("input %s: %w", s.inputs[i], err)
		}
	}
	out := make([]onnx.Value, len(outputs))
	for i, t := range outputs {
		if t.DType == Undefined {
			continue
		}
		var err error
		if out[i], err = owned.wrap(t); err != nil {
			return fmt.Errorf("output %s: %w", s.outputs[i], err)
		}
	}
	err := s.runCancellable(ctx, in, out)
	for i := range outputs {
		if outputs[i].DType == Undefined && out[i] != nil {
			owned.own(out[i])
		}
	}
	if err != nil {
		return err
	}
	for i := range outputs {
		if err := unwrap(out[i], &outputs[i]); err != nil {
			return fmt.Errorf("output %s: %w", s.outputs[i], err)
		}
	}
	return nil
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
	s.threads.do(func() { err = s.session.RunWithOptions(in, out, options) })
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

// acquire holds mu for reading, with the graph loaded, unless it fails.
func (s *Session) acquire(ctx context.Context) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		s.mu.RLock()
		switch {
		case s.closed:
			s.mu.RUnlock()
			return fmt.Errorf("session: %w", ErrClosed)
		case s.session != nil:
			return nil
		}
		s.mu.RUnlock()
		if err := s.reopen(); err != nil {
			return err
		}
	}
}

// reopen loads the graph of a session that was unloaded.
func (s *Session) reopen() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.session != nil { // somebody was faster
		return nil
	}
	return s.open()
}

// Unload waits for the runs at hand and frees the graph and its weights. The next
// run loads them again, which takes as long as NewSession; files of weights must
// be what they were. It is the one way to give a device all memory back that the
// session's arena has gathered: a run that ran out of memory leaves the device
// full, which fails whatever else needs memory there, be it a handle of cuBLAS's
// for this very session.
func (s *Session) Unload() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.free()
}

// free destroys the runtime's session, if there is one; mu is held.
func (s *Session) free() error {
	if s.session == nil {
		return nil
	}
	err := s.session.Destroy()
	s.session = nil
	return err
}

// Close waits for the runs at hand and frees the graph and its weights. Closing
// twice is harmless.
func (s *Session) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.free()
	s.closed = true
	s.threads.close()
	return err
}
