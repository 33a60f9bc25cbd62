/* Files a user names. */
#ifndef NESTOR_SPEC_PLAIN_FILE_H
#define NESTOR_SPEC_PLAIN_FILE_H

#include "nestor/buffer.h"
#include "nestor/error.h"

/* Appends the file's first max bytes. Only a plain file has an end to read to: anything else is ERR_IO at once. */
int plain_file_read(const char *path, size_t max, struct buffer *ret, struct error *err) NESTOR_CHECKED;

#endif
