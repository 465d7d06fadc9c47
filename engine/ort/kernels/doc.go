// Package kernels are ONNX Runtime's custom operators of the domain "densereward": what
// graphs on an NVIDIA GPU spend on element-wise work, several operators of it in one
// kernel each. Package onnx has them as typed operators, with plain nodes in their place
// where they do not run.
//
// The kernels are CUDA C++ (kernels.cu), committed beside the PTX text that they compile
// to (build.sh makes it), which the driver compiles for the card at hand when a session
// loads: compute capability 8.0 and up, no compiler and no library of CUDA's. Those of
// eight bits (fp8.cu) need 8.9 and, for products, the cuBLASLt that the runtime's CUDA
// provider brings. They are launched on the session's own stream and keep no state, so that
// sessions, devices and runs may overlap. A launch that fails is the error of its run.
//
// It is the only package with C of its own, which engine/ort alone imports.
package kernels
