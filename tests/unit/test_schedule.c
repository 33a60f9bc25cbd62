#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "nestor/buffer.h"
#include "run/schedule.h"

/* A run whose tasks do nothing but be counted, and whose callbacks write down what they were told. */
struct recorder {
    struct schedule s;
    struct task *tasks;
    struct buffer log; /* "s0 " starting 0, "d0 " done, "f0 " failed, "k0 " skipped, "[" and "]" around a batch */
    atomic_uint running, most;
    atomic_uint in_pool[4], most_in_pool[4];
    uint64_t fails;             /* bit per task */
    _Atomic uint64_t committed; /* tasks whose intent's batch has ended */
    uint64_t intended;
    atomic_bool broke_the_rule; /* performed before its intent was committed */
    struct cancel cancel;
    uint32_t cancel_in;         /* this task fires the cancel */
    uint32_t fail_end_batch_at; /* this batch's end fails; 0: none */
    uint32_t batches;
    struct context ctx;
};

static void raise_to(atomic_uint *most, unsigned now) {
    unsigned seen = atomic_load(most);
    while (seen < now && !atomic_compare_exchange_weak(most, &seen, now))
        ;
}

static int perform(void *data, uint32_t task) {
    struct recorder *r = data;
    uint32_t pool = r->tasks[task].pool;
    if (!(atomic_load(&r->committed) >> task & 1))
        atomic_store(&r->broke_the_rule, true);
    raise_to(&r->most, atomic_fetch_add(&r->running, 1) + 1);
    raise_to(&r->most_in_pool[pool], atomic_fetch_add(&r->in_pool[pool], r->tasks[task].units) + r->tasks[task].units);
    if (task == r->cancel_in)
        cancel_fire(&r->cancel);
    struct error ignored = {0};
    struct context nap = {.deadline = DEADLINE_NEVER}; /* long enough to overlap; no test depends on how long */
    if (context_sleep(&nap, 2, NULL, "", &ignored))
        abort();
    atomic_fetch_sub(&r->in_pool[pool], r->tasks[task].units);
    atomic_fetch_sub(&r->running, 1);
    return r->fails >> task & 1 ? -1 : 0;
}

static int begin_batch(void *data, struct error *err) {
    (void)err;
    buffer_putc(&((struct recorder *)data)->log, '[');
    return 0;
}

static int starting(void *data, uint32_t task, struct error *err) {
    (void)err;
    struct recorder *r = data;
    buffer_printf(&r->log, "s%u ", task);
    r->intended |= 1ull << task;
    return 0;
}

static int finished(void *data, uint32_t task, enum outcome outcome, struct error *err) {
    (void)err;
    buffer_printf(&((struct recorder *)data)->log, "%c%u ", "dfk"[outcome], task);
    return 0;
}

static int end_batch(void *data, struct error *err) {
    struct recorder *r = data;
    buffer_putc(&r->log, ']');
    if (++r->batches == r->fail_end_batch_at)
        return error_set(err, ERR_DISK_FULL, "state.db", "the disk is full");
    atomic_store(&r->committed, r->intended);
    return 0;
}

static void set_up(struct recorder *r, struct task *tasks, size_t n, const uint32_t *next, uint32_t parallel,
                   const uint32_t *pools) {
    struct error err = {0};
    *r = (struct recorder){.tasks = tasks, .cancel_in = UINT32_MAX};
    assert_int_equal(cancel_init(&r->cancel, &err), 0);
    r->ctx = (struct context){.deadline = DEADLINE_NEVER, .cancel = &r->cancel};
    r->s = (struct schedule){.tasks = tasks,
                             .ntasks = n,
                             .next = next,
                             .pool_units = pools,
                             .npools = 4,
                             .parallel = parallel,
                             .ctx = &r->ctx,
                             .data = r,
                             .perform = perform,
                             .begin_batch = begin_batch,
                             .starting = starting,
                             .finished = finished,
                             .end_batch = end_batch};
}

static void tear_down(struct recorder *r) {
    assert_false(atomic_load(&r->broke_the_rule));
    cancel_destroy(&r->cancel);
    buffer_free(&r->log);
}

static const uint32_t wide[4] = {100, 100, 100, 100};

static void chain_runs_in_order(void **state) {
    (void)state;
    struct task tasks[] = {{.nnext = 1}, {.ndeps = 1, .first_next = 1, .nnext = 1}, {.ndeps = 1}};
    const uint32_t next[] = {1, 2};
    struct recorder r;
    struct error err = {0};
    set_up(&r, tasks, 3, next, 8, wide);
    assert_int_equal(schedule_run(&r.s, &err), 0);
    assert_string_equal(buffer_str(&r.log), "[s0 ][d0 s1 ][d1 s2 ][d2 ]");
    tear_down(&r);
}

static void failure_skips_only_what_depends_on_it(void **state) {
    (void)state;
    /* 0 fails; 1 and 2 hang on it; 3 stands alone and 4 needs 2 and 3 */
    struct task tasks[] = {{.nnext = 2, .priority = 9},
                           {.ndeps = 1, .first_next = 2},
                           {.ndeps = 1, .first_next = 2, .nnext = 1},
                           {.first_next = 3, .nnext = 1},
                           {.ndeps = 2, .first_next = 4}};
    const uint32_t next[] = {1, 2, 4, 4};
    struct recorder r;
    struct error err = {0};
    set_up(&r, tasks, 5, next, 1, wide);
    r.fails = 1;
    assert_int_equal(schedule_run(&r.s, &err), 0);
    assert_string_equal(buffer_str(&r.log), "[s0 ][f0 k1 k2 k4 s3 ][d3 ]");
    tear_down(&r);
}

static void longest_path_goes_first(void **state) {
    (void)state;
    struct task tasks[] = {
        {.first_next = 0}, {.first_next = 0, .nnext = 1}, {.ndeps = 1, .first_next = 1}, {.first_next = 1}};
    const uint32_t next[] = {2}, cost[] = {4, 3, 3, 5};
    uint64_t priority[4];
    schedule_priorities(tasks, 4, next, cost, priority);
    for (int i = 0; i < 4; i++)
        tasks[i].priority = priority[i];
    struct recorder r;
    struct error err = {0};
    set_up(&r, tasks, 4, next, 1, wide);
    assert_int_equal(schedule_run(&r.s, &err), 0);
    assert_string_equal(buffer_str(&r.log), "[s1 ][d1 s3 ][d3 s0 ][d0 s2 ][d2 ]");
    tear_down(&r);
}

static void pools_and_parallel_are_never_exceeded(void **state) {
    (void)state;
    struct task tasks[40] = {{0}};
    const uint32_t pools[4] = {3, 1, 4, 100};
    for (uint32_t i = 0; i < 40; i++)
        tasks[i] = (struct task){.pool = i % 3, .units = i % 3 == 2 ? 2 : 1};
    struct recorder r;
    struct error err = {0};
    set_up(&r, tasks, 40, NULL, 5, pools);
    assert_int_equal(schedule_run(&r.s, &err), 0);
    assert_in_range(atomic_load(&r.most), 2, 5);
    assert_in_range(atomic_load(&r.most_in_pool[0]), 1, 3);
    assert_int_equal(atomic_load(&r.most_in_pool[1]), 1);
    assert_in_range(atomic_load(&r.most_in_pool[2]), 2, 4);
    tear_down(&r);
}

static void task_larger_than_its_pool_runs_alone(void **state) {
    (void)state;
    struct task tasks[] = {{.pool = 1, .units = 7}, {.pool = 1, .units = 1}};
    const uint32_t pools[4] = {1, 2, 1, 1};
    struct recorder r;
    struct error err = {0};
    set_up(&r, tasks, 2, NULL, 8, pools);
    assert_int_equal(schedule_run(&r.s, &err), 0);
    assert_string_equal(buffer_str(&r.log), "[s0 ][d0 s1 ][d1 ]");
    tear_down(&r);
}

static void waiting_takes_no_room_from_working(void **state) {
    (void)state;
    struct task tasks[] = {{.priority = 9}, {.priority = 9}, {.priority = 9}, {.units = 1}, {.units = 1}, {.units = 1}};
    struct recorder r;
    struct error err = {0};
    set_up(&r, tasks, 6, NULL, 2, wide);
    assert_int_equal(schedule_run(&r.s, &err), 0);
    assert_memory_equal(buffer_str(&r.log), "[s3 s4 s0 s1 ]", 14);
    assert_in_range(atomic_load(&r.most), 2, 4);
    tear_down(&r);
}

static void parallel_of_one_is_one_at_a_time(void **state) {
    (void)state;
    struct task tasks[] = {{.priority = 9}, {.units = 1}, {.priority = 8}};
    struct recorder r;
    struct error err = {0};
    set_up(&r, tasks, 3, NULL, 1, wide);
    assert_int_equal(schedule_run(&r.s, &err), 0);
    assert_string_equal(buffer_str(&r.log), "[s1 ][d1 s0 ][d0 s2 ][d2 ]");
    tear_down(&r);
}

static void ties_go_to_the_pool_with_most_to_do(void **state) {
    (void)state;
    struct task tasks[] = {{.pool = 0, .units = 1},
                           {.pool = 1, .units = 1},
                           {.pool = 1, .units = 1},
                           {.pool = 1, .units = 1},
                           {.pool = 0, .units = 1, .priority = 1}};
    struct recorder r;
    struct error err = {0};
    set_up(&r, tasks, 5, NULL, 1, wide);
    assert_int_equal(schedule_run(&r.s, &err), 0);
    assert_string_equal(buffer_str(&r.log), "[s4 ][d4 s1 ][d1 s2 ][d2 s0 ][d0 s3 ][d3 ]");
    tear_down(&r);
}

/* A hypervisor that has use for `least` at once, and for more after it was asked so often. */
struct use {
    struct recorder r; /* first: the callbacks' data */
    uint32_t least, more, asked, asks;
};

static uint32_t of_use(void *data, uint32_t pool) {
    struct use *u = data;
    assert_true(pool >= u->r.s.asked_from);
    return ++u->asked > u->asks ? u->more : u->least;
}

static void no_more_is_begun_at_once_than_is_of_use(void **state) {
    (void)state;
    struct task tasks[24] = {{0}};
    for (uint32_t i = 0; i < 24; i++)
        tasks[i] = (struct task){.pool = 1, .units = i % 2}; /* works, or only waits: two of each */
    struct use u = {.least = 0};
    struct error err = {0};
    set_up(&u.r, tasks, 24, NULL, 50, wide);
    u.least = u.more = 2;
    u.r.s.at_once = of_use;
    u.r.s.asked_from = 1;
    assert_int_equal(schedule_run(&u.r.s, &err), 0);
    assert_memory_equal(buffer_str(&u.r.log), "[s1 s3 s0 s2 ]", 14);
    assert_in_range(atomic_load(&u.r.most), 1, 4);
    tear_down(&u.r);
}

static void of_what_has_no_use_one_is_begun_all_the_same(void **state) {
    (void)state;
    struct task tasks[] = {{.pool = 1, .units = 1}, {.pool = 1, .units = 1}, {.units = 1}};
    struct use u = {.least = 0};
    struct error err = {0};
    set_up(&u.r, tasks, 3, NULL, 8, wide);
    u.r.s.at_once = of_use;
    u.r.s.asked_from = 1;
    assert_int_equal(schedule_run(&u.r.s, &err), 0);
    assert_memory_equal(buffer_str(&u.r.log), "[s0 s2 ]", 8);
    tear_down(&u.r);
}

/* Each waits until the other one has begun. */
static int perform_together(void *data, uint32_t task) {
    struct recorder *r = data;
    struct context ctx = context_timeout(NULL, 20000);
    (void)task;
    atomic_fetch_add(&r->running, 1);
    while (atomic_load(&r->running) < 2)
        if (context_sleep(&ctx, 1, NULL, "waiting for the other one", NULL))
            return -1;
    return 0;
}

static void more_that_becomes_of_use_is_begun_though_nothing_ends(void **state) {
    (void)state;
    struct task tasks[] = {{.units = 1}, {.units = 1}};
    struct use u = {.least = 0};
    struct error err = {0};
    set_up(&u.r, tasks, 2, NULL, 8, wide);
    u.least = 1, u.more = 2, u.asks = 4;
    u.r.s.at_once = of_use;
    u.r.s.perform = perform_together;
    assert_int_equal(schedule_run(&u.r.s, &err), 0);
    assert_memory_equal(buffer_str(&u.r.log), "[s0 ][s1 ]", 10);
    assert_null(strchr(buffer_str(&u.r.log), 'f'));
    tear_down(&u.r);
}

/* The pool's turn comes when units come back, not before, and other pools go on meanwhile. */
static void a_full_pool_holds_up_nobody_else(void **state) {
    (void)state;
    struct task tasks[] = {{.pool = 0, .units = 1, .priority = 9},
                           {.pool = 0, .units = 1, .priority = 9},
                           {.pool = 1, .units = 1},
                           {.pool = 1, .units = 1}};
    const uint32_t pools[4] = {1, 2, 1, 1};
    struct recorder r;
    struct error err = {0};
    set_up(&r, tasks, 4, NULL, 8, pools);
    assert_int_equal(schedule_run(&r.s, &err), 0);
    assert_memory_equal(buffer_str(&r.log), "[s0 s2 s3 ]", 11);
    assert_int_equal(atomic_load(&r.most_in_pool[0]), 1);
    tear_down(&r);
}

static void cancel_starts_nothing_new(void **state) {
    (void)state;
    struct task tasks[] = {
        {.nnext = 1}, {.ndeps = 1, .first_next = 1, .nnext = 1}, {.ndeps = 1, .first_next = 2}, {.first_next = 2}};
    const uint32_t next[] = {1, 2};
    struct recorder r;
    struct error err = {0};
    set_up(&r, tasks, 4, next, 1, wide);
    r.cancel_in = 0;
    assert_int_equal(schedule_run(&r.s, &err), 0);
    assert_string_equal(buffer_str(&r.log), "[s0 ][d0 k1 k2 k3 ]");
    tear_down(&r);
}

static void failed_commit_stops_everything(void **state) {
    (void)state;
    struct task tasks[] = {{.nnext = 1}, {.ndeps = 1, .first_next = 1}};
    const uint32_t next[] = {1};
    struct recorder r;
    struct error err = {0};
    set_up(&r, tasks, 2, next, 8, wide);
    r.fail_end_batch_at = 2;
    assert_int_equal(schedule_run(&r.s, &err), -1);
    assert_int_equal(err.code, ERR_DISK_FULL);
    assert_string_equal(err.subject, "state.db");
    assert_string_equal(buffer_str(&r.log), "[s0 ][d0 s1 ]"); /* 1 was intended, but never performed: see tear_down */
    tear_down(&r);
}

/* Task 0 ends at once; the others only when they are stopped. */
static int perform_until_stopped(void *data, uint32_t task) {
    struct recorder *r = data;
    struct context ctx = {.deadline = clock_ms() + 60000, .cancel = &r->cancel};
    struct error err = {0};
    if (task == 0)
        return 0;
    assert_int_equal(context_sleep(&ctx, 60000, "lab/a", "working", &err), -1);
    return err.code == ERR_CANCELLED ? -1 : 0;
}

static void what_cannot_be_recorded_any_more_is_stopped(void **state) {
    (void)state;
    struct task tasks[] = {{.units = 1}, {.units = 1}, {0}};
    struct recorder r;
    struct error err = {0};
    set_up(&r, tasks, 3, NULL, 8, wide);
    r.s.perform = perform_until_stopped;
    r.s.stop = &r.cancel;
    r.fail_end_batch_at = 2;
    int64_t begin = clock_ms();
    assert_int_equal(schedule_run(&r.s, &err), -1);
    assert_in_range(clock_ms() - begin, 0, 30000);
    assert_int_equal(err.code, ERR_DISK_FULL);
    assert_string_equal(buffer_str(&r.log), "[s0 s1 s2 ][d0 ]");
    tear_down(&r);
}

static void cycle_is_told_as_a_bug(void **state) {
    (void)state;
    struct task tasks[] = {{.ndeps = 1, .nnext = 1}, {.ndeps = 1, .first_next = 1, .nnext = 1}};
    const uint32_t next[] = {1, 0};
    struct recorder r;
    struct error err = {0};
    set_up(&r, tasks, 2, next, 8, wide);
    assert_int_equal(schedule_run(&r.s, &err), -1);
    assert_int_equal(err.code, ERR_INTERNAL);
    assert_non_null(strstr(err.cause, "stuck with 2 steps left"));
    tear_down(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chain_runs_in_order),
        cmocka_unit_test(failure_skips_only_what_depends_on_it),
        cmocka_unit_test(longest_path_goes_first),
        cmocka_unit_test(pools_and_parallel_are_never_exceeded),
        cmocka_unit_test(task_larger_than_its_pool_runs_alone),
        cmocka_unit_test(waiting_takes_no_room_from_working),
        cmocka_unit_test(parallel_of_one_is_one_at_a_time),
        cmocka_unit_test(ties_go_to_the_pool_with_most_to_do),
        cmocka_unit_test(no_more_is_begun_at_once_than_is_of_use),
        cmocka_unit_test(of_what_has_no_use_one_is_begun_all_the_same),
        cmocka_unit_test(more_that_becomes_of_use_is_begun_though_nothing_ends),
        cmocka_unit_test(a_full_pool_holds_up_nobody_else),
        cmocka_unit_test(cancel_starts_nothing_new),
        cmocka_unit_test(failed_commit_stops_everything),
        cmocka_unit_test(what_cannot_be_recorded_any_more_is_stopped),
        cmocka_unit_test(cycle_is_told_as_a_bug),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
