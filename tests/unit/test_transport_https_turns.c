/* The pool of HTTPS connections alone: taken, waited for, handed on. Nothing is connected to. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "transport/https.h"

#define MAX 2

static struct http *open_pool_of(uint32_t most) {
    struct http_config config = {
        .subject = "host vc", .url = "https://vc.example/", .trust.insecure = true, .connections = most};
    struct http *h = NULL;
    assert_int_equal(http_open(&config, &h, NULL), 0);
    return h;
}

static struct http *open_pool(void) { return open_pool_of(MAX); }

static struct https_connection *take(struct http *h) {
    struct context ctx = context_timeout(NULL, 10000);
    struct https_connection *c = NULL;
    struct error err = {0};
    if (https_pool_take(h, &c, &ctx, &err))
        fail_msg("%s", err.cause);
    return c;
}

struct waiter {
    struct http *h;
    struct cancel cancel;
    pthread_t thread;
    struct https_connection *got;
    struct error err;
};

static void *wait_for_one(void *arg) {
    struct waiter *w = arg;
    struct context ctx = {.deadline = DEADLINE_NEVER, .cancel = &w->cancel};
    if (https_pool_take(w->h, &w->got, &ctx, &w->err) == 0)
        https_pool_give(w->h, w->got);
    return NULL;
}

static bool somebody_waits(struct http *h) {
    pthread_mutex_lock(&h->pool.lock);
    bool waits = h->pool.first != NULL;
    pthread_mutex_unlock(&h->pool.lock);
    return waits;
}

static void waiter_start(struct waiter *w, struct http *h) {
    *w = (struct waiter){.h = h};
    struct context ctx = context_timeout(NULL, 10000);
    assert_int_equal(cancel_init(&w->cancel, NULL), 0);
    assert_int_equal(pthread_create(&w->thread, NULL, wait_for_one, w), 0);
    while (!somebody_waits(h))
        assert_int_equal(context_sleep(&ctx, 1, NULL, "waiting", NULL), 0);
}

static void waiter_end(struct waiter *w) {
    pthread_join(w->thread, NULL);
    cancel_destroy(&w->cancel);
}

static void connections_are_made_up_to_the_number_and_used_again(void **state) {
    (void)state;
    struct http *h = open_pool();
    struct https_connection *a = take(h), *b = take(h);
    assert_ptr_not_equal(a, b);
    assert_int_equal(h->pool.made, MAX);
    https_pool_give(h, a);
    assert_ptr_equal(take(h), a);
    https_pool_give(h, a);
    https_pool_give(h, b);
    http_close(h);
}

/* What is connected goes before what is not, and the last used before the others. */
static void the_last_kept_connection_is_taken_first(void **state) {
    (void)state;
    struct http *h = open_pool();
    struct https_connection *kept = take(h), *bare = take(h);
    kept->fd = 0;
    kept->used_at = bare->used_at = clock_ms();
    https_pool_give(h, kept);
    https_pool_give(h, bare);
    assert_ptr_equal(take(h), kept);
    assert_ptr_equal(take(h), bare);
    bare->fd = 0;
    https_pool_give(h, kept);
    https_pool_give(h, bare);
    assert_ptr_equal(take(h), bare);
    https_pool_give(h, bare);
    http_close(h);
}

static void what_is_kept_for_too_long_is_closed(void **state) {
    (void)state;
    struct http *h = open_pool();
    struct https_connection *old = take(h), *fresh = take(h);
    old->fd = fresh->fd = 0; /* no libcurl has it: nothing is closed for real */
    fresh->used_at = clock_ms();
    old->used_at = fresh->used_at - h->idle_ms - 1;
    https_pool_give(h, old);
    assert_int_equal(old->fd, -1);
    assert_ptr_equal(h->pool.bare, old);
    https_pool_give(h, fresh);
    assert_ptr_equal(h->pool.kept, fresh);
    old = take(h);
    assert_ptr_equal(old, fresh);
    /* Not with every call: */
    old->used_at -= h->idle_ms + 1;
    https_pool_give(h, old);
    assert_int_equal(old->fd, 0);
    http_close(h);
}

static void a_free_connection_goes_to_who_waits(void **state) {
    (void)state;
    struct http *h = open_pool();
    struct https_connection *a = take(h), *b = take(h);
    struct waiter w;
    waiter_start(&w, h);
    https_pool_give(h, b);
    waiter_end(&w);
    assert_ptr_equal(w.got, b);
    assert_false(error_is_set(&w.err));
    https_pool_give(h, a);
    http_close(h);
}

static void a_connection_given_to_someone_who_leaves_is_not_lost(void **state) {
    (void)state;
    struct http *h = open_pool();
    for (int i = 0; i < 100; i++) {
        struct https_connection *a = take(h), *b = take(h);
        struct waiter w;
        waiter_start(&w, h);
        cancel_fire(&w.cancel);
        https_pool_give(h, a);
        waiter_end(&w);
        if (!w.got)
            assert_int_equal(w.err.code, ERR_CANCELLED);
        assert_ptr_equal(take(h), a);
        https_pool_give(h, a);
        https_pool_give(h, b);
    }
    http_close(h);
}

static void give_all(struct http *h, struct https_connection **all, size_t n) {
    for (size_t i = 0; i < n; i++)
        https_pool_give(h, all[i]);
}

static void answer_in(struct http *h, int64_t ms, int replies) {
    while (replies--)
        https_pool_note(h, ms);
}

static void a_server_that_answers_at_once_gets_a_few_connections(void **state) {
    (void)state;
    struct http *h = open_pool_of(64);
    struct https_connection *all[64];
    struct waiter w;
    answer_in(h, 9, 8);
    assert_int_equal(http_at_once(h), 8);
    for (int i = 0; i < 8; i++)
        all[i] = take(h);
    waiter_start(&w, h);
    https_pool_give(h, all[0]);
    waiter_end(&w);
    assert_ptr_equal(w.got, all[0]);
    assert_ptr_equal(take(h), all[0]);
    assert_int_equal(h->pool.made, 8);
    give_all(h, all, 8);
    http_close(h);
}

static void one_that_takes_its_time_gets_all_of_them(void **state) {
    (void)state;
    struct http *h = open_pool_of(64);
    struct https_connection *all[64];
    answer_in(h, 10, 64);
    assert_int_equal(http_at_once(h), 64);
    for (int i = 0; i < 64; i++)
        all[i] = take(h);
    assert_int_equal(h->pool.made, 64);
    answer_in(h, 1, 8);
    assert_int_equal(http_at_once(h), 64); /* as long as they are in use */
    give_all(h, all, 64);
    assert_int_equal(http_at_once(h), 8);
    http_close(h);
}

static void a_few_quick_replies_among_slow_ones_do_not_count(void **state) {
    (void)state;
    struct http *h = open_pool_of(64);
    for (int i = 0; i < 100; i++) {
        answer_in(h, 3, 1);
        answer_in(h, 300, 15);
        assert_int_equal(http_at_once(h), 64);
    }
    answer_in(h, 3, 64);
    assert_int_equal(http_at_once(h), 8);
    answer_in(h, 300, 60);
    assert_int_equal(http_at_once(h), 64);
    http_close(h);
}

/* Else all that is begun after a few replies would open a connection of its own. */
static void the_first_replies_of_a_session_count_already(void **state) {
    (void)state;
    struct http *h = open_pool_of(64);
    assert_int_equal(http_at_once(h), 64);
    answer_in(h, 3, 1);
    assert_int_equal(http_at_once(h), 8);
    answer_in(h, 300, 7);
    assert_int_equal(http_at_once(h), 8);
    answer_in(h, 300, 1);
    assert_int_equal(http_at_once(h), 64);
    http_close(h);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connections_are_made_up_to_the_number_and_used_again),
        cmocka_unit_test(the_last_kept_connection_is_taken_first),
        cmocka_unit_test(what_is_kept_for_too_long_is_closed),
        cmocka_unit_test(a_free_connection_goes_to_who_waits),
        cmocka_unit_test(a_server_that_answers_at_once_gets_a_few_connections),
        cmocka_unit_test(one_that_takes_its_time_gets_all_of_them),
        cmocka_unit_test(a_few_quick_replies_among_slow_ones_do_not_count),
        cmocka_unit_test(the_first_replies_of_a_session_count_already),
        cmocka_unit_test(a_connection_given_to_someone_who_leaves_is_not_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
