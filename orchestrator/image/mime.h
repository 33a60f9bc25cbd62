/* A MIME multi-part as cloud-init's user-data wants it (cloudinit/user_data.py): the way to hand it several documents
 * of different kinds at once. */
#ifndef NESTOR_IMAGE_MIME_H
#define NESTOR_IMAGE_MIME_H

#include "nestor/buffer.h"

struct mime {
    struct buffer *out; /* borrowed */
    char boundary[32];
};

/* Begins a multi-part whose boundary does not occur in `foreign`. */
void mime_begin(struct mime *mime, struct buffer *out, const char *foreign);
/* Adds text of somebody else, byte for byte; user_data_type must know it. */
void mime_put_foreign(struct mime *mime, const char *name, const char *text);
/* Begins a cloud-config, in ASCII, whose keys the caller appends to out. merge: how they meet those of earlier parts.
 */
void mime_begin_cloud_config(struct mime *mime, const char *name, const char *merge);
void mime_end(struct mime *mime);

#endif
