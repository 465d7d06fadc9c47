// The custom operators of the domain "densereward": what each computes stands with its
// kernel in kernels.cu, its inputs and outputs stand in the table below.
//
// A kernel keeps nothing but its attributes, so that runs of a session may overlap; it is
// launched on the run's own stream, and what fails is the run's error.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "operators.h"

static const OrtApi *api;
static emulator emulated;

// ORT(Name) is a function of the runtime's.
#define TYPE(name, place, result, parameters) typedef result(*name##_type) parameters; enum { name##_place = place };
ORT_FUNCTIONS(TYPE)
#define ORT(name) ((name##_type)((void *const *)api)[name##_place])

enum { MOST_INPUTS = 6, MOST_OUTPUTS = 3, MOST_DIMENSIONS = 8 };

typedef struct operation operation;

// A node is an operator in a session's graph.
struct node {
	const operation *op;
	const struct module *on; // NULL where launches are emulated
	struct kept *kept;       // weight in eight bits, of operations that keep one
	int64_t numbers[2];
	float epsilon;
};

// An operation is an operator as the runtime sees it, which has a pointer to base.
struct operation {
	OrtCustomOp base;
	const char *name;
	int inputs[MOST_INPUTS]; // element types, 0 behind the last
	int required;            // of the inputs
	int on_host;             // the input that lies in host memory, -1 for none
	int outputs[MOST_OUTPUTS]; // element types, 0 behind the last
	bool variadic;             // any number of outputs of the first type
	bool spare;                // the last output may be absent
	bool keeps;                // a weight, which its numbers name
	enum part part;            // that has its kernels
	const char *numbers[2];  // integer attributes
	const char *epsilon;     // float attribute
	OrtStatus *(*compute)(const struct node *, OrtKernelContext *);
};

static OrtStatus *fail(const struct node *n, const char *what) {
	char text[256];
	snprintf(text, sizeof text, "densereward %s: %s", n->op->name, what);
	return ORT(CreateStatus)(ORT_FAIL, text);
}

// A tensor is an input; data is NULL where it is absent.
struct tensor {
	void *data;
	int64_t dims[MOST_DIMENSIONS];
	size_t rank;
};

// rows is the product of all dimensions but the last, width is the last.
static int64_t rows(const struct tensor *t) {
	int64_t n = 1;
	for (size_t i = 0; i + 1 < t->rank; i++) n *= t->dims[i];
	return n;
}

static int64_t width(const struct tensor *t) { return t->rank ? t->dims[t->rank - 1] : 1; }

static OrtStatus *read_tensor(const OrtValue *value, struct tensor *t) {
	OrtTensorTypeAndShapeInfo *shape;
	OrtStatus *s = ORT(GetTensorTypeAndShape)(value, &shape);
	if (s) return s;
	if (!(s = ORT(GetDimensionsCount)(shape, &t->rank))) {
		if (t->rank > MOST_DIMENSIONS) t->rank = MOST_DIMENSIONS;
		s = ORT(GetDimensions)(shape, t->dims, t->rank);
	}
	ORT(ReleaseTensorTypeAndShapeInfo)(shape);
	return s ? s : ORT(GetTensorMutableData)((OrtValue *)value, &t->data);
}

// read_inputs fills in the tensors of a node's inputs.
static OrtStatus *read_inputs(OrtKernelContext *c, struct tensor in[MOST_INPUTS]) {
	size_t count;
	OrtStatus *s = ORT(KernelContext_GetInputCount)(c, &count);
	memset(in, 0, MOST_INPUTS * sizeof *in);
	for (size_t i = 0; !s && i < count && i < MOST_INPUTS; i++) {
		const OrtValue *value = NULL;
		if (!(s = ORT(KernelContext_GetInput)(c, i, &value)) && value) s = read_tensor(value, &in[i]);
	}
	return s;
}

static OrtStatus *make_output(OrtKernelContext *c, size_t i, const int64_t *dims, size_t rank, void **data) {
	OrtValue *value;
	OrtStatus *s = ORT(KernelContext_GetOutput)(c, i, dims, rank, &value);
	return s ? s : ORT(GetTensorMutableData)(value, data);
}

// start launches a kernel, unless there is nothing to do.
static OrtStatus *start(const struct node *n, OrtKernelContext *c, const struct launch *l) {
	void *stream;
	const char *text = "";
	char message[160];
	OrtStatus *s;
	int code;
	if (!l->columns || !l->rows) return NULL;
	if (!n->on) {
		emulated(l->kernel, l->columns, l->rows, l->threads, l->shared, l->arguments);
		return NULL;
	}
	if ((s = ORT(KernelContext_GetGPUComputeStream)(c, &stream))) return s;
	if (!(code = launcher_run(n->on, l, stream, &text))) return NULL;
	snprintf(message, sizeof message, "cuda error %d (%s)", code, text);
	return fail(n, message);
}

static unsigned at_most(int64_t n, int64_t most) { return (unsigned)(n < most ? n : most); }

static int64_t pieces(int64_t n, int64_t of) { return (n + of - 1) / of; }

enum { VEC = 8 }; // 16-bit numbers that a thread loads at once

static OrtStatus *swiglu(const struct node *n, OrtKernelContext *c) {
	struct tensor in[MOST_INPUTS], *x = &in[0];
	void *y;
	OrtStatus *s = read_inputs(c, in);
	if (s) return s;
	int64_t inner = width(x) / 2, count = rows(x);
	if (!x->rank || inner % VEC || inner * 2 != width(x)) return fail(n, "rows of another width than twice a multiple of 8");
	x->dims[x->rank - 1] = inner;
	if ((s = make_output(c, 0, x->dims, x->rank, &y))) return s;
	int inner8 = (int)(inner / VEC);
	void *arguments[] = {&x->data, &in[1].data, &y, &inner8, &count};
	return start(n, c, &(struct launch){SWIGLU, (unsigned)pieces(inner8, 256), at_most(count, 16384), 256, 0, arguments});
}

static OrtStatus *rotate_halves(const struct node *n, OrtKernelContext *c) {
	struct tensor in[MOST_INPUTS], *x = &in[0];
	void *out[3];
	OrtStatus *s = read_inputs(c, in);
	if (s) return s;
	int heads = (int)n->numbers[0], kv = (int)n->numbers[1];
	int64_t half = width(&in[1]), tokens = rows(x);
	if (x->rank != 2 || in[1].rank != 2 || half % VEC || in[1].dims[0] != tokens || in[2].dims[0] != tokens || width(x) != (heads + 2 * kv) * 2 * half) return fail(n, "shapes that do not fit each other");
	for (int i = 0; i < 3; i++) {
		int64_t dims[] = {tokens, (i ? kv : heads) * 2 * half};
		if ((s = make_output(c, (size_t)i, dims, 2, &out[i]))) return s;
	}
	int half8 = (int)(half / VEC);
	void *arguments[] = {&x->data, &in[3].data, &in[1].data, &in[2].data, &heads, &kv, &half8, &out[0], &out[1], &out[2]};
	return start(n, c, &(struct launch){ROTATE_HALVES, (unsigned)tokens, 1, 192, 0, arguments});
}

static OrtStatus *rotate_pairs(const struct node *n, OrtKernelContext *c) {
	struct tensor in[MOST_INPUTS], *x = &in[0], *runs = &in[3];
	size_t outputs;
	OrtStatus *s = read_inputs(c, in);
	if (s || (s = ORT(KernelContext_GetOutputCount)(c, &outputs))) return s;
	int64_t wide = width(x) / 3, patches = rows(x), half64 = width(&in[1]);
	if (x->rank != 2 || wide % VEC || wide * 3 != width(x) || in[1].rank != 2 || in[1].dims[0] != patches || in[2].dims[0] != patches || half64 < 1 || width(runs) != 3 || (size_t)rows(runs) * 3 != outputs) return fail(n, "shapes that do not fit each other");
	int width8 = (int)(wide / VEC), half = (int)half64, threads = 256;
	unsigned columns = (unsigned)pieces(3 * width8, threads);
	for (size_t i = 0; i < outputs / 3; i++) {
		const int64_t *run = (const int64_t *)runs->data + 3 * i;
		int64_t begin = run[0], end = run[1], piece = run[2];
		void *out[3];
		if (begin < 0 || end < begin || end > patches || piece < 1 || (end - begin) % piece) return fail(n, "a run that is none");
		for (int p = 0; p < 3; p++) {
			int64_t dims[] = {(end - begin) / piece, piece, wide};
			if ((s = make_output(c, 3 * i + (size_t)p, dims, 3, &out[p]))) return s;
		}
		void *arguments[] = {&x->data, &in[4].data, &in[1].data, &in[2].data, &in[5].data, &width8, &half, &begin, &end, &out[0], &out[1], &out[2]};
		if ((s = start(n, c, &(struct launch){ROTATE_PAIRS, columns, at_most(pieces(end - begin, 4), 2048), (unsigned)threads, 0, arguments}))) return s;
	}
	return NULL;
}

static OrtStatus *argmax(const struct node *n, OrtKernelContext *c) {
	struct tensor in[MOST_INPUTS], *x = &in[0];
	void *y;
	OrtStatus *s = read_inputs(c, in);
	if (s) return s;
	int64_t vocabulary = width(x), count = rows(x), samples = in[1].data ? rows(&in[1]) : count;
	if (x->rank != 2 || vocabulary % VEC || (samples ? count % samples : count) || (in[1].data && (width(&in[1]) != vocabulary || !in[2].data))) return fail(n, "shapes that do not fit each other");
	int window = samples ? (int)(count / samples) : 1, size8 = (int)(vocabulary / VEC);
	if (in[3].data && (!in[1].data || rows(&in[3]) != samples || width(&in[3]) != window)) return fail(n, "tokens of another window");
	if ((s = make_output(c, 0, &count, 1, &y))) return s;
	void *arguments[] = {&x->data, &in[1].data, &in[3].data, &in[2].data, &window, &size8, &y};
	return start(n, c, &(struct launch){ARGMAX, (unsigned)count, 1, 512, in[3].data ? (unsigned)(size8 + 3) / 4 * 4 : 0, arguments});
}

static OrtStatus *channel_norm(const struct node *n, OrtKernelContext *c) {
	struct tensor in[MOST_INPUTS], *x = &in[0];
	void *y;
	OrtStatus *s = read_inputs(c, in);
	if (s) return s;
	int64_t channels = width(x), count = rows(x);
	int group = 32, before = (int)n->numbers[0], after = (int)n->numbers[1];
	float epsilon = n->epsilon;
	if (!x->rank || !channels || channels % VEC || width(&in[1]) != channels) return fail(n, "channels that are no multiple of 8");
	while (channels / VEC % group) group /= 2;
	int vectors = (int)(channels / VEC / group);
	if (vectors > 3) return fail(n, "too many channels");
	if (in[3].data && (rows(&in[3]) != count || width(&in[3]) != channels)) return fail(n, "something else to add than what it is added to");
	if ((s = make_output(c, 0, x->dims, x->rank, &y))) return s;
	void *arguments[] = {&x->data, &in[2].data, &in[1].data, &in[3].data, &y, &group, &vectors, &epsilon, &before, &after, &count};
	return start(n, c, &(struct launch){CHANNEL_NORM, at_most(pieces(count * group, 256), 4096), 1, 256, 0, arguments});
}

// block_of is the threads of a block that has a row of so many vectors, up to
// MOST_VECTORS of fp8.cu each; 0 where a row is too wide.
static unsigned block_of(int64_t vectors) {
	enum { THREADS = 512, MOST_VECTORS = 3, WARP = 32 };
	int64_t each = pieces(vectors, THREADS);
	return each > MOST_VECTORS ? 0 : (unsigned)(pieces(pieces(vectors, each), WARP) * WARP);
}

// eight_bit makes outputs first and first+1: rows (as dims has them) and their scales.
static OrtStatus *eight_bit(OrtKernelContext *c, size_t first, const int64_t *dims, size_t rank, void *out[2]) {
	OrtStatus *s = make_output(c, first, dims, rank, &out[0]);
	return s ? s : make_output(c, first + 1, dims, rank - 1, &out[1]);
}

static OrtStatus *quantize_rows(const struct node *n, OrtKernelContext *c) {
	struct tensor in[MOST_INPUTS], *x = &in[0];
	void *out[2];
	OrtStatus *s = read_inputs(c, in);
	if (s) return s;
	int width8 = (int)(width(x) / VEC);
	unsigned threads = block_of(width8);
	if (!x->rank || !width8 || width(x) % VEC || !threads) return fail(n, "rows of a width that is no multiple of 8, or too wide");
	if ((s = eight_bit(c, 0, x->dims, x->rank, out))) return s;
	void *arguments[] = {&x->data, &out[0], &out[1], &width8};
	return start(n, c, &(struct launch){QUANTIZE_ROWS, (unsigned)rows(x), 1, threads, 0, arguments});
}

static OrtStatus *quantize_swiglu(const struct node *n, OrtKernelContext *c) {
	struct tensor in[MOST_INPUTS], *x = &in[0];
	void *out[2];
	OrtStatus *s = read_inputs(c, in);
	if (s) return s;
	int inner8 = (int)(width(x) / 2 / VEC);
	int64_t count = rows(x);
	unsigned threads = block_of(inner8);
	if (!x->rank || !inner8 || width(x) % (2 * VEC) || !threads) return fail(n, "rows of another width than twice a multiple of 8, or too wide");
	x->dims[x->rank - 1] /= 2;
	if ((s = eight_bit(c, 0, x->dims, x->rank, out))) return s;
	void *arguments[] = {&x->data, &in[1].data, &out[0], &out[1], &inner8};
	return start(n, c, &(struct launch){QUANTIZE_SWIGLU, (unsigned)count, 1, threads, 0, arguments});
}

// The sum is an output where there is something to skip to.
static OrtStatus *quantize_norm(const struct node *n, OrtKernelContext *c) {
	struct tensor in[MOST_INPUTS], *x = &in[0];
	void *sum = NULL, *out[2];
	OrtStatus *s = read_inputs(c, in);
	if (s) return s;
	int width8 = (int)(width(x) / VEC);
	float epsilon = n->epsilon;
	unsigned threads = block_of(width8);
	if (!x->rank || !width8 || width(x) % VEC || !threads) return fail(n, "rows of a width that is no multiple of 8, or too wide");
	if (width(&in[1]) != width(x) || (in[2].rank && (rows(&in[2]) != rows(x) || width(&in[2]) != width(x)))) return fail(n, "shapes that do not fit each other");
	if ((s = eight_bit(c, 0, x->dims, x->rank, out)) || (in[2].rank && (s = make_output(c, 2, x->dims, x->rank, &sum)))) return s;
	void *arguments[] = {&x->data, &in[2].data, &in[3].data, &in[1].data, &sum, &out[0], &out[1], &width8, &epsilon};
	return start(n, c, &(struct launch){QUANTIZE_NORM, (unsigned)rows(x), 1, threads, 0, arguments});
}

// weight_in is how a weight in eight bits is made: from w on a stream.
struct weight_in {
	const struct node *n;
	const struct tensor *w;
	void *stream;
};

static int make_weight(void *how, void *weight, float *scales, const char **text) {
	const struct weight_in *from = how;
	int width8 = (int)(width(from->w) / VEC);
	void *w = from->w->data, *arguments[] = {&w, &weight, &scales, &width8};
	struct launch l = {QUANTIZE_ROWS, (unsigned)rows(from->w), 1, block_of(width8), 0, arguments};
	if (!from->n->on) {
		emulated(l.kernel, l.columns, l.rows, l.threads, l.shared, l.arguments);
		return 0;
	}
	int code = launcher_run(from->n->on, &l, from->stream, text);
	return code ? code : launcher_wait(from->n->on, from->stream, text); // other streams use it as well
}

static OrtStatus *scaled_product(const struct node *n, OrtKernelContext *c) {
	struct tensor in[MOST_INPUTS], *x = &in[0], *w = &in[2];
	struct weight_in from = {.n = n, .w = w};
	char message[160];
	const char *text = "";
	void *weight;
	float *scales;
	int code = 0;
	OrtStatus *s = read_inputs(c, in);
	if (s || (n->on && (s = ORT(KernelContext_GetGPUComputeStream)(c, &from.stream)))) return s;
	if (!x->rank || w->rank != 2 || width(w) != width(x) || width(w) % VEC || !block_of(width(w) / VEC)) return fail(n, "shapes that do not fit each other");
	if (!kept_memory(n->kept, (size_t)(rows(w) * width(w)), (size_t)rows(w), make_weight, &from, &weight, &scales, &code, &text)) {
		snprintf(message, sizeof message, "its weight in eight bits: cuda error %d (%s)", code, text);
		return fail(n, message);
	}
	struct product p = {.rows = rows(x), .out = rows(w), .in = width(x), .x = x->data, .w = weight, .x_scales = in[1].data, .w_scales = scales};
	x->dims[x->rank - 1] = p.out;
	if ((s = make_output(c, 0, x->dims, x->rank, &p.y)) || !p.rows) return s;
	if (!n->on) {
		emulated(KERNELS, 1, 1, 1, 0, (void *[]){&p});
		return NULL;
	}
	if (!(code = products_run(launcher_products(n->on), &p, from.stream, &text))) return NULL;
	snprintf(message, sizeof message, "%s error %d", text, code);
	return fail(n, message);
}

static operation operations[] = {
	{.name = "SwiGLU", .inputs = {TYPE_BFLOAT16, TYPE_BFLOAT16}, .required = 1, .on_host = -1, .outputs = {TYPE_BFLOAT16}, .compute = swiglu},
	{.name = "RotateHalves", .inputs = {TYPE_BFLOAT16, TYPE_BFLOAT16, TYPE_BFLOAT16, TYPE_BFLOAT16}, .required = 3, .on_host = -1, .outputs = {TYPE_BFLOAT16, TYPE_BFLOAT16, TYPE_BFLOAT16}, .numbers = {"num_heads", "kv_num_heads"}, .compute = rotate_halves},
	{.name = "RotatePairs", .inputs = {TYPE_BFLOAT16, TYPE_BFLOAT16, TYPE_BFLOAT16, TYPE_INT64, TYPE_BFLOAT16, TYPE_INT64}, .required = 4, .on_host = 3, .outputs = {TYPE_BFLOAT16}, .variadic = true, .compute = rotate_pairs},
	{.name = "ArgMax", .inputs = {TYPE_BFLOAT16, TYPE_BOOL, TYPE_FLOAT, TYPE_INT64}, .required = 1, .on_host = -1, .outputs = {TYPE_INT64}, .compute = argmax},
	{.name = "QuantizeRows", .inputs = {TYPE_BFLOAT16}, .required = 1, .on_host = -1, .outputs = {TYPE_E4M3, TYPE_FLOAT}, .part = EIGHT_BIT_PART, .compute = quantize_rows},
	{.name = "QuantizeSwiGLU", .inputs = {TYPE_BFLOAT16, TYPE_BFLOAT16}, .required = 1, .on_host = -1, .outputs = {TYPE_E4M3, TYPE_FLOAT}, .part = EIGHT_BIT_PART, .compute = quantize_swiglu},
	{.name = "QuantizeNorm", .inputs = {TYPE_BFLOAT16, TYPE_BFLOAT16, TYPE_BFLOAT16, TYPE_BFLOAT16}, .required = 2, .on_host = -1, .outputs = {TYPE_E4M3, TYPE_FLOAT, TYPE_BFLOAT16}, .spare = true, .epsilon = "epsilon", .part = EIGHT_BIT_PART, .compute = quantize_norm},
	{.name = "ScaledProduct", .inputs = {TYPE_E4M3, TYPE_FLOAT, TYPE_BFLOAT16}, .required = 3, .on_host = -1, .outputs = {TYPE_BFLOAT16}, .numbers = {"graph", "weight"}, .keeps = true, .part = EIGHT_BIT_PART, .compute = scaled_product},
	{.name = "ChannelNorm", .inputs = {TYPE_FLOAT16, TYPE_FLOAT16, TYPE_FLOAT16, TYPE_FLOAT16}, .required = 2, .on_host = -1, .outputs = {TYPE_FLOAT16}, .numbers = {"rectify_before", "rectify_after"}, .epsilon = "epsilon", .compute = channel_norm},
};

enum { OPERATIONS = sizeof operations / sizeof *operations };

static const operation *of(const OrtCustomOp *o) { return (const operation *)o; }

static const char *name_of(const OrtCustomOp *o) { return of(o)->name; }

static const char *provider_of(const OrtCustomOp *o) {
	(void)o;
	return emulated ? "CPUExecutionProvider" : "CUDAExecutionProvider";
}

static int input_type(const OrtCustomOp *o, size_t i) { return of(o)->inputs[i]; }

static size_t input_count(const OrtCustomOp *o) {
	size_t n = 0;
	while (n < MOST_INPUTS && of(o)->inputs[n]) n++;
	return n;
}

static int output_type(const OrtCustomOp *o, size_t i) { return of(o)->outputs[i]; }

static size_t output_count(const OrtCustomOp *o) {
	size_t n = 0;
	while (n < MOST_OUTPUTS && of(o)->outputs[n]) n++;
	return n;
}

static int input_characteristic(const OrtCustomOp *o, size_t i) { return (int)i < of(o)->required ? INPUT_OUTPUT_REQUIRED : INPUT_OUTPUT_OPTIONAL; }

static int output_characteristic(const OrtCustomOp *o, size_t i) {
	if (of(o)->variadic) return INPUT_OUTPUT_VARIADIC;
	return of(o)->spare && i + 1 == output_count(o) ? INPUT_OUTPUT_OPTIONAL : INPUT_OUTPUT_REQUIRED;
}

static int input_memory(const OrtCustomOp *o, size_t i) { return (int)i == of(o)->on_host ? MEMORY_CPU_INPUT : MEMORY_DEFAULT; }

static int one(const OrtCustomOp *o) {
	(void)o;
	return 1;
}

static OrtStatus *create(const OrtCustomOp *o, const OrtApi *a, const OrtKernelInfo *info, void **kernel) {
	struct node *n = calloc(1, sizeof *n);
	OrtStatus *s = NULL;
	(void)a;
	*kernel = NULL;
	if (!n) return ORT(CreateStatus)(ORT_FAIL, "densereward: out of memory");
	n->op = of(o);
	if (!emulated && !(n->on = launcher_module(n->op->part))) s = fail(n, "its kernels are not loaded on this device");
	for (int i = 0; !s && i < 2; i++)
		if (n->op->numbers[i]) s = ORT(KernelInfoGetAttribute_int64)(info, n->op->numbers[i], &n->numbers[i]);
	if (!s && n->op->epsilon) s = ORT(KernelInfoGetAttribute_float)(info, n->op->epsilon, &n->epsilon);
	if (!s && n->op->keeps && !(n->kept = kept_take(n->on, n->numbers[0], n->numbers[1]))) s = fail(n, "out of memory");
	if (s) {
		free(n);
		return s;
	}
	*kernel = n;
	return NULL;
}

static void destroy(void *kernel) {
	struct node *n = kernel;
	if (n->kept) kept_release(n->kept);
	free(n);
}

static OrtStatus *compute(void *kernel, OrtKernelContext *c) {
	const struct node *n = kernel;
	return n->op->compute(n, c);
}

static void complete(operation *o) {
	OrtCustomOp *b = &o->base;
	b->version = ABI_VERSION;
	b->GetName = name_of;
	b->GetExecutionProviderType = provider_of;
	b->GetInputType = input_type;
	b->GetInputTypeCount = input_count;
	b->GetOutputType = output_type;
	b->GetOutputTypeCount = output_count;
	b->GetInputCharacteristic = input_characteristic;
	b->GetOutputCharacteristic = output_characteristic;
	b->GetInputMemoryType = input_memory;
	b->GetVariadicInputMinArity = b->GetVariadicInputHomogeneity = b->GetVariadicOutputMinArity = b->GetVariadicOutputHomogeneity = one;
	b->CreateKernelV2 = create;
	b->KernelComputeV2 = compute;
	b->KernelDestroy = destroy;
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static OrtCustomOpDomain *domain; // of the process, as the environment is

static OrtStatus *make_domain(void) {
	OrtStatus *s = ORT(CreateCustomOpDomain)("densereward", &domain);
	for (int i = 0; !s && i < OPERATIONS; i++) {
		complete(&operations[i]);
		s = ORT(CustomOpDomain_Add)(domain, &operations[i].base);
	}
	return s;
}

int operators_register(void *options, void *base, char *message, size_t size) {
	OrtStatus *s = NULL;
	pthread_mutex_lock(&mutex);
	api = ((OrtApiBase *)base)->GetApi(ABI_VERSION);
	if (!api) {
		snprintf(message, size, "version %s of the runtime is too old", ((OrtApiBase *)base)->GetVersionString());
		pthread_mutex_unlock(&mutex);
		return 1;
	}
	if (!domain) s = make_domain();
	if (!s) s = ORT(AddCustomOpDomain)(options, domain);
	pthread_mutex_unlock(&mutex);
	if (!s) return 0;
	snprintf(message, size, "%s", ORT(GetErrorMessage)(s));
	ORT(ReleaseStatus)(s);
	return 1;
}

void operators_emulate(uintptr_t with) { emulated = (emulator)with; }

bool operators_emulated(void) { return emulated; }
