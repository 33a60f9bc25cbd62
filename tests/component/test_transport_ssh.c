/* Commands over SSH, against a real sshd. */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "transport_check.h"
#include "transport_server.h"

#define THREADS 16

static struct test_server server;
static struct access *local, *vm;

/* What the thread still holds for a job it closes in its own time. */
static void await_open_fds(unsigned n) {
    struct context ctx = test_within(10000);
    while (test_open_fds() > n)
        assert_int_equal(context_sleep(&ctx, 5, NULL, "waiting for descriptors to close", NULL), 0);
}

static void streams_and_status_come_back(void **state) {
    (void)state;
    test_streams_and_status(vm);
}

static void a_signal_is_told(void **state) {
    (void)state;
    test_signal_is_told(vm);
}

static void the_script_is_quoted(void **state) {
    (void)state;
    cleanup_command_result struct command_result r =
        test_run(vm, &COMMAND("a=\"it's\"\nprintf '%s|%s' \"$a\" '$HOME \\ \"'"));
    assert_string_equal(buffer_str(&r.out), "it's|$HOME \\ \"");
}

static void input_comes_back_whole(void **state) {
    (void)state;
    test_bytes_come_back(vm, 5 << 20);
}

/* More than the channel's window on both streams at once: who drains only one hangs. */
static void both_streams_are_drained(void **state) {
    (void)state;
    cleanup_command_result struct command_result r =
        test_run(vm, &COMMAND("head -c 5000000 /dev/zero >&2; head -c 5000000 /dev/zero; echo end >&2"));
    assert_int_equal(r.out.len, 5000000);
    assert_int_equal(r.err.len, 5000004);
}

static void input_nobody_reads_does_not_matter(void **state) {
    (void)state;
    cleanup_free char *bytes = xcalloc(1, 8 << 20);
    struct command command = COMMAND("exec <&-; echo done");
    command.input = bytes;
    command.input_len = 8 << 20;
    cleanup_command_result struct command_result r = test_run(vm, &command);
    assert_string_equal(buffer_str(&r.out), "done\n");
}

static void too_much_output_is_an_error(void **state) {
    (void)state;
    struct context ctx = test_within(10000);
    struct command command = COMMAND("yes");
    struct command_result r = {0};
    struct error err = {0};
    command.max_output = 100000;
    assert_int_equal(access_run(vm, &command, &r, &ctx, &err), -1);
    assert_int_equal(err.code, ERR_PROTOCOL);
    assert_string_equal(err.subject, "lab/vm");
    assert_non_null(strstr(err.cause, "more than 100000 bytes"));
    test_streams_and_status(vm);
}

static void too_long_a_script_is_refused(void **state) {
    (void)state;
    cleanup_free char *script = xcalloc(1, 40001);
    memset(script, ':', 40000);
    struct context ctx = test_within(10000);
    struct command_result r = {0};
    struct error err = {0};
    assert_int_equal(access_run(vm, &COMMAND(script), &r, &ctx, &err), -1);
    assert_int_equal(err.code, ERR_UNSUPPORTED);
    assert_non_null(strstr(err.mend, "input"));
    /* and the longest that is allowed works */
    script[31000] = '\0';
    memcpy(script, "exit 3 #", 8);
    cleanup_command_result struct command_result longest = test_run(vm, &COMMAND(script));
    assert_int_equal(longest.status, 3);
}

static void callers_descriptors_carry_the_streams(void **state) {
    (void)state;
    size_t len = 3 << 20;
    cleanup_free char *bytes = xmalloc(len);
    test_pattern(bytes, len);
    FILE *in = tmpfile(), *out = tmpfile(), *err = tmpfile();
    fwrite(bytes, 1, len, in);
    rewind(in);
    struct command command = COMMAND("cat; echo said >&2; exit 5");
    command.in_fd = fileno(in);
    command.out_fd = fileno(out);
    command.err_fd = fileno(err);
    cleanup_command_result struct command_result r = test_run(vm, &command);
    assert_int_equal(r.status, 5);
    cleanup_free char *came = xcalloc(1, len + 1);
    rewind(out);
    assert_int_equal(fread(came, 1, len + 1, out), len);
    assert_int_equal(memcmp(came, bytes, len), 0);
    rewind(err);
    assert_int_equal(fread(came, 1, 100, err), 5);
    assert_memory_equal(came, "said\n", 5);
    fclose(in);
    fclose(out);
    fclose(err);
}

/* --- many at once --- */

struct worker {
    pthread_t thread;
    struct access *access;
    size_t len;
    struct error err;
    bool wrong;
};

/* cmocka's assertions are for the main thread only. */
static void *work(void *data) {
    struct worker *w = data;
    cleanup_free char *bytes = xmalloc(w->len);
    test_pattern(bytes, w->len);
    struct context ctx = test_within(60000);
    struct command command = COMMAND("cat; echo said >&2; exit 9");
    command.input = bytes;
    command.input_len = w->len;
    for (int i = 0; i < 5; i++) {
        cleanup_command_result struct command_result r = {0};
        if (access_run(w->access, &command, &r, &ctx, &w->err))
            return NULL;
        w->wrong |= r.status != 9 || r.out.len != w->len || memcmp(r.out.data, bytes, w->len) != 0 ||
                    strcmp(buffer_str(&r.err), "said\n") != 0;
    }
    return NULL;
}

static void many_threads_share_an_access(void **state) {
    (void)state;
    unsigned before = test_open_fds();
    struct access *a = test_server_connect(&server, local);
    struct worker workers[THREADS] = {0};
    for (size_t i = 0; i < THREADS; i++) {
        workers[i].access = a;
        workers[i].len = 100000 + i * 7919;
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(workers[i].thread, NULL);
    for (int i = 0; i < THREADS; i++) {
        assert_string_equal(workers[i].err.cause, "");
        assert_false(workers[i].wrong);
    }
    access_close(a);
    await_open_fds(before);
}

/* --- the end before the end --- */

static struct error interrupted(const struct command *command, const struct context *ctx) {
    struct command_result r = {0};
    struct error err = {0};
    int64_t start = clock_ms();
    assert_int_equal(access_run(vm, command, &r, ctx, &err), -1);
    assert_true(clock_ms() - start < 10000); /* and not the command's 20 s */
    assert_null(r.out.data);
    assert_string_equal(err.subject, "lab/vm");
    return err;
}

static void the_deadline_is_kept(void **state) {
    (void)state;
    unsigned before = test_open_fds();
    struct context ctx = test_within(200);
    assert_int_equal(interrupted(&COMMAND("sleep 20"), &ctx).code, ERR_TIMEOUT);
    ctx = test_within(200);
    struct command endless = COMMAND("yes; :");
    endless.out_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    assert_int_equal(interrupted(&endless, &ctx).code, ERR_TIMEOUT);
    close(endless.out_fd);
    ctx = test_within(0);
    assert_int_equal(interrupted(&COMMAND("true"), &ctx).code, ERR_TIMEOUT);
    test_streams_and_status(vm);
    await_open_fds(before);
}

static void a_cancel_is_prompt(void **state) {
    (void)state;
    struct test_cancel cancel;
    struct context ctx = test_cancel_start(&cancel, 100);
    assert_int_equal(interrupted(&COMMAND("sleep 20"), &ctx).code, ERR_CANCELLED);
    test_cancel_end(&cancel);
    test_streams_and_status(vm);
}

/* More abandoned commands than the server allows sessions: they must not take the places of those to come. */
static void abandoned_commands_do_not_fill_the_session(void **state) {
    (void)state;
    for (int i = 0; i < 15; i++) {
        struct context ctx = test_within(50);
        struct command_result r = {0};
        assert_int_equal(access_run(vm, &COMMAND("cat; sleep 20"), &r, &ctx, NULL), -1);
    }
    test_streams_and_status(vm);
}

struct sleeper {
    pthread_t thread;
    int out[2]; /* it says a word here once it runs */
    struct error err;
};

static void *run_sleep(void *data) {
    struct sleeper *s = data;
    struct context ctx = test_within(60000);
    struct command command = COMMAND("echo here; sleep 60");
    struct command_result r = {0};
    command.out_fd = s->out[1];
    if (access_run(vm, &command, &r, &ctx, &s->err) == 0)
        command_result_free(&r);
    return NULL;
}

static void closing_cuts_what_still_runs(void **state) {
    (void)state;
    struct access *keep = vm;
    vm = test_server_connect(&server, local);
    struct sleeper sleepers[4] = {0};
    char byte;
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pipe(sleepers[i].out), 0);
        assert_int_equal(pthread_create(&sleepers[i].thread, NULL, run_sleep, &sleepers[i]), 0);
    }
    for (int i = 0; i < 4; i++) /* a call that has not begun by then would be one on a closed access */
        assert_int_equal(read(sleepers[i].out[0], &byte, 1), 1);
    int64_t start = clock_ms();
    access_close(vm);
    for (int i = 0; i < 4; i++) {
        pthread_join(sleepers[i].thread, NULL);
        assert_int_equal(sleepers[i].err.code, ERR_UNREACHABLE);
        assert_non_null(strstr(sleepers[i].err.cause, "closed by nestor"));
        close(sleepers[i].out[0]);
        close(sleepers[i].out[1]);
    }
    assert_true(clock_ms() - start < 20000); /* and not the commands' 60 s */
    vm = keep;
}

static void connecting_and_closing_leaks_nothing(void **state) {
    (void)state;
    unsigned before = test_open_fds();
    for (int i = 0; i < 5; i++) {
        struct access *a = test_server_connect(&server, local);
        assert_true(access_alive(a));
        access_close(a);
    }
    await_open_fds(before);
}

/* The server changes keys every 64 KiB here; that must go unnoticed, also while both sides send. */
static void keys_are_exchanged_anew_on_the_way(void **state) {
    (void)state;
    struct test_server s;
    test_sshd_start(&s, "RekeyLimit 64K");
    struct access *a = test_server_connect(&s, local);
    test_bytes_come_back(a, 3 << 20);
    test_streams_and_status(a);
    access_close(a);
    test_server_stop(&s);
}

static int group_setup(void **state) {
    (void)state;
    test_sshd_start(&server, "");
    local = access_local();
    vm = test_server_connect(&server, local);
    return 0;
}

static int group_teardown(void **state) {
    (void)state;
    access_close(vm);
    access_close(local);
    test_server_stop(&server);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(streams_and_status_come_back),
        cmocka_unit_test(a_signal_is_told),
        cmocka_unit_test(the_script_is_quoted),
        cmocka_unit_test(input_comes_back_whole),
        cmocka_unit_test(both_streams_are_drained),
        cmocka_unit_test(input_nobody_reads_does_not_matter),
        cmocka_unit_test(too_much_output_is_an_error),
        cmocka_unit_test(too_long_a_script_is_refused),
        cmocka_unit_test(callers_descriptors_carry_the_streams),
        cmocka_unit_test(many_threads_share_an_access),
        cmocka_unit_test(the_deadline_is_kept),
        cmocka_unit_test(a_cancel_is_prompt),
        cmocka_unit_test(closing_cuts_what_still_runs),
        cmocka_unit_test(connecting_and_closing_leaks_nothing),
        cmocka_unit_test(keys_are_exchanged_anew_on_the_way),
        cmocka_unit_test(abandoned_commands_do_not_fill_the_session),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
