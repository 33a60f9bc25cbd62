/* Looks at a disk image before anything is cloned from it. The file may be hostile: QEMU follows a qcow2's backing
 * file or external data file wherever it points, so an image that names one could hand a guest any file of the host. */
#ifndef NESTOR_IMAGE_DISK_H
#define NESTOR_IMAGE_DISK_H

#include <stddef.h>
#include <stdint.h>

#include "nestor/error.h"

/* The size of the disk a guest will see. ERR_IMAGE when the file is not of that format ("qcow2" or "raw"), damaged, or
 * stands on another file. */
int disk_probe(const char *path, const char *format, uint64_t *ret_virtual_size, struct error *err) NESTOR_CHECKED;

#define QCOW2_HEADER_MAX 104
/* The pure half, for qcow2: the file's first bytes, at most QCOW2_HEADER_MAX of them, and its size. */
int qcow2_check(const char *path, const uint8_t *header, size_t len, uint64_t file_size, uint64_t *ret_virtual_size,
                struct error *err) NESTOR_CHECKED;

#endif
