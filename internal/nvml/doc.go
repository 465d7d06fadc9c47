// Package nvml asks NVIDIA's management library how much memory GPUs have in use. It
// loads the library when it is there, so that nothing needs it.
package nvml

// Memory is that of one GPU, in bytes.
type Memory struct {
	Used, Total uint64
}
