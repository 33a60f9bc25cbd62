/* A MIME multi-part as cloud-init's user-data wants it (cloudinit/user_data.py): the way to hand it several documents
 * of different kinds at once. */
#ifndef NESTOR_IMAGE_MIME_H
#define NESTOR_IMAGE_MIME_H

#include "nestor/buffer.h"

struct mime {
    struct buffer *out; /* borrowed */
    char boundary[32];
};

/* The content type of user-data by its first line; NULL if cloud-init would not know what it is. MIME_MULTIPART for
 * what has MIME headers already. Static storage. */
#define MIME_MULTIPART "multipart/mixed"
const char *mime_type_of(const char *user_data);

/* Begins a multi-part whose boundary does not occur in `foreign`. */
void mime_begin(struct mime *mime, struct buffer *out, const char *foreign);
/* Adds text of somebody else, byte for byte; its type must be known. */
void mime_put_foreign(struct mime *mime, const char *name, const char *text);
/* Begins a cloud-config, in ASCII, whose keys the caller appends to out. merge: how they meet those of earlier parts.
 */
void mime_begin_cloud_config(struct mime *mime, const char *name, const char *merge);
void mime_end(struct mime *mime);

#endif
