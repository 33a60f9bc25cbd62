/* Whether the templates of a lab can be had: what validate, plan and up tell before anything is made. */
#ifndef NESTOR_CLI_TEMPLATES_H
#define NESTOR_CLI_TEMPLATES_H

#include "nestor/lab.h"

/* ERR_SPEC about "lab.yaml:7:15" for one that is not there, with the name that was most likely meant. Builds and
 * downloads nothing. */
int template_check(const struct lab *lab, uint32_t template, struct error *err) NESTOR_CHECKED;
/* The same for every template that a machine uses: one finding each, added to diags. */
void templates_check(const struct lab *lab, struct diagnostics *diags);
/* What to do about a name that no image has: those there are. Returns -1. */
int mend_with_images(const char *name, struct error *err);
/* The same for a name that is to be built. */
int mend_with_recipes(const char *name, struct error *err);

#endif
