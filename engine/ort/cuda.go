package ort

import (
	"errors"
	"fmt"
	"strings"
)

// EnvCUDALibraries is the environment variable that lists folders, separated
// like those of PATH, in which the libraries of CUDA are looked for after the
// system's own places: those of pip's nvidia packages, say.
const EnvCUDALibraries = "DENSEREWARD_CUDA_LIBRARIES"

// ErrNoCUDA is returned when a session asks for CUDA and this machine has no driver,
// no such device, or lacks one of CUDA's libraries. The error names it.
var ErrNoCUDA = errors.New("cuda is not available")

// Device is an NVIDIA GPU that this process may use.
type Device struct {
	Index  int // as Provider.Device counts; CUDA_VISIBLE_DEVICES applies
	Name   string
	Memory int64 // bytes
}

// String describes the device in one line.
func (d Device) String() string {
	return fmt.Sprintf("cuda:%d %s, %.0f GiB", d.Index, d.Name, float64(d.Memory)/(1<<30))
}

// Providers lists where sessions of this runtime can run: the CPU, and each
// GPU where the library was provisioned with CUDA.
func (r *Runtime) Providers() []Provider {
	providers := []Provider{{Kind: CPU}}
	if !r.library.CUDA {
		return providers
	}
	devices, err := Devices()
	if err != nil {
		return providers
	}
	for _, d := range devices {
		providers = append(providers, Provider{Kind: CUDA, Device: d.Index})
	}
	return providers
}

// whatIs says what a library of CUDA is and which pip package brings it.
var whatIs = []struct{ prefix, text string }{
	{"libcudart.", "the CUDA runtime (pip: nvidia-cuda-runtime)"},
	{"libcublasLt.", "cuBLAS's lightweight part (pip: nvidia-cublas)"},
	{"libcublas.", "cuBLAS (pip: nvidia-cublas)"},
	{"libcurand.", "cuRAND (pip: nvidia-curand)"},
	{"libcufft.", "cuFFT (pip: nvidia-cufft)"},
	{"libcudnn.", "cuDNN, for convolutions (pip: nvidia-cudnn-cu13)"},
	{"libcuda.", "the NVIDIA driver"},
}

// missingError names every library that the CUDA provider needs and this
// machine lacks, and what to do about it.
func missingError(missing []string) error {
	var text strings.Builder
	for _, name := range missing {
		what := "a system library"
		for _, w := range whatIs {
			if strings.HasPrefix(name, w.prefix) {
				what = w.text
			}
		}
		fmt.Fprintf(&text, "\n  %s: %s", name, what)
	}
	return fmt.Errorf("%w: the provider needs libraries that are not found:%s\n"+
		"install them, or list their folders in the environment variable %s", ErrNoCUDA, &text, EnvCUDALibraries)
}
