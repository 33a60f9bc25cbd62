/* From a catalogue entry to what the rest of nestor works with. */
#ifndef NESTOR_IMAGE_RESOLVED_H
#define NESTOR_IMAGE_RESOLVED_H

#include "image/entry.h"

/* What the spec says (t, may be NULL) counts for more than what the image says. Never fails. */
struct image *image_resolve(const struct manifest *m, const struct entry *e, const struct template *t);

#endif
