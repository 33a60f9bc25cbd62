#ifndef NESTOR_SPEC_FILE_H
#define NESTOR_SPEC_FILE_H

#include "nestor/buffer.h"

/* Reads fd to its end, but at most max + 1 bytes: ret->len > max tells that there is more than there may be. */
int file_read(int fd, const char *subject, size_t max, struct buffer *ret, struct error *err) NESTOR_CHECKED;

#endif
