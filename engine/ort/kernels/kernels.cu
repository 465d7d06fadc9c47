// The kernels of the custom operators: see operators.c for what each computes and how
// it is launched. They are written in the part of CUDA C++ that a C compiler takes as
// well, so that a test can run them on the host: see emulate.c.
//
// All of them are bound by memory: a thread reads 16 bytes at a time, sums are float32,
// and results are rounded once.
#include "kernels.h"

DEVICE float silu(float x) { return x / (1.f + EXP(-x)); }

// swiglu is silu(gate + its bias) * (up + its bias) of rows (rows,2*inner), gates before
// ups: y is (rows,inner), bias (2*inner) or null. inner8 is inner/8.
KERNEL(256, 4) swiglu(const vec *x, const vec *bias, vec *y, int inner8, long long rows) {
	int c = blockIdx.x * blockDim.x + threadIdx.x;
	float gate_bias[8] = {0}, up_bias[8] = {0};
	if (c >= inner8) return;
	if (bias) {
		bf16_load(bias[c], gate_bias);
		bf16_load(bias[inner8 + c], up_bias);
	}
	for (long long r = blockIdx.y; r < rows; r += gridDim.y) {
		const vec *row = x + r * 2 * inner8 + c;
		float gate[8], up[8];
		bf16_load(row[0], gate);
		bf16_load(row[inner8], up);
		for (int k = 0; k < 8; k++) gate[k] = silu(gate[k] + gate_bias[k]) * (up[k] + up_bias[k]);
		y[r * inner8 + c] = bf16_store(gate);
	}
}

// rotate_halves adds a bias to queries, keys and values x (rows,(heads+2*kv)*size) and
// turns the halves of each head of the first two by the row's cosines and sines
// (rows,size/2). half8 is size/16. A block has a row.
KERNEL(192, 6) rotate_halves(const vec *x, const vec *bias, const vec *cosines, const vec *sines, int heads, int kv, int half8, vec *query, vec *key, vec *value) {
	long long row = blockIdx.x;
	int turned = (heads + kv) * half8, all = turned + kv * 2 * half8;
	const vec *from = x + row * (heads + 2 * kv) * 2 * half8;
	for (int i = threadIdx.x; i < all; i += blockDim.x) {
		float a[8], b[8], c[8], s[8];
		if (i >= turned) { // a piece of the values
			int at = i - turned, in = turned * 2 + at;
			bf16_load(from[in], a);
			if (bias) {
				bf16_load(bias[in], b);
				for (int k = 0; k < 8; k++) a[k] += b[k];
			}
			value[row * kv * 2 * half8 + at] = bf16_store(a);
			continue;
		}
		int head = i / half8, j = i - head * half8, first = head * 2 * half8 + j;
		bf16_load(from[first], a);
		bf16_load(from[first + half8], b);
		if (bias) {
			bf16_load(bias[first], c);
			bf16_load(bias[first + half8], s);
			for (int k = 0; k < 8; k++) {
				a[k] += c[k];
				b[k] += s[k];
			}
		}
		bf16_load(cosines[row * half8 + j], c);
		bf16_load(sines[row * half8 + j], s);
		for (int k = 0; k < 8; k++) {
			float turned_a = a[k] * c[k] - b[k] * s[k];
			b[k] = b[k] * c[k] + a[k] * s[k];
			a[k] = turned_a;
		}
		vec *to = head < heads ? query + row * heads * 2 * half8 + first : key + (row * kv - heads) * 2 * half8 + first;
		to[0] = bf16_store(a);
		to[half8] = bf16_store(b);
	}
}

// UNROLLED is how many rows a thread of rotate_pairs has under way.
#define UNROLLED 4

// four is the numbers of a row at four places, which may lie together.
DEVICE bytes8 four(const half16 *row, const int *at, int together) {
	bytes8 v;
	if (together) return *(const bytes8 *)(row + at[0]);
	v.x = row[at[0]] | (unsigned)row[at[1]] << 16;
	v.y = row[at[2]] | (unsigned)row[at[3]] << 16;
	return v;
}

// bf16_of is number k of four.
DEVICE float bf16_of(bytes8 v, int k) {
	unsigned w = k < 2 ? v.x : v.y;
	return bits_float(k & 1 ? w & 0xffff0000u : w << 16);
}

// rotate_pairs adds a bias to queries, keys and values x (rows,3*width), turns
// neighbours in the first two by the row's cosines and sines (rows,half), which repeat
// along the width, and writes rows begin to end-1 of the order to query, key and value
// (end-begin,width). order names each one's row in x, null is the same. width8 is
// width/8. A thread keeps its column and walks rows, so that what belongs to a column is
// read once and neighbours read neighbours.
KERNEL(256, 3) rotate_pairs(const vec *x, const vec *bias, const half16 *cosines, const half16 *sines, const long long *order, int width8, int half, long long begin, long long end, vec *query, vec *key, vec *value) {
	int c = blockIdx.x * blockDim.x + threadIdx.x;
	if (c >= 3 * width8) return;
	int part = c / width8, column = c - part * width8;
	vec *to = part == 0 ? query : part == 1 ? key : value;
	float b[8] = {0};
	int at[4], together = half % 4 == 0; // the four of a thread
	if (bias) bf16_load(bias[c], b);
	for (int k = 0; k < 4; k++) at[k] = (4 * column + k) % half;
	for (long long r = begin + blockIdx.y; r < end; r += (long long)UNROLLED * gridDim.y) {
		vec loaded[UNROLLED];
		bytes8 cs[UNROLLED], sn[UNROLLED];
		UNROLL for (int u = 0; u < UNROLLED; u++) {
			long long row = r + (long long)u * gridDim.y;
			if (row >= end) continue;
			if (order) row = order[row];
			loaded[u] = x[row * 3 * width8 + c];
			if (part == 2) continue;
			cs[u] = four(cosines + row * half, at, together);
			sn[u] = four(sines + row * half, at, together);
		}
		UNROLL for (int u = 0; u < UNROLLED; u++) {
			long long row = r + (long long)u * gridDim.y;
			if (row >= end) continue;
			float f[8];
			bf16_load(loaded[u], f);
			UNROLL for (int k = 0; k < 8; k++) f[k] += b[k];
			if (part < 2) UNROLL for (int k = 0; k < 4; k++) {
				float co = bf16_of(cs[u], k), si = bf16_of(sn[u], k), first = f[2 * k], second = f[2 * k + 1];
				f[2 * k] = first * co - second * si;
				f[2 * k + 1] = second * co + first * si;
			}
			to[(row - begin) * width8 + column] = bf16_store(f);
		}
	}
}

// better reports whether (value,index) goes before (than,at): a greater value, or an
// equal one that stands earlier.
DEVICE int better(float value, int index, float than, int at) { return value > than || (value == than && index < at); }

// argmax finds the first of the greatest values of each row of x (rows,vocabulary). With
// seen (rows/window,vocabulary), values of seen tokens count divided by the penalty, or
// multiplied where they are negative; and so do those of the tokens (rows/window,window)
// up to the row's own, where they are given. size8 is vocabulary/8; the block's shared
// memory holds a bit for each token of the vocabulary. A block has a row.
KERNEL(512, 2) argmax(const vec *x, const bytes8 *seen, const long long *tokens, const float *penalty, int window, int size8, long long *y) {
	SHARED_BITS(bits);
	SHARED(float, values, 32);
	SHARED(int, places, 32);
	long long row = blockIdx.x, sample = row / window;
	float p = penalty ? *penalty : 1.f, best = -INFINITY;
	int at = 0x7fffffff;
	if (tokens) {
		for (int i = threadIdx.x; i < (size8 + 3) / 4; i += blockDim.x) bits[i] = 0;
		SYNC();
		for (int j = threadIdx.x; j <= (int)(row - sample * window); j += blockDim.x) {
			long long token = tokens[sample * window + j];
			if (token >= 0 && token < (long long)size8 * 8) ATOMIC_OR(&bits[token >> 5], 1u << (token & 31));
		}
		SYNC();
	}
	for (int i = threadIdx.x; i < size8; i += blockDim.x) {
		float f[8];
		bf16_load(x[row * size8 + i], f);
		if (seen) {
			bytes8 mask = seen[sample * size8 + i];
			unsigned extra = tokens ? bits[i >> 2] >> (8 * (i & 3)) : 0;
			for (int k = 0; k < 8; k++)
				if (((k < 4 ? mask.x : mask.y) >> (8 * (k & 3)) & 255) || (extra >> k & 1)) f[k] = f[k] < 0 ? f[k] * p : f[k] / p;
		}
		for (int k = 0; k < 8; k++)
			if (f[k] > best) {
				best = f[k];
				at = 8 * i + k;
			}
	}
	for (int d = 16; d; d >>= 1) {
		float value = SHUFFLE_DOWN(best, d);
		int index = SHUFFLE_DOWN_INT(at, d);
		if (better(value, index, best, at)) {
			best = value;
			at = index;
		}
	}
	if ((threadIdx.x & 31) == 0) {
		values[threadIdx.x >> 5] = best;
		places[threadIdx.x >> 5] = at;
	}
	SYNC();
	if (threadIdx.x == 0) {
		for (int w = 1; w < (int)(blockDim.x >> 5); w++)
			if (better(values[w], places[w], best, at)) {
				best = values[w];
				at = places[w];
			}
		y[row] = at == 0x7fffffff ? 0 : at;
	}
}

// MOST_CHANNELS is how many times 8 channels a thread of channel_norm has.
#define MOST_CHANNELS 3

// channel_norm adds a bias to x (rows,channels), if rectify_before sets what is negative
// to 0, divides by the root of the mean square of a row plus epsilon, multiplies by
// scale, adds residual, if rectify_after sets what is negative to 0. bias and residual
// may be null. group threads share a row, a power of two up to 32, and each has vectors
// times 8 channels. Values are float16.
KERNEL(256, 4) channel_norm(const vec *x, const vec *bias, const vec *scale, const vec *residual, vec *y, int group, int vectors, float epsilon, int rectify_before, int rectify_after, long long rows) {
	int mine = threadIdx.x & (group - 1), channels8 = group * vectors;
	long long step = (long long)gridDim.x * blockDim.x / group;
	long long first = ((long long)blockIdx.x * blockDim.x + threadIdx.x) / group;
	// All threads of a warp go round as often: they shuffle with each other.
	long long rounds = (rows + step - 1) / step;
	for (long long n = 0; n < rounds; n++) {
		long long row = first + n * step;
		int there = row < rows;
		float f[MOST_CHANNELS][8], sum = 0;
		UNROLL for (int v = 0; v < MOST_CHANNELS; v++) {
			if (v >= vectors || !there) continue;
			float b[8];
			f16_load(x[row * channels8 + v * group + mine], f[v]);
			if (bias) {
				f16_load(bias[v * group + mine], b);
				for (int k = 0; k < 8; k++) f[v][k] += b[k];
			}
			for (int k = 0; k < 8; k++) {
				if (rectify_before && f[v][k] < 0) f[v][k] = 0;
				sum += f[v][k] * f[v][k];
			}
		}
		for (int d = group >> 1; d; d >>= 1) sum += SHUFFLE_XOR(sum, d);
		if (!there) continue;
		float by = RSQRT(sum / (float)(8 * channels8) + epsilon);
		UNROLL for (int v = 0; v < MOST_CHANNELS; v++) {
			if (v >= vectors) continue;
			long long place = row * channels8 + v * group + mine;
			float s[8], r[8] = {0};
			f16_load(scale[v * group + mine], s);
			if (residual) f16_load(residual[place], r);
			for (int k = 0; k < 8; k++) {
				f[v][k] = f[v][k] * by * s[k] + r[k];
				if (rectify_after && f[v][k] < 0) f[v][k] = 0;
			}
			y[place] = f16_store(f[v]);
		}
	}
}
