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

/* Tells what is unknown, given twice, or a secret written down; resolves paths. */
void params_check(struct decoder *d, const struct param_taker *t, struct params *params);
/* Tells, of params that are right each alone, what the driver has against them together. */
void params_fit(struct decoder *d, const struct param_taker *t, const struct params *params, const struct word *name);
/* Tells what the driver cannot do without and `name` does not give. */
void params_need(struct decoder *d, const struct param_taker *t, const struct params *params, const struct word *name);

#endif
