// What the kernels are made of: loads and stores of eight 16-bit numbers, and the names
// that stand for CUDA's own words where a C compiler reads the kernels.
#ifndef KERNELS_H
#define KERNELS_H

#ifdef __CUDACC__

#define KERNEL(threads, blocks) extern "C" __global__ void __launch_bounds__(threads, blocks)
#define DEVICE static __device__ __forceinline__
#define SHARED(type, name, n) __shared__ type name[n]
#define SHARED_BITS(name) extern __shared__ unsigned name[]
#define ATOMIC_OR(p, v) atomicOr(p, v)
#define SYNC() __syncthreads()
#define SHUFFLE_DOWN(v, d) __shfl_down_sync(~0u, v, d)
#define SHUFFLE_DOWN_INT(v, d) __shfl_down_sync(~0u, v, d)
#define SHUFFLE_XOR(v, d) __shfl_xor_sync(~0u, v, d)
#define EXP(x) __expf(x)
#define RSQRT(x) rsqrtf(x)
#define UNROLL _Pragma("unroll")

typedef uint4 vec;
typedef uint2 bytes8;
typedef unsigned short half16;

// A pair of float32 as two bfloat16, the second above the first.
DEVICE unsigned bf16_pair(float low, float high) {
	unsigned r;
	asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
	return r;
}

DEVICE unsigned f16_pair(float low, float high) {
	unsigned r;
	asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
	return r;
}

DEVICE float f16_float(half16 h) {
	float f;
	asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(h));
	return f;
}

DEVICE float bits_float(unsigned u) { return __uint_as_float(u); }

// A pair of float32 as two of e4m3, the second above the first: compute capability 8.9.
DEVICE half16 e4m3_pair(float low, float high) {
	half16 r;
	asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(r) : "f"(high), "f"(low));
	return r;
}

#else

#include "emulate.h"

#endif

DEVICE void bf16_load(vec v, float *f) {
	unsigned w[4] = {v.x, v.y, v.z, v.w};
	UNROLL for (int k = 0; k < 4; k++) {
		f[2 * k] = bits_float(w[k] << 16);
		f[2 * k + 1] = bits_float(w[k] & 0xffff0000u);
	}
}

DEVICE vec bf16_store(const float *f) {
	vec v;
	v.x = bf16_pair(f[0], f[1]);
	v.y = bf16_pair(f[2], f[3]);
	v.z = bf16_pair(f[4], f[5]);
	v.w = bf16_pair(f[6], f[7]);
	return v;
}

DEVICE void f16_load(vec v, float *f) {
	unsigned w[4] = {v.x, v.y, v.z, v.w};
	UNROLL for (int k = 0; k < 4; k++) {
		f[2 * k] = f16_float((half16)(w[k] & 0xffffu));
		f[2 * k + 1] = f16_float((half16)(w[k] >> 16));
	}
}

DEVICE vec f16_store(const float *f) {
	vec v;
	v.x = f16_pair(f[0], f[1]);
	v.y = f16_pair(f[2], f[3]);
	v.z = f16_pair(f[4], f[5]);
	v.w = f16_pair(f[6], f[7]);
	return v;
}

#endif
