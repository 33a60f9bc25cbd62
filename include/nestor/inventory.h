/* The inventory: one row per machine, side by side what is wanted (lab), what was made (state) and what is there
 * (observed). It is the one value the planner, the runner, `status` and `down` all read, so they cannot disagree.
 *
 * Rows are the union of spec and state, parents before children, in the spec's order (machines that left the spec
 * come after). Built once per run by one thread; the observed part is filled by observation.
 */
#ifndef NESTOR_INVENTORY_H
#define NESTOR_INVENTORY_H

#include "nestor/driver.h"
#include "nestor/lab.h"
#include "nestor/state.h"

enum seen { SEEN_UNKNOWN /* its hypervisor could not be asked */, SEEN_ABSENT, SEEN_OFF, SEEN_ON, SEEN_BROKEN };

struct inventory_host {
    const char *name;
    const struct driver *driver;
    const struct param *params;
    size_t nparams;
    const char *const *templates; /* of the lab's machines on it; first the nnesting of those that are to nest */
    size_t ntemplates, nnesting;
    uint32_t parallel; /* units of work at once: what was asked for, else as observed, else the driver's default */
    uint32_t asked;    /* what the spec or the record says of it; 0: nothing */
    bool left;         /* recorded, but not in the spec any more; false without a spec */
};

struct row {
    const char *path, *name;
    uint32_t level;
    uint32_t parent; /* row index, LAB_NONE at level 1 */
    uint32_t host;   /* index into hosts: where it is wanted, or else recorded, or else was found */
    uint32_t nchildren, first_child, next_sibling; /* row indexes in the order of rows, LAB_NONE after the last */
    const struct machine *wanted;                  /* NULL: not in the spec (any more) */
    const struct machine_record *recorded;         /* NULL: nestor never made it */
    const struct driver *opens_as;                 /* the driver of the hypervisor it becomes; NULL for a plain guest */
    const char *hypervisor_name;                   /* that driver's name; "" */

    /* identity and access, from the spec or else from the record */
    const char *native_name, *uuid, *mac, *ssh_user, *template;
    uint16_t ssh_port;
    enum nesting nesting;
    enum ready ready;
    bool expose;     /* hardware virtualization on: nesting is not off and it is a guest hypervisor or says so */
    char digest[17]; /* of the wanted configuration; "" when not wanted */

    /* observed */
    enum seen seen;
    bool seen_exposed;
    const char *seen_digest;
    enum seen *elsewhere; /* at level 1: how hosts that are not its own show it, per host; NULL: none does */
    const char
        *unasked; /* why the hypervisor it has become could not be asked for its machines; NULL: no such trouble */
};

/* Whether it becomes a hypervisor that is spoken to at its address, not from within. */
static inline bool row_is_by_address(const struct row *row) {
    return row->opens_as && row->opens_as->features & DRIVER_BY_ADDRESS;
}

struct inventory {
    struct arena arena;
    const char *lab_id, *lab_name;
    const struct lab *lab; /* borrowed; NULL for down */
    struct inventory_host *hosts;
    size_t nhosts;
    struct row *rows;
    size_t nrows;
};

/* lab may be NULL (down, status of a lab whose file is gone), contents may be NULL (first up). Both are borrowed and
 * must outlive the inventory. ERR_SPEC/ERR_UNSUPPORTED for a driver this build does not have. */
int inventory_build(const char *lab_id, const char *lab_name, const struct lab *lab,
                    const struct lab_contents *contents, struct inventory **ret, struct error *err) NESTOR_CHECKED;
void inventory_free(struct inventory *inv); /* NULL-safe */
/* Row of a path, LAB_NONE if none. */
uint32_t inventory_find(const struct inventory *inv, const char *path);
/* Whether virtualization is exposed to a machine inside this one: then its own KVM module must allow nesting. */
bool inventory_nests_deeper(const struct inventory *inv, uint32_t row);
/* Walks a branch, a machine and all that is in it, parents first: from `row` to the next one; LAB_NONE after the last.
 *   for (uint32_t r = top; r != LAB_NONE; r = inventory_next_within(inv, top, r)) */
uint32_t inventory_next_within(const struct inventory *inv, uint32_t top, uint32_t row);
/* Puts one hypervisor's observation into the rows that live on it: row index `on`, or LAB_NONE and a host index.
 * Rows it does not mention become SEEN_ABSENT. A machine that a host shows, but that belongs on another one, is noted
 * as seen elsewhere: there is one row per machine. */
void inventory_apply(struct inventory *inv, uint32_t on, uint32_t host, const struct observation *o);
/* The next host after `host` that shows the machine and is not its own; LAB_NONE is before the first, after the last.
 */
uint32_t inventory_next_elsewhere(const struct inventory *inv, uint32_t row, uint32_t host);
/* The guest hypervisor `on` could not be asked: what is in it stays SEEN_UNKNOWN. Copies what it needs of why. */
void inventory_unasked(struct inventory *inv, uint32_t on, const struct error *why);
/* The innermost guest hypervisor around the row that could not be asked, LAB_NONE if there is none. */
uint32_t inventory_unasked_around(const struct inventory *inv, uint32_t row);

#endif
