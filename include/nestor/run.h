/* Running a plan: one scheduler loop on the calling thread, worker threads for the steps, counted readiness,
 * limits per hypervisor, the journal around each side effect.
 *
 * The scheduler itself knows nothing of labs (orchestrator/run/schedule.h): tests run it with tasks of their own.
 */
#ifndef NESTOR_RUN_H
#define NESTOR_RUN_H

#include "nestor/event.h"
#include "nestor/plan.h"
#include "nestor/reach.h"
#include "nestor/state.h"

struct run_options {
    /* Most changes at once over all, and as many waits for machines; 1: one step at a time; 0: 64, or what the hosts
     * take together, if that is more, up to 128. */
    uint32_t parallel;
    const struct capability *hosts; /* per host, from run_preflight; NULL: unknown */
};

struct run_result {
    size_t done, failed, skipped; /* steps */
    struct error first;           /* the first failure */
};

/* Checks, before anything is made, what can be known: that each host can nest if the lab requires it (ERR_NESTING with
 * the reason), that memory, disk and CPUs suffice (ERR_CAPACITY), and what the driver examines itself (ERR_UNSUPPORTED
 * about the first thing that is unfit; each of them, and each warning, is an event). Disks that nobody gave a size may
 * outgrow the host: that is only warned of. Fills ret_hosts[inventory->nhosts]; a host that emulates is told by a
 * notice. All hosts are looked at at the same time, and judged in their order, up to the first that does not do. */
int run_preflight(const struct plan *plan, struct reach *reach, struct capability *ret_hosts, struct event_sink *sink,
                  const struct context *ctx, struct error *err) NESTOR_CHECKED;

/* Runs the plan to its end (after a failure, everything that does not depend on it), or until cancelled (no new steps;
 * those running are asked to end). Returns 0 when every step was done; -1 with the first failure otherwise. Journal,
 * records and evidence are in `state` after each step. The lab's lock is held by the caller. */
int run_plan(struct plan *plan, struct reach *reach, struct state *state, const struct secret *secret,
             const struct run_options *options, struct event_sink *sink, const struct context *ctx,
             struct run_result *ret, struct error *err) NESTOR_CHECKED;

/* For a plan that changes nothing: records how its hosts are spoken to from now on, which may have changed all the same
 * (a password's place, a certificate). */
int run_nothing(struct plan *plan, struct state *state, struct error *err) NESTOR_CHECKED;

#endif
