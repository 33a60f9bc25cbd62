/* Reach: from an inventory row to an open hypervisor or a connection. This is the program's only recursion:
 *
 *   hypervisor of row r  =  r is at level 1 ? open(host driver, local access)
 *                                          : open(driver of parent, access of parent)
 *   access of row r      =  ssh( through the way to r's hypervisor's machines, to the address it gives for r )
 *
 * The way to a hypervisor's machines is the access into it. One that is spoken to at its address (DRIVER_BY_ADDRESS)
 * needs no access into it: it is opened with its address and the way to the machine it is, and what runs in it is
 * dialled from there too.
 *
 * Handles are opened on first need, shared by all threads, and closed by reach_close children first. A connection
 * found dead is opened anew once.
 */
#ifndef NESTOR_REACH_H
#define NESTOR_REACH_H

#include "nestor/event.h"
#include "nestor/inventory.h"

struct reach;

/* inv and secret are borrowed until reach_close. secret NULL: no SSH (ERR_AUTH when one is needed). */
int reach_open(struct inventory *inv, const char *home, const struct secret *secret, struct event_sink *sink,
               struct reach **ret, struct error *err) NESTOR_CHECKED;
void reach_close(struct reach *r); /* NULL-safe */
/* Who drivers may ask for secrets; borrowed until reach_close. NULL, as without this: nobody. */
void reach_ask(struct reach *r, const struct asker *asker);

/* The hypervisor the row's machine runs on (not: becomes). Borrowed until reach_close or reach_forget. */
int reach_hypervisor(struct reach *r, uint32_t row, struct hypervisor **ret, const struct driver **ret_driver,
                     const struct context *ctx, struct error *err) NESTOR_CHECKED;
/* The host itself, by index into inv->hosts. */
int reach_host(struct reach *r, uint32_t host, struct hypervisor **ret, const struct driver **ret_driver,
               const struct context *ctx, struct error *err) NESTOR_CHECKED;
/* The host's driver->at_once; UINT32_MAX when it has none, or is not open. */
uint32_t reach_at_once(struct reach *r, uint32_t host);
/* The hypervisor the row's machine has become, for its children. ERR_UNSUPPORTED for a plain guest. */
int reach_inside(struct reach *r, uint32_t row, struct hypervisor **ret, const struct driver **ret_driver,
                 const struct context *ctx, struct error *err) NESTOR_CHECKED;
/* A connection into the row's machine, one attempt. */
int reach_access(struct reach *r, uint32_t row, struct access **ret, const struct context *ctx,
                 struct error *err) NESTOR_CHECKED;
/* The same, repeated with short pauses while the error says retry and ctx has time; watches that the machine still
 * runs, so a machine that died ends the wait at once (ERR_DIED). */
int reach_wait(struct reach *r, uint32_t row, struct access **ret, const struct context *ctx,
               struct error *err) NESTOR_CHECKED;
/* reach_inside, repeated in the same way: for a hypervisor that is spoken to at its address. */
int reach_wait_inside(struct reach *r, uint32_t row, struct hypervisor **ret, const struct context *ctx,
                      struct error *err) NESTOR_CHECKED;
/* The proof that the row's machine can nest: by probes over SSH (verify.h); for a hypervisor that is spoken to at its
 * address by what it says of itself (driver->check). `exposed`: the setting, as read back. Waits for it as reach_wait
 * does. Returns 0 with *ret filled whether or not it verified; -1 only when it could not be asked. */
int reach_prove(struct reach *r, const struct inventory *inv, uint32_t row, bool exposed, struct evidence *ret,
                const struct context *ctx, struct error *err) NESTOR_CHECKED;
/* Asks its hypervisor where it answers now, for reach_address, which stays as it was if there is no answer. */
void reach_find(struct reach *r, uint32_t row, const struct context *ctx);
/* Where it answers, as text "127.0.0.1:40001", once known; "" before. Into out[80]. */
void reach_address(struct reach *r, uint32_t row, char out[80]);
/* Whether children of this row's hypervisor may run accelerated (set after verify, before reach_inside). */
void reach_set_accelerated(struct reach *r, uint32_t row, bool accelerated);
/* Closes everything at and below the row: its machine is being stopped or removed. */
void reach_forget(struct reach *r, uint32_t row);

/* Observes every hypervisor that can be reached now, filling the inventory: hosts always; a guest hypervisor only
 * if its machine is on. Rows below one that cannot be asked stay SEEN_UNKNOWN, and why is
 * said in its own (row.unasked). Fails only when a host cannot be
 * asked at all (`inv` is the inventory the reach was opened with). Guest hypervisors are tried for at most guest_ms
 * each, in parallel; 0: they are not asked. */
int reach_observe(struct reach *r, struct inventory *inv, int guest_ms, const struct context *ctx,
                  struct error *err) NESTOR_CHECKED;

/* The row's machine as a driver is told about it: identity and sizes; image and seed are left empty. Borrows from the
 * inventory. */
struct machine_spec row_machine(const struct inventory *inv, const struct row *row);

#endif
