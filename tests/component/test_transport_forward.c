/* Connections through an access: bytes, ends, refusals, and that a slow one holds up nothing else. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "transport_check.h"
#include "transport_server.h"

static struct test_server server;
static struct access *local, *vm;

static int dial(struct access *a, uint16_t port) {
    struct context ctx = test_within(10000);
    struct error err = {0};
    int fd = -1;
    if (access_dial(a, "127.0.0.1", port, &fd, &ctx, &err))
        fail_msg("%s: %s", error_code_name(err.code), err.cause);
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    return fd;
}

static void assert_end(int fd) {
    struct context ctx = test_within(10000);
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    char byte;
    assert_int_equal(context_poll(&ctx, &wait, 1, -1, NULL, "waiting for the end", NULL), 1);
    assert_int_equal(read(fd, &byte, 1), 0);
}

/* Writes all of it while reading it back. */
static void echo_through(int fd, const char *bytes, size_t len) {
    struct context ctx = test_within(30000);
    cleanup_free char *came = xmalloc(len);
    size_t sent = 0, got = 0;
    while (got < len) {
        struct pollfd wait = {.fd = fd, .events = (short)(POLLIN | (sent < len ? POLLOUT : 0))};
        assert_int_equal(context_poll(&ctx, &wait, 1, -1, NULL, "waiting for the echo", NULL), 1);
        if (wait.revents & POLLOUT) {
            ssize_t n = send(fd, bytes + sent, len - sent, MSG_NOSIGNAL);
            assert_true(n > 0 || errno == EAGAIN);
            sent += n > 0 ? (size_t)n : 0;
        }
        if (wait.revents & POLLIN) {
            ssize_t n = read(fd, came + got, len - got);
            assert_true(n > 0);
            got += (size_t)n;
        }
    }
    assert_int_equal(memcmp(bytes, came, len), 0);
}

static void bytes_come_back_whole(void **state) {
    (void)state;
    struct test_listener echo;
    size_t len = 8 << 20;
    cleanup_free char *bytes = xmalloc(len);
    test_pattern(bytes, len);
    test_listener_start(&echo, test_serve_echo, NULL);
    int fd = dial(vm, echo.port);
    echo_through(fd, bytes, len);
    /* our half ends; theirs follows, because the echo server then has nothing more to say */
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    assert_end(fd);
    close(fd);
    test_listener_stop(&echo);
}

/* Nobody reads what comes back: what is written must stop somewhere, well before memory is full, and go on later. */
static void back_pressure_reaches_the_writer(void **state) {
    (void)state;
    struct test_listener echo;
    test_listener_start(&echo, test_serve_echo, NULL);
    int fd = dial(vm, echo.port);
    cleanup_free char *bytes = xmalloc(1 << 20);
    test_pattern(bytes, 1 << 20);
    size_t sent = 0;
    struct context ctx = test_within(20000);
    for (;;) {
        struct pollfd wait = {.fd = fd, .events = POLLOUT};
        int ready = context_poll(&ctx, &wait, 1, 700, NULL, "filling the connection", NULL);
        assert_true(ready >= 0);
        if (ready == 0)
            break;
        size_t at = sent % (1 << 20);
        ssize_t n = send(fd, bytes + at, (1 << 20) - at, MSG_NOSIGNAL);
        sent += n > 0 ? (size_t)n : 0;
        assert_true(sent < (size_t)64 << 20);
    }
    test_streams_and_status(vm); /* the session itself is not held up */
    cleanup_free char *came = xmalloc(sent);
    test_read_all(fd, came, sent);
    for (size_t i = 0; i < sent; i += 4099)
        assert_int_equal(came[i], bytes[i % (1 << 20)]);
    close(fd);
    test_listener_stop(&echo);
}

static void serve_and_leave(void *data, int fd) {
    (void)data;
    send(fd, "bye", 3, MSG_NOSIGNAL);
}

static void the_end_comes_after_the_last_byte(void **state) {
    (void)state;
    struct test_listener l;
    test_listener_start(&l, serve_and_leave, NULL);
    int fd = dial(vm, l.port);
    char text[4] = "";
    test_read_all(fd, text, 3);
    assert_string_equal(text, "bye");
    assert_end(fd);
    close(fd);
    test_listener_stop(&l);
}

static void closing_ours_closes_theirs(void **state) {
    (void)state;
    struct test_listener echo;
    test_listener_start(&echo, test_serve_echo, NULL);
    unsigned before = test_open_fds();
    for (int i = 0; i < 10; i++) {
        int fd = dial(vm, echo.port); /* the echo server serves one at a time: this waits for the last one's end */
        assert_int_equal(write(fd, "x", 1), 1);
        if (i % 2) {
            char byte;
            test_read_all(fd, &byte, 1);
            shutdown(fd, SHUT_WR);
        }
        close(fd);
    }
    struct context ctx = test_within(10000);
    while (test_open_fds() > before)
        assert_int_equal(context_sleep(&ctx, 5, NULL, "waiting for descriptors to close", NULL), 0);
    test_listener_stop(&echo);
}

static void nobody_there_is_refused(void **state) {
    (void)state;
    struct access *accesses[] = {local, vm};
    for (int i = 0; i < 2; i++) {
        struct context ctx = test_within(10000);
        struct error err = {0};
        int fd = -1;
        assert_int_equal(access_dial(accesses[i], "127.0.0.1", test_free_port(), &fd, &ctx, &err), -1);
        assert_int_equal(err.code, ERR_CONNECT_REFUSED);
        assert_true(err.retry);
        assert_int_equal(fd, -1);
    }
}

static void a_forbidden_forward_is_told(void **state) {
    (void)state;
    struct test_server strict;
    test_sshd_start(&strict, "AllowTcpForwarding no");
    struct access *a = test_server_connect(&strict, local);
    struct context ctx = test_within(10000);
    struct error err = {0};
    int fd;
    assert_int_equal(access_dial(a, "127.0.0.1", server.port, &fd, &ctx, &err), -1);
    assert_int_equal(err.code, ERR_UNSUPPORTED);
    assert_non_null(strstr(err.mend, "AllowTcpForwarding"));
    assert_false(err.retry);
    access_close(a);
    test_server_stop(&strict);
}

/* A listener whose backlog is full: the kernel drops what else knocks, as a firewall does. */
struct full_listener {
    struct test_listener listener;
    int knocking[300];
    int n;
};

static void full_start(struct full_listener *f) {
    test_listener_start(&f->listener, NULL, NULL);
    listen(f->listener.fd, 0);
    struct context ctx;
    int fd;
    for (f->n = 0; f->n < 300; f->n++) {
        ctx = test_within(200);
        if (access_dial(local, "127.0.0.1", f->listener.port, &fd, &ctx, NULL))
            return;
        f->knocking[f->n] = fd;
    }
    fail_msg("the listener's backlog never fills");
}

static void full_stop(struct full_listener *f) {
    while (f->n > 0)
        close(f->knocking[--f->n]);
    test_listener_stop(&f->listener);
}

/* One address where nobody answers must cost neither its caller more than its time, nor the others anything. */
static void an_unanswered_dial_holds_up_nothing(void **state) {
    (void)state;
    struct full_listener full;
    struct test_listener echo;
    full_start(&full);
    test_listener_start(&echo, test_serve_echo, NULL);
    struct access *a = test_server_connect(&server, local);
    for (int i = 0; i < 2; i++) {
        struct context ctx = test_within(300);
        struct error err = {0};
        int fd;
        int64_t start = clock_ms();
        assert_int_equal(access_dial(a, "127.0.0.1", full.listener.port, &fd, &ctx, &err), -1);
        assert_int_equal(err.code, ERR_TIMEOUT);
        assert_true(clock_ms() - start < 15000);
    }
    int64_t start = clock_ms();
    test_streams_and_status(a);
    int fd = dial(a, echo.port);
    echo_through(fd, "hello", 5);
    close(fd);
    assert_true(clock_ms() - start < 30000); /* the kernel goes on knocking for two minutes */
    access_close(a);
    test_listener_stop(&echo);
    full_stop(&full);
}

static void ssh_goes_through_ssh_to_any_depth(void **state) {
    (void)state;
    struct access *second = test_server_connect(&server, vm);
    struct access *third = test_server_connect(&server, second);
    test_streams_and_status(third);
    test_bytes_come_back(third, 5 << 20);
    access_close(third);
    test_streams_and_status(second);
    access_close(second);
    test_streams_and_status(vm);
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
        cmocka_unit_test(bytes_come_back_whole),
        cmocka_unit_test(back_pressure_reaches_the_writer),
        cmocka_unit_test(the_end_comes_after_the_last_byte),
        cmocka_unit_test(closing_ours_closes_theirs),
        cmocka_unit_test(nobody_there_is_refused),
        cmocka_unit_test(a_forbidden_forward_is_told),
        cmocka_unit_test(an_unanswered_dial_holds_up_nothing),
        cmocka_unit_test(ssh_goes_through_ssh_to_any_depth),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
