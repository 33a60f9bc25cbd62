/* Deadlines and cancellation: what waits ends, and says what it waited for. */
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "nestor/context.h"

/* Far more than anything here needs, and far less than a test may take. */
#define LONG_MS 20000
#define N_MAX 15

static const struct context forever = {.deadline = DEADLINE_NEVER};

static void assert_ended(const struct error *err, enum error_code code, const char *cause) {
    assert_int_equal(err->code, code);
    assert_string_equal(err->subject, "lab/kvm1");
    assert_string_equal(err->cause, cause);
}

/* --- clock --- */

static void times_are_written_in_utc(void **state) {
    (void)state;
    static const struct {
        int64_t seconds;
        const char *text;
    } cases[] = {{0, "1970-01-01T00:00:00Z"},
                 {1769860800, "2026-01-31T12:00:00Z"},
                 {253402300799, "9999-12-31T23:59:59Z"},
                 {253402300800, "1970-01-01T00:00:00Z"}, /* has no room */
                 {INT64_MAX, "1970-01-01T00:00:00Z"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char out[21];
        clock_iso8601(cases[i].seconds, out);
        assert_string_equal(out, cases[i].text);
    }
}

/* --- deadlines --- */

static void child_never_outlasts_its_parent(void **state) {
    (void)state;
    struct cancel cancel = {.fd = -1};
    struct context parent = {.deadline = clock_ms() + 1000, .cancel = &cancel};
    struct context longer = context_timeout(&parent, LONG_MS), shorter = context_timeout(&parent, 1);
    assert_int_equal(longer.deadline, parent.deadline);
    assert_true(shorter.deadline < parent.deadline);
    assert_ptr_equal(longer.cancel, &cancel);
    assert_null(context_timeout(NULL, 1).cancel);
}

static void time_left_is_bounded_on_both_sides(void **state) {
    (void)state;
    struct context over = {.deadline = clock_ms() - 1}, far = {.deadline = clock_ms() + (int64_t)INT_MAX * 2};
    struct context endless = context_timeout(NULL, INT64_MAX), past = context_timeout(NULL, -LONG_MS);
    assert_int_equal(context_left(&over), 0);
    assert_int_equal(context_left(&past), 0);
    assert_int_equal(context_left(&far), INT_MAX);
    assert_int_equal(context_left(&forever), INT_MAX);
    assert_int_equal(endless.deadline, DEADLINE_NEVER);
}

static void ended_context_says_what_was_waited_for(void **state) {
    (void)state;
    struct error err = {0};
    struct cancel cancel;
    assert_int_equal(cancel_init(&cancel, &err), 0);
    struct context ctx = {.deadline = clock_ms() - 1, .cancel = &cancel};
    assert_int_equal(context_check(&forever, "lab/kvm1", "booting", &err), 0);
    assert_int_equal(context_check(&ctx, "lab/kvm1", "booting", &err), -1);
    assert_ended(&err, ERR_TIMEOUT, "time ran out while booting");
    error_clear(&err);
    cancel_fire(&cancel);
    assert_int_equal(context_check(&ctx, "lab/kvm1", "booting", &err), -1); /* the user's wish comes first */
    assert_ended(&err, ERR_CANCELLED, "interrupted while booting");
    cancel_destroy(&cancel);
}

static void cancel_counts_and_stays(void **state) {
    (void)state;
    struct error err = {0};
    struct cancel cancel;
    assert_int_equal(cancel_init(&cancel, &err), 0);
    assert_false(cancel_fired(&cancel));
    assert_false(cancel_fired(NULL));
    for (int i = 0; i < 3; i++)
        cancel_fire(&cancel);
    assert_true(cancel_fired(&cancel));
    assert_int_equal(cancel.level, 3);
    cancel_destroy(&cancel);
    cancel_destroy(&cancel);
    cancel_destroy(NULL);
}

static void a_child_is_fired_with_its_parent_but_not_the_other_way_round(void **state) {
    (void)state;
    struct error err = {0};
    struct cancel parent, one, other;
    assert_int_equal(cancel_init(&parent, &err), 0);
    assert_int_equal(cancel_init_child(&one, &parent, &err), 0);
    assert_int_equal(cancel_init_child(&other, &parent, &err), 0);
    struct context ctx = {.deadline = clock_ms() + LONG_MS, .cancel = &one};
    struct pollfd fds[] = {{.fd = one.fd, .events = POLLIN}, {.fd = other.fd, .events = POLLIN}};
    assert_int_equal(poll(fds, 2, 0), 0);

    cancel_fire(&one);
    assert_true(cancel_fired(&one));
    assert_false(cancel_fired(&parent) || cancel_fired(&other));
    assert_int_equal(context_sleep(&ctx, LONG_MS, "lab/kvm1", "booting", &err), -1);
    assert_ended(&err, ERR_CANCELLED, "interrupted while booting");
    assert_int_equal(poll(fds, 2, 0), 1); /* whoever polls the token himself learns of it in the same way */

    cancel_fire(&parent);
    assert_true(cancel_fired(&other));
    assert_int_equal(poll(fds, 2, 0), 2);
    ctx.cancel = &other;
    error_clear(&err);
    assert_int_equal(context_sleep(&ctx, LONG_MS, "lab/kvm1", "booting", &err), -1);
    assert_ended(&err, ERR_CANCELLED, "interrupted while booting");
    cancel_destroy(&one);
    cancel_destroy(&one);
    cancel_destroy(&other);
    cancel_destroy(&parent);
}

/* --- waiting --- */

struct pipes {
    int ends[N_MAX][2];
    struct pollfd fds[N_MAX];
};

static int open_pipes(void **state) {
    static struct pipes pipes;
    for (int i = 0; i < N_MAX; i++) {
        assert_int_equal(pipe(pipes.ends[i]), 0);
        pipes.fds[i] = (struct pollfd){.fd = pipes.ends[i][0], .events = POLLIN, .revents = POLLERR};
    }
    *state = &pipes;
    return 0;
}

static int close_pipes(void **state) {
    struct pipes *p = *state;
    for (int i = 0; i < N_MAX; i++) {
        close(p->ends[i][0]);
        close(p->ends[i][1]);
    }
    return 0;
}

static void each_of_fifteen_is_seen_beside_the_cancel(void **state) {
    struct pipes *p = *state;
    struct error err = {0};
    struct cancel cancel;
    assert_int_equal(cancel_init(&cancel, &err), 0);
    struct context ctx = {.deadline = clock_ms() + LONG_MS, .cancel = &cancel};
    for (int i = 0; i < N_MAX; i++) {
        char byte = 'x';
        assert_int_equal(write(p->ends[i][1], &byte, 1), 1);
        assert_int_equal(context_poll(&ctx, p->fds, N_MAX, -1, "lab/kvm1", "reading", &err), 1);
        for (int k = 0; k < N_MAX; k++)
            assert_int_equal(p->fds[k].revents, k == i ? POLLIN : 0);
        assert_int_equal(read(p->ends[i][0], &byte, 1), 1);
    }
    for (int i = 0; i < N_MAX; i++)
        assert_int_equal(write(p->ends[i][1], "y", 1), 1);
    assert_int_equal(context_poll(&ctx, p->fds, N_MAX, -1, "lab/kvm1", "reading", &err), N_MAX);
    cancel_destroy(&cancel);
}

static void sixteen_are_too_many(void **state) {
    (void)state;
    struct error err = {0};
    struct pollfd fds[N_MAX + 1] = {{.fd = -1}};
    assert_int_equal(context_poll(&forever, fds, N_MAX + 1, 0, "lab/kvm1", "reading", &err), -1);
    assert_ended(&err, ERR_INTERNAL, "too many descriptors to wait for");
}

static void own_bound_ends_the_wait_without_an_error(void **state) {
    struct pipes *p = *state;
    struct error err = {0};
    struct context ctx = context_timeout(NULL, LONG_MS);
    int64_t start = clock_ms();
    assert_int_equal(context_poll(&ctx, p->fds, 2, 30, "lab/kvm1", "reading", &err), 0);
    assert_true(clock_ms() - start >= 30);
    assert_int_equal(p->fds[0].revents, 0);
    assert_int_equal(context_poll(&ctx, p->fds, 2, 0, "lab/kvm1", "reading", &err), 0);
    assert_false(error_is_set(&err));
}

static void deadline_ends_the_wait_with_one(void **state) {
    struct pipes *p = *state;
    struct error err = {0};
    struct context ctx = context_timeout(NULL, 30);
    assert_int_equal(context_poll(&ctx, p->fds, 2, -1, "lab/kvm1", "reading", &err), -1);
    assert_ended(&err, ERR_TIMEOUT, "time ran out while reading");
    assert_true(clock_ms() >= ctx.deadline);
}

static void *fire(void *data) {
    cancel_fire(data);
    return NULL;
}

static void cancel_of_another_thread_ends_the_wait(void **state) {
    struct pipes *p = *state;
    struct error err = {0};
    struct cancel cancel;
    pthread_t thread;
    assert_int_equal(cancel_init(&cancel, &err), 0);
    struct context ctx = {.deadline = DEADLINE_NEVER, .cancel = &cancel};
    assert_int_equal(pthread_create(&thread, NULL, fire, &cancel), 0);
    assert_int_equal(context_poll(&ctx, p->fds, N_MAX, -1, "lab/kvm1", "reading", &err), -1);
    assert_ended(&err, ERR_CANCELLED, "interrupted while reading");
    assert_int_equal(pthread_join(thread, NULL), 0);
    error_clear(&err);
    assert_int_equal(context_sleep(&ctx, LONG_MS, "lab/kvm1", "resting", &err), -1);
    assert_ended(&err, ERR_CANCELLED, "interrupted while resting");
    cancel_destroy(&cancel);
}

static void sleep_takes_the_time_it_was_given(void **state) {
    (void)state;
    struct error err = {0};
    struct context brief = context_timeout(NULL, 20);
    int64_t start = clock_ms();
    assert_int_equal(context_sleep(&forever, 30, "lab/kvm1", "resting", &err), 0);
    assert_true(clock_ms() - start >= 30);
    assert_int_equal(context_sleep(&brief, LONG_MS, "lab/kvm1", "resting", &err), -1);
    assert_ended(&err, ERR_TIMEOUT, "time ran out while resting");
}

#define WITH_PIPES(name) cmocka_unit_test_setup_teardown(name, open_pipes, close_pipes)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_are_written_in_utc),
        cmocka_unit_test(child_never_outlasts_its_parent),
        cmocka_unit_test(time_left_is_bounded_on_both_sides),
        cmocka_unit_test(ended_context_says_what_was_waited_for),
        cmocka_unit_test(cancel_counts_and_stays),
        cmocka_unit_test(a_child_is_fired_with_its_parent_but_not_the_other_way_round),
        WITH_PIPES(each_of_fifteen_is_seen_beside_the_cancel),
        cmocka_unit_test(sixteen_are_too_many),
        WITH_PIPES(own_bound_ends_the_wait_without_an_error),
        WITH_PIPES(deadline_ends_the_wait_with_one),
        WITH_PIPES(cancel_of_another_thread_ends_the_wait),
        cmocka_unit_test(sleep_takes_the_time_it_was_given),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
