/* Parameters of drivers, checked against the driver's own table. */
#ifndef NESTOR_SPEC_PARAMS_H
#define NESTOR_SPEC_PARAMS_H

#include "spec/draft.h"

/* A map that takes parameters of a driver beside keys of nestor's own. */
struct param_taker {
    const struct driver *driver;
    const char *noun;       /* "host" */
    const char *const *own; /* keys of nestor's own */
    size_t nown;
    bool guest; /* of a hypervisor inside a machine */
};

/* Tells what is unknown, given twice, or a secret written down, and resolves paths; what the driver cannot do without,
 * of a host; and if there is nothing of that, what it has against them together. `name` is what they belong to. */
void params_check(struct decoder *d, const struct param_taker *t, struct params *params, const struct word *name);

#endif
