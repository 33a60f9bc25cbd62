/* The few things image/ does with files and folders. */
#ifndef NESTOR_IMAGE_FILES_H
#define NESTOR_IMAGE_FILES_H

#include <stdbool.h>
#include <stdint.h>

#include "nestor/buffer.h"
#include "nestor/error.h"

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

bool file_exists(const char *path);
/* The whole of a file of at most `max` bytes, into *ret. */
int file_read(const char *path, size_t max, struct buffer *ret, struct error *err) NESTOR_CHECKED;
/* The first line of a file; NULL if there is no such file. Caller frees. */
int file_read_line(const char *path, char **ret, struct error *err) NESTOR_CHECKED;
int file_write(const char *path, const void *data, size_t len, struct error *err) NESTOR_CHECKED;

int folder_make(const char *path, struct error *err) NESTOR_CHECKED; /* fine if it is there */
/* Everything in the folder, and the folder itself, has reached the disk. */
int folder_sync(const char *path, struct error *err) NESTOR_CHECKED;
/* Removes a file or a whole folder; fine if it is gone. Symbolic links are removed, not followed. */
int tree_remove(const char *path, struct error *err) NESTOR_CHECKED;

#endif
