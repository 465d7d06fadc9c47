// The driver of NVIDIA's cards, found when it is first needed.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "operators.h"

#define DECLARE(name, symbol, parameters) static CUresult(*name) parameters;
DRIVER_FUNCTIONS(DECLARE)

static const char *const names[KERNELS] = {"swiglu", "rotate_halves", "rotate_pairs", "argmax", "channel_norm", "quantize_rows", "quantize_swiglu", "quantize_norm"};

// parts are where the kernels of each part begin and end.
static const int parts[PARTS][2] = {{0, HALF_KERNELS}, {HALF_KERNELS, KERNELS}};

enum { MOST_DEVICES = 64 };

struct module {
	CUcontext context;
	CUfunction functions[KERNELS];
	struct products *products;
	bool loaded[PARTS];
};

// Modules stay: a context that sessions share has one, and lives as long as the process.
static struct module modules[MOST_DEVICES];
static int count;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static int opened;

static const char *open_driver(void) {
	if (opened) return NULL;
	void *library = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_GLOBAL);
	if (!library) return dlerror();
#define FIND(name, symbol, parameters) \
	if (!(name = (CUresult(*) parameters)dlsym(library, symbol))) return "the driver lacks " symbol;
	DRIVER_FUNCTIONS(FIND)
	opened = 1;
	return NULL;
}

static int failed(CUresult code, const char *what, char *message, size_t size) {
	const char *text = NULL;
	if (!code) return 0;
	if (cuGetErrorString(code, &text) || !text) text = "unknown";
	snprintf(message, size, "%s: cuda error %d (%s)", what, code, text);
	return 1;
}

static struct module *module_of(CUcontext context) {
	for (int i = 0; i < count; i++)
		if (modules[i].context == context) return &modules[i];
	return NULL;
}

// load puts a part into the module of the context that is current.
static int load(CUcontext context, enum part part, const char *ptx, char *message, size_t size) {
	struct module *m = module_of(context);
	CUmodule module;
	if (m && m->loaded[part]) return 0;
	if (!m && count == MOST_DEVICES) {
		snprintf(message, size, "more than %d devices", MOST_DEVICES);
		return 1;
	}
	if (!m) {
		m = &modules[count++];
		m->context = context;
	}
	if (failed(cuModuleLoadData(&module, ptx), "compiling the kernels", message, size)) return 1;
	for (int k = parts[part][0]; k < parts[part][1]; k++)
		if (failed(cuModuleGetFunction(&m->functions[k], module, names[k]), names[k], message, size)) return 1;
	if (part == EIGHT_BIT_PART && !m->products && !(m->products = products_open(m, message, size))) return 1;
	m->loaded[part] = true;
	return 0;
}

// too_old says so of a device that knows no e4m3.
static int too_old(CUdevice device, enum part part, char *message, size_t size) {
	int major, minor;
	if (part != EIGHT_BIT_PART) return 0;
	if (failed(cuDeviceGetAttribute(&major, COMPUTE_CAPABILITY_MAJOR, device), "asking for the compute capability", message, size) ||
	    failed(cuDeviceGetAttribute(&minor, COMPUTE_CAPABILITY_MINOR, device), "asking for the compute capability", message, size))
		return 1;
	if (10 * major + minor >= 89) return 0;
	snprintf(message, size, "the device has compute capability %d.%d, eight-bit products need 8.9", major, minor);
	return 1;
}

int launcher_load(int device, enum part part, const char *ptx, char *message, size_t size) {
	CUdevice handle;
	CUcontext context, popped;
	int bad = 1;
	pthread_mutex_lock(&mutex);
	const char *missing = open_driver();
	if (missing) {
		snprintf(message, size, "no NVIDIA driver: %s", missing);
	} else if (!failed(cuInit(0), "starting the driver", message, size) && !failed(cuDeviceGet(&handle, device), "finding the device", message, size) &&
	           !too_old(handle, part, message, size) && !failed(cuDevicePrimaryCtxRetain(&context, handle), "making a context", message, size)) {
		// The context is kept, as the module in it is: sessions of the device use it as well.
		if (!failed(cuCtxPushCurrent(context), "entering the context", message, size)) {
			bad = load(context, part, ptx, message, size);
			cuCtxPopCurrent(&popped);
		}
		if (bad) cuDevicePrimaryCtxRelease(handle);
	}
	pthread_mutex_unlock(&mutex);
	return bad;
}

struct products *launcher_products(const struct module *on) { return on->products; }

const struct module *launcher_module(enum part part) {
	CUcontext context;
	const struct module *found = NULL;
	pthread_mutex_lock(&mutex);
	if (opened && !cuCtxGetCurrent(&context)) found = module_of(context);
	if (found && !found->loaded[part]) found = NULL;
	pthread_mutex_unlock(&mutex);
	return found;
}

static int worded(CUresult code, const char **text) {
	if (code && (cuGetErrorString(code, text) || !*text)) *text = "unknown";
	return code;
}

int launcher_take(const struct module *on, size_t bytes, void **memory, const char **text) {
	CUpointer p = 0;
	if (on) {
		int code = worded(cuMemAlloc(&p, bytes), text);
		*memory = (void *)p;
		return code;
	}
	*text = "out of memory";
	return (*memory = malloc(bytes)) ? 0 : 1;
}

void launcher_free(const struct module *on, void *memory) {
	CUcontext popped;
	if (!on) free(memory);
	if (!on || !memory || cuCtxPushCurrent(on->context)) return; // sessions are closed on any thread
	cuMemFree((CUpointer)memory);
	cuCtxPopCurrent(&popped);
}

int launcher_wait(const struct module *on, void *stream, const char **text) { return on ? worded(cuStreamSynchronize((CUstream)stream), text) : 0; }

int launcher_run(const struct module *on, const struct launch *l, void *stream, const char **text) {
	return worded(cuLaunchKernel(on->functions[l->kernel], l->columns, l->rows, 1, l->threads, 1, 1, l->shared, (CUstream)stream, l->arguments, NULL), text);
}
