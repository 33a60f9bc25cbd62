/* Connections that are lost, in each way, and how soon that is noticed. */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "transport/ssh/session.h"
#include "transport_check.h"
#include "transport_server.h"

static struct test_server server;
static struct access *local;

struct running {
    struct access *access;
    const char *script;
    pthread_t thread;
    int rc;
    struct error err;
    int out[2]; /* what the command says, so that the test knows when it runs */
};

static void *run(void *data) {
    struct running *r = data;
    struct context ctx = test_within(60000);
    struct command command = COMMAND(r->script);
    struct command_result result = {0};
    command.out_fd = r->out[1];
    r->rc = access_run(r->access, &command, &result, &ctx, &r->err);
    command_result_free(&result);
    return NULL;
}

/* Returns once the command has said its first byte. */
static void start(struct running *r, struct access *a, const char *script) {
    char byte;
    *r = (struct running){.access = a, .script = script};
    assert_int_equal(pipe(r->out), 0);
    assert_int_equal(pthread_create(&r->thread, NULL, run, r), 0);
    assert_int_equal(read(r->out[0], &byte, 1), 1);
}

static void finish(struct running *r) {
    pthread_join(r->thread, NULL);
    close(r->out[0]);
    close(r->out[1]);
}

static void assert_lost(struct running *r, const char *cause, int64_t since, int within_ms) {
    finish(r);
    assert_true(clock_ms() - since < within_ms);
    assert_int_equal(r->rc, -1);
    assert_int_equal(r->err.code, ERR_UNREACHABLE);
    assert_string_equal(r->err.subject, "lab/vm");
    assert_non_null(strstr(r->err.cause, cause));
    assert_true(r->err.retry);
}

/* What follows fails at once, with the same reason. */
static void assert_dead(struct access *a, const char *cause) {
    struct context ctx = test_within(10000);
    struct error err = {0};
    struct command_result r = {0};
    int fd;
    assert_false(access_alive(a));
    assert_int_equal(access_run(a, &COMMAND("true"), &r, &ctx, &err), -1);
    assert_int_equal(err.code, ERR_UNREACHABLE);
    assert_non_null(strstr(err.cause, cause));
    error_clear(&err);
    assert_int_equal(access_dial(a, "127.0.0.1", 1, &fd, &ctx, &err), -1);
    assert_int_equal(err.code, ERR_UNREACHABLE);
}

static void a_killed_server_is_noticed_at_once(void **state) {
    (void)state;
    struct access *a = test_server_connect(&server, local);
    struct running r;
    start(&r, a, "echo x; sleep 60");
    int64_t now = clock_ms();
    test_server_signal_children(&server, SIGKILL);
    assert_lost(&r, "closed by the other side", now, 9000); /* before the first ping would tell */
    assert_dead(a, "closed by the other side");
    access_close(a);
}

static void an_idle_connection_notices_too(void **state) {
    (void)state;
    struct access *a = test_server_connect(&server, local);
    struct context ctx = test_within(9000);
    assert_true(access_alive(a));
    test_server_signal_children(&server, SIGKILL);
    while (access_alive(a))
        assert_int_equal(context_sleep(&ctx, 5, NULL, "waiting for the loss to be noticed", NULL), 0);
    assert_dead(a, "closed by the other side");
    access_close(a);
}

static struct access *connect_watchful(struct ssh_keepalive keepalive) {
    struct ssh_target target = test_server_target(&server);
    struct context ctx = test_within(10000);
    struct error err = {0};
    struct access *a = NULL;
    if (access_ssh_keepalive(local, &target, keepalive, &a, &ctx, &err))
        fail_msg("%s", err.cause);
    return a;
}

/* As a machine that hangs or whose network is gone: nothing comes any more, not even a reset. */
static void a_silent_peer_is_given_up(void **state) {
    (void)state;
    struct access *a = connect_watchful((struct ssh_keepalive){.ping_ms = 200, .dead_ms = 2000});
    struct running r;
    start(&r, a, "echo x; sleep 60");
    int64_t now = clock_ms(); /* some time after the last byte came, as it may be */
    test_server_signal_children(&server, SIGSTOP);
    assert_lost(&r, "does not answer any more", now, 30000);
    assert_true(clock_ms() - now >= 1000);
    assert_dead(a, "does not answer any more");
    test_server_signal_children(&server, SIGKILL);
    access_close(a);
}

static void a_quiet_command_is_not_given_up(void **state) {
    (void)state;
    struct access *a = connect_watchful((struct ssh_keepalive){.ping_ms = 100, .dead_ms = 5000});
    struct running r;
    start(&r, a, "echo x; sleep 1.5; exit 0");
    finish(&r);
    assert_int_equal(r.rc, 0);
    assert_true(access_alive(a));
    access_close(a);
}

/* The caller does not read, so nothing is read from the peer either: that is no silence of the peer's. */
static void a_caller_that_sleeps_does_not_kill_the_connection(void **state) {
    (void)state;
    struct access *a = connect_watchful((struct ssh_keepalive){.ping_ms = 100, .dead_ms = 1000});
    struct running r;
    start(&r, a, "head -c 20000000 /dev/zero");
    usleep(3000000); /* three times as long as silence is allowed to last */
    assert_true(access_alive(a));
    static char bytes[65536];
    size_t got = 1;
    while (got < 20000000) {
        ssize_t n = read(r.out[0], bytes, sizeof bytes);
        assert_true(n > 0);
        got += (size_t)n;
    }
    finish(&r);
    assert_int_equal(r.rc, 0);
    access_close(a);
}

/* The inner connection ends with the outer one: that is how a dead guest hypervisor takes its guests along. */
static void the_inner_connection_is_lost_with_the_outer(void **state) {
    (void)state;
    struct access *outer = test_server_connect(&server, local);
    struct access *inner = test_server_connect(&server, outer);
    struct running r;
    start(&r, inner, "echo x; sleep 60");
    int64_t now = clock_ms();
    test_server_signal_children(&server, SIGKILL);
    assert_lost(&r, "the connection was ", now, 9000);
    access_close(inner);
    access_close(outer);
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
        cmocka_unit_test(a_killed_server_is_noticed_at_once),
        cmocka_unit_test(an_idle_connection_notices_too),
        cmocka_unit_test(a_silent_peer_is_given_up),
        cmocka_unit_test(a_quiet_command_is_not_given_up),
        cmocka_unit_test(a_caller_that_sleeps_does_not_kill_the_connection),
        cmocka_unit_test(the_inner_connection_is_lost_with_the_outer),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
