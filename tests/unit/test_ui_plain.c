/* Plain lines as a pure function: events at times the test sets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ui/progress.h"

struct log {
    struct board board;
    struct look look;
    struct buffer out;
    bool quiet;
};

static int setup(void **state) {
    struct log *l = calloc(1, sizeof *l);
    l->look.utf8 = true;
    *state = l;
    return 0;
}

static int teardown(void **state) {
    struct log *l = *state;
    board_free(&l->board);
    buffer_free(&l->out);
    free(l);
    return 0;
}

static void tell(struct log *l, struct event e) {
    struct active *active = board_take(&l->board, &e);
    plain_event(&l->board, &e, active, l->quiet, &l->look, &l->out);
}
#define NOON 43200000 /* when the test begins */
#define TELL(l, at, what, ...) tell(l, (struct event){.at_ms = NOON + (at), .kind = what, __VA_ARGS__})

static void expect(struct log *l, const char *lines) {
    assert_string_equal(buffer_str(&l->out), lines);
    buffer_clear(&l->out);
}

static void each_event_is_a_line_with_the_time_since_the_first(void **state) {
    struct log *l = *state;
    TELL(l, 5000, EVENT_RUN_START, .text = "up", .total = 12);
    TELL(l, 5100, EVENT_STEP_START, .path = "q/kvm1", .step = "start", .text = "not there");
    TELL(l, 6300, EVENT_STEP_DONE, .path = "q/kvm1", .step = "start", .elapsed_ms = 1200);
    TELL(l, 6300, EVENT_STEP_SKIPPED, .path = "q/kvm2", .step = "reach");
    TELL(l, 6400, EVENT_NOTICE, .path = "local", .text = "emulates");
    TELL(l, 130400, EVENT_RUN_END, .text = "done");
    TELL(l, 130400, EVENT_RUN_START, .text = "down", .total = 1);
    expect(l, "[    0.0s] up: 12 steps\n"
              "[    0.1s] q/kvm1: start begins: not there\n"
              "[    1.3s] q/kvm1: start done in 1.2s\n"
              "[    1.3s] q/kvm2: reach not done: something it needs has failed\n"
              "[    1.4s] local: emulates\n"
              "[  125.4s] done\n"
              "[  125.4s] down: 1 step\n");
}

static void the_steps_of_one_change_tell_its_reason_once(void **state) {
    struct log *l = *state;
    TELL(l, 0, EVENT_STEP_START, .path = "q/a", .step = "create", .text = "not there");
    TELL(l, 0, EVENT_STEP_START, .path = "q/b", .step = "create", .text = "not there");
    TELL(l, 0, EVENT_STEP_START, .path = "q/a", .step = "start", .text = "not there");
    TELL(l, 0, EVENT_STEP_START, .path = "q/a", .step = "stop", .text = "it left the lab file");
    expect(l, "[    0.0s] q/a: create begins: not there\n"
              "[    0.0s] q/b: create begins: not there\n"
              "[    0.0s] q/a: start begins\n"
              "[    0.0s] q/a: stop begins: it left the lab file\n");
}

static void who_tries_again_says_why(void **state) {
    struct log *l = *state;
    struct error why = {.code = ERR_IO, .cause = "the disk \033[2Jsays no"};
    TELL(l, 0, EVENT_NOTICE, .path = "q/a", .text = "trying again", .error = &why);
    expect(l, "[    0.0s] q/a: trying again: the disk ?[2Jsays no\n");
    live_message(&(struct event){.kind = EVENT_NOTICE, .path = "q/a", .text = "trying again", .error = &why}, &l->look,
                 &l->out);
    expect(l, "note: q/a: trying again: the disk ?[2Jsays no\n");
}

static void a_failure_has_its_cause(void **state) {
    struct log *l = *state;
    struct error why = {.code = ERR_DIED,
                        .cause = "it ended: \033[2Jbad\x9b"
                                 "2J"};
    TELL(l, 1, EVENT_STEP_START, .path = "q/kvm1", .step = "start");
    buffer_clear(&l->out);
    TELL(l, 65001, EVENT_STEP_FAILED, .path = "q/kvm1", .step = "start", .elapsed_ms = 65000, .error = &why);
    expect(l, "[   65.0s] q/kvm1: start failed after 1:05: it ended: ?[2Jbad?2J\n");
}

static void an_interruption_is_no_failure(void **state) {
    struct log *l = *state;
    struct error why = {.code = ERR_CANCELLED, .cause = "interrupted"};
    TELL(l, 0, EVENT_STEP_START, .path = "q/kvm1", .step = "start");
    buffer_clear(&l->out);
    TELL(l, 2000, EVENT_STEP_FAILED, .path = "q/kvm1", .step = "start", .elapsed_ms = 2000, .error = &why);
    expect(l, "[    2.0s] q/kvm1: start interrupted after 2.0s\n");
    l->quiet = true;
    TELL(l, 2000, EVENT_STEP_FAILED, .path = "q/kvm1", .step = "start", .elapsed_ms = 2000, .error = &why);
    expect(l, "");
}

static void progress_is_told_at_each_tenth_once(void **state) {
    struct log *l = *state;
    TELL(l, 0, EVENT_STEP_START, .path = "local", .step = "image", .text = "tiny");
    buffer_clear(&l->out);
    for (uint64_t done = 0; done <= 100; done++) {
        TELL(l, 1000, EVENT_STEP_PROGRESS, .path = "local", .step = "image", .done = done << 20, .total = 100 << 20);
        TELL(l, 1000, EVENT_STEP_PROGRESS, .path = "local", .step = "image", .done = done << 20, .total = 100 << 20);
    }
    size_t lines = 0;
    for (const char *c = buffer_str(&l->out); *c; c++)
        lines += *c == '\n';
    assert_int_equal(lines, 10);
    assert_non_null(strstr(buffer_str(&l->out), "local: image  30 %  30.0 of 100.0 MiB\n"));
}

static void another_thing_is_measured_from_its_own_start(void **state) {
    struct log *l = *state;
    TELL(l, 0, EVENT_STEP_START, .path = "local", .step = "image", .text = "tiny");
    TELL(l, 0, EVENT_STEP_PROGRESS, .step = "image", .done = 90, .total = 100, .text = "checking a");
    buffer_clear(&l->out);
    TELL(l, 0, EVENT_STEP_PROGRESS, .step = "image", .done = 40, .total = 200, .text = "checking b");
    expect(l, "[    0.0s] image checking b  20 %  40 of 200 bytes\n");
}

/* A recipe prints thousands of lines: a log gets none of them, they are in the recipe's own log. */
static void lines_of_a_recipe_are_not_repeated(void **state) {
    struct log *l = *state;
    TELL(l, 0, EVENT_STEP_START, .path = "local", .step = "image");
    buffer_clear(&l->out);
    TELL(l, 0, EVENT_STEP_PROGRESS, .step = "image", .text = "I: unpacking");
    expect(l, "");
}

static void what_takes_long_is_told_again_and_again_but_ever_less_often(void **state) {
    struct log *l = *state;
    TELL(l, 0, EVENT_STEP_START, .path = "q/kvm1", .step = "reach");
    TELL(l, 4000, EVENT_STEP_START, .path = "q/kvm2", .step = "start");
    TELL(l, 5000, EVENT_STEP_DONE, .path = "q/kvm2", .step = "start");
    buffer_clear(&l->out);
    for (int64_t now = 0; now <= 240000; now += 1000)
        plain_beats(&l->board, NOON + now, &l->look, &l->out);
    expect(l, "[   10.0s] q/kvm1: still waiting for it: reach, 10 s\n"
              "[   20.0s] q/kvm1: still waiting for it: reach, 20 s\n"
              "[   40.0s] q/kvm1: still waiting for it: reach, 40 s\n"
              "[   80.0s] q/kvm1: still waiting for it: reach, 80 s\n"
              "[  140.0s] q/kvm1: still waiting for it: reach, 140 s\n"
              "[  200.0s] q/kvm1: still waiting for it: reach, 200 s\n");
}

static void quiet_leaves_only_warnings_and_failures(void **state) {
    struct log *l = *state;
    struct error why = {.code = ERR_TIMEOUT, .cause = "time ran out"};
    l->quiet = true;
    TELL(l, 0, EVENT_RUN_START, .text = "up", .total = 3);
    TELL(l, 0, EVENT_STEP_START, .path = "q/a", .step = "start", .text = "x");
    TELL(l, 0, EVENT_STEP_PROGRESS, .path = "q/a", .step = "start", .done = 1, .total = 1);
    TELL(l, 0, EVENT_NOTICE, .text = "by the way");
    TELL(l, 0, EVENT_STEP_DONE, .path = "q/a", .step = "start");
    TELL(l, 0, EVENT_STEP_SKIPPED, .path = "q/b", .step = "start");
    TELL(l, 100, EVENT_WARNING, .path = "q/a", .step = "verify", .text = "unaccelerated");
    TELL(l, 200, EVENT_STEP_FAILED, .path = "q/a", .step = "reach", .elapsed_ms = 100, .error = &why);
    TELL(l, 300, EVENT_RUN_END, .text = "failed");
    expect(l, "[    0.1s] q/a: warning: unaccelerated\n"
              "[    0.2s] q/a: reach failed after 0.1s: time ran out\n");
}

static void durations_are_read_at_a_glance(void **state) {
    (void)state;
    static const struct {
        int64_t ms;
        const char *text;
    } cases[] = {{0, "0.0s"},     {41250, "41.2s"},   {59999, "59.9s"},
                 {60000, "1:00"}, {3599000, "59:59"}, {3723000, "1:02:03"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[24];
        elapsed_format(cases[i].ms, text);
        assert_string_equal(text, cases[i].text);
    }
}

int main(void) {
#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        test(each_event_is_a_line_with_the_time_since_the_first),
        test(the_steps_of_one_change_tell_its_reason_once),
        test(who_tries_again_says_why),
        test(a_failure_has_its_cause),
        test(an_interruption_is_no_failure),
        test(progress_is_told_at_each_tenth_once),
        test(another_thing_is_measured_from_its_own_start),
        test(lines_of_a_recipe_are_not_repeated),
        test(what_takes_long_is_told_again_and_again_but_ever_less_often),
        test(quiet_leaves_only_warnings_and_failures),
        test(durations_are_read_at_a_glance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
