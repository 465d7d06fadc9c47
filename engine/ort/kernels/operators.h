// What Go calls, and what the operators call of the launcher.
#ifndef OPERATORS_H
#define OPERATORS_H

#include <stdbool.h>

#include "abi.h"

// kernel numbers the functions of kernels.cu.
enum kernel { SWIGLU, ROTATE_HALVES, ROTATE_PAIRS, ARGMAX, CHANNEL_NORM, KERNELS };

// launch is a kernel with its grid, block and shared memory.
struct launch {
	enum kernel kernel;
	unsigned columns, rows, threads, shared;
	void **arguments;
};

// An emulator runs launches on the host, in place of a device.
typedef void (*emulator)(int kernel, unsigned columns, unsigned rows, unsigned threads, unsigned shared, void **arguments);

struct module;

// launcher_load compiles the PTX text for a device, unless that has been done, and
// returns 0; or, with what went wrong in message, another number.
int launcher_load(int device, const char *ptx, char *message, size_t size);
// launcher_module is the module of the context that is current to the thread; NULL if none was loaded.
const struct module *launcher_module(void);
// launcher_run starts a kernel on a stream. It returns 0 or the driver's error, whose
// words are text.
int launcher_run(const struct module *on, const struct launch *l, void *stream, const char **text);

// operators_register adds the operators to a session's options. It returns 0; or, with
// what went wrong in message, another number.
int operators_register(void *options, void *base, char *message, size_t size);
// operators_emulate makes operators that are registered from then on run on the host.
void operators_emulate(uintptr_t with);
bool operators_emulated(void);

#endif
