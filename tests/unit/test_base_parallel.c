/* One thing done to each of many. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "nestor/parallel.h"

#define MANY 1000

struct work {
    atomic_int times[MANY], now, most;
    size_t together; /* each waits until so many are under way */
};

static void each(void *data, size_t i) {
    struct work *w = data;
    int now = atomic_fetch_add(&w->now, 1) + 1, most = atomic_load(&w->most);
    while (now > most && !atomic_compare_exchange_weak(&w->most, &most, now))
        ;
    for (int tries = 0; tries < 10000 && (size_t)atomic_load(&w->most) < w->together; tries++)
        usleep(1000);
    atomic_fetch_add(&w->times[i], 1);
    atomic_fetch_sub(&w->now, 1);
}

static struct work *run(size_t n, size_t together) {
    struct work *w = calloc(1, sizeof *w);
    w->together = together;
    parallel_each(n, each, w);
    for (size_t i = 0; i < MANY; i++)
        assert_int_equal(w->times[i], i < n);
    assert_int_equal(w->now, 0);
    return w;
}

static void each_is_done_once_before_it_returns(void **state) {
    (void)state;
    static const size_t numbers[] = {0, 1, 2, PARALLEL_MAX, PARALLEL_MAX + 1, MANY};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        free(run(numbers[i], 0));
}

static void they_are_done_at_the_same_time_up_to_a_number(void **state) {
    (void)state;
    struct work *w = run(MANY, PARALLEL_MAX);
    assert_int_equal(w->most, PARALLEL_MAX);
    free(w);
    w = run(2, 2);
    assert_int_equal(w->most, 2);
    free(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_is_done_once_before_it_returns),
        cmocka_unit_test(they_are_done_at_the_same_time_up_to_a_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
