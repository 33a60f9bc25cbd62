/* The lab runner: a plan's steps as tasks of the scheduler, and what is written down around each of them. */
#include "nestor/run.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "run/schedule.h"
#include "run/steps.h"

/* A worker that waits costs a stack, so hosts that take more than the usual number get more, within reason. */
#define DEFAULT_PARALLEL 64
#define DEFAULT_PARALLEL_MAX 128

struct entry {
    int64_t journal; /* id of its intent */
    int64_t started; /* clock_ms */
    bool done;
    struct step_result result;
};

struct run {
    struct work work;
    struct context ctx; /* of its steps: the caller's, and `stop` ends it, too */
    struct cancel stop;
    struct plan *plan;
    const struct inventory *inv;
    struct state *state;
    int64_t id;
    struct entry *entries; /* per step */
    struct run_result *result;
};

/* What a step does to its machine's record: before it begins, and once it is done. NULL: nothing. That it
 * answers means that it runs, whatever an earlier try said. */
static const struct {
    const char *before, *after;
} status_of[STEP_KIND_MAX] = {
    [STEP_CREATE] = {"creating", "created"}, [STEP_START] = {NULL, "running"}, [STEP_REACH] = {NULL, "running"},
    [STEP_VERIFY] = {NULL, "running"},       [STEP_STOP] = {NULL, "stopped"},  [STEP_REMOVE] = {"removing", NULL},
};

/* Rough seconds per kind, for the order only: what leads to the longest wait goes first. */
static const uint32_t cost_of[STEP_KIND_MAX] = {
    [STEP_IMAGE] = 5,  [STEP_NETWORK] = 1, [STEP_CREATE] = 2, [STEP_EXPOSE] = 1, [STEP_START] = 2,
    [STEP_REACH] = 30, [STEP_VERIFY] = 3,  [STEP_STOP] = 5,   [STEP_REMOVE] = 2, [STEP_PRUNE] = 1,
};

static bool about_machine(const struct step *s) {
    return s->kind != STEP_IMAGE && s->kind != STEP_NETWORK && s->kind != STEP_PRUNE;
}

static const char *path_of(const struct run *r, const struct step *s) {
    return s->row != LAB_NONE ? r->inv->rows[s->row].path : r->inv->hosts[s->host].name;
}

/* The last step that makes a machine ready: verify if there is one, else reach, else start. */
static bool makes_ready(const struct row *row, enum step_kind kind) {
    bool verifies = row->nesting == NESTING_REQUIRED || row->nesting == NESTING_PREFERRED;
    bool reaches = row->ready != READY_RUNNING || row->opens_as;
    return kind == (verifies ? STEP_VERIFY : reaches ? STEP_REACH : STEP_START);
}

static int put_record(struct run *r, uint32_t at, const char *status, struct error *err) {
    const struct row *row = &r->inv->rows[at];
    struct machine_record m = {
        .path = row->path,
        .name = row->name,
        .level = row->level,
        .ordinal = at,
        .parent = row->parent == LAB_NONE ? "" : r->inv->rows[row->parent].path,
        .host = r->inv->hosts[row->host].name,
        .hypervisor = row->hypervisor_name,
        .template = row->template,
        .native_name = row->native_name,
        .uuid = row->uuid,
        .mac = row->mac,
        .digest = row->digest,
        .ssh_user = row->ssh_user,
        .ssh_port = row->ssh_port,
        .nesting = nesting_name(row->nesting),
        .ready = ready_name(row->ready),
        .status = status,
        .address = "",
        .failure = "",
    };
    return state_machine_put(r->state, r->inv->lab_id, &m, err);
}

/* Its host is known by another name than when it was recorded. */
static int put_host(struct run *r, const struct row *row, struct error *err) {
    const char *host = r->inv->hosts[row->host].name;
    if (!row->recorded || strcmp(row->recorded->host, host) == 0)
        return 0;
    struct machine_record m = *row->recorded;
    m.host = host;
    return state_machine_put(r->state, r->inv->lab_id, &m, err);
}

/* What is wanted of a machine that stays may have changed, and one that is there without a record is adopted. */
static int put_kept(struct run *r, struct error *err) {
    for (uint32_t i = 0; i < r->inv->nrows; i++) {
        const struct row *row = &r->inv->rows[i];
        enum change change = r->plan->changes[i];
        const char *status = row->seen == SEEN_ON ? "running" : "stopped";
        int failed = 0;
        if (change == CHANGE_START || change == CHANGE_RESTART || change == CHANGE_CHECK)
            failed = put_record(r, i, status, err);
        else if (change == CHANGE_NONE)
            failed = put_host(r, row, err);
        if (failed)
            return -1;
    }
    return 0;
}

static int begin_batch(void *data, struct error *err) { return state_begin(((struct run *)data)->state, err); }

static int end_batch(void *data, struct error *err) { return state_commit(((struct run *)data)->state, err); }

/* Whoever is wanted gets a record before anything is done to it, but for the removal of what was there instead. */
static bool has_record(const struct run *r, const struct step *s) {
    if (!about_machine(s))
        return false;
    const struct row *row = &r->inv->rows[s->row];
    return row->recorded || (row->wanted && s->kind != STEP_REMOVE);
}

static int starting(void *data, uint32_t task, struct error *err) {
    struct run *r = data;
    const struct step *s = &r->plan->steps[task];
    struct entry *e = &r->entries[task];
    const char *path = path_of(r, s);
    e->started = clock_ms();
    if (state_journal_intent(r->state, r->id, r->inv->lab_id, path, step_name(s->kind), s->reason, &e->journal, err))
        return -1;
    event_emit(r->work.sink,
               (struct event){.kind = EVENT_STEP_START, .path = path, .step = step_name(s->kind), .text = s->reason});
    if (s->kind == STEP_CREATE)
        return put_record(r, s->row, "creating", err);
    if (!has_record(r, s) || s->kind == STEP_REACH || s->kind == STEP_VERIFY)
        return 0;
    return state_machine_seen(r->state, r->inv->lab_id, path, status_of[s->kind].before, NULL, 0, NULL, err);
}

/* Whatever was inside a removed machine is gone with it. */
static int forget_branch(struct run *r, uint32_t around, struct error *err) {
    for (uint32_t i = around; i != LAB_NONE; i = inventory_next_within(r->inv, around, i))
        if (r->inv->rows[i].recorded && state_machine_delete(r->state, r->inv->lab_id, r->inv->rows[i].path, err))
            return -1;
    return 0;
}

/* From another host, after this one. */
static bool is_removed_again(const struct run *r, const struct step *s) {
    for (uint32_t i = 0; i < s->nnext; i++) {
        const struct step *next = &r->plan->steps[r->plan->next[s->first_next + i]];
        if (next->kind == STEP_REMOVE && next->row == s->row)
            return true;
    }
    return false;
}

static int record_done(struct run *r, const struct step *s, const struct step_result *result, struct error *err) {
    if (s->kind == STEP_REMOVE)
        return is_removed_again(r, s) ? 0 : forget_branch(r, s->row, err);
    if (!about_machine(s))
        return 0;
    const struct row *row = &r->inv->rows[s->row];
    int ready = makes_ready(row, s->kind) ? 1 : -1;
    const char *address = s->kind == STEP_REACH && result->address[0] ? result->address : NULL;
    return state_machine_seen(r->state, r->inv->lab_id, row->path, status_of[s->kind].after, address, ready, "", err);
}

static int record_failed(struct run *r, const struct step *s, const struct error *error, struct error *err) {
    if (!has_record(r, s) || error->code == ERR_CANCELLED)
        return 0;
    cleanup_buffer struct buffer text = {0};
    error_one_line(error, &text);
    if (error->mend[0])
        buffer_printf(&text, "\n%s", error->mend);
    return state_machine_seen(r->state, r->inv->lab_id, r->inv->rows[s->row].path, "failed", NULL, 0, buffer_str(&text),
                              err);
}

static void tell(struct run *r, const struct step *s, const struct entry *e, enum event_kind kind) {
    event_emit(r->work.sink, (struct event){.kind = kind,
                                            .path = path_of(r, s),
                                            .step = step_name(s->kind),
                                            .elapsed_ms = e->started ? clock_ms() - e->started : 0,
                                            .error = e->result.error});
}

static int finished(void *data, uint32_t task, enum outcome outcome, struct error *err) {
    struct run *r = data;
    const struct step *s = &r->plan->steps[task];
    struct entry *e = &r->entries[task];
    int failed = 0;
    if (outcome == OUTCOME_SKIPPED) {
        r->result->skipped++;
        if (!cancel_fired(r->work.ctx->cancel)) /* after Ctrl-C nothing has failed, and one line tells the rest */
            tell(r, s, e, EVENT_STEP_SKIPPED);
        return 0;
    }
    if (e->result.evidence)
        failed = state_evidence_put(r->state, r->inv->lab_id, path_of(r, s), e->result.evidence, err);
    if (outcome == OUTCOME_DONE) {
        e->done = true;
        r->result->done++;
        tell(r, s, e, EVENT_STEP_DONE);
        failed = failed || state_journal_outcome(r->state, e->journal, "done", e->result.again, err) ||
                 record_done(r, s, &e->result, err);
    } else {
        const struct error *why = e->result.error;
        bool cancelled = why->code == ERR_CANCELLED;
        if (!r->result->failed++ || (r->result->first.code == ERR_CANCELLED && !cancelled))
            r->result->first = *why;
        tell(r, s, e, EVENT_STEP_FAILED);
        failed = failed || state_journal_outcome(r->state, e->journal, cancelled ? "cancelled" : "failed", why, err) ||
                 record_failed(r, s, why, err);
    }
    step_result_free(&e->result);
    return failed;
}

static int perform(void *data, uint32_t task) {
    struct run *r = data;
    return step_perform(&r->work, &r->plan->steps[task], &r->entries[task].result);
}

static uint32_t at_once(void *data, uint32_t pool) {
    const struct run *r = data;
    return reach_at_once(r->work.reach, pool - (uint32_t)r->inv->nrows);
}

/* --- the plan as tasks --- */

/* What a guest hypervisor costs the hypervisor it is on is all as urgent as its first step, and ties go by the plan's
 * order: one that was begun is brought to its start before the next is begun. By the critical path alone, a host would
 * create all its guest hypervisors before it starts the first, and meanwhile nothing could be done inside them. */
static void finish_what_was_begun(const struct plan *plan, uint64_t *priority) {
    uint64_t *first = xcalloc(plan->inventory->nrows, sizeof *first);
    for (size_t i = 0; i < plan->nsteps; i++) {
        const struct step *s = &plan->steps[i];
        if (!about_machine(s) || !step_units(s->kind) || !plan->inventory->rows[s->row].nchildren)
            continue;
        if (!first[s->row])
            first[s->row] = priority[i];
        priority[i] = first[s->row];
    }
    free(first);
}

static uint32_t units_inside(const struct row *row) {
    if (row->wanted && row->wanted->parallel)
        return row->wanted->parallel;
    return row->opens_as ? row->opens_as->parallel : 1;
}

/* What was asked for, else what the host itself says it takes, else the driver's default. */
static uint32_t units_of_host(const struct run *r, size_t host) {
    const struct inventory_host *h = &r->inv->hosts[host];
    uint32_t said = r->work.hosts ? r->work.hosts[host].parallel : 0;
    return !h->asked && said ? said : h->parallel;
}

static uint32_t *make_pools(const struct run *r) {
    const struct inventory *inv = r->inv;
    uint32_t *units = xcalloc(inv->nrows + inv->nhosts, sizeof *units);
    for (size_t i = 0; i < inv->nrows; i++)
        units[i] = units_inside(&inv->rows[i]);
    for (size_t i = 0; i < inv->nhosts; i++)
        units[inv->nrows + i] = units_of_host(r, i);
    return units;
}

static const struct driver *driver_around(const struct inventory *inv, const struct row *row) {
    return row->parent == LAB_NONE ? inv->hosts[row->host].driver : inv->rows[row->parent].opens_as;
}

static uint32_t units_of_step(const struct run *r, const struct step *s) {
    uint32_t usual = step_units(s->kind);
    if (s->kind != STEP_CREATE && s->kind != STEP_EXPOSE)
        return usual;
    const struct row *row = &r->inv->rows[s->row];
    const struct driver *driver = driver_around(r->inv, row);
    if (s->kind == STEP_EXPOSE)
        return driver->expose_is_light ? 0 : usual;
    return row->wanted && row->wanted->full_clone && driver->full_clone_units ? driver->full_clone_units : usual;
}

static struct task *make_tasks(const struct run *r) {
    const struct plan *plan = r->plan;
    const struct inventory *inv = r->inv;
    struct task *tasks = xcalloc(plan->nsteps, sizeof *tasks);
    uint32_t *cost = xcalloc(plan->nsteps, sizeof *cost);
    uint64_t *priority = xcalloc(plan->nsteps, sizeof *priority);
    for (size_t i = 0; i < plan->nsteps; i++) {
        const struct step *s = &plan->steps[i];
        uint32_t hv = about_machine(s) ? inv->rows[s->row].parent : s->row;
        tasks[i] = (struct task){.ndeps = s->ndeps,
                                 .first_next = s->first_next,
                                 .nnext = s->nnext,
                                 .units = units_of_step(r, s),
                                 .pool = hv == LAB_NONE ? (uint32_t)inv->nrows + s->host : hv};
        cost[i] = cost_of[s->kind];
    }
    schedule_priorities(tasks, plan->nsteps, plan->next, cost, priority);
    finish_what_was_begun(plan, priority);
    for (size_t i = 0; i < plan->nsteps; i++)
        tasks[i].priority = priority[i];
    free(cost);
    free(priority);
    return tasks;
}

static int put_hosts(struct run *r, struct error *err) {
    for (size_t i = 0; i < r->inv->nhosts; i++) {
        const struct inventory_host *h = &r->inv->hosts[i];
        struct host_record record = {h->name, h->driver->name, h->params, h->nparams, h->asked};
        if (state_host_put(r->state, r->inv->lab_id, &record, err))
            return -1;
    }
    return 0;
}

int run_nothing(struct plan *plan, struct state *state, struct error *err) {
    struct run r = {.plan = plan, .inv = plan->inventory, .state = state};
    if (state_begin(state, err))
        return -1;
    int failed = put_hosts(&r, err) || put_kept(&r, err) || state_commit(state, err);
    state_rollback(state); /* does nothing after a commit */
    return failed ? -1 : 0;
}

static int prepare(struct run *r, struct error *err) {
    const struct inventory *inv = r->inv;
    size_t ntemplates = inv->lab ? inv->lab->ntemplates : 0;
    r->entries = xcalloc(r->plan->nsteps, sizeof *r->entries);
    r->work.images = xcalloc(ntemplates, sizeof *r->work.images);
    r->work.exposed = xcalloc(inv->nrows, sizeof *r->work.exposed);
    r->work.starts = xcalloc(inv->nrows, sizeof *r->work.starts);
    for (size_t i = 0; i < ntemplates; i++)
        pthread_mutex_init(&r->work.images[i].lock, NULL);
    for (size_t i = 0; i < inv->nrows; i++)
        atomic_init(&r->work.exposed[i], inv->rows[i].seen_exposed);
    for (size_t i = 0; i < r->plan->nsteps; i++)
        if (r->plan->steps[i].kind == STEP_START)
            r->work.starts[r->plan->steps[i].row] = true;
    if (cancel_init_child(&r->stop, r->ctx.cancel, err))
        return -1;
    r->ctx.cancel = &r->stop;
    if (r->work.secret && keypair_derive(r->work.secret, "user", "nestor", &r->work.user_key, err))
        return -1;
    if (state_begin(r->state, err))
        return -1;
    if (put_hosts(r, err) || put_kept(r, err) || state_run_start(r->state, inv->lab_id, r->plan->verb, &r->id, err) ||
        state_commit(r->state, err)) {
        state_rollback(r->state);
        return -1;
    }
    return 0;
}

static void clean_up(struct run *r) {
    size_t ntemplates = r->inv->lab ? r->inv->lab->ntemplates : 0;
    for (size_t i = 0; i < r->plan->nsteps; i++)
        step_result_free(&r->entries[i].result);
    for (size_t i = 0; i < ntemplates; i++) {
        image_free(r->work.images[i].image);
        pthread_mutex_destroy(&r->work.images[i].lock);
    }
    keypair_free(&r->work.user_key);
    free(r->work.images);
    free((void *)r->work.exposed);
    free(r->work.starts);
    free(r->entries);
    cancel_destroy(&r->stop);
}

static uint32_t default_parallel(const struct run *r, const uint32_t *pool_units) {
    uint64_t hosts = 0;
    for (size_t i = 0; i < r->inv->nhosts; i++)
        hosts += pool_units[r->inv->nrows + i];
    return hosts < DEFAULT_PARALLEL       ? DEFAULT_PARALLEL
           : hosts < DEFAULT_PARALLEL_MAX ? (uint32_t)hosts
                                          : DEFAULT_PARALLEL_MAX;
}

static int run_tasks(struct run *r, uint32_t parallel, struct error *err) {
    size_t npools = r->inv->nrows + r->inv->nhosts;
    uint32_t *pool_units = make_pools(r);
    struct task *tasks = make_tasks(r);
    struct schedule s = {.tasks = tasks,
                         .ntasks = r->plan->nsteps,
                         .next = r->plan->next,
                         .pool_units = pool_units,
                         .npools = npools,
                         .parallel = parallel ? parallel : default_parallel(r, pool_units),
                         .ctx = &r->ctx,
                         .stop = &r->stop,
                         .data = r,
                         .at_once = at_once,
                         .asked_from = r->inv->nrows,
                         .perform = perform,
                         .begin_batch = begin_batch,
                         .starting = starting,
                         .finished = finished,
                         .end_batch = end_batch};
    int failed = schedule_run(&s, err);
    state_rollback(r->state); /* a batch that failed half-way */
    free(tasks);
    free(pool_units);
    return failed;
}

/* "done", "failed", "cancelled": what the run's row says. */
static const char *outcome_of(const struct run_result *result) {
    if (!result->failed && !result->skipped)
        return "done";
    return result->first.code == ERR_CANCELLED || !result->failed ? "cancelled" : "failed";
}

/* Not before the end: a machine that moves is recorded on the host it leaves until its new one is begun. */
static int forget_left_hosts(const struct run *r, struct error *err) {
    for (size_t i = 0; i < r->plan->nsteps; i++) {
        const struct step *s = &r->plan->steps[i];
        const struct inventory_host *host = &r->inv->hosts[s->host];
        if (r->entries[i].done && s->kind == STEP_PRUNE && host->left &&
            state_host_forget(r->state, r->inv->lab_id, host->name, err))
            return -1;
    }
    return 0;
}

static int record_end(struct run *r, struct error *err) {
    if (state_begin(r->state, err))
        return -1;
    int failed = forget_left_hosts(r, err) || state_run_end(r->state, r->id, outcome_of(r->result), err) ||
                 state_commit(r->state, err);
    state_rollback(r->state); /* does nothing after a commit */
    return failed ? -1 : 0;
}

int run_plan(struct plan *plan, struct reach *reach, struct state *state, const struct secret *secret,
             const struct run_options *options, struct event_sink *sink, const struct context *ctx,
             struct run_result *ret, struct error *err) {
    struct run r = {
        .plan = plan, .inv = plan->inventory, .state = state, .ctx = *ctx, .stop = {.fd = -1}, .result = ret};
    *ret = (struct run_result){0};
    r.work = (struct work){.plan = plan,
                           .inv = plan->inventory,
                           .reach = reach,
                           .secret = secret,
                           .sink = sink,
                           .ctx = &r.ctx,
                           .hosts = options->hosts};
    int failed = prepare(&r, err);
    if (!failed) {
        event_emit(sink, (struct event){.kind = EVENT_RUN_START, .text = plan->verb, .total = plan->nsteps});
        failed = run_tasks(&r, options->parallel, err);
        if (!failed)
            failed = record_end(&r, err);
        event_emit(sink, (struct event){.kind = EVENT_RUN_END, .text = failed ? "failed" : outcome_of(ret)});
    }
    clean_up(&r);
    if (failed)
        return -1;
    if (!ret->failed && !ret->skipped)
        return 0;
    if (!ret->failed)
        error_set(&ret->first, ERR_CANCELLED, plan->inventory->lab_name, "interrupted");
    if (ret->first.code == ERR_CANCELLED)
        error_mend(&ret->first, "run the same command again: it goes on where it stopped");
    if (err)
        *err = ret->first;
    return -1;
}
