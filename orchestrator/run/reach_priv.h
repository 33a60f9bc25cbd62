/* What opening the tree (reach.c) lends to waiting for it (reach_wait.c). */
#ifndef NESTOR_RUN_REACH_PRIV_H
#define NESTOR_RUN_REACH_PRIV_H

#include "nestor/reach.h"

/* How long one attempt may take. Under nested emulation the key exchange takes seconds, and one that is given up costs
 * the guest as much as one that is not. */
#define ATTEMPT_MS 60000

const struct row *reach_row(const struct reach *r, uint32_t row);
/* The connection into the machine that there is, or a new one. again: this is one attempt of several, and takes no
 * longer than one does. */
int reach_try(struct reach *r, uint32_t row, bool again, struct access **ret, const struct context *ctx,
              struct error *err) NESTOR_CHECKED;
/* Asks its hypervisor where the machine answers. */
int reach_ask_address(struct reach *r, uint32_t row, struct endpoint *ret, const struct context *ctx,
                      struct error *err) NESTOR_CHECKED;

#endif
