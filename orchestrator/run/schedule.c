#include "run/schedule.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "nestor/buffer.h"
#include "run/heap.h"

#define LOOK_MS 20 /* how often it is asked whether more at once are of use */
/* Workers mostly wait for something remote; libssh2, libxml2 and libcurl stay well below this. */
#define WORKER_STACK ((size_t)256 << 10)

/* --- task states: which moves are legal --- */

enum task_state { TASK_WAITING, TASK_READY, TASK_RUNNING, TASK_DONE, TASK_FAILED, TASK_SKIPPED, TASK_STATE_MAX };

/* Read by an assert only. */
__attribute__((unused)) static const unsigned allowed_moves[TASK_STATE_MAX] = {
    [TASK_WAITING] = 1u << TASK_READY | 1u << TASK_SKIPPED,
    [TASK_READY] = 1u << TASK_RUNNING | 1u << TASK_SKIPPED,
    [TASK_RUNNING] = 1u << TASK_DONE | 1u << TASK_FAILED,
};

struct progress {
    enum task_state state;
    uint32_t blockers;
};

/* What takes units works, what takes none only waits. Each has its own `parallel`: what waits for machines to boot
 * must not keep others from being made. */
enum manner { WORKS, WAITS, MANNERS };

static enum manner manner_of(const struct task *t) { return t->units ? WORKS : WAITS; }

struct pool {
    uint32_t used;      /* units */
    uint32_t unstarted; /* tasks that take some */
    uint32_t at_once;   /* most tasks of either manner that are of use now */
    uint32_t running[MANNERS];
    struct heap ready[MANNERS];
};

struct runner {
    const struct schedule *s;
    struct progress *tasks;
    struct pool *pools;
    struct heap open[MANNERS]; /* pools that could start a task now */
    size_t left;               /* tasks not yet done, failed or skipped */
    size_t running[MANNERS];   /* handed to workers */
    bool stopping;
    bool held_back; /* a task could start, were more at once of use */

    /* shared with the workers */
    pthread_mutex_t lock;
    pthread_cond_t work, done;
    uint32_t *queue; /* ring of handed-out tasks */
    size_t queue_head, queue_len, queue_cap;
    uint32_t *finished; /* 2 * task + failed */
    size_t nfinished;
    bool quit;
    pthread_t *threads;
    size_t nthreads;
};

static void move(struct runner *r, uint32_t task, enum task_state to) {
    struct progress *p = &r->tasks[task];
    assert(allowed_moves[p->state] & (1u << to));
    p->state = to;
    if (to >= TASK_DONE)
        r->left--;
}

static size_t running(const struct runner *r) { return r->running[WORKS] + r->running[WAITS]; }

static void *worker(void *data) {
    struct runner *r = data;
    pthread_mutex_lock(&r->lock);
    for (;;) {
        while (!r->queue_len && !r->quit)
            pthread_cond_wait(&r->work, &r->lock);
        if (!r->queue_len)
            break;
        uint32_t task = r->queue[r->queue_head];
        r->queue_head = (r->queue_head + 1) % r->queue_cap;
        r->queue_len--;
        pthread_mutex_unlock(&r->lock);
        int failed = r->s->perform(r->s->data, task);
        pthread_mutex_lock(&r->lock);
        r->finished[r->nfinished++] = 2 * task + (failed ? 1 : 0);
        if (r->nfinished == 1) /* for more, the scheduler is awake already */
            pthread_cond_signal(&r->done);
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

static int hand_out(struct runner *r, const uint32_t *tasks, size_t n, struct error *err) {
    pthread_mutex_lock(&r->lock);
    for (size_t i = 0; i < n; i++) {
        r->queue[(r->queue_head + r->queue_len) % r->queue_cap] = tasks[i];
        r->queue_len++;
        pthread_cond_signal(&r->work); /* one worker each; waking all would cost more than most steps do */
    }
    pthread_mutex_unlock(&r->lock);
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, WORKER_STACK);
    int failed = 0;
    while (!failed && r->nthreads < running(r)) {
        failed = pthread_create(&r->threads[r->nthreads], &attr, worker, r);
        if (!failed)
            r->nthreads++;
    }
    pthread_attr_destroy(&attr);
    /* Fewer workers than asked for are enough; none at all are not. */
    if (failed && r->nthreads == 0)
        return error_set_errno(err, failed, NULL, "cannot start a worker thread");
    return 0;
}

static bool task_before(const void *data, uint32_t a, uint32_t b) {
    const struct task *tasks = data;
    return tasks[a].priority != tasks[b].priority ? tasks[a].priority > tasks[b].priority : a < b;
}

static uint32_t next_of(const struct runner *r, uint32_t pool, enum manner manner) {
    return r->pools[pool].ready[manner].items[0];
}

/* Among equally urgent tasks, the one whose pool has most to do: so that in the end all pools have something left, and
 * not one of them all of it. */
static bool works_before(const void *data, uint32_t a, uint32_t b) {
    const struct runner *r = data;
    uint32_t ta = next_of(r, a, WORKS), tb = next_of(r, b, WORKS), na = r->pools[a].unstarted,
             nb = r->pools[b].unstarted;
    return r->s->tasks[ta].priority == r->s->tasks[tb].priority && na != nb ? na > nb
                                                                            : task_before(r->s->tasks, ta, tb);
}

static bool waits_before(const void *data, uint32_t a, uint32_t b) {
    const struct runner *r = data;
    return task_before(r->s->tasks, next_of(r, a, WAITS), next_of(r, b, WAITS));
}

/* To be called when anything about the pool has changed. */
static void place_pool(struct runner *r, uint32_t pool) {
    const struct pool *p = &r->pools[pool];
    for (enum manner m = WORKS; m < MANNERS; m++) {
        uint32_t units = p->ready[m].n ? r->s->tasks[next_of(r, pool, m)].units : 0;
        /* A task larger than its pool runs alone rather than never. */
        bool fits = p->ready[m].n && (p->used + units <= r->s->pool_units[pool] || p->used == 0 || m == WAITS);
        bool of_use = p->running[m] < p->at_once || p->running[m] == 0;
        heap_put(&r->open[m], pool, fits && of_use);
        r->held_back = r->held_back || (fits && !of_use);
    }
}

/* What the hypervisors can use changes while nothing ends. */
static void ask_pools(struct runner *r) {
    r->held_back = false;
    for (size_t i = r->s->asked_from; r->s->at_once && i < r->s->npools; i++) {
        r->pools[i].at_once = r->s->at_once(r->s->data, (uint32_t)i);
        place_pool(r, (uint32_t)i);
    }
}

static void make_ready(struct runner *r, uint32_t task) {
    const struct task *t = &r->s->tasks[task];
    move(r, task, TASK_READY);
    heap_push(&r->pools[t->pool].ready[manner_of(t)], task);
    place_pool(r, t->pool);
}

/* Everything that waits for `task`, directly or not, will never run. */
static int skip_after(struct runner *r, uint32_t task, struct error *err) {
    const struct task *t = &r->s->tasks[task];
    int failed = 0;
    for (uint32_t i = 0; i < t->nnext && !failed; i++) {
        uint32_t next = r->s->next[t->first_next + i];
        if (r->tasks[next].state != TASK_WAITING)
            continue;
        move(r, next, TASK_SKIPPED);
        failed = r->s->finished(r->s->data, next, OUTCOME_SKIPPED, err) || skip_after(r, next, err);
    }
    return failed ? -1 : 0;
}

static int take_finished(struct runner *r, uint32_t task, bool task_failed, struct error *err) {
    const struct task *t = &r->s->tasks[task];
    r->running[manner_of(t)]--;
    r->pools[t->pool].running[manner_of(t)]--;
    r->pools[t->pool].used -= t->units;
    place_pool(r, t->pool);
    move(r, task, task_failed ? TASK_FAILED : TASK_DONE);
    if (r->s->finished(r->s->data, task, task_failed ? OUTCOME_FAILED : OUTCOME_DONE, err))
        return -1;
    if (task_failed)
        return skip_after(r, task, err);
    for (uint32_t i = 0; i < t->nnext; i++) {
        uint32_t next = r->s->next[t->first_next + i];
        if (--r->tasks[next].blockers == 0 && r->tasks[next].state == TASK_WAITING)
            make_ready(r, next);
    }
    return 0;
}

static uint32_t take(struct runner *r, enum manner manner) {
    uint32_t pool = r->open[manner].items[0];
    struct pool *p = &r->pools[pool];
    uint32_t task = heap_pop(&p->ready[manner]);
    p->used += r->s->tasks[task].units;
    p->unstarted -= manner == WORKS;
    p->running[manner]++;
    r->running[manner]++;
    place_pool(r, pool);
    return task;
}

/* `parallel` of 1 is one task at a time, whatever it does: a run in which the order is the same each time. */
static bool has_room(const struct runner *r, enum manner manner) {
    return (r->s->parallel == 1 ? running(r) : r->running[manner]) < r->s->parallel;
}

/* Appends to `out` what may start now. */
static int choose(struct runner *r, enum manner manner, uint32_t *out, size_t *n, struct error *err) {
    while (!r->stopping && r->open[manner].n && has_room(r, manner)) {
        uint32_t task = take(r, manner);
        move(r, task, TASK_RUNNING);
        out[(*n)++] = task;
        if (r->s->starting(r->s->data, task, err))
            return -1;
    }
    return 0;
}

/* Waits until at least one task has ended, or for a moment if more of them may soon be of use; copies what ended into
 * `out`. */
static size_t await(struct runner *r, uint32_t *out) {
    int64_t until = clock_ms() + LOOK_MS;
    struct timespec at = {.tv_sec = until / 1000, .tv_nsec = until % 1000 * 1000000};
    int rc = 0;
    pthread_mutex_lock(&r->lock);
    while (running(r) && !r->nfinished && rc != ETIMEDOUT)
        rc = r->held_back ? pthread_cond_timedwait(&r->done, &r->lock, &at) : pthread_cond_wait(&r->done, &r->lock);
    size_t n = r->nfinished;
    memcpy(out, r->finished, n * sizeof *out);
    r->nfinished = 0;
    pthread_mutex_unlock(&r->lock);
    return n;
}

static bool may_start_more(struct runner *r) {
    ask_pools(r);
    return !r->stopping && ((r->open[WORKS].n && has_room(r, WORKS)) || (r->open[WAITS].n && has_room(r, WAITS)));
}

/* After a cancel or a failed callback: what was not started is skipped. */
static int skip_rest(struct runner *r, struct error *err) {
    int failed = 0;
    for (uint32_t i = 0; i < r->s->ntasks && !failed; i++)
        if (r->tasks[i].state == TASK_WAITING || r->tasks[i].state == TASK_READY) {
            move(r, i, TASK_SKIPPED);
            failed = r->s->finished(r->s->data, i, OUTCOME_SKIPPED, err);
        }
    return failed;
}

/* One turn: record what ended, choose and record what starts, then let it start. */
static int turn(struct runner *r, const uint32_t *ended, size_t nended, uint32_t *chosen, struct error *err) {
    const struct schedule *s = r->s;
    size_t nchosen = 0;
    if (s->begin_batch(s->data, err))
        return -1;
    for (size_t i = 0; i < nended; i++)
        if (take_finished(r, ended[i] / 2, ended[i] & 1, err))
            return -1;
    if (cancel_fired(s->ctx->cancel) && !r->stopping)
        r->stopping = true;
    ask_pools(r);
    if (choose(r, WORKS, chosen, &nchosen, err) || choose(r, WAITS, chosen, &nchosen, err))
        return -1;
    if (r->stopping && !running(r) && skip_rest(r, err))
        return -1;
    if (s->end_batch(s->data, err))
        return -1;
    return nchosen ? hand_out(r, chosen, nchosen, err) : 0;
}

/* Tasks that can be under way at once. */
static size_t most_at_once(const struct schedule *s) {
    size_t most = (size_t)MANNERS * s->parallel;
    return most < s->ntasks ? most : s->ntasks;
}

static void begin(struct runner *r, const struct schedule *s) {
    size_t most = most_at_once(s);
    *r = (struct runner){.s = s, .left = s->ntasks, .queue_cap = most + 1};
    r->tasks = xcalloc(s->ntasks, sizeof *r->tasks);
    r->pools = xcalloc(s->npools, sizeof *r->pools);
    r->queue = xcalloc(r->queue_cap, sizeof *r->queue);
    r->finished = xcalloc(most + 1, sizeof *r->finished);
    r->threads = xcalloc(most + 1, sizeof *r->threads);
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->work, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&r->done, &attr);
    pthread_condattr_destroy(&attr);
    for (enum manner m = WORKS; m < MANNERS; m++)
        r->open[m] = (struct heap){.before = m == WORKS ? works_before : waits_before,
                                   .data = r,
                                   .places = xcalloc(s->npools, sizeof *r->open[m].places)};
    const struct heap none = {.before = task_before, .data = s->tasks};
    for (size_t i = 0; i < s->npools; i++)
        r->pools[i] = (struct pool){.at_once = UINT32_MAX, .ready = {none, none}};
    for (size_t i = 0; i < s->ntasks; i++)
        r->pools[s->tasks[i].pool].unstarted += s->tasks[i].units > 0;
    for (uint32_t i = 0; i < s->ntasks; i++) {
        r->tasks[i].blockers = s->tasks[i].ndeps;
        if (!r->tasks[i].blockers)
            make_ready(r, i);
    }
}

static void end(struct runner *r) {
    pthread_mutex_lock(&r->lock);
    r->quit = true;
    pthread_cond_broadcast(&r->work);
    pthread_mutex_unlock(&r->lock);
    for (size_t i = 0; i < r->nthreads; i++)
        pthread_join(r->threads[i], NULL);
    for (size_t i = 0; i < r->s->npools * MANNERS; i++)
        heap_free(&r->pools[i / MANNERS].ready[i % MANNERS]);
    pthread_mutex_destroy(&r->lock);
    pthread_cond_destroy(&r->work);
    pthread_cond_destroy(&r->done);
    heap_free(&r->open[WORKS]);
    heap_free(&r->open[WAITS]);
    free(r->tasks);
    free(r->pools);
    free(r->queue);
    free(r->finished);
    free(r->threads);
}

int schedule_run(const struct schedule *s, struct error *err) {
    struct runner r;
    begin(&r, s);
    size_t room = most_at_once(s) + 1;
    uint32_t *ended = xcalloc(room, sizeof *ended), *chosen = xcalloc(room, sizeof *chosen);
    int failed = turn(&r, NULL, 0, chosen, err);
    while (!failed && r.left) {
        if (!running(&r)) {
            failed =
                error_set(err, ERR_INTERNAL, NULL, "stuck with %zu steps left and none running: this is a bug", r.left);
            break;
        }
        size_t n = await(&r, ended);
        if (n || may_start_more(&r))
            failed = turn(&r, ended, n, chosen, err);
    }
    if (failed && s->stop)
        cancel_fire(s->stop);
    end(&r); /* joins: what still runs after a failed callback is awaited, though no longer recorded */
    free(ended);
    free(chosen);
    return failed;
}

void schedule_priorities(const struct task *tasks, size_t n, const uint32_t *next, const uint32_t *cost,
                         uint64_t *priority) {
    for (size_t i = n; i-- > 0;) {
        uint64_t best = 0;
        for (uint32_t k = 0; k < tasks[i].nnext; k++) {
            uint64_t p = priority[next[tasks[i].first_next + k]];
            if (p > best)
                best = p;
        }
        priority[i] = best + cost[i];
    }
}
