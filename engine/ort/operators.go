package ort

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/denseflow/densereward/engine/ort/kernels"
	onnx "github.com/yalue/onnxruntime_go"
)

// ErrNoOperators is returned where sessions cannot have this project's own operators.
var ErrNoOperators = errors.New("custom operators are not available")

// LoadOperators compiles the kernels of the custom operators for a provider's device, once
// a process: where it returns nil, graphs of sessions there may have them. The error is an
// ErrNoOperators.
func (r *Runtime) LoadOperators(p Provider) error {
	if p.Kind != CUDA {
		return fmt.Errorf("%w on %v", ErrNoOperators, p)
	}
	if err := kernels.Load(p.Device); err != nil {
		return fmt.Errorf("%w on %v: %w", ErrNoOperators, p, err)
	}
	return nil
}

// LoadFP8 is LoadOperators for the operators of eight bits. The error says what the device
// or its libraries lack.
func (r *Runtime) LoadFP8(p Provider) error {
	err := fmt.Errorf("%v is no NVIDIA GPU", p)
	if p.Kind == CUDA {
		if err = checkCUDA(r.library.Path, p.Device); err == nil {
			err = kernels.LoadFP8(p.Device)
		}
	}
	if err != nil {
		return fmt.Errorf("products in eight bits (fp8) on %v: %w: %w", p, ErrNoOperators, err)
	}
	return nil
}

// addOperators puts the domain of the custom operators into a session's options.
func (r *Runtime) addOperators(to *onnx.SessionOptions, o SessionOptions) error {
	if !kernels.Emulated() {
		if err := r.LoadOperators(o.Provider); err != nil {
			return err
		}
		if o.EightBit {
			if err := r.LoadFP8(o.Provider); err != nil {
				return err
			}
		}
	}
	base, err := apiBase(r.library.Path)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoOperators, err)
	}
	if err := kernels.Register(pointer(to), base); err != nil {
		return fmt.Errorf("%w: %w", ErrNoOperators, err)
	}
	return nil
}

// pointer is the OrtSessionOptions that onnxruntime_go v1.27 has as the one field of its
// SessionOptions and offers no way to.
func pointer(o *onnx.SessionOptions) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(o)) }
