/* Local processes: streams, statuses, ends, and that nothing is left behind. */
#include <errno.h>
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
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "transport_server.h"

static int sh_ctx(const char *script, struct command_result *ret, const struct context *ctx, struct error *err) {
    const char *argv[] = {"sh", "-c", script, NULL};
    return process_run(argv, &COMMAND(NULL), ret, ctx, err);
}

static struct command_result sh(const char *script, const struct command *io) {
    const char *argv[] = {"sh", "-c", script, NULL};
    struct context ctx = test_within(20000);
    struct error err = {0};
    struct command_result r = {0};
    if (process_run(argv, io, &r, &ctx, &err))
        fail_msg("%s: %s", error_code_name(err.code), err.cause);
    return r;
}

static void assert_no_child(void) {
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
}

static void streams_and_status_come_back(void **state) {
    (void)state;
    cleanup_command_result struct command_result r = sh("echo out; echo err >&2; exit 7", &COMMAND(NULL));
    assert_string_equal(buffer_str(&r.out), "out\n");
    assert_string_equal(buffer_str(&r.err), "err\n");
    assert_int_equal(r.status, 7);
}

static void a_signal_is_told(void **state) {
    (void)state;
    cleanup_command_result struct command_result r = sh("kill -TERM $$", &COMMAND(NULL));
    assert_int_equal(r.status, 128 + SIGTERM);
}

static void a_missing_program_is_named(void **state) {
    (void)state;
    const char *argv[] = {"nestor-no-such-program", NULL};
    struct context ctx = test_within(5000);
    struct error err = {0};
    struct command_result r = {0};
    assert_int_equal(process_run(argv, &COMMAND(NULL), &r, &ctx, &err), -1);
    assert_int_equal(err.code, ERR_MISSING_PROGRAM);
    assert_string_equal(err.subject, "nestor-no-such-program");
    assert_non_null(strstr(err.cause, "not installed"));
    assert_non_null(strstr(err.mend, "nestor-no-such-program"));
    assert_null(r.out.data);
    assert_no_child();
}

static void what_cannot_be_executed_is_told(void **state) {
    (void)state;
    const char *argv[] = {"/etc/passwd", NULL};
    struct context ctx = test_within(5000);
    struct error err = {0};
    struct command_result r = {0};
    assert_int_equal(process_run(argv, &COMMAND(NULL), &r, &ctx, &err), -1);
    assert_int_equal(err.code, ERR_IO);
    assert_int_equal(err.native, EACCES);
}

/* Larger than every pipe on the way, both streams and the input at once: who does not drain all three hangs. */
static void much_goes_both_ways(void **state) {
    (void)state;
    size_t len = 6 << 20;
    char *bytes = xmalloc(len);
    memset(bytes, 'x', len);
    struct command io = COMMAND(NULL);
    io.input = bytes;
    io.input_len = len;
    cleanup_command_result struct command_result r = sh("head -c 3000000 /dev/zero >&2; tee /dev/stderr", &io);
    assert_int_equal(r.status, 0);
    assert_int_equal(r.out.len, len);
    assert_memory_equal(r.out.data, bytes, len);
    assert_int_equal(r.err.len, len + 3000000);
    free(bytes);
}

static void input_nobody_reads_does_not_matter(void **state) {
    (void)state;
    size_t len = 1 << 20;
    char *bytes = xcalloc(1, len);
    struct command io = COMMAND(NULL);
    io.input = bytes;
    io.input_len = len;
    cleanup_command_result struct command_result r = sh("exec <&-; echo done", &io);
    assert_string_equal(buffer_str(&r.out), "done\n");
    free(bytes);
    sigset_t pending;
    sigpending(&pending);
    assert_false(sigismember(&pending, SIGPIPE));
}

static void no_input_is_an_end_at_once(void **state) {
    (void)state;
    cleanup_command_result struct command_result r = sh("cat; echo end", &COMMAND(NULL));
    assert_string_equal(buffer_str(&r.out), "end\n");
}

static void too_much_output_is_an_error(void **state) {
    (void)state;
    const char *argv[] = {"sh", "-c", "yes", NULL};
    struct context ctx = test_within(20000);
    struct command io = COMMAND(NULL);
    struct error err = {0};
    struct command_result r = {0};
    io.max_output = 1000;
    assert_int_equal(process_run(argv, &io, &r, &ctx, &err), -1);
    assert_int_equal(err.code, ERR_PROTOCOL);
    assert_non_null(strstr(err.cause, "more than 1000 bytes"));
    assert_no_child();
}

static bool group_is_gone(pid_t group) { return kill(-group, 0) && errno == ESRCH; }

/* The shell's child would hold the pipe open and go on for ever. */
static void at_the_deadline_the_whole_group_is_killed(void **state) {
    (void)state;
    char path[] = "/tmp/nestor-group-XXXXXX";
    int fd = mkstemp(path);
    cleanup_free char *script = xasprintf("echo $$ >%s; sleep 1000 & sleep 1000", path);
    struct context ctx = test_within(2000); /* enough for a shell to begin, whatever else runs here */
    struct error err = {0};
    struct command_result r = {0};
    int64_t start = clock_ms();
    assert_int_equal(sh_ctx(script, &r, &ctx, &err), -1);
    assert_true(clock_ms() - start < 20000);
    assert_int_equal(err.code, ERR_TIMEOUT);
    assert_string_equal(err.subject, "sh");
    char text[32] = "";
    assert_true(read(fd, text, sizeof text - 1) > 0);
    close(fd);
    unlink(path);
    /* The orphan is init's to reap, which takes a moment. */
    struct context moment = test_within(20000);
    while (!group_is_gone(atoi(text)))
        assert_int_equal(context_sleep(&moment, 5, NULL, "waiting for the group's end", NULL), 0);
    assert_no_child();
}

static void a_cancel_is_prompt(void **state) {
    (void)state;
    struct cancel cancel;
    pthread_t thread;
    assert_int_equal(cancel_init(&cancel, NULL), 0);
    struct context ctx = {.deadline = DEADLINE_NEVER, .cancel = &cancel};
    struct error err = {0};
    struct command_result r = {0};
    assert_int_equal(pthread_create(&thread, NULL, test_fire_soon, &cancel), 0);
    int64_t start = clock_ms();
    assert_int_equal(sh_ctx("sleep 1000", &r, &ctx, &err), -1);
    assert_true(clock_ms() - start < 20000);
    pthread_join(thread, NULL);
    assert_int_equal(err.code, ERR_CANCELLED);
    assert_no_child();
    /* and one that is cancelled already starts nothing */
    error_clear(&err);
    assert_int_equal(sh_ctx("touch /tmp/nestor-must-not-exist", &r, &ctx, &err), -1);
    assert_int_equal(err.code, ERR_CANCELLED);
    assert_int_equal(access("/tmp/nestor-must-not-exist", F_OK), -1);
    cancel_destroy(&cancel);
}

/* As `qemu -daemonize` or `ssh -f`: the command has ended although what it started holds its streams. */
static void a_background_process_does_not_hold_up_the_end(void **state) {
    (void)state;
    int64_t start = clock_ms();
    cleanup_command_result struct command_result r = sh("sleep 60 & echo $!", &COMMAND(NULL));
    assert_true(clock_ms() - start < 20000);
    pid_t pid = (pid_t)atoi(buffer_str(&r.out));
    assert_true(pid > 0);
    assert_int_equal(kill(pid, SIGKILL), 0); /* it was left alive */
}

static void nothing_is_inherited(void **state) {
    (void)state;
    int leak = dup2(STDERR_FILENO, 97); /* without O_CLOEXEC, as from a careless library */
    assert_int_equal(leak, 97);
    cleanup_command_result struct command_result r = sh("ls /proc/$$/fd", &COMMAND(NULL));
    close(leak);
    assert_string_equal(buffer_str(&r.out), "0\n1\n2\n");
}

static void signals_start_as_usual(void **state) {
    (void)state;
    sigset_t blocked, old;
    sigfillset(&blocked);
    pthread_sigmask(SIG_SETMASK, &blocked, &old);
    void (*handler)(int) = signal(SIGPIPE, SIG_IGN);
    cleanup_command_result struct command_result r = sh("exec cat /proc/self/status", &COMMAND(NULL));
    signal(SIGPIPE, handler);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    const char *text = buffer_str(&r.out);
    assert_non_null(strstr(text, "SigBlk:\t0000000000000000\n"));
    /* glibc leaves its own two, 32 and 33, ignored (spawni.c) */
    assert_int_equal(strtoull(strstr(text, "SigIgn:") + strlen("SigIgn:"), NULL, 16) & 0x7fffffff, 0);
}

static void nothing_leaks(void **state) {
    (void)state;
    unsigned before = test_open_fds();
    for (int i = 0; i < 20; i++) {
        struct context ctx = test_within(i % 2 ? 5000 : 20);
        struct command_result r = {0};
        if (sh_ctx(i % 2 ? "echo x" : "sleep 10", &r, &ctx, NULL) == 0)
            command_result_free(&r);
    }
    assert_int_equal(test_open_fds(), before);
    assert_no_child();
}

static void callers_descriptors_carry_the_streams(void **state) {
    (void)state;
    int in[2], out[2];
    assert_int_equal(pipe2(in, O_CLOEXEC), 0);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    assert_int_equal(write(in[1], "hello", 5), 5);
    close(in[1]);
    struct command io = COMMAND(NULL);
    io.in_fd = in[0];
    io.out_fd = out[1];
    cleanup_command_result struct command_result r = sh("tr a-z A-Z; echo err >&2", &io);
    assert_string_equal(buffer_str(&r.err), "err\n");
    char text[16] = "";
    assert_int_equal(read(out[0], text, sizeof text - 1), 5);
    assert_string_equal(text, "HELLO");
    assert_int_equal(fcntl(out[1], F_GETFL) & O_NONBLOCK, 0); /* its mode is the caller's */
    close(in[0]);
    close(out[0]);
    close(out[1]);
}

/* `nestor exec ... | head -1`: an error, and no SIGPIPE, which would end the test here. */
static void a_reader_that_left_is_an_error(void **state) {
    (void)state;
    int out[2];
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    close(out[0]);
    const char *argv[] = {"sh", "-c", "yes", NULL};
    struct context ctx = test_within(10000);
    struct command io = COMMAND(NULL);
    struct error err = {0};
    struct command_result r = {0};
    io.out_fd = out[1];
    assert_int_equal(process_run(argv, &io, &r, &ctx, &err), -1);
    assert_int_equal(err.native, EPIPE);
    assert_non_null(strstr(err.cause, "pass the command's output on"));
    close(out[1]);
    assert_no_child();
}

static void a_reader_that_sleeps_does_not_break_the_deadline(void **state) {
    (void)state;
    int out[2];
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    const char *argv[] = {"sh", "-c", "yes", NULL};
    struct context ctx = test_within(300);
    struct command io = COMMAND(NULL);
    struct error err = {0};
    struct command_result r = {0};
    io.out_fd = out[1];
    assert_int_equal(process_run(argv, &io, &r, &ctx, &err), -1);
    assert_int_equal(err.code, ERR_TIMEOUT);
    close(out[0]);
    close(out[1]);
    assert_no_child();
}

struct ok_case {
    const char *script, *cause;
};
static void run_ok_tells_the_last_line(void **state) {
    (void)state;
    static const struct ok_case cases[] = {
        {"echo first >&2; echo 'the reason' >&2; echo >&2; exit 3", "the reason"},
        {"exit 3", "the command ended with status 3 and said nothing"},
        {"printf 'bad\\033[31mred' >&2; exit 3", "bad [31mred"},
    };
    struct access *local = access_local();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct context ctx = test_within(10000);
        struct error err = {0};
        assert_int_equal(access_run_ok(local, cases[i].script, NULL, &ctx, &err), -1);
        assert_int_equal(err.code, ERR_PROCESS);
        assert_int_equal(err.native, 3);
        assert_string_equal(err.subject, "localhost");
        assert_string_equal(err.cause, cases[i].cause);
    }
    struct context ctx = test_within(10000);
    cleanup_command_result struct command_result r = {0};
    assert_int_equal(access_run_ok(local, "echo fine", &r, &ctx, NULL), 0);
    assert_string_equal(buffer_str(&r.out), "fine\n");
    access_close(local);
}

/* Started with its standard streams closed, the pipes' ends are 0, 1 and 2 themselves. */
static void closed_standard_streams_do_not_confuse(void **state) {
    (void)state;
    pid_t pid = fork();
    if (pid == 0) {
        close(0), close(1), close(2);
        const char *argv[] = {"sh", "-c", "cat; echo err >&2", NULL};
        struct context ctx = test_within(10000);
        struct command io = COMMAND(NULL);
        struct command_result r = {0};
        io.input = "hello";
        io.input_len = 5;
        int rc = process_run(argv, &io, &r, &ctx, NULL);
        _exit(rc || strcmp(buffer_str(&r.out), "hello") != 0 || strcmp(buffer_str(&r.err), "err\n") != 0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(streams_and_status_come_back),
        cmocka_unit_test(a_signal_is_told),
        cmocka_unit_test(a_missing_program_is_named),
        cmocka_unit_test(what_cannot_be_executed_is_told),
        cmocka_unit_test(much_goes_both_ways),
        cmocka_unit_test(input_nobody_reads_does_not_matter),
        cmocka_unit_test(no_input_is_an_end_at_once),
        cmocka_unit_test(too_much_output_is_an_error),
        cmocka_unit_test(at_the_deadline_the_whole_group_is_killed),
        cmocka_unit_test(a_cancel_is_prompt),
        cmocka_unit_test(a_background_process_does_not_hold_up_the_end),
        cmocka_unit_test(nothing_is_inherited),
        cmocka_unit_test(signals_start_as_usual),
        cmocka_unit_test(nothing_leaks),
        cmocka_unit_test(callers_descriptors_carry_the_streams),
        cmocka_unit_test(a_reader_that_left_is_an_error),
        cmocka_unit_test(a_reader_that_sleeps_does_not_break_the_deadline),
        cmocka_unit_test(run_ok_tells_the_last_line),
        cmocka_unit_test(closed_standard_streams_do_not_confuse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
