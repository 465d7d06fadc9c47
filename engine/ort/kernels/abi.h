// The part of the C interfaces of ONNX Runtime, of NVIDIA's driver and of its cuBLASLt that the
// custom operators call. They are binary interfaces that only grow: positions in the table of
// functions and the layout of OrtCustomOp stay. A test compares them with the header that
// onnxruntime_go brings.
#ifndef ABI_H
#define ABI_H

#include <stddef.h>
#include <stdint.h>

typedef struct OrtStatus OrtStatus;
typedef struct OrtSessionOptions OrtSessionOptions;
typedef struct OrtCustomOpDomain OrtCustomOpDomain;
typedef struct OrtKernelInfo OrtKernelInfo;
typedef struct OrtKernelContext OrtKernelContext;
typedef struct OrtValue OrtValue;
typedef struct OrtTensorTypeAndShapeInfo OrtTensorTypeAndShapeInfo;
typedef struct OrtApi OrtApi;

typedef struct {
	const OrtApi *(*GetApi)(uint32_t version);
	const char *(*GetVersionString)(void);
} OrtApiBase;

// ABI_VERSION is the first version of the interface that has all of this.
#define ABI_VERSION 18

enum { ORT_FAIL = 1, ORT_INVALID_ARGUMENT = 2 };
enum { TYPE_FLOAT = 1, TYPE_UINT8 = 2, TYPE_INT64 = 7, TYPE_BOOL = 9, TYPE_FLOAT16 = 10, TYPE_BFLOAT16 = 16, TYPE_E4M3 = 17 };
enum { INPUT_OUTPUT_REQUIRED, INPUT_OUTPUT_OPTIONAL, INPUT_OUTPUT_VARIADIC };
enum { MEMORY_CPU_INPUT = -2, MEMORY_DEFAULT = 0 };

typedef struct OrtCustomOp OrtCustomOp;
struct OrtCustomOp {
	uint32_t version;
	void *(*CreateKernel)(const OrtCustomOp *, const OrtApi *, const OrtKernelInfo *);
	const char *(*GetName)(const OrtCustomOp *);
	const char *(*GetExecutionProviderType)(const OrtCustomOp *);
	int (*GetInputType)(const OrtCustomOp *, size_t);
	size_t (*GetInputTypeCount)(const OrtCustomOp *);
	int (*GetOutputType)(const OrtCustomOp *, size_t);
	size_t (*GetOutputTypeCount)(const OrtCustomOp *);
	void (*KernelCompute)(void *, OrtKernelContext *);
	void (*KernelDestroy)(void *);
	int (*GetInputCharacteristic)(const OrtCustomOp *, size_t);
	int (*GetOutputCharacteristic)(const OrtCustomOp *, size_t);
	int (*GetInputMemoryType)(const OrtCustomOp *, size_t);
	int (*GetVariadicInputMinArity)(const OrtCustomOp *);
	int (*GetVariadicInputHomogeneity)(const OrtCustomOp *);
	int (*GetVariadicOutputMinArity)(const OrtCustomOp *);
	int (*GetVariadicOutputHomogeneity)(const OrtCustomOp *);
	OrtStatus *(*CreateKernelV2)(const OrtCustomOp *, const OrtApi *, const OrtKernelInfo *, void **);
	OrtStatus *(*KernelComputeV2)(void *, OrtKernelContext *);
	void *InferOutputShapeFn, *GetStartVersion, *GetEndVersion, *GetMayInplace, *ReleaseMayInplace, *GetAliasMap, *ReleaseAliasMap;
};

// ORT_FUNCTIONS lists each function with its place in OrtApi and its type.
#define ORT_FUNCTIONS(F) \
	F(CreateStatus, 0, OrtStatus *, (int, const char *)) \
	F(CreateCustomOpDomain, 26, OrtStatus *, (const char *, OrtCustomOpDomain **)) \
	F(CustomOpDomain_Add, 27, OrtStatus *, (OrtCustomOpDomain *, const OrtCustomOp *)) \
	F(AddCustomOpDomain, 28, OrtStatus *, (OrtSessionOptions *, OrtCustomOpDomain *)) \
	F(GetTensorMutableData, 51, OrtStatus *, (OrtValue *, void **)) \
	F(GetDimensionsCount, 61, OrtStatus *, (const OrtTensorTypeAndShapeInfo *, size_t *)) \
	F(GetDimensions, 62, OrtStatus *, (const OrtTensorTypeAndShapeInfo *, int64_t *, size_t)) \
	F(GetTensorTypeAndShape, 65, OrtStatus *, (const OrtValue *, OrtTensorTypeAndShapeInfo **)) \
	F(GetErrorMessage, 2, const char *, (const OrtStatus *)) \
	F(KernelInfoGetAttribute_float, 85, OrtStatus *, (const OrtKernelInfo *, const char *, float *)) \
	F(KernelInfoGetAttribute_int64, 86, OrtStatus *, (const OrtKernelInfo *, const char *, int64_t *)) \
	F(KernelContext_GetInputCount, 88, OrtStatus *, (const OrtKernelContext *, size_t *)) \
	F(KernelContext_GetOutputCount, 89, OrtStatus *, (const OrtKernelContext *, size_t *)) \
	F(KernelContext_GetInput, 90, OrtStatus *, (const OrtKernelContext *, size_t, const OrtValue **)) \
	F(KernelContext_GetOutput, 91, OrtStatus *, (OrtKernelContext *, size_t, const int64_t *, size_t, OrtValue **)) \
	F(ReleaseStatus, 93, void, (OrtStatus *)) \
	F(ReleaseTensorTypeAndShapeInfo, 99, void, (OrtTensorTypeAndShapeInfo *)) \
	F(KernelContext_GetGPUComputeStream, 193, OrtStatus *, (const OrtKernelContext *, void **))

// The driver's results and handles.
typedef int CUresult;
typedef struct CUctx_st *CUcontext;
typedef struct CUmod_st *CUmodule;
typedef struct CUfunc_st *CUfunction;
typedef struct CUstream_st *CUstream;
typedef int CUdevice;
typedef unsigned long long CUpointer;

#define DRIVER_FUNCTIONS(F) \
	F(cuInit, "cuInit", (unsigned)) \
	F(cuDeviceGet, "cuDeviceGet", (CUdevice *, int)) \
	F(cuDevicePrimaryCtxRetain, "cuDevicePrimaryCtxRetain", (CUcontext *, CUdevice)) \
	F(cuDevicePrimaryCtxRelease, "cuDevicePrimaryCtxRelease_v2", (CUdevice)) \
	F(cuCtxPushCurrent, "cuCtxPushCurrent_v2", (CUcontext)) \
	F(cuCtxPopCurrent, "cuCtxPopCurrent_v2", (CUcontext *)) \
	F(cuCtxGetCurrent, "cuCtxGetCurrent", (CUcontext *)) \
	F(cuModuleLoadData, "cuModuleLoadData", (CUmodule *, const void *)) \
	F(cuModuleGetFunction, "cuModuleGetFunction", (CUfunction *, CUmodule, const char *)) \
	F(cuLaunchKernel, "cuLaunchKernel", (CUfunction, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, CUstream, void **, void **)) \
	F(cuGetErrorString, "cuGetErrorString", (CUresult, const char **)) \
	F(cuDeviceGetAttribute, "cuDeviceGetAttribute", (int *, int, CUdevice)) \
	F(cuMemAlloc, "cuMemAlloc_v2", (CUpointer *, size_t)) \
	F(cuMemFree, "cuMemFree_v2", (CUpointer)) \
	F(cuStreamSynchronize, "cuStreamSynchronize", (CUstream))

enum { COMPUTE_CAPABILITY_MAJOR = 75, COMPUTE_CAPABILITY_MINOR = 76 }; // attributes of a device

// cuBLASLt's handles, of which the descriptors are what it makes itself.
typedef struct lt_handle *lt_handle;
typedef struct lt_desc *lt_desc;
typedef struct lt_layout *lt_layout;
typedef struct lt_preference *lt_preference;

typedef struct { uint64_t data[8]; } lt_algorithm;

typedef struct {
	lt_algorithm algorithm;
	size_t workspace;
	int state;
	float waves;
	int reserved[4];
} lt_heuristic;

enum { LT_COMPUTE_FLOAT = 68, LT_FLOAT = 0, LT_BFLOAT16 = 14, LT_E4M3 = 28, LT_TRANSPOSED = 1, LT_SCALES_OF_ROWS = 3 };
enum { LT_TRANSPOSE_A = 3, LT_SCALES_A = 17, LT_SCALES_B = 18, LT_FAST_SUMS = 25, LT_SCALE_MODE_A = 31, LT_SCALE_MODE_B = 32 }; // attributes of a descriptor
enum { LT_WORKSPACE = 1 };                                                                                                       // of a preference

#define LT_FUNCTIONS(F) \
	F(cublasLtGetVersion, size_t, (void)) \
	F(cublasLtCreate, int, (lt_handle *)) \
	F(cublasLtMatmulDescCreate, int, (lt_desc *, int, int)) \
	F(cublasLtMatmulDescDestroy, int, (lt_desc)) \
	F(cublasLtMatmulDescSetAttribute, int, (lt_desc, int, const void *, size_t)) \
	F(cublasLtMatrixLayoutCreate, int, (lt_layout *, int, uint64_t, uint64_t, int64_t)) \
	F(cublasLtMatrixLayoutDestroy, int, (lt_layout)) \
	F(cublasLtMatmulPreferenceCreate, int, (lt_preference *)) \
	F(cublasLtMatmulPreferenceDestroy, int, (lt_preference)) \
	F(cublasLtMatmulPreferenceSetAttribute, int, (lt_preference, int, const void *, size_t)) \
	F(cublasLtMatmulAlgoGetHeuristic, int, (lt_handle, lt_desc, lt_layout, lt_layout, lt_layout, lt_layout, lt_preference, int, lt_heuristic *, int *)) \
	F(cublasLtMatmul, int, (lt_handle, lt_desc, const void *, const void *, lt_layout, const void *, lt_layout, const void *, const void *, lt_layout, void *, lt_layout, const lt_algorithm *, void *, size_t, CUstream))

#endif
