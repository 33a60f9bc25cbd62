/* An arena: many small objects with one lifetime. Everything handed out is zeroed, aligned for any type, and
 * valid until arena_free. `struct arena a = {0};` is ready to use. One thread at a time.
 */
#ifndef NESTOR_ARENA_H
#define NESTOR_ARENA_H

#include <stddef.h>

#include "nestor/error.h"

struct arena_block;
struct arena {
    struct arena_block *head;
};

void *arena_alloc(struct arena *a, size_t n);
char *arena_strdup(struct arena *a, const char *s); /* NULL in, NULL out */
char *arena_strndup(struct arena *a, const char *s, size_t n);
char *arena_printf(struct arena *a, const char *fmt, ...) NESTOR_PRINTF(2, 3);
void arena_free(struct arena *a);

#endif
