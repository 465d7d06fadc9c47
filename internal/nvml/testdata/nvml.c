/* Three GPUs with the interface of NVIDIA's management library; the third does not answer. */
#include <stdint.h>

typedef struct { uint64_t total, free, used; } memory;

int nvmlInit_v2(void) { return START; }
int nvmlDeviceGetCount_v2(unsigned int *n) { *n = 3; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **device) { *device = (void *)(uintptr_t)(index + 7); return 0; }
int nvmlDeviceGetMemoryInfo(void *device, memory *m) {
	uint64_t index = (uintptr_t)device - 7;
	if (index == 2) return 15; /* NVML_ERROR_GPU_IS_LOST */
	m->total = 80ull << 30;
	m->used = (index + 1) << 30;
	m->free = m->total - m->used;
	return 0;
}
