/* The small SSH server of small guests: the same answers as from OpenSSH's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "transport_check.h"
#include "transport_server.h"

static struct test_server server;
static struct access *local, *vm;

static void streams_and_status_come_back(void **state) {
    (void)state;
    test_streams_and_status(vm);
}

static void a_signal_is_told(void **state) {
    (void)state;
    test_signal_is_told(vm);
}

static void much_comes_back_whole(void **state) {
    (void)state;
    test_bytes_come_back(vm, 5 << 20);
}

static void ssh_goes_through_it(void **state) {
    (void)state;
    struct access *second = test_server_connect(&server, vm);
    test_streams_and_status(second);
    test_bytes_come_back(second, 1 << 20);
    access_close(second);
    test_streams_and_status(vm);
}

static void nobody_at_the_other_end_is_refused(void **state) {
    (void)state;
    struct context ctx = test_within(10000);
    struct error err = {0};
    int fd;
    assert_int_equal(access_dial(vm, "127.0.0.1", test_free_port(), &fd, &ctx, &err), -1);
    assert_int_equal(err.code, ERR_CONNECT_REFUSED);
    assert_string_equal(err.subject, "lab/vm");
}

static void a_file_is_put(void **state) {
    (void)state;
    cleanup_free char *from = xasprintf("%s/user.pub", server.dir);
    cleanup_free char *to = xasprintf("%s/copy", server.dir);
    struct context ctx = test_within(10000);
    struct error err = {0};
    if (access_put(vm, from, to, 0600, NULL, NULL, &ctx, &err))
        fail_msg("%s: %s", error_code_name(err.code), err.cause);
    cleanup_free char *copy = test_file_read(server.dir, "copy");
    assert_string_equal(copy, server.public_key);
}

static void another_host_key_is_refused(void **state) {
    (void)state;
    struct ssh_target target = test_server_target(&server);
    struct context ctx = test_within(10000);
    struct error err = {0};
    struct access *a = NULL;
    target.host_key = server.public_key; /* an ed25519 key, but not its own */
    assert_int_equal(access_ssh(local, &target, &a, &ctx, &err), -1);
    assert_int_equal(err.code, ERR_HOST_KEY_CHANGED);
    assert_null(a);
}

static int group_setup(void **state) {
    (void)state;
    test_dropbear_start(&server);
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
        cmocka_unit_test(much_comes_back_whole),
        cmocka_unit_test(ssh_goes_through_it),
        cmocka_unit_test(a_file_is_put),
        cmocka_unit_test(nobody_at_the_other_end_is_refused),
        cmocka_unit_test(another_host_key_is_refused),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
