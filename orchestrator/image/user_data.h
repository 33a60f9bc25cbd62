/* cloud-init's user-data for one machine: who it is, who may log in, and what the spec adds. */
#ifndef NESTOR_IMAGE_USER_DATA_H
#define NESTOR_IMAGE_USER_DATA_H

#include "nestor/buffer.h"
#include "nestor/image.h"

#define USER_DATA_EXTRA_MAX ((size_t)1 << 20)

/* Refuses, with ERR_USAGE, a seed with a value that could mean something else to YAML or to cloud-init than the text
 * it is, and extra user-data that cloud-init would ignore. */
int user_data_check(const struct seed *seed, struct error *err) NESTOR_CHECKED;

/* Appends user-data, of a checked seed. It holds the private host key: wipe it. */
void user_data_put(const struct seed *seed, struct buffer *out);

/* Appends `text` as a YAML scalar that reads back as a string: 123 and "no" are quoted, web1 is not. */
void user_data_put_scalar(struct buffer *out, const char *text);

#endif
