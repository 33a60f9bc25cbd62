/* The plan: an ordered DAG of small steps, each with its reason. A plan is a pure function of the inventory:
 * immutable, printable, comparable; running it is run.h's job.
 *
 *   up, per machine:   image -> network -> create -> expose -> start -> reach -> verify -> (children's steps)
 *   up, per host that left the spec: (remove steps of its machines) -> prune
 *   down, per machine: (children's steps) -> remove
 */
#ifndef NESTOR_PLAN_H
#define NESTOR_PLAN_H

#include "nestor/inventory.h"

/* X(symbol, name, units): units is what it costs of its hypervisor's `parallel` (0: only waits). */
#define STEP_KINDS(X)                                                                                                  \
    X(STEP_IMAGE, "image", 1)                                                                                          \
    X(STEP_NETWORK, "network", 1)                                                                                      \
    X(STEP_CREATE, "create", 1)                                                                                        \
    X(STEP_EXPOSE, "expose", 1)                                                                                        \
    X(STEP_START, "start", 1)                                                                                          \
    X(STEP_REACH, "reach", 0)                                                                                          \
    X(STEP_VERIFY, "verify", 0)                                                                                        \
    X(STEP_STOP, "stop", 1)                                                                                            \
    X(STEP_REMOVE, "remove", 1)                                                                                        \
    X(STEP_PRUNE, "prune", 1)

enum step_kind {
#define X(symbol, name, units) symbol,
    STEP_KINDS(X)
#undef X
        STEP_KIND_MAX
};
const char *step_name(enum step_kind kind);
uint32_t step_units(enum step_kind kind);

struct step {
    enum step_kind kind;
    uint32_t row;       /* machine; for image, network and prune: the hypervisor's own row, LAB_NONE for a host */
    uint32_t host;      /* of the row; a removal may be from another one that shows the machine */
    uint32_t template;  /* STEP_IMAGE: index into lab->templates */
    const char *reason; /* "not there", "stopped", "memory 1GiB -> 2GiB": why this step is in the plan */
    bool change;        /* false: only looks (reach, verify); a plan without changes is "nothing to do" */
    uint32_t ndeps;     /* how many steps must be done first */
    uint32_t nnext, first_next; /* steps that wait for this one: plan->next[first_next ...] */
};

/* CHANGE_CHECK: it is there and runs, but was not proved ready yet, or could not be asked. What is in one that could
 * not be asked is looked at by create and start, which do nothing to a machine that is there and runs. */
enum change { CHANGE_NONE, CHANGE_CREATE, CHANGE_START, CHANGE_RESTART, CHANGE_REPLACE, CHANGE_REMOVE, CHANGE_CHECK };

struct plan {
    struct arena arena;
    const struct inventory *inventory; /* borrowed */
    const char *verb;                  /* "up" or "down" */
    struct step *steps;                /* topological order: a step stands after all it waits for */
    size_t nsteps;
    uint32_t *next;
    enum change *changes; /* per inventory row: what the plan does to it, in one word */
    const char **reasons; /* per inventory row */
    size_t nchanges;      /* steps with change set */
};

/* Machines in the spec come to be and run; machines no longer in it are removed; changed ones are replaced.
 * A machine that only another host than its own shows is removed there before it is made.
 * A guest hypervisor that runs already is reached and verified again before anything is changed inside it. */
int plan_up(const struct inventory *inv, struct plan **ret, struct error *err) NESTOR_CHECKED;
/* Everything nestor has a record of, or the hypervisors show with this lab's tag, goes. */
int plan_down(const struct inventory *inv, struct plan **ret, struct error *err) NESTOR_CHECKED;
void plan_free(struct plan *plan); /* NULL-safe */

/* "create", "start" ... for tables and JSON; static storage. */
const char *change_name(enum change change);

/* Sum of what the plan adds on each host: checked against capability before anything is made. */
struct demand {
    uint64_t memory;
    uint64_t disk;      /* of new machines whose spec says how large it is to be */
    uint64_t disk_most; /* what all new and replaced ones may grow to; what the replaced ones give back is not known */
    /* of the largest single machine */
    uint32_t cpus;
    uint64_t machine_memory;
};
/* disk_sizes: of the lab's templates' own disks, by their index, 0 where unknown; NULL: none is known. */
void plan_demand(const struct plan *plan, uint32_t host, const uint64_t *disk_sizes, struct demand *ret);

#endif
