// CUDA's words for a host: a block's threads are coroutines that take turns at every
// point where the kernels wait for each other.
#include <math.h>
#include <string.h>

typedef struct { unsigned x, y, z, w; } vec;
typedef struct { unsigned x, y; } bytes8;
typedef unsigned short half16;
typedef struct { unsigned x, y; } dim;

extern dim gridDim, blockDim, blockIdx, threadIdx;
extern unsigned shared_memory[];

void turn(void);
float shuffled(float v, int from);

#define KERNEL(threads, blocks) static void
#define DEVICE static inline
#define SHARED(type, name, n) static type name[n]
#define SHARED_BITS(name) unsigned *name = shared_memory
#define ATOMIC_OR(p, v) (*(p) |= (v))
#define SYNC() turn()
#define SHUFFLE_DOWN(v, d) shuffled(v, (threadIdx.x & 31) + (d) < 32 ? (int)(threadIdx.x + (d)) : (int)threadIdx.x)
#define SHUFFLE_DOWN_INT(v, d) bits_of(shuffled(bits_float((unsigned)(v)), (threadIdx.x & 31) + (d) < 32 ? (int)(threadIdx.x + (d)) : (int)threadIdx.x))
#define SHUFFLE_XOR(v, d) shuffled(v, (int)(threadIdx.x ^ (unsigned)(d)))
#define EXP(x) expf(x)
#define RSQRT(x) (1.f / sqrtf(x))
#define UNROLL

DEVICE float bits_float(unsigned u) {
	float f;
	memcpy(&f, &u, sizeof f);
	return f;
}

DEVICE int bits_of(float f) {
	int i;
	memcpy(&i, &f, sizeof i);
	return i;
}

DEVICE unsigned bf16_bits(float f) {
	unsigned u = (unsigned)bits_of(f);
	if (f != f) return 0x7fff;
	return (u + 0x7fff + (u >> 16 & 1)) >> 16;
}

DEVICE unsigned bf16_pair(float low, float high) { return bf16_bits(low) | bf16_bits(high) << 16; }

DEVICE unsigned f16_bits(float f) {
	_Float16 h = (_Float16)f;
	half16 u;
	memcpy(&u, &h, sizeof u);
	return u;
}

DEVICE unsigned f16_pair(float low, float high) { return f16_bits(low) | f16_bits(high) << 16; }

// e4m3_bits rounds to nearest even; what is beyond 448 is 448.
DEVICE unsigned e4m3_bits(float f) {
	unsigned sign = bits_of(f) < 0 ? 0x80 : 0;
	float size = fabsf(f);
	if (f != f) return 0x7f;
	if (size >= 448) return sign | 0x7e;
	int exponent = size < 0x1p-6f ? -6 : ilogbf(size); // of subnormals as well, whose step is 2^-9
	float steps = rintf(ldexpf(size, 3 - exponent));
	return sign | (unsigned)(8 * (exponent + 6) + (int)steps);
}

DEVICE half16 e4m3_pair(float low, float high) { return (half16)(e4m3_bits(low) | e4m3_bits(high) << 8); }

DEVICE float f16_float(half16 u) {
	_Float16 h;
	memcpy(&h, &u, sizeof h);
	return (float)h;
}
