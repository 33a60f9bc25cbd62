/* A FAT12 volume made in memory: just enough of a file system to hand a few small files to a guest.
 *
 * Layout as in Microsoft's "FAT: General Overview of On-Disk Format", version 1.03: boot sector, two FATs, root
 * directory, data. One sector is one cluster and files lie one after the other, so the same input gives the same
 * bytes. Long names (VFAT) keep names such as "meta-data", which 8.3 cannot hold.
 */
#ifndef NESTOR_IMAGE_FAT_H
#define NESTOR_IMAGE_FAT_H

#include <stddef.h>

#include "nestor/buffer.h"
#include "nestor/error.h"

#define FAT_FILES_MAX 9 /* the short names end in "~1" to "~9" */
#define FAT_NAME_MAX 26 /* two long-name entries of 13 characters */

struct fat_file {
    const char *name; /* ASCII letters, digits and "-" */
    const void *data;
    size_t len;
};

/* Appends a volume of at least 32 KiB to *ret. label: at most 11 upper-case letters. ERR_CAPACITY when the files
 * need more than FAT12's 4084 clusters. */
int fat_write(const char *label, const struct fat_file *files, size_t n, struct buffer *ret,
              struct error *err) NESTOR_CHECKED;

#endif
