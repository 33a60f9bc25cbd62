/* bench_bound LAB PARALLEL: the milliseconds that the first `up` of a lab of fake machines must take, whatever the
 * scheduler does.
 *
 * Every change takes the host's `delay`, reach and verify nothing, so time goes in slots of one delay. In a schedule of
 * T slots
 *
 *   - a step can run in slot s only if its longest chain of predecessors fits before s, and its longest chain of
 *     successors between s and T;
 *   - a hypervisor runs at most its `parallel` steps in one slot, and all together run at most PARALLEL;
 *   - a guest hypervisor is open only when its own steps are done, and its host does no more of those per slot than its
 *     `parallel`: so in slot s only so many can be open.
 *
 * So much can be done in each slot at most; if that adds up to less than there is to do, T is too short. The bound is
 * the least T that this does not exclude. The usual ones are contained in it: the critical path, and the work of each
 * limit over its capacity. What the process, the spec, the state, seeds and images cost is not in it: that, and what
 * the scheduler does worse than possible, is what is measured against it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench_plan.h"
#include "nestor/buffer.h"

struct job {
    uint32_t pool;
    uint32_t head, tail; /* slots that must come before and after */
};

struct pool {
    uint32_t limit;
    uint32_t ready;   /* jobs that may run in the slot that is looked at */
    int64_t possible; /* jobs that can be done in all slots */
    bool opens;       /* a guest hypervisor directly on a host */
};

struct problem {
    struct job *jobs; /* the steps that take time */
    size_t njobs;
    struct pool *pools; /* as the runner numbers them: rows, then hosts */
    size_t npools;
    uint32_t parallel;
    uint32_t path; /* slots of the critical path */
    /* for opening guest hypervisors: the slot of the first step, steps per slot, steps for each */
    uint32_t first, rate, need;
    uint32_t *open; /* scratch */
};

static bool takes_time(const struct step *s) { return step_units(s->kind) > 0; }

static uint32_t larger(uint32_t a, uint32_t b) { return a > b ? a : b; }
static uint32_t smaller(uint32_t a, uint32_t b) { return a < b ? a : b; }

static bool about_machine(const struct step *s) { return s->kind != STEP_IMAGE && s->kind != STEP_NETWORK; }

static uint32_t pool_of(const struct inventory *inv, const struct step *s) {
    uint32_t row = about_machine(s) ? inv->rows[s->row].parent : s->row;
    return row != LAB_NONE ? row : (uint32_t)inv->nrows + s->host;
}

static uint32_t limit_of(const struct inventory *inv, uint32_t pool) {
    if (pool >= inv->nrows)
        return inv->hosts[pool - inv->nrows].parallel;
    const struct row *row = &inv->rows[pool];
    return row->wanted->parallel ? row->wanted->parallel : row->opens_as ? row->opens_as->parallel : 1;
}

static void add_jobs(struct problem *p, const struct plan *plan) {
    uint32_t *head = xcalloc(plan->nsteps, sizeof *head), *tail = xcalloc(plan->nsteps, sizeof *tail);
    for (size_t i = 0; i < plan->nsteps; i++) {
        const struct step *s = &plan->steps[i];
        for (uint32_t k = 0; k < s->nnext; k++) {
            uint32_t *next = &head[plan->next[s->first_next + k]];
            *next = larger(*next, head[i] + takes_time(s));
        }
    }
    for (size_t i = plan->nsteps; i-- > 0;) {
        const struct step *s = &plan->steps[i];
        for (uint32_t k = 0; k < s->nnext; k++) {
            uint32_t next = plan->next[s->first_next + k];
            tail[i] = larger(tail[i], tail[next] + takes_time(&plan->steps[next]));
        }
        p->path = larger(p->path, head[i] + takes_time(s) + tail[i]);
        if (takes_time(s))
            p->jobs[p->njobs++] = (struct job){pool_of(plan->inventory, s), head[i], tail[i]};
        if (takes_time(s) && about_machine(s) && plan->inventory->rows[s->row].level == 1)
            p->first = smaller(p->first, head[i]);
    }
    free(head);
    free(tail);
}

static void add_pools(struct problem *p, const struct plan *plan) {
    const struct inventory *inv = plan->inventory;
    uint32_t *own = xcalloc(inv->nrows, sizeof *own); /* steps of a machine that take time */
    for (size_t i = 0; i < plan->nsteps; i++)
        if (about_machine(&plan->steps[i]))
            own[plan->steps[i].row] += takes_time(&plan->steps[i]);
    for (uint32_t i = 0; i < p->npools; i++) {
        p->pools[i].limit = limit_of(inv, i);
        p->rate += i >= inv->nrows ? p->pools[i].limit : 0;
        p->pools[i].opens = i < inv->nrows && inv->rows[i].level == 1 && inv->rows[i].nchildren;
        if (p->pools[i].opens)
            p->need = smaller(p->need, own[i]);
    }
    free(own);
}

static int descending(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

/* What can be done in slot s (from 0) of T; added up per pool, too. */
static uint64_t do_slot(struct problem *p, uint32_t s, uint32_t T) {
    uint64_t together = 0;
    size_t nopen = 0;
    for (size_t i = 0; i < p->npools; i++)
        p->pools[i].ready = 0;
    for (size_t i = 0; i < p->njobs; i++)
        p->pools[p->jobs[i].pool].ready += p->jobs[i].head <= s && s + 1 + p->jobs[i].tail <= T;
    for (size_t i = 0; i < p->npools; i++) {
        struct pool *pool = &p->pools[i];
        uint32_t most = smaller(pool->ready, pool->limit);
        pool->possible += most;
        if (pool->opens)
            p->open[nopen++] = most;
        else
            together += most;
    }
    uint64_t can_be_open = s > p->first ? (uint64_t)(s - p->first) * p->rate / p->need : 0;
    qsort(p->open, nopen, sizeof *p->open, descending);
    for (size_t i = 0; i < nopen && i < can_be_open; i++)
        together += p->open[i];
    return together < p->parallel ? together : p->parallel;
}

static bool may_fit(struct problem *p, uint32_t T) {
    uint64_t together = 0;
    for (size_t i = 0; i < p->npools; i++)
        p->pools[i].possible = 0;
    for (uint32_t s = 0; s < T; s++)
        together += do_slot(p, s, T);
    for (size_t i = 0; i < p->njobs; i++)
        if (--p->pools[p->jobs[i].pool].possible < 0)
            return false;
    return together >= p->njobs;
}

static uint32_t number(const char *text) {
    char *end;
    unsigned long n = strtoul(text, &end, 10);
    if (end == text || *end || n == 0 || n > 1000000) {
        fprintf(stderr, "'%s' is not a number from 1 on\n", text);
        exit(2);
    }
    return (uint32_t)n;
}

static uint32_t delay_of(const struct inventory_host *host) {
    for (size_t i = 0; i < host->nparams; i++)
        if (strcmp(host->params[i].key, "delay") == 0)
            return number(host->params[i].value);
    fprintf(stderr, "host %s has no delay\n", host->name);
    exit(1);
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fputs("usage: bench_bound LAB PARALLEL\n", stderr);
        return 2;
    }
    struct bench_plan b = bench_plan_load(argv[1]);
    size_t npools = b.inventory->nrows + b.inventory->nhosts;
    struct problem p = {.jobs = xcalloc(b.plan->nsteps, sizeof *p.jobs),
                        .pools = xcalloc(npools, sizeof *p.pools),
                        .npools = npools,
                        .parallel = number(argv[2]),
                        .first = UINT32_MAX,
                        .need = UINT32_MAX,
                        .open = xcalloc(npools, sizeof *p.open)};
    uint32_t delay = delay_of(&b.inventory->hosts[0]);
    add_jobs(&p, b.plan);
    add_pools(&p, b.plan);
    uint32_t T = p.path;
    while (!may_fit(&p, T))
        T++;
    printf("%u\n", T * delay);
    fprintf(stderr, "%zu machines, %zu steps, %zu of them take %u ms; critical path %u ms\n", b.inventory->nrows,
            b.plan->nsteps, p.njobs, delay, p.path * delay);
    free(p.jobs);
    free(p.pools);
    free(p.open);
    bench_plan_free(&b);
    return 0;
}
