#include "nestor/parallel.h"

#include <pthread.h>
#include <stdatomic.h>

struct many {
    void (*each)(void *data, size_t i);
    void *data;
    size_t n;
    atomic_size_t next;
};

static void *helper(void *data) {
    struct many *m = data;
    for (size_t i; (i = atomic_fetch_add(&m->next, 1)) < m->n;)
        m->each(m->data, i);
    return NULL;
}

void parallel_each(size_t n, void (*each)(void *data, size_t i), void *data) {
    struct many m = {.each = each, .data = data, .n = n};
    pthread_t threads[PARALLEL_MAX - 1];
    size_t started = 0;
    while (started + 1 < n && started < PARALLEL_MAX - 1 && pthread_create(&threads[started], NULL, helper, &m) == 0)
        started++;
    helper(&m);
    while (started > 0)
        pthread_join(threads[--started], NULL);
}
