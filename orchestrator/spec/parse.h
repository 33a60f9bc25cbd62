/* lab_load of a text, with the drivers named by the caller, so that tests do not hang on what this build can drive. */
#ifndef NESTOR_SPEC_PARSE_H
#define NESTOR_SPEC_PARSE_H

#include "nestor/driver.h"
#include "nestor/lab.h"

struct driver_list {
    const struct driver *const *items;
    size_t n;
};
int spec_parse(const char *file, const char *text, size_t len, const struct driver_list *drivers,
               template_check_fn *check, struct lab **ret, struct diagnostics *diags, struct error *err) NESTOR_CHECKED;

#endif
