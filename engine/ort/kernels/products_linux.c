// Products by cuBLASLt, which is there wherever ONNX Runtime's CUDA provider is: found
// among the libraries that are loaded, never linked.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "operators.h"

#define DECLARE(name, result, parameters) static result(*name) parameters;
LT_FUNCTIONS(DECLARE)

// A plan is how products of a shape are computed. Prompts differ in length, so that shapes
// come and go: the oldest plan makes room.
struct plan {
	int64_t rows, out, in;
	lt_desc desc;
	lt_layout w, x, y;
	lt_algorithm algorithm;
};

enum { PLANS = 512, WORKSPACE = 32 << 20 };

// products is those of a device. A plan's descriptor holds the pointers to scales of the
// product at hand: only one thread at a time has it.
struct products {
	const struct module *on;
	lt_handle handle;
	pthread_mutex_t mutex;
	struct plan plans[PLANS];
	int count, next;
	struct workspace *workspaces;
};

// A stream has a workspace, since its products follow each other. Streams are few, as many
// as runs at a time, and their addresses come again.
struct workspace {
	void *stream, *memory;
	struct workspace *next;
};

static pthread_mutex_t opening = PTHREAD_MUTEX_INITIALIZER;
static bool opened;

static const char *open_library(void) {
	static const char *const names[] = {"libcublasLt.so.13", "libcublasLt.so.12"};
	void *library = NULL;
	if (opened) return NULL;
	for (size_t i = 0; !library && i < sizeof names / sizeof *names; i++) library = dlopen(names[i], RTLD_LAZY | RTLD_GLOBAL);
	if (!library) return "libcublasLt is not found";
#define FIND(name, result, parameters) \
	if (!(name = (result(*) parameters)dlsym(library, #name))) return "libcublasLt lacks " #name;
	LT_FUNCTIONS(FIND)
	opened = true;
	return NULL;
}

static void discard(struct plan *p) {
	if (p->desc) cublasLtMatmulDescDestroy(p->desc);
	lt_layout layouts[] = {p->w, p->x, p->y};
	for (int i = 0; i < 3; i++)
		if (layouts[i]) cublasLtMatrixLayoutDestroy(layouts[i]);
	*p = (struct plan){0};
}

#define SET(desc, attribute, type, value) cublasLtMatmulDescSetAttribute(desc, attribute, &(type){value}, sizeof(type))

// describe makes a plan's descriptors. Matrices are column-major there: the transpose of y
// (out,rows) is w' (in,out), transposed, times x' (in,rows).
static int describe(struct plan *p) {
	int code;
	if ((code = cublasLtMatmulDescCreate(&p->desc, LT_COMPUTE_FLOAT, LT_FLOAT)) || (code = SET(p->desc, LT_TRANSPOSE_A, int32_t, LT_TRANSPOSED)) ||
	    (code = cublasLtMatrixLayoutCreate(&p->w, LT_E4M3, (uint64_t)p->in, (uint64_t)p->out, p->in)) ||
	    (code = cublasLtMatrixLayoutCreate(&p->x, LT_E4M3, (uint64_t)p->in, (uint64_t)p->rows, p->in)) ||
	    (code = cublasLtMatrixLayoutCreate(&p->y, LT_BFLOAT16, (uint64_t)p->out, (uint64_t)p->rows, p->out)))
		return code;
	if ((code = SET(p->desc, LT_FAST_SUMS, int8_t, 1)) || (code = SET(p->desc, LT_SCALE_MODE_A, int32_t, LT_SCALES_OF_ROWS))) return code;
	return SET(p->desc, LT_SCALE_MODE_B, int32_t, LT_SCALES_OF_ROWS);
}

static int point(struct plan *p, const void *w_scales, const void *x_scales) {
	int code = SET(p->desc, LT_SCALES_A, const void *, w_scales);
	return code ? code : SET(p->desc, LT_SCALES_B, const void *, x_scales);
}

enum { NOT_SUPPORTED = 15 };

// choose finds an algorithm for a plan.
static int choose(struct products *l, struct plan *p) {
	lt_preference preference;
	lt_heuristic found;
	int n = 0, code = cublasLtMatmulPreferenceCreate(&preference);
	if (code) return code;
	code = cublasLtMatmulPreferenceSetAttribute(preference, LT_WORKSPACE, &(uint64_t){WORKSPACE}, sizeof(uint64_t));
	if (!code) code = cublasLtMatmulAlgoGetHeuristic(l->handle, p->desc, p->w, p->x, p->y, p->y, preference, 1, &found, &n);
	cublasLtMatmulPreferenceDestroy(preference);
	if (code || !n) return code ? code : NOT_SUPPORTED;
	p->algorithm = found.algorithm;
	return found.state;
}

// planned is the plan of a product's shape.
static int planned(struct products *l, const struct product *of, struct plan **plan) {
	for (int i = 0; i < l->count; i++) {
		struct plan *p = &l->plans[i];
		if (p->rows == of->rows && p->out == of->out && p->in == of->in) {
			*plan = p;
			return 0;
		}
	}
	struct plan *p = *plan = &l->plans[l->next];
	discard(p);
	*p = (struct plan){.rows = of->rows, .out = of->out, .in = of->in};
	int code = describe(p);
	if (!code) code = point(p, of->w_scales, of->x_scales); // whose alignment the choice depends on
	if (!code) code = choose(l, p);
	if (code) {
		discard(p);
		return code;
	}
	l->next = (l->next + 1) % PLANS;
	if (l->count < PLANS) l->count++;
	return 0;
}

static int workspace_of(struct products *l, void *stream, void **memory, const char **text) {
	struct workspace *w = l->workspaces;
	while (w && w->stream != stream) w = w->next;
	if (!w) {
		int code = launcher_take(l->on, WORKSPACE, memory, text);
		if (code) return code;
		if (!(w = calloc(1, sizeof *w))) {
			launcher_free(l->on, *memory);
			*text = "out of memory";
			return 1;
		}
		*w = (struct workspace){stream, *memory, l->workspaces};
		l->workspaces = w;
	}
	*memory = w->memory;
	return 0;
}

int products_run(struct products *l, const struct product *of, void *stream, const char **text) {
	struct plan *p;
	void *workspace;
	float one = 1, zero = 0;
	pthread_mutex_lock(&l->mutex);
	int code = workspace_of(l, stream, &workspace, text);
	if (!code) {
		*text = "cublas";
		if (!(code = planned(l, of, &p)) && !(code = point(p, of->w_scales, of->x_scales)))
			code = cublasLtMatmul(l->handle, p->desc, &one, of->w, p->w, of->x, p->x, &zero, of->y, p->y, of->y, p->y, &p->algorithm, workspace, WORKSPACE, (CUstream)stream);
	}
	pthread_mutex_unlock(&l->mutex);
	return code;
}

struct products *products_open(const struct module *on, char *message, size_t size) {
	struct products *l = calloc(1, sizeof *l);
	struct plan *p;
	int code;
	pthread_mutex_lock(&opening);
	const char *missing = l ? open_library() : "out of memory";
	pthread_mutex_unlock(&opening);
	if (missing) {
		snprintf(message, size, "%s", missing);
		free(l);
		return NULL;
	}
	l->on = on;
	pthread_mutex_init(&l->mutex, NULL);
	if ((code = cublasLtCreate(&l->handle))) {
		snprintf(message, size, "cublasLtCreate: cublas error %d", code);
		free(l);
		return NULL;
	}
	// 256 is an address of the alignment that memory of the device has; nothing is read.
	const void *any = (const void *)256;
	if ((code = planned(l, &(struct product){.rows = 64, .out = 256, .in = 256, .x_scales = any, .w_scales = any}, &p))) {
		size_t version = cublasLtGetVersion();
		snprintf(message, size, "version %zu.%zu.%zu of cuBLASLt has no eight-bit products with a scale a row for this device (cublas error %d)", version / 10000, version / 100 % 100, version % 100, code);
		free(l); // the handle stays: it is a few bytes, once
		return NULL;
	}
	return l;
}
