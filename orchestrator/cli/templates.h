/* Whether the templates of a lab can be had: what validate, plan and up tell before anything is made. */
#ifndef NESTOR_CLI_TEMPLATES_H
#define NESTOR_CLI_TEMPLATES_H

#include "nestor/lab.h"

/* ERR_SPEC for one that is not there, with the name that was most likely meant. Builds and downloads nothing. A
 * template_check_fn. */
int template_check(const struct template *t, struct error *err) NESTOR_CHECKED;
/* The same for those wanted (one per template of the lab): one finding each, added to diags, and the first of them as
 * the error, about "lab.yaml:7:15". */
int templates_check(const struct lab *lab, const bool *wanted, struct diagnostics *diags,
                    struct error *err) NESTOR_CHECKED;
/* What to do about a name that no image has: those there are. Returns -1. */
int mend_with_images(const char *name, struct error *err);
/* The same for a name that is to be built. */
int mend_with_recipes(const char *name, struct error *err);

#endif
