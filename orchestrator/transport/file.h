/* Files that are whole or not there: what local copies and downloads share. */
#ifndef TRANSPORT_FILE_H
#define TRANSPORT_FILE_H

#include <sys/types.h>

#include "nestor/error.h"

/* The directory part of path with its slash, and the name: "%.*s.%s.part" makes a name beside it. */
const char *file_name_part(const char *path);
/* Sets the mode of what is open as fd, puts it on disk and gives it its name: temp becomes path. */
int file_finish(int fd, const char *temp, const char *path, mode_t mode, struct error *err) NESTOR_CHECKED;

#endif
