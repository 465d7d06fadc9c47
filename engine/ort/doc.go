// Package ort runs ONNX graphs with ONNX Runtime: it opens the shared library
// and turns models into sessions. It uses cgo, by way of onnxruntime_go;
// package kernels beside it, which has custom operators for GPUs, has C of its own. Its
// telemetry is off.
//
// # The library
//
// Package provision finds the library, Open loads it. A process has one ONNX Runtime
// environment, so that every Runtime of a process shares one library, which
// stays loaded. For CUDA the provider's two libraries
// lie beside the core library, and CUDA's own (cudart, cublas, cublasLt,
// curand; cudnn for convolutions) where the system's loader or the environment
// variable DENSEREWARD_CUDA_LIBRARIES finds them.
//
// # Sessions
//
// A Session is safe for concurrent use. Each has its own threads and, on a GPU,
// its own arena and stream; sessions on several devices live side by side. A
// GPU's memory outlives a run within the session's arena: MemoryLimit bounds
// it, Unload gives it back. Runs end early with their context. Running out of
// memory is an ErrOutOfMemory and leaves the session usable, as every failed run
// does; on a GPU that it has filled, Unload makes room again.
//
// # Tensors
//
// A Tensor is row major, in host memory, and shares that memory with whoever
// made it; a run reads inputs and writes outputs in place, without a copy on
// the CPU, and moves them to and from a GPU. A run must not see its inputs
// change; its outputs belong to the caller.
//
// What onnxruntime_go v1.27 cannot do, and this package therefore does not
// offer: sessions without inputs, float16 and bfloat16 outputs of shapes that
// only the run knows, and values that stay on the device between runs (its
// bindings take host memory alone, and run without options to end them early).
// State that must stay on a GPU belongs into the graph, as in a Loop.
package ort
