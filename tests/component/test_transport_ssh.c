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

#include "transport_server.h"

static struct test_server server;
static struct access *local, *vm;

static struct command_result run(struct access *a, const struct command *command) {
    struct context ctx = test_within(20000);
    struct error err = {0};
    struct command_result r = {0};
    if (access_run(a, command, &r, &ctx, &err))
        fail_msg("%s: %s: %s", error_code_name(err.code), err.subject, err.cause);
    return r;
}

static void streams_and_status_come_back(void **state) {
    (void)state;
    cleanup_command_result struct command_result r = run(vm, &COMMAND("echo out; echo err >&2; exit 7"));
    assert_string_equal(buffer_str(&r.out), "out\n");
    assert_string_equal(buffer_str(&r.err), "err\n");
    assert_int_equal(r.status, 7);
}

static void a_signal_is_told(void **state) {
    (void)state;
    cleanup_command_result struct command_result r = run(vm, &COMMAND("kill -KILL $$"));
    assert_int_equal(r.status, 128 + SIGKILL);
}

static void input_comes_back_whole(void **state) {
    (void)state;
    size_t len = 5 << 20;
    char *bytes = xmalloc(len);
    for (size_t i = 0; i < len; i++)
        bytes[i] = (char)(i * 2654435761u >> 13);
    struct command command = COMMAND("cat");
    command.input = bytes;
    command.input_len = len;
    cleanup_command_result struct command_result r = run(vm, &command);
    assert_int_equal(r.status, 0);
    assert_int_equal(r.out.len, len);
    assert_memory_equal(r.out.data, bytes, len);
    free(bytes);
}

static void a_dialled_connection_carries_bytes(void **state) {
    (void)state;
    struct test_listener echo;
    test_listener_start(&echo, test_serve_echo, NULL);
    struct context ctx = test_within(10000);
    struct error err = {0};
    int fd = -1;
    if (access_dial(vm, "127.0.0.1", echo.port, &fd, &ctx, &err))
        fail_msg("%s: %s", error_code_name(err.code), err.cause);
    char answer[6] = "";
    size_t got = 0;
    assert_int_equal(write(fd, "hello", 5), 5);
    while (got < 5) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        assert_int_equal(context_poll(&ctx, &wait, 1, -1, NULL, "waiting for the echo", NULL), 1);
        ssize_t n = read(fd, answer + got, 5 - got);
        assert_true(n > 0);
        got += (size_t)n;
    }
    assert_string_equal(answer, "hello");
    close(fd);
    test_listener_stop(&echo);
}

static void ssh_goes_through_ssh_to_any_depth(void **state) {
    (void)state;
    struct access *second = test_server_connect(&server, vm);
    struct access *third = test_server_connect(&server, second);
    {
        cleanup_command_result struct command_result r = run(third, &COMMAND("echo deep"));
        assert_string_equal(buffer_str(&r.out), "deep\n");
    }
    input_comes_back_whole(NULL);
    access_close(third);
    access_close(second);
    streams_and_status_come_back(NULL);
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
        cmocka_unit_test(input_comes_back_whole),
        cmocka_unit_test(a_dialled_connection_carries_bytes),
        cmocka_unit_test(ssh_goes_through_ssh_to_any_depth),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
