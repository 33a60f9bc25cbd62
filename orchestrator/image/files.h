/* What image/ does with files beyond nestor/file.h. */
#ifndef NESTOR_IMAGE_FILES_H
#define NESTOR_IMAGE_FILES_H

#include <stdbool.h>
#include <stdint.h>

#include "nestor/file.h"

/* What tells cheaply whether a file is still the one that was hashed. */
struct stamp {
    uint64_t size;
    int64_t mtime_ns;
};
/* Regular files only. */
int stamp_of(const char *path, struct stamp *ret, struct error *err) NESTOR_CHECKED;
static inline bool stamp_equal(const struct stamp *a, const struct stamp *b) {
    return a->size == b->size && a->mtime_ns == b->mtime_ns;
}

/* The first line of a file; NULL if there is no such file. Caller frees. */
int file_read_line(const char *path, char **ret, struct error *err) NESTOR_CHECKED;
/* Everything in the folder, and the folder itself, has reached the disk. */
int folder_sync(const char *path, struct error *err) NESTOR_CHECKED;

#endif
