package ort

import (
	"errors"
	"testing"

	"github.com/denseflow/densereward/reward"
)

// The texts are those of ONNX Runtime 1.29 with CUDA 13 and cuDNN 9, shortened.
func TestWhatTheRuntimeSaysOfMemoryIsUnderstood(t *testing.T) {
	for name, test := range map[string]struct {
		text string
		want bool
	}{
		"the arena":       {"while running Mul node. Status Message: bfc_arena.cc:359 Failed to allocate memory for requested buffer of size 6482038784", true},
		"CUDA":            {"CUDA failure 2: out of memory ; GPU=0 ; expr=cudaMalloc((void**)&p, size);", true},
		"cuBLAS":          {"CUBLAS failure 3: the resource allocation failed ; GPU=0 ; file=cuda_stream_handle.cc ; line=79 ; expr=cublasCreate(&cublas_handle_);", true},
		"cuBLAS before":   {"CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0 ; expr=cublasCreate(&cublas_handle_);", true},
		"cuDNN":           {"CUDNN failure 4006: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED ; GPU=0 ; expr=cudnnCreate(&cudnn_handle_);", true},
		"another failure": {"CUBLAS failure 13: the GPU program failed to execute ; GPU=0", false},
	} {
		t.Run(name, func(t *testing.T) {
			err := classify(errors.New(test.text))
			if got := errors.Is(err, ErrOutOfMemory); got != test.want {
				t.Errorf("out of memory: %t", got)
			}
			if got := errors.Is(err, reward.ErrOutOfMemory); got != test.want {
				t.Errorf("out of memory as the scheduler knows it: %t", got)
			}
		})
	}
	if classify(nil) != nil {
		t.Error("success became an error")
	}
}
