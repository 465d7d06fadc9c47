// The part of the C interfaces of ONNX Runtime and of NVIDIA's driver that the custom
// operators call. Both are binary interfaces that only grow: positions in the table of
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
enum { TYPE_FLOAT = 1, TYPE_INT64 = 7, TYPE_BOOL = 9, TYPE_FLOAT16 = 10, TYPE_BFLOAT16 = 16 };
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
	F(cuGetErrorString, "cuGetErrorString", (CUresult, const char **))

#endif
