// What Go calls, and what the operators call of the launcher.
#ifndef OPERATORS_H
#define OPERATORS_H

#include <stdbool.h>

#include "abi.h"

// kernel numbers the functions of kernels.cu and, behind HALF_KERNELS, of fp8.cu.
enum kernel { SWIGLU, ROTATE_HALVES, ROTATE_PAIRS, ARGMAX, CHANNEL_NORM, HALF_KERNELS, QUANTIZE_ROWS = HALF_KERNELS, QUANTIZE_SWIGLU, QUANTIZE_NORM, KERNELS };

// A part of the kernels is a module of its own: those of half precision, and those of
// eight bits, for which a device must be newer.
enum part { HALF_PART, EIGHT_BIT_PART, PARTS };

// launch is a kernel with its grid, block and shared memory.
struct launch {
	enum kernel kernel;
	unsigned columns, rows, threads, shared;
	void **arguments;
};

// An emulator runs launches on the host, in place of a device.
typedef void (*emulator)(int kernel, unsigned columns, unsigned rows, unsigned threads, unsigned shared, void **arguments);

struct module;
struct products;

// launcher_load compiles the PTX text of a part for a device, unless that has been done,
// and returns 0; or, with what went wrong in message, another number.
int launcher_load(int device, enum part part, const char *ptx, char *message, size_t size);
// launcher_module is what is loaded in the context that is current to the thread; NULL if
// the part is not.
const struct module *launcher_module(enum part part);
// launcher_products is what computes products there.
struct products *launcher_products(const struct module *on);
// launcher_run starts a kernel on a stream. It returns 0 or the driver's error, whose
// words are text.
int launcher_run(const struct module *on, const struct launch *l, void *stream, const char **text);

// launcher_take allocates memory of the device that a module is on, launcher_free gives it
// back and launcher_wait waits for a stream. They return 0 or the driver's error, whose words
// are text. Without a module it is the host's memory.
int launcher_take(const struct module *on, size_t bytes, void **memory, const char **text);
void launcher_free(const struct module *on, void *memory);
int launcher_wait(const struct module *on, void *stream, const char **text);

// A kept weight is one in eight bits with its scales: made by the first product that needs
// it, for all of its graph on a device, and kept until the last of their nodes is destroyed.
struct kept;
struct kept *kept_take(const struct module *on, int64_t graph, int64_t weight);
void kept_release(struct kept *k);
// kept_memory returns the weight of so many bytes and its scales. It calls make with them and
// with how where they are not made; what that returns, or an error with its words, is code.
bool kept_memory(struct kept *k, size_t bytes, size_t rows, int (*make)(void *how, void *weight, float *scales, const char **text), void *how, void **weight, float **scales, int *code, const char **text);

// A product is y (rows,out) in bfloat16 = x (rows,in) times the transpose of w (out,in),
// which are e4m3 with a scale for each row.
struct product {
	int64_t rows, out, in;
	const void *x, *w;
	const float *x_scales, *w_scales;
	void *y;
};

// products_open finds cuBLASLt and makes sure that it has such products on the device of the
// current context. It returns NULL with what went wrong in message.
struct products *products_open(const struct module *on, char *message, size_t size);
// products_run starts a product on a stream. It returns 0 or an error's number, whose words
// are text.
int products_run(struct products *p, const struct product *of, void *stream, const char **text);

// operators_register adds the operators to a session's options. It returns 0; or, with
// what went wrong in message, another number.
int operators_register(void *options, void *base, char *message, size_t size);
// operators_emulate makes operators that are registered from then on run on the host.
void operators_emulate(uintptr_t with);
bool operators_emulated(void);

#endif
