/* Makes an entry of the catalogue: by its recipe, or from the template's paths and URLs. */
#ifndef NESTOR_IMAGE_MAKE_H
#define NESTOR_IMAGE_MAKE_H

#include "image/entry.h"

/* Wants the entry's lock. The entry is whole when this returns 0, and as it was before otherwise. */
int image_make(const struct entry *e, const struct template *t, struct event_sink *sink, const struct context *ctx,
               struct error *err) NESTOR_CHECKED;

/* ERR_CHECKSUM, about `path`, unless the two are the same. */
int checksum_compare(const char *path, const char *expected, const char *found, struct error *err) NESTOR_CHECKED;

#endif
