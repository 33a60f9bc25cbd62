/* The lab files that 'nestor init' begins with. */
#ifndef NESTOR_CLI_STARTERS_H
#define NESTOR_CLI_STARTERS_H

#include "nestor/error.h"

/* Calls fn for each, by name. */
int starters_each(void (*fn)(void *data, const char *name), void *data, struct error *err) NESTOR_CHECKED;

#endif
