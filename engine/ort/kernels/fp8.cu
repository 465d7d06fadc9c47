// The kernels of the custom operators whose results are eight-bit: rows of e4m3, each
// divided by a scale of its own, which its largest number is to 448, the largest of e4m3.
// See operators_linux.c for the operators. They need compute capability 8.9, other
// than those of kernels.cu, and are a module of their own.
//
// A block has a row, and each of its threads up to MOST_VECTORS times 8 numbers of it, so
// that a row is read once.
#include "kernels.h"

#define MOST_VECTORS 3
#define LARGEST_E4M3 448.f
// The least that a row's largest number counts as: rows of zeros have a scale as well.
#define LEAST_LARGEST 1e-12f

// over_block is the sum or the maximum of the threads' v, in all threads.
DEVICE float over_block(float v, int maximum) {
	SHARED(float, parts, 32);
	int lane = threadIdx.x & 31, warps = blockDim.x >> 5;
	for (int d = 16; d; d >>= 1) {
		float other = SHUFFLE_XOR(v, d);
		v = maximum ? fmaxf(v, other) : v + other;
	}
	SYNC(); // until all have read the parts of the call before
	if (lane == 0) parts[threadIdx.x >> 5] = v;
	SYNC();
	v = lane < warps ? parts[lane] : 0;
	for (int d = 16; d; d >>= 1) {
		float other = SHUFFLE_XOR(v, d);
		v = maximum ? fmaxf(v, other) : v + other;
	}
	return v;
}

// store_row writes the row f in eight bits, and its scale.
DEVICE void store_row(float f[MOST_VECTORS][8], bytes8 *y, float *scale, int width8) {
	float largest = 0;
	UNROLL for (int v = 0; v < MOST_VECTORS; v++) {
		if (v * (int)blockDim.x + (int)threadIdx.x >= width8) continue;
		UNROLL for (int k = 0; k < 8; k++) largest = fmaxf(largest, fabsf(f[v][k]));
	}
	largest = fmaxf(over_block(largest, 1), LEAST_LARGEST);
	float times = LARGEST_E4M3 / largest;
	UNROLL for (int v = 0; v < MOST_VECTORS; v++) {
		int at = v * blockDim.x + threadIdx.x;
		bytes8 b;
		if (at >= width8) continue;
		UNROLL for (int k = 0; k < 8; k++) f[v][k] *= times;
		b.x = e4m3_pair(f[v][0], f[v][1]) | (unsigned)e4m3_pair(f[v][2], f[v][3]) << 16;
		b.y = e4m3_pair(f[v][4], f[v][5]) | (unsigned)e4m3_pair(f[v][6], f[v][7]) << 16;
		y[at] = b;
	}
	if (threadIdx.x == 0) *scale = largest / LARGEST_E4M3;
}

// quantize_rows is x (rows,width) in eight bits: y (rows,width), scales (rows). width8 is
// width/8.
KERNEL(512, 2) quantize_rows(const vec *x, bytes8 *y, float *scales, int width8) {
	long long row = blockIdx.x;
	float f[MOST_VECTORS][8];
	UNROLL for (int v = 0; v < MOST_VECTORS; v++) {
		int at = v * blockDim.x + threadIdx.x;
		if (at < width8) bf16_load(x[row * width8 + at], f[v]);
	}
	store_row(f, y + row * width8, scales + row, width8);
}

// quantize_swiglu is swiglu of kernels.cu in eight bits: y (rows,inner), scales (rows).
KERNEL(512, 2) quantize_swiglu(const vec *x, const vec *bias, bytes8 *y, float *scales, int inner8) {
	long long row = blockIdx.x;
	float f[MOST_VECTORS][8];
	UNROLL for (int v = 0; v < MOST_VECTORS; v++) {
		int at = v * blockDim.x + threadIdx.x;
		float up[8], b[8];
		if (at >= inner8) continue;
		bf16_load(x[row * 2 * inner8 + at], f[v]);
		bf16_load(x[row * 2 * inner8 + inner8 + at], up);
		if (bias) {
			bf16_load(bias[at], b);
			UNROLL for (int k = 0; k < 8; k++) f[v][k] += b[k];
			bf16_load(bias[inner8 + at], b);
			UNROLL for (int k = 0; k < 8; k++) up[k] += b[k];
		}
		UNROLL for (int k = 0; k < 8; k++) f[v][k] = f[v][k] / (1.f + EXP(-f[v][k])) * up[k];
	}
	store_row(f, y + row * inner8, scales + row, inner8);
}

// quantize_norm adds x, skip and bias (width), of which the last two may be null, writes sum
// (rows,width) in bfloat16, unless it is null; divides it by the root of its mean square
// plus epsilon and multiplies by weight (width): y (rows,width), scales (rows).
KERNEL(512, 2) quantize_norm(const vec *x, const vec *skip, const vec *bias, const vec *weight, vec *sum, bytes8 *y, float *scales, int width8, float epsilon) {
	long long row = blockIdx.x;
	float f[MOST_VECTORS][8], squares = 0;
	UNROLL for (int v = 0; v < MOST_VECTORS; v++) {
		int at = v * blockDim.x + threadIdx.x;
		long long place = row * width8 + at;
		float more[8];
		if (at >= width8) continue;
		bf16_load(x[place], f[v]);
		if (skip) {
			bf16_load(skip[place], more);
			UNROLL for (int k = 0; k < 8; k++) f[v][k] += more[k];
		}
		if (bias) {
			bf16_load(bias[at], more);
			UNROLL for (int k = 0; k < 8; k++) f[v][k] += more[k];
		}
		if (sum) {
			vec rounded = bf16_store(f[v]);
			sum[place] = rounded;
			bf16_load(rounded, f[v]);
		}
		UNROLL for (int k = 0; k < 8; k++) squares += f[v][k] * f[v][k];
	}
	float by = RSQRT(over_block(squares, 0) / (float)(8 * width8) + epsilon);
	UNROLL for (int v = 0; v < MOST_VECTORS; v++) {
		int at = v * blockDim.x + threadIdx.x;
		float w[8];
		if (at >= width8) continue;
		bf16_load(weight[at], w);
		UNROLL for (int k = 0; k < 8; k++) f[v][k] *= by * w[k];
	}
	store_row(f, y + row * width8, scales + row, width8);
}
