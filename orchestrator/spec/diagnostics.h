/* Collecting findings; the struct itself is in nestor/lab.h. */
#ifndef NESTOR_SPEC_DIAGNOSTICS_H
#define NESTOR_SPEC_DIAGNOSTICS_H

#include "nestor/lab.h"

/* Each adds one finding and returns it for diagnostic_hint; NULL when there are too many to tell. Valid until the
 * next one is added. */
struct diagnostic *spec_error(struct diagnostics *d, struct origin at, const char *fmt, ...) NESTOR_PRINTF(3, 4);
struct diagnostic *spec_warning(struct diagnostics *d, struct origin at, const char *fmt, ...) NESTOR_PRINTF(3, 4);
/* What to do about it. NULL-safe. */
void diagnostic_hint(struct diagnostic *found, const char *fmt, ...) NESTOR_PRINTF(2, 3);
/* "did you mean 'memory'?" when one of the words is near enough, and true. */
bool diagnostic_suggest(struct diagnostic *found, const char *word, const char *const *words, size_t n);
/* "choose one of a, b, c". */
void diagnostic_list(struct diagnostic *found, const char *lead, const char *const *words, size_t n);

/* By position, and each finding once: an alias repeats what is wrong with what it names. */
void diagnostics_sort(struct diagnostics *d);

#endif
