/* All that nestor remembers, lab by lab: for commands that are not about one lab. */
#ifndef NESTOR_CLI_RECORDED_H
#define NESTOR_CLI_RECORDED_H

#include "nestor/state.h"

/* Calls fn for each lab, by name, with what was made for it; both are borrowed for the call. Ends at the first error,
 * fn's included. */
int recorded_each(struct state *state,
                  int (*fn)(void *data, const struct lab_record *lab, const struct lab_contents *contents,
                            struct error *err),
                  void *data, struct error *err) NESTOR_CHECKED;

#endif
