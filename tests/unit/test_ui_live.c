/* The picture as a pure function: events in, text out, at times the test sets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "plan_fixture.h"
#include "ui/progress.h"
#include "ui_capture.h"

static const char spec[] = "lab: lab\n"
                           "hosts: { local: { driver: fake } }\n"
                           "machines:\n"
                           "  kvm1:\n"
                           "    template: debian-kvm\n"
                           "    hypervisor: fake\n"
                           "    memory: 2GiB\n"
                           "    machines:\n"
                           "      web1: { template: tiny }\n"
                           "      web2: { template: tiny }\n";

struct show {
    struct planned p;
    struct board board;
    struct look look;
    struct buffer out;
    int64_t now;
};

static int setup(void **state) {
    struct show *s = calloc(1, sizeof *s);
    plan_prepare(&s->p, spec, "");
    plan_render(&s->p, "up");
    board_plan(&s->board, s->p.plan);
    s->look = (struct look){.columns = 100, .lines = 30, .utf8 = true};
    *state = s;
    return 0;
}

static int teardown(void **state) {
    struct show *s = *state;
    board_free(&s->board);
    buffer_free(&s->out);
    plan_release(&s->p);
    free(s);
    return 0;
}

static void tell(struct show *s, int64_t at, enum event_kind kind, const char *path, const char *step,
                 struct event more) {
    more.kind = kind;
    more.at_ms = s->now = at;
    more.path = path;
    more.step = step;
    board_take(&s->board, &more);
}
#define TELL(s, at, kind, path, step, ...) tell(s, at, kind, path, step, (struct event){__VA_ARGS__})

static void begin_end(struct show *s, int64_t from, int64_t to, const char *path, const char *step) {
    TELL(s, from, EVENT_STEP_START, path, step, .text = "not there");
    TELL(s, to, EVENT_STEP_DONE, path, step, .elapsed_ms = to - from);
}

static void expect(struct show *s, const char *drawn) {
    buffer_clear(&s->out);
    live_draw(&s->board, s->now, &s->look, &s->out);
    assert_string_equal(buffer_str(&s->out), drawn);
}

static void nothing_is_drawn_before_anything_happens(void **state) { expect(*state, ""); }

static void what_runs_is_told_with_its_time(void **state) {
    struct show *s = *state;
    TELL(s, 1000, EVENT_RUN_START, NULL, NULL, .text = "up", .total = 15);
    TELL(s, 1000, EVENT_STEP_START, "local", "image", .text = "debian-kvm");
    TELL(s, 1500, EVENT_STEP_PROGRESS, "local", "image", .done = 30 << 20, .total = 120 << 20);
    s->now = 2300;
    expect(s, "lab: up\n"
              "⠋ local    image debian-kvm          1.3s  ━━━━━───────────────  25 %  30.0 of 120.0 MiB\n"
              "· kvm1\n"
              "· ├─ web1\n"
              "· └─ web2\n"
              "────────────────────  0/15 steps, 1 running, 0:01\n");
}

static void what_is_ready_collapses_to_a_line(void **state) {
    struct show *s = *state;
    TELL(s, 0, EVENT_RUN_START, NULL, NULL, .text = "up", .total = 15);
    begin_end(s, 1000, 3000, "local", "image");
    begin_end(s, 1000, 2000, "local", "network");
    begin_end(s, 3000, 3500, "lab/kvm1", "create");
    begin_end(s, 3500, 3600, "lab/kvm1", "expose");
    begin_end(s, 3600, 4600, "lab/kvm1", "start");
    begin_end(s, 4600, 44000, "lab/kvm1", "reach");
    begin_end(s, 44000, 44200, "lab/kvm1", "verify");
    TELL(s, 44200, EVENT_STEP_START, "lab/kvm1", "image", .text = "tiny");
    TELL(s, 44200, EVENT_STEP_START, "lab/kvm1", "network", .text = "its machines need it");
    expect(s, "lab: up\n"
              "✔ local    prepared                  1.0s\n"
              "⠋ kvm1     image tiny                0.0s\n"
              "  │        network                   0.0s\n"
              "· ├─ web1\n"
              "· └─ web2\n"
              "━━━━━━━━━───────────  7/15 steps, 1 running, 0:43\n");
    TELL(s, 45000, EVENT_STEP_DONE, "lab/kvm1", "network", .elapsed_ms = 800);
    TELL(s, 46000, EVENT_STEP_DONE, "lab/kvm1", "image", .elapsed_ms = 1800);
    expect(s, "lab: up\n"
              "✔ local    prepared                  1.0s\n"
              "✔ kvm1     ready                    41.2s\n"
              "· ├─ web1\n"
              "· └─ web2\n"
              "━━━━━━━━━━━━────────  9/15 steps, 0:45\n");
}

static void a_failure_shows_its_cause_and_what_it_kept_from_being_done(void **state) {
    struct show *s = *state;
    struct error why = {.code = ERR_DIED, .cause = "QEMU ended at once: no \033[31mkvm\033[0m"};
    TELL(s, 1000, EVENT_STEP_START, "lab/kvm1", "start", .text = "not there");
    TELL(s, 3000, EVENT_STEP_FAILED, "lab/kvm1", "start", .elapsed_ms = 2000, .error = &why);
    TELL(s, 3000, EVENT_STEP_SKIPPED, "lab/kvm1", "reach", .text = NULL);
    TELL(s, 3000, EVENT_STEP_SKIPPED, "lab/kvm1/web1", "create", .text = NULL);
    expect(s, "lab: up\n"
              "· local\n"
              "✖ kvm1     start failed              2.0s\n"
              "  │  QEMU ended at once: no ?[31mkvm?[0m\n"
              "- ├─ web1  not done\n"
              "· └─ web2\n"
              "━━━━────────────────  0/15 steps, 0:02, 1 failed, 2 not done\n");
}

static void an_interruption_is_no_failure(void **state) {
    struct show *s = *state;
    struct error why = {.code = ERR_CANCELLED, .cause = "interrupted while booting"};
    begin_end(s, 1000, 2000, "lab/kvm1", "start");
    TELL(s, 2000, EVENT_STEP_START, "lab/kvm1", "reach", .text = NULL);
    TELL(s, 3000, EVENT_STEP_FAILED, "lab/kvm1", "reach", .elapsed_ms = 1000, .error = &why);
    TELL(s, 3000, EVENT_STEP_SKIPPED, "lab/kvm1", "verify", .text = NULL);
    expect(s, "lab: up\n"
              "· local\n"
              "- kvm1     reach interrupted\n"
              "· ├─ web1\n"
              "· └─ web2\n"
              "━━━━────────────────  1/15 steps, 0:02, 2 not done\n");
}

/* image/ knows no machines: its events name none. */
static void progress_without_a_path_belongs_to_the_step_of_its_name(void **state) {
    struct show *s = *state;
    TELL(s, 0, EVENT_RUN_START, NULL, NULL, .text = "up");
    TELL(s, 1, EVENT_STEP_PROGRESS, NULL, "image", .text = "for nobody", .done = 1, .total = 2);
    TELL(s, 1, EVENT_STEP_START, "local", "image", .text = "tiny");
    TELL(s, 1, EVENT_STEP_PROGRESS, NULL, "image", .text = "I: fetching \033]0;x\apackages");
    expect(s, "lab: up\n"
              "⠋ local    image tiny                0.0s  I: fetching ?]0;x?packages\n"
              "· kvm1\n"
              "· ├─ web1\n"
              "· └─ web2\n"
              "────────────────────  0/15 steps, 1 running, 0:00\n");
}

static void without_utf8_it_is_drawn_in_ascii(void **state) {
    struct show *s = *state;
    s->look.utf8 = false;
    begin_end(s, 1000, 2000, "lab/kvm1/web1", "start");
    TELL(s, 2000, EVENT_STEP_START, "lab/kvm1", "image", .text = "tiny");
    expect(s, "lab: up\n"
              ". local\n"
              "| kvm1     image tiny                0.0s\n"
              ". |- web1  start done                1.0s\n"
              ". `- web2\n"
              "#-------------------  1/15 steps, 1 running, 0:01\n");
}

static size_t count_lines(const char *text) {
    size_t n = 0;
    for (; *text; text++)
        n += *text == '\n';
    return n;
}

static void no_line_is_wider_than_the_terminal(void **state) {
    struct show *s = *state;
    TELL(s, 1000, EVENT_STEP_START, "local", "image", .text = "a-very-long-template-name-indeed");
    TELL(s, 1500, EVENT_STEP_PROGRESS, "local", "image", .done = 30 << 20, .total = 120 << 20, .text = "a long note");
    for (s->look.columns = 1; s->look.columns < 120; s->look.columns++) {
        buffer_clear(&s->out);
        live_draw(&s->board, s->now, &s->look, &s->out);
        for (const char *line = buffer_str(&s->out); *line; line += strcspn(line, "\n") + 1) {
            cleanup_free char *one = strndup(line, strcspn(line, "\n"));
            assert_true(text_columns(one) <= s->look.columns);
        }
    }
}

static void colour_only_adds_to_words(void **state) {
    struct show *s = *state;
    begin_end(s, 1000, 2000, "local", "image");
    TELL(s, 2000, EVENT_STEP_START, "lab/kvm1", "start", .text = NULL);
    live_draw(&s->board, s->now, &s->look, &s->out);
    cleanup_free char *plain = buffer_steal(&s->out);
    cleanup_buffer struct buffer stripped = {0};
    s->look.color = true;
    live_draw(&s->board, s->now, &s->look, &s->out);
    for (const char *c = buffer_str(&s->out); *c; c++)
        if (*c == '\033')
            c += strcspn(c, "m");
        else
            buffer_putc(&stripped, *c);
    assert_string_not_equal(buffer_str(&s->out), plain);
    assert_string_equal(buffer_str(&stripped), plain);
}

/* --- a crowd --- */

#define CROWD 300

static void crowd_begin(struct show *s) {
    TELL(s, 0, EVENT_RUN_START, NULL, NULL, .text = "up", .total = 2 * CROWD);
    for (int i = 0; i < CROWD; i++) {
        char path[32];
        snprintf(path, sizeof path, "lab/m%03d", i);
        TELL(s, 1000 + i, EVENT_STEP_START, path, "start", .text = NULL);
        if (i < 290)
            TELL(s, 2000 + i, EVENT_STEP_DONE, path, "start", .elapsed_ms = 1000);
    }
}

static void a_crowd_shows_what_runs_and_what_ended_last_and_counts_the_rest(void **state) {
    struct show *s = *state;
    s->look.lines = 20;
    crowd_begin(s);
    live_draw(&s->board, 3000, &s->look, &s->out);
    const char *text = buffer_str(&s->out);
    assert_true(count_lines(text) <= 19);
    for (int i = 290; i < CROWD; i++) {
        char name[16];
        snprintf(name, sizeof name, "m%03d ", i);
        assert_non_null(strstr(text, name));
    }
    assert_non_null(strstr(text, "✔ m289"));
    assert_null(strstr(text, "m000"));
    assert_non_null(strstr(text, "and 288 more: 4 waiting, 284 done"));
}

static void a_crowd_fits_any_terminal(void **state) {
    struct show *s = *state;
    struct error why = {.code = ERR_DIED, .cause = "gone"};
    crowd_begin(s);
    for (int i = 0; i < 20; i++) {
        char path[32];
        snprintf(path, sizeof path, "lab/m%03d", i);
        TELL(s, 4000, EVENT_STEP_FAILED, path, "reach", .error = &why);
    }
    for (s->look.lines = 8; s->look.lines < 60; s->look.lines++) {
        buffer_clear(&s->out);
        live_draw(&s->board, s->now, &s->look, &s->out);
        assert_in_range(count_lines(buffer_str(&s->out)), 3, s->look.lines - 1);
        assert_non_null(strstr(buffer_str(&s->out), "reach failed"));
        assert_non_null(strstr(buffer_str(&s->out), "⠋ m290"));
    }
}

static void the_last_picture_shows_every_failure(void **state) {
    struct show *s = *state;
    struct error why = {.code = ERR_DIED, .cause = "gone"};
    crowd_begin(s);
    for (int i = 0; i < 40; i++) {
        char path[32];
        snprintf(path, sizeof path, "lab/m%03d", i);
        TELL(s, 4000, EVENT_STEP_FAILED, path, "reach", .error = &why);
    }
    s->look.last = true;
    live_draw(&s->board, s->now, &s->look, &s->out);
    size_t failures = 0;
    for (const char *at = buffer_str(&s->out); (at = strstr(at, "reach failed")); at++)
        failures++;
    assert_int_equal(failures, 40);
}

static void warnings_stay_above_the_picture(void **state) {
    struct show *s = *state;
    struct event warning = {.kind = EVENT_WARNING, .path = "lab/kvm1", .text = "slow\033[2J"};
    struct event step = {.kind = EVENT_STEP_START, .path = "lab/kvm1", .step = "start"};
    live_message(&warning, &s->look, &s->out);
    live_message(&step, &s->look, &s->out);
    assert_string_equal(buffer_str(&s->out), "warning: lab/kvm1: slow?[2J\n");
}

static void it_says_that_it_is_stopping(void **state) {
    struct show *s = *state;
    TELL(s, 1000, EVENT_STEP_START, "lab/kvm1", "start", .text = NULL);
    s->look.columns = 180;
    s->look.stopping = true;
    live_draw(&s->board, s->now, &s->look, &s->out);
    assert_non_null(strstr(buffer_str(&s->out), "stopping: what runs is brought to a safe point"));
}

int main(void) {
#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        test(nothing_is_drawn_before_anything_happens),
        test(what_runs_is_told_with_its_time),
        test(what_is_ready_collapses_to_a_line),
        test(a_failure_shows_its_cause_and_what_it_kept_from_being_done),
        test(an_interruption_is_no_failure),
        test(progress_without_a_path_belongs_to_the_step_of_its_name),
        test(without_utf8_it_is_drawn_in_ascii),
        test(no_line_is_wider_than_the_terminal),
        test(colour_only_adds_to_words),
        test(a_crowd_shows_what_runs_and_what_ended_last_and_counts_the_rest),
        test(a_crowd_fits_any_terminal),
        test(the_last_picture_shows_every_failure),
        test(warnings_stay_above_the_picture),
        test(it_says_that_it_is_stopping),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
