// Weights in eight bits. They lie beside the runtime's memory: what a run makes of weights
// and gives back at its end leaves the runtime's memory in pieces.
#include <pthread.h>
#include <stdlib.h>

#include "operators.h"

struct kept {
	const struct module *on;
	int64_t graph, weight;
	int nodes;
	void *bytes;
	float *scales;
	bool made;
	struct kept *next;
};

static struct kept *all;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

struct kept *kept_take(const struct module *on, int64_t graph, int64_t weight) {
	pthread_mutex_lock(&mutex);
	struct kept *k = all;
	while (k && (k->on != on || k->graph != graph || k->weight != weight)) k = k->next;
	if (!k && (k = calloc(1, sizeof *k))) {
		*k = (struct kept){.on = on, .graph = graph, .weight = weight, .next = all};
		all = k;
	}
	if (k) k->nodes++;
	pthread_mutex_unlock(&mutex);
	return k;
}

static void forget(struct kept *k) {
	launcher_free(k->on, k->bytes);
	launcher_free(k->on, k->scales);
	k->bytes = k->scales = NULL;
}

void kept_release(struct kept *k) {
	pthread_mutex_lock(&mutex);
	if (k && --k->nodes == 0) {
		struct kept **at = &all;
		while (*at != k) at = &(*at)->next;
		*at = k->next;
		forget(k);
		free(k);
	}
	pthread_mutex_unlock(&mutex);
}

bool kept_memory(struct kept *k, size_t bytes, size_t rows, int (*make)(void *how, void *weight, float *scales, const char **text), void *how, void **weight, float **scales, int *code, const char **text) {
	pthread_mutex_lock(&mutex);
	if (!k->made) {
		void *s = NULL;
		*code = launcher_take(k->on, bytes, &k->bytes, text);
		if (!*code) *code = launcher_take(k->on, rows * sizeof(float), &s, text);
		k->scales = s;
		if (!*code) *code = make(how, k->bytes, k->scales, text);
		k->made = !*code;
		if (*code) forget(k);
	}
	*weight = k->bytes;
	*scales = k->scales;
	bool made = k->made;
	pthread_mutex_unlock(&mutex);
	return made;
}
