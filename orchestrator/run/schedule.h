/* A scheduler for a DAG of tasks: counted readiness (samurai), pools with limited units (ninja), highest priority
 * first, then from the pool with most left to do, then by index, so that a run is repeatable.
 *
 * All callbacks but `perform` are called on the thread that called schedule_run, in batches:
 *
 *   begin_batch
 *     finished(task, outcome) ...   for everything that ended since the last batch
 *     starting(task) ...            for everything that is about to be performed
 *   end_batch                       only after this is any of them handed to a worker
 *
 * so one commit carries many outcomes and intents, and no side effect comes before its intent is committed.
 */
#ifndef NESTOR_RUN_SCHEDULE_H
#define NESTOR_RUN_SCHEDULE_H

#include "nestor/context.h"
#include "nestor/error.h"

struct task {
    uint32_t ndeps;             /* tasks that must be done first */
    uint32_t first_next, nnext; /* those that wait for this one: next[first_next ...] */
    uint32_t pool;
    uint32_t units;    /* taken from the pool while it runs; 0: the pool does not matter */
    uint64_t priority; /* larger first */
};

enum outcome { OUTCOME_DONE, OUTCOME_FAILED, OUTCOME_SKIPPED /* something it waits for was not done */ };

struct schedule {
    const struct task *tasks;
    size_t ntasks;
    const uint32_t *next;
    const uint32_t *pool_units; /* capacity per pool */
    size_t npools;
    uint32_t parallel; /* most tasks that take units at once, and as many again that take none; 1: one task at a time */
    const struct context *ctx;
    struct cancel
        *stop; /* fired when a batch callback has failed: what runs cannot be recorded any more; may be NULL */
    void *data;
    /* Most tasks that take units of a pool and are of use at the same time, as things are now; NULL: any number. For
     * the pools from asked_from on. */
    uint32_t (*at_once)(void *data, uint32_t pool);
    size_t asked_from;
    int (*perform)(void *data, uint32_t task); /* on a worker thread; 0 or -1 */
    int (*begin_batch)(void *data, struct error *err);
    int (*starting)(void *data, uint32_t task, struct error *err);
    int (*finished)(void *data, uint32_t task, enum outcome outcome, struct error *err);
    int (*end_batch)(void *data, struct error *err);
};

/* Runs until every task is done, failed or skipped. After a cancel nothing new is started; what runs is awaited and
 * the rest is skipped. -1 only when a batch callback failed or no worker could be had (then nothing new is started
 * either, and `stop` is fired); failed tasks are the callbacks' business. */
int schedule_run(const struct schedule *s, struct error *err) NESTOR_CHECKED;

/* priority[i] = cost[i] + the largest priority among those that wait for i: the length of the critical path from here.
 * Tasks are in topological order. */
void schedule_priorities(const struct task *tasks, size_t n, const uint32_t *next, const uint32_t *cost,
                         uint64_t *priority);

#endif
