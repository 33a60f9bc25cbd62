/* Progress on a real terminal: a pseudo terminal whose output a small screen interprets. */
#include <ctype.h>
#include <pthread.h>
#include <pty.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "nestor/context.h"
#include "plan_fixture.h"
#include "ui/ui.h"
#include "ui_capture.h"
#include "ui_screen.h"

#define PATIENCE_MS 10000

static const char spec[] = "lab: lab\n"
                           "hosts: { local: { driver: fake } }\n"
                           "machines:\n"
                           "  kvm1:\n"
                           "    template: debian-kvm\n"
                           "    hypervisor: fake\n"
                           "    memory: 2GiB\n"
                           "    machines:\n"
                           "      web1: { template: tiny }\n";

struct terminal {
    int master;
    FILE *out; /* the program's side */
    struct screen screen;
    struct planned p;
    struct progress *progress;
    struct event_sink *sink;
};

static void resize(struct terminal *t, unsigned columns, unsigned lines) {
    struct winsize size = {.ws_col = (unsigned short)columns, .ws_row = (unsigned short)lines};
    assert_int_equal(ioctl(t->master, TIOCSWINSZ, &size), 0);
    t->screen.columns = columns;
    t->screen.lines = lines;
}

static int setup(void **state) {
    struct terminal *t = calloc(1, sizeof *t);
    int slave;
    ui_speak_utf8();
    assert_int_equal(openpty(&t->master, &slave, NULL, NULL, NULL), 0);
    t->out = fdopen(slave, "w");
    screen_begin(&t->screen, 0, 0);
    resize(t, 80, 24);
    plan_prepare(&t->p, spec, "");
    plan_render(&t->p, "up");
    t->progress = progress_open(t->out, true, true, false);
    t->sink = progress_sink(t->progress);
    progress_plan(t->progress, t->p.plan);
    *state = t;
    return 0;
}

static int teardown(void **state) {
    struct terminal *t = *state;
    progress_close(t->progress);
    fclose(t->out);
    close(t->master);
    plan_release(&t->p);
    free(t);
    return 0;
}

static bool read_some(struct terminal *t, int wait_ms) {
    char bytes[65536];
    struct pollfd in = {.fd = t->master, .events = POLLIN};
    if (poll(&in, 1, wait_ms) <= 0)
        return false;
    ssize_t n = read(t->master, bytes, sizeof bytes);
    if (n <= 0)
        return false;
    screen_feed(&t->screen, bytes, (size_t)n);
    return true;
}

static void wait_for(struct terminal *t, const char *words) {
    int64_t end = clock_ms() + PATIENCE_MS;
    while (!strstr(screen_text(&t->screen), words)) {
        if (clock_ms() > end)
            fail_msg("'%s' did not appear on:\n%s", words, t->screen.text);
        read_some(t, 100);
    }
}

static void finish(struct terminal *t) {
    progress_close(t->progress);
    t->progress = NULL;
    while (read_some(t, 0))
        ;
}

static void step(struct terminal *t, enum event_kind kind, const char *path, const char *name) {
    event_emit(t->sink, (struct event){.kind = kind, .path = path, .step = name, .text = "not there"});
}

static void begin_end(struct terminal *t, const char *path, const char *name) {
    step(t, EVENT_STEP_START, path, name);
    step(t, EVENT_STEP_DONE, path, name);
}

static void do_all(struct terminal *t) {
    static const char *const machine[] = {"create", "expose", "start", "reach", "verify"};
    begin_end(t, "local", "image");
    begin_end(t, "local", "network");
    for (int i = 0; i < 5; i++)
        begin_end(t, "lab/kvm1", machine[i]);
    begin_end(t, "lab/kvm1", "image");
    begin_end(t, "lab/kvm1", "network");
    begin_end(t, "lab/kvm1/web1", "create");
    begin_end(t, "lab/kvm1/web1", "start");
    begin_end(t, "lab/kvm1/web1", "reach");
}

/* All but the last line. How long things took is the machine's affair: every time is shown as 0.0s. */
static void expect_above_footer(struct terminal *t, const char *lines) {
    char *text = (char *)screen_text(&t->screen), *footer = strstr(text, "━━━━");
    assert_non_null(footer);
    *footer = '\0';
    for (char *c = text; *c; c++)
        if (isdigit((unsigned char)c[0]) && c[1] == '.' && isdigit((unsigned char)c[2]) && c[3] == 's')
            c[0] = c[2] = '0';
    assert_string_equal(text, lines);
}

static void the_last_picture_stays_and_the_cursor_is_below_it(void **state) {
    struct terminal *t = *state;
    do_all(t);
    finish(t);
    assert_non_null(strstr(screen_text(&t->screen), "12/12 steps, "));
    assert_false(t->screen.cursor_hidden);
    assert_false(t->screen.no_wrap);
    assert_int_equal(t->screen.x, 0);
    assert_int_equal(t->screen.y, 5);
    expect_above_footer(t, "lab: up\n"
                           "✔ local    prepared                  0.0s\n"
                           "✔ kvm1     ready                     0.0s\n"
                           "✔ └─ web1  ready                     0.0s\n");
}

/* Nobody emits an event, and still the time goes on. */
static void it_moves_while_nothing_happens(void **state) {
    struct terminal *t = *state;
    step(t, EVENT_STEP_START, "lab/kvm1", "reach");
    wait_for(t, "booting");
    for (int changes = 0; changes < 3; changes++) {
        char then[64], now[64];
        int64_t end = clock_ms() + PATIENCE_MS;
        snprintf(then, sizeof then, "%.60s", strstr(screen_text(&t->screen), "booting"));
        do {
            assert_true(clock_ms() < end);
            read_some(t, 100);
            const char *at = strstr(screen_text(&t->screen), "booting");
            snprintf(now, sizeof now, "%.60s", at ? at : then);
        } while (strcmp(then, now) == 0);
    }
}

static void it_redraws_in_place(void **state) {
    struct terminal *t = *state;
    fputs("$ nestor up\n", t->out);
    fflush(t->out);
    step(t, EVENT_STEP_START, "lab/kvm1", "create");
    wait_for(t, "creating");
    step(t, EVENT_STEP_DONE, "lab/kvm1", "create");
    step(t, EVENT_STEP_START, "lab/kvm1", "start");
    wait_for(t, "starting");
    assert_null(strstr(screen_text(&t->screen), "creating"));
    step(t, EVENT_STEP_DONE, "lab/kvm1", "start");
    do_all(t);
    finish(t);
    expect_above_footer(t, "$ nestor up\n"
                           "lab: up\n"
                           "✔ local    prepared                  0.0s\n"
                           "✔ kvm1     ready                     0.0s\n"
                           "✔ └─ web1  ready                     0.0s\n");
}

static void a_warning_stays_above(void **state) {
    struct terminal *t = *state;
    step(t, EVENT_STEP_START, "lab/kvm1", "verify");
    wait_for(t, "verifying");
    event_emit(t->sink, (struct event){.kind = EVENT_WARNING, .path = "lab/kvm1", .text = "slow\033[9999A\033[2J"});
    wait_for(t, "warning: lab/kvm1: slow?[9999A?[2J");
    wait_for(t, "verifying");
    assert_ptr_equal(strstr(screen_text(&t->screen), "warning"), t->screen.text);
}

static void it_keeps_to_a_terminal_that_changes_its_size(void **state) {
    struct terminal *t = *state;
    step(t, EVENT_STEP_START, "lab/kvm1", "reach");
    wait_for(t, "0/12 steps, 1 running");
    resize(t, 30, 24);
    wait_for(t, "─  0/12 s…");
    resize(t, 100, 24);
    wait_for(t, "0/12 steps, 1 running");
}

static void it_stays_within_a_low_terminal(void **state) {
    struct terminal *t = *state;
    resize(t, 80, 8);
    for (int i = 0; i < 100; i++) {
        char path[32];
        snprintf(path, sizeof path, "lab/m%03d", i);
        begin_end(t, path, "start");
    }
    step(t, EVENT_STEP_START, "lab/m042", "reach");
    wait_for(t, " m042  booting");
    wait_for(t, "more:");
}

static void hostile_text_is_harmless(void **state) {
    struct terminal *t = *state;
    struct error why = {.code = ERR_DIED,
                        .cause = "\033]0;owned\a\033[31m\xc2\x9b"
                                 "2J\x9b"
                                 "2J\u202e"};
    step(t, EVENT_STEP_START, "lab/kvm1", "start");
    event_emit(t->sink, (struct event){.kind = EVENT_STEP_FAILED, .path = "lab/kvm1", .step = "start", .error = &why});
    wait_for(t, "?]0;owned??[31m?2J?2J?"); /* the screen fails on any control it does not know */
}

static void it_tells_that_it_is_stopping(void **state) {
    struct terminal *t = *state;
    struct cancel cancel;
    struct error err = {0};
    assert_int_equal(cancel_init(&cancel, &err), 0);
    resize(t, 160, 24);
    progress_watch(t->progress, &cancel);
    step(t, EVENT_STEP_START, "lab/kvm1", "reach");
    wait_for(t, "booting");
    assert_null(strstr(screen_text(&t->screen), "stopping"));
    cancel_fire(&cancel);
    wait_for(t, "stopping: what runs is brought to a safe point");
    finish(t);
    cancel_destroy(&cancel);
}

struct teller {
    struct terminal *t;
    int number;
};

static void *tell_much(void *data) {
    struct teller *teller = data;
    char path[32];
    snprintf(path, sizeof path, "lab/m%d", teller->number);
    for (int i = 0; i < 500; i++)
        begin_end(teller->t, path, "start");
    return NULL;
}

static void many_threads_may_tell_at_once(void **state) {
    struct terminal *t = *state;
    pthread_t threads[8];
    struct teller tellers[8];
    for (int i = 0; i < 8; i++) {
        tellers[i] = (struct teller){t, i};
        assert_int_equal(pthread_create(&threads[i], NULL, tell_much, &tellers[i]), 0);
    }
    for (int i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
    wait_for(t, "4000/12 steps");
}

/* Ctrl-S stops the terminal. The work must not stop with it. */
static void a_stopped_terminal_stops_nobody(void **state) {
    struct terminal *t = *state;
    assert_int_equal(write(t->master, "\x13", 1), 1);
    for (int i = 0; i < 2000; i++)
        begin_end(t, "lab/kvm1", "start");
    assert_int_equal(write(t->master, "\x11", 1), 1);
    wait_for(t, "2000/12 steps");
}

/* --- without a terminal --- */

static void plain_lines_are_there_before_close_returns(void **state) {
    (void)state;
    int fds[2];
    char text[4096] = "";
    assert_int_equal(pipe(fds), 0);
    FILE *out = fdopen(fds[1], "w");
    struct progress *p = progress_open(out, false, false, false);
    event_emit(progress_sink(p), (struct event){.kind = EVENT_STEP_START, .path = "lab/a", .step = "start"});
    event_emit(progress_sink(p),
               (struct event){.kind = EVENT_STEP_DONE, .path = "lab/a", .step = "start", .elapsed_ms = 1500});
    progress_close(p);
    fclose(out);
    assert_true(read(fds[0], text, sizeof text - 1) > 0);
    close(fds[0]);
    assert_string_equal(text, "[    0.0s] lab/a: start begins\n[    0.0s] lab/a: start done in 1.5s\n");
}

static void print_nothing(void *data, FILE *out) {
    (void)data;
    progress_close(progress_open(out, false, false, false));
    progress_close(NULL);
}

static void progress_that_nobody_told_anything_prints_nothing(void **state) {
    (void)state;
    cleanup_free char *text = ui_capture(print_nothing, NULL);
    assert_string_equal(text, "");
}

static void while_somebody_is_asked_nothing_is_drawn(void **state) {
    struct terminal *t = *state;
    step(t, EVENT_RUN_START, NULL, NULL);
    step(t, EVENT_STEP_START, "lab/kvm1", "create");
    wait_for(t, "creating");
    progress_pause(t->progress);
    fputs("Password: ", t->out);
    fflush(t->out);
    step(t, EVENT_STEP_DONE, "lab/kvm1", "create");
    wait_for(t, "Password:");
    while (read_some(t, 300)) /* two ticks: enough for a picture that must not come */
        ;
    assert_null(strstr(screen_text(&t->screen), "kvm1"));
    fputs("\n", t->out);
    fflush(t->out);
    progress_resume(t->progress);
    wait_for(t, "1/");
    assert_non_null(strstr(screen_text(&t->screen), "Password:"));
    finish(t);
    assert_non_null(strstr(screen_text(&t->screen), "Password:"));
}

int main(void) {
#define on_terminal(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        on_terminal(the_last_picture_stays_and_the_cursor_is_below_it),
        on_terminal(it_moves_while_nothing_happens),
        on_terminal(it_redraws_in_place),
        on_terminal(a_warning_stays_above),
        on_terminal(it_keeps_to_a_terminal_that_changes_its_size),
        on_terminal(it_stays_within_a_low_terminal),
        on_terminal(hostile_text_is_harmless),
        on_terminal(it_tells_that_it_is_stopping),
        on_terminal(many_threads_may_tell_at_once),
        on_terminal(a_stopped_terminal_stops_nobody),
        on_terminal(while_somebody_is_asked_nothing_is_drawn),
        cmocka_unit_test(plain_lines_are_there_before_close_returns),
        cmocka_unit_test(progress_that_nobody_told_anything_prints_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
