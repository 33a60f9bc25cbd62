#include "transport_check.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct command_result test_run(struct access *a, const struct command *command) {
    struct context ctx = context_timeout(NULL, 20000);
    struct error err = {0};
    struct command_result r = {0};
    if (access_run(a, command, &r, &ctx, &err))
        fail_msg("%s: %s: %s (%ld)", error_code_name(err.code), err.subject, err.cause, err.native);
    return r;
}

void test_streams_and_status(struct access *a) {
    cleanup_command_result struct command_result r = test_run(a, &COMMAND("echo out; echo err >&2; exit 7"));
    assert_string_equal(buffer_str(&r.out), "out\n");
    assert_string_equal(buffer_str(&r.err), "err\n");
    assert_int_equal(r.status, 7);
}

void test_signal_is_told(struct access *a) {
    cleanup_command_result struct command_result r = test_run(a, &COMMAND("kill -KILL $$"));
    assert_int_equal(r.status, 128 + SIGKILL);
}

void test_pattern(char *bytes, size_t n) {
    for (size_t i = 0; i < n; i++)
        bytes[i] = (char)((uint64_t)i * 2654435761u >> 13);
}

void test_bytes_come_back(struct access *a, size_t len) {
    cleanup_free char *bytes = xmalloc(len);
    test_pattern(bytes, len);
    struct command command = COMMAND("cat");
    command.input = bytes;
    command.input_len = len;
    cleanup_command_result struct command_result r = test_run(a, &command);
    assert_int_equal(r.status, 0);
    assert_int_equal(r.out.len, len);
    assert_int_equal(memcmp(r.out.data, bytes, len), 0);
}

void test_read_all(int fd, char *bytes, size_t n) {
    struct context ctx = context_timeout(NULL, 10000);
    for (size_t got = 0; got < n;) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        assert_int_equal(context_poll(&ctx, &wait, 1, -1, NULL, "waiting for bytes", NULL), 1);
        ssize_t m = read(fd, bytes + got, n - got);
        assert_true(m > 0);
        got += (size_t)m;
    }
}

static void *fire(void *data) {
    struct test_cancel *c = data;
    usleep((useconds_t)c->ms * 1000);
    cancel_fire(&c->cancel);
    return NULL;
}

struct context test_cancel_start(struct test_cancel *c, int ms) {
    c->ms = ms;
    assert_int_equal(cancel_init(&c->cancel, NULL), 0);
    assert_int_equal(pthread_create(&c->thread, NULL, fire, c), 0);
    return (struct context){.deadline = DEADLINE_NEVER, .cancel = &c->cancel};
}

void test_cancel_end(struct test_cancel *c) {
    pthread_join(c->thread, NULL);
    cancel_destroy(&c->cancel);
}
