#include "spec/index.h"

#include <search.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "nestor/buffer.h"

struct item {
    const char *name;
    void *thing;
};

static int compare(const void *a, const void *b) {
    return strcmp(((const struct item *)a)->name, ((const struct item *)b)->name);
}

void *index_find(const struct index *index, const char *name) {
    struct item wanted = {.name = name}, **found = tfind(&wanted, &index->root, compare);
    return found ? (*found)->thing : NULL;
}

void index_put(struct index *index, const char *name, void *thing) {
    struct item *item = xmalloc(sizeof *item);
    *item = (struct item){name, thing};
    struct item **place = tsearch(item, &index->root, compare);
    if (!place) /* tsearch found no memory: end as xmalloc does */
        place = xmalloc(SIZE_MAX / 2);
    if (*place != item) {
        (*place)->thing = thing;
        free(item);
    }
}

void index_free(struct index *index) {
    tdestroy(index->root, free);
    index->root = NULL;
}
