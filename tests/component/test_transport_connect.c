/* Connecting, and each way it fails: with the exact reason and within the caller's time. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "transport_check.h"
#include "transport_server.h"

static struct test_server server;
static struct access *local;

/* Must fail; returns how. */
static struct error refusal_ctx(const struct ssh_target *target, const struct context *ctx) {
    struct error err = {0};
    struct access *a = NULL;
    assert_int_equal(access_ssh(local, target, &a, ctx, &err), -1);
    assert_null(a);
    assert_string_equal(err.subject, "lab/vm");
    assert_null(strstr(err.cause, "PRIVATE"));
    return err;
}

static struct error refusal(const struct ssh_target *target) {
    struct context ctx = test_within(10000);
    return refusal_ctx(target, &ctx);
}

static void an_unknown_host_key_is_refused_before_any_contact(void **state) {
    (void)state;
    struct ssh_target target = test_server_target(&server);
    target.port = test_free_port(); /* asked, it would refuse with another error */
    target.host_key = NULL;
    struct error err = refusal(&target);
    assert_int_equal(err.code, ERR_HOST_KEY_UNKNOWN);
    assert_false(err.retry);
    target.host_key = "ssh-ed25519 notbase64!";
    err = refusal(&target);
    assert_int_equal(err.code, ERR_HOST_KEY_UNKNOWN);
    assert_non_null(strstr(err.cause, "not a public key"));
}

static void another_host_key_is_a_changed_one(void **state) {
    (void)state;
    struct ssh_target target = test_server_target(&server);
    target.host_key = server.public_key;
    struct error err = refusal(&target);
    assert_int_equal(err.code, ERR_HOST_KEY_CHANGED);
    assert_non_null(strstr(err.cause, "another key"));
    assert_non_null(strstr(err.mend, "nestor down"));
    assert_false(err.retry);
}

/* The server has only an ed25519 key; the handshake already fails on the list of algorithms. */
static void a_host_key_of_another_type_is_a_changed_one(void **state) {
    (void)state;
    struct ssh_target target = test_server_target(&server);
    cleanup_free char *path = xasprintf("%s/ecdsa", server.dir);
    const char *argv[] = {"ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", path, NULL};
    struct context ctx = test_within(10000);
    struct command_result r = {0};
    assert_int_equal(process_run(argv, &COMMAND(NULL), &r, &ctx, NULL), 0);
    command_result_free(&r);
    cleanup_free char *key = test_file_read(server.dir, "ecdsa.pub");
    target.host_key = key;
    struct error err = refusal(&target);
    assert_int_equal(err.code, ERR_HOST_KEY_CHANGED);
    assert_non_null(strstr(err.cause, "no key of the recorded key's type"));
}

static void a_host_key_of_an_unknown_type_is_unsupported(void **state) {
    (void)state;
    struct ssh_target target = test_server_target(&server);
    /* the string "ssh-xyz" with its length, in base64 */
    target.host_key = "ssh-xyz AAAAB3NzaC14eXo=";
    struct error err = refusal(&target);
    assert_int_equal(err.code, ERR_UNSUPPORTED);
    assert_non_null(strstr(err.cause, "ssh-xyz"));
}

static void a_server_with_several_keys_shows_the_pinned_one(void **state) {
    (void)state;
    struct test_server both;
    cleanup_free char *extra = xasprintf("HostKey %s/second", server.dir);
    cleanup_free char *path = xasprintf("%s/second", server.dir);
    const char *argv[] = {"ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", path, NULL};
    struct context ctx = test_within(10000);
    struct command_result r = {0};
    assert_int_equal(process_run(argv, &COMMAND(NULL), &r, &ctx, NULL), 0);
    command_result_free(&r);
    test_sshd_start(&both, extra);
    cleanup_free char *second = test_file_read(server.dir, "second.pub");
    const char *keys[] = {both.host_key, second};
    for (int i = 0; i < 2; i++) {
        struct ssh_target target = test_server_target(&both);
        struct error err = {0};
        struct access *a = NULL;
        target.host_key = keys[i];
        if (access_ssh(local, &target, &a, &ctx, &err))
            fail_msg("%s", err.cause);
        test_streams_and_status(a);
        access_close(a);
    }
    test_server_stop(&both);
}

static void another_user_key_is_refused(void **state) {
    (void)state;
    struct ssh_target target = test_server_target(&server);
    test_key_make(server.dir, "stranger");
    cleanup_free char *stranger = test_file_read(server.dir, "stranger");
    target.private_key = stranger;
    struct error err = refusal(&target);
    assert_int_equal(err.code, ERR_AUTH);
    assert_true(err.retry);
    assert_non_null(strstr(err.cause, "refuses nestor's key"));
}

static void a_damaged_user_key_is_told(void **state) {
    (void)state;
    struct ssh_target target = test_server_target(&server);
    target.private_key = "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n";
    struct error err = refusal(&target);
    assert_int_equal(err.code, ERR_AUTH);
    assert_false(err.retry);
}

static void nobody_there_is_refused(void **state) {
    (void)state;
    struct ssh_target target = test_server_target(&server);
    target.port = test_free_port();
    struct error err = refusal(&target);
    assert_int_equal(err.code, ERR_CONNECT_REFUSED);
    assert_true(err.retry);
}

static void a_silent_server_costs_only_the_time_given(void **state) {
    (void)state;
    struct ssh_target target = test_server_target(&server);
    struct test_listener hole;
    test_listener_start(&hole, NULL, NULL);
    target.port = hole.port;
    struct context ctx = test_within(300);
    int64_t start = clock_ms();
    struct error err = refusal_ctx(&target, &ctx);
    assert_true(clock_ms() - start < 10000);
    assert_int_equal(err.code, ERR_TIMEOUT);
    assert_non_null(strstr(err.cause, "waiting for its SSH server"));
    struct test_cancel cancel;
    ctx = test_cancel_start(&cancel, 100);
    start = clock_ms();
    err = refusal_ctx(&target, &ctx);
    assert_true(clock_ms() - start < 10000);
    assert_int_equal(err.code, ERR_CANCELLED);
    test_cancel_end(&cancel);
    test_listener_stop(&hole);
}

struct speech {
    const char *text;
    size_t len;
    bool stay;
};

static void speak(void *data, int fd) {
    const struct speech *s = data;
    char byte;
    send(fd, s->text, s->len, MSG_NOSIGNAL);
    if (s->stay) /* until the client goes */
        while (recv(fd, &byte, 1, 0) > 0)
            continue;
}

static struct error refusal_of(const struct speech *speech) {
    struct ssh_target target = test_server_target(&server);
    struct test_listener l;
    test_listener_start(&l, speak, (void *)speech);
    target.port = l.port;
    int64_t start = clock_ms();
    struct error err = refusal(&target);
    assert_true(clock_ms() - start < 9000);
    test_listener_stop(&l);
    return err;
}
#define SPEECH(text, stay) (&(struct speech){text, sizeof(text) - 1, stay})

/* The server's greeting has its own time; what comes after it has all of the caller's. */
static void a_server_that_does_not_greet_is_given_up_early(void **state) {
    (void)state;
    static const struct {
        struct speech speech;
        int64_t least_ms;
    } cases[] = {{{"", 0, true}, 200}, {{"SSH-2.0-slow\r\n", 14, true}, 2500}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ssh_target target = test_server_target(&server);
        struct test_listener l;
        test_listener_start(&l, speak, (void *)&cases[i].speech);
        target.port = l.port;
        target.greeting_ms = 200;
        struct context ctx = test_within(2500);
        int64_t start = clock_ms();
        struct error err = refusal_ctx(&target, &ctx);
        int64_t took = clock_ms() - start;
        assert_int_equal(err.code, ERR_TIMEOUT);
        assert_non_null(strstr(err.cause, "waiting for its SSH server"));
        assert_true(took >= cases[i].least_ms);
        assert_true(cases[i].least_ms == 2500 || took < 2500);
        test_listener_stop(&l);
    }
}

static void garbage_is_no_ssh(void **state) {
    (void)state;
    const struct speech *speeches[] = {
        SPEECH("HTTP/1.1 400 Bad Request\r\n\r\n", true),
        SPEECH("HTTP/1.1 400 Bad Request\r\n\r\n", false),
        SPEECH("\0\0\0\0\0\0", true),
        SPEECH("Exceeded MaxStartups\r\n", false),
        SPEECH("\r\n\r\n\r\n", true),
    };
    for (size_t i = 0; i < sizeof speeches / sizeof *speeches; i++) {
        struct error err = refusal_of(speeches[i]);
        assert_int_equal(err.code, ERR_PROTOCOL);
        assert_non_null(strstr(err.cause, "does not speak SSH"));
        assert_true(err.retry);
    }
}

/* QEMU's user network accepts for a guest that does not listen yet, and closes at once. */
static void a_server_that_only_closes_is_unreachable(void **state) {
    (void)state;
    struct error err = refusal_of(SPEECH("", false));
    assert_int_equal(err.code, ERR_UNREACHABLE);
    assert_non_null(strstr(err.cause, "before it said anything"));
    assert_true(err.retry);
    err = refusal_of(SPEECH("SSH-2.0-cut\r\n", false));
    assert_int_equal(err.code, ERR_UNREACHABLE);
    assert_non_null(strstr(err.cause, "while keys were exchanged"));
}

static void a_broken_key_exchange_is_told(void **state) {
    (void)state;
    /* a banner, then a packet whose length is beyond all bounds */
    struct error err = refusal_of(SPEECH("SSH-2.0-x\r\n\xff\xff\xff\xff\x04\x14hello, this is no packet", true));
    assert_int_equal(err.code, ERR_PROTOCOL);
    assert_non_null(strstr(err.cause, "handshake failed"));
}

static void a_server_without_common_algorithms_is_told(void **state) {
    (void)state;
    struct test_server odd;
    test_sshd_start(&odd, "Ciphers chacha20-poly1305@openssh.com");
    struct ssh_target target = test_server_target(&odd);
    struct error err = refusal(&target);
    assert_int_equal(err.code, ERR_PROTOCOL);
    assert_non_null(strstr(err.mend, "common set of algorithms"));
    test_server_stop(&odd);
}

static int group_setup(void **state) {
    (void)state;
    test_sshd_start(&server, "");
    local = access_local();
    return 0;
}

static int group_teardown(void **state) {
    (void)state;
    access_close(local);
    test_server_stop(&server);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_unknown_host_key_is_refused_before_any_contact),
        cmocka_unit_test(another_host_key_is_a_changed_one),
        cmocka_unit_test(a_host_key_of_another_type_is_a_changed_one),
        cmocka_unit_test(a_host_key_of_an_unknown_type_is_unsupported),
        cmocka_unit_test(a_server_with_several_keys_shows_the_pinned_one),
        cmocka_unit_test(another_user_key_is_refused),
        cmocka_unit_test(a_damaged_user_key_is_told),
        cmocka_unit_test(nobody_there_is_refused),
        cmocka_unit_test(a_silent_server_costs_only_the_time_given),
        cmocka_unit_test(a_server_that_does_not_greet_is_given_up_early),
        cmocka_unit_test(garbage_is_no_ssh),
        cmocka_unit_test(a_server_that_only_closes_is_unreachable),
        cmocka_unit_test(a_broken_key_exchange_is_told),
        cmocka_unit_test(a_server_without_common_algorithms_is_told),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
