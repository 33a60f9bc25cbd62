/* The folders home/labs/ID: each holds the key of a lab. */
#ifndef NESTOR_CLI_LAB_FOLDERS_H
#define NESTOR_CLI_LAB_FOLDERS_H

#include <stdbool.h>

#include "nestor/state.h"

/* Calls fn for each. known: the database has, or had, a lab of that id. If not, the database that had it is lost, and
 * the lab may well be up. Ends at the first error, fn's included. */
int lab_folders_each(const char *home, struct state *state,
                     int (*fn)(void *data, const char *lab_id, const char *path, bool known, struct error *err),
                     void *data, struct error *err) NESTOR_CHECKED;

/* Warns of labs that the database lost: a lab of the same name would be made beside what may still run. */
int lab_folders_warn(const char *home, struct state *state, struct error *err) NESTOR_CHECKED;

#endif
