// Runs the kernels on the host, as a library that a test builds and hands to
// kernels.Emulate. It runs one launch at a time.
#include <stdlib.h>
#include <ucontext.h>

#include "../kernels.cu"
#include "../fp8.cu"
#include "../operators.h"

enum { MOST_THREADS = 1024, STACK = 1 << 16, SHARED_WORDS = 1 << 16 };

dim gridDim, blockDim, blockIdx, threadIdx;
unsigned shared_memory[SHARED_WORDS];

static ucontext_t host, threads[MOST_THREADS];
static char *stacks[MOST_THREADS];
static int alive[MOST_THREADS];
static float shuffle[MOST_THREADS];
static int kernel;
static void **arguments;

void turn(void) { swapcontext(&threads[threadIdx.x], &host); }

float shuffled(float v, int from) {
	shuffle[threadIdx.x] = v;
	turn();
	v = shuffle[from];
	turn();
	return v;
}

#define A(type, i) (*(type *)arguments[i])

static void body(void) {
	switch (kernel) {
	case 0:
		swiglu(A(const vec *, 0), A(const vec *, 1), A(vec *, 2), A(int, 3), A(long long, 4));
		break;
	case 1:
		rotate_halves(A(const vec *, 0), A(const vec *, 1), A(const vec *, 2), A(const vec *, 3), A(int, 4), A(int, 5), A(int, 6), A(vec *, 7), A(vec *, 8), A(vec *, 9));
		break;
	case 2:
		rotate_pairs(A(const vec *, 0), A(const vec *, 1), A(const half16 *, 2), A(const half16 *, 3), A(const long long *, 4), A(int, 5), A(int, 6), A(long long, 7), A(long long, 8), A(vec *, 9), A(vec *, 10), A(vec *, 11));
		break;
	case 3:
		argmax(A(const vec *, 0), A(const bytes8 *, 1), A(const long long *, 2), A(const float *, 3), A(int, 4), A(int, 5), A(long long *, 6));
		break;
	case 4:
		channel_norm(A(const vec *, 0), A(const vec *, 1), A(const vec *, 2), A(const vec *, 3), A(vec *, 4), A(int, 5), A(int, 6), A(float, 7), A(int, 8), A(int, 9), A(long long, 10));
		break;
	case QUANTIZE_ROWS:
		quantize_rows(A(const vec *, 0), A(bytes8 *, 1), A(float *, 2), A(int, 3));
		break;
	case QUANTIZE_SWIGLU:
		quantize_swiglu(A(const vec *, 0), A(const vec *, 1), A(bytes8 *, 2), A(float *, 3), A(int, 4));
		break;
	case QUANTIZE_NORM:
		quantize_norm(A(const vec *, 0), A(const vec *, 1), A(const vec *, 2), A(const vec *, 3), A(vec *, 4), A(bytes8 *, 5), A(float *, 6), A(int, 7), A(float, 8));
		break;
	}
	alive[threadIdx.x] = 0;
}

static void block(unsigned count) {
	unsigned left = count;
	if (kernel < 3) { // its threads do not wait for each other
		for (unsigned t = 0; t < count; t++) {
			threadIdx.x = t;
			body();
		}
		return;
	}
	for (unsigned t = 0; t < count; t++) {
		getcontext(&threads[t]);
		if (!stacks[t]) stacks[t] = malloc(STACK);
		threads[t].uc_stack.ss_sp = stacks[t];
		threads[t].uc_stack.ss_size = STACK;
		threads[t].uc_link = &host;
		makecontext(&threads[t], body, 0);
		alive[t] = 1;
	}
	while (left) {
		left = 0;
		for (unsigned t = 0; t < count; t++) {
			if (!alive[t]) continue;
			threadIdx.x = t;
			swapcontext(&host, &threads[t]);
			left += alive[t];
		}
	}
}

static float e4m3_float(unsigned char b) {
	int exponent = b >> 3 & 15, steps = b & 7;
	float size = (b & 0x7f) == 0x7f ? NAN : exponent ? ldexpf((float)(8 + steps), exponent - 10) : ldexpf((float)steps, -9);
	return b & 0x80 ? -size : size;
}

// product is what cuBLASLt does on a device.
static void product(const struct product *p) {
	const unsigned char *x = p->x, *w = p->w;
	float value[256];
	for (int b = 0; b < 256; b++) value[b] = e4m3_float((unsigned char)b);
	for (int64_t r = 0; r < p->rows; r++)
		for (int64_t o = 0; o < p->out; o++) {
			float sum = 0;
			for (int64_t i = 0; i < p->in; i++) sum += value[x[r * p->in + i]] * value[w[o * p->in + i]];
			sum *= p->x_scales[r] * p->w_scales[o];
			((half16 *)p->y)[r * p->out + o] = (half16)bf16_bits(sum);
		}
}

// emulate is an emulator as operators.h has it. What is beyond the block's shared memory
// cannot be read unnoticed: it holds other bits in every block.
void emulate(int which, unsigned columns, unsigned rows, unsigned count, unsigned shared, void **with) {
	if (which == KERNELS) {
		product(*(const struct product *const *)with);
		return;
	}
	if (count > MOST_THREADS || shared > sizeof shared_memory) abort();
	kernel = which;
	arguments = with;
	gridDim = (dim){columns, rows};
	blockDim = (dim){count, 1};
	for (unsigned y = 0; y < rows; y++)
		for (unsigned x = 0; x < columns; x++) {
			blockIdx = (dim){x, y};
			memset(shared_memory, 0xa5, shared);
			block(count);
		}
}
