/* The QMP client against a peer that says what the test scripted. */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "nestor/buffer.h"
#include "nestor/qmp.h"

#define SUBJECT "lab/kvm1"
#define GREETING "{\"QMP\": {\"version\": {}, \"capabilities\": [\"oob\"]}}\r\n"
#define NEGOTIATED "{\"return\": {}, \"id\": 1}\r\n"
#define SOON_MS 300

static void check_error(int rc, const struct error *e, enum error_code code, const char *cause) {
    if (rc != -1 || e->code != code || !strstr(e->cause, cause) || strcmp(e->subject, SUBJECT) != 0)
        fail_msg("rc %d, %s about '%s': %s", rc, error_code_name(e->code), e->subject, e->cause);
}

/* A connected pair whose far end has already said `script`; each piece is one recv when `pieces` is 1. */
static int peer(const char *script, size_t piece, int *ret_ours) {
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, (piece ? SOCK_SEQPACKET : SOCK_STREAM) | SOCK_CLOEXEC, 0, fds), 0);
    size_t len = strlen(script);
    for (size_t at = 0; at < len; at += piece ? piece : len) {
        size_t n = piece && piece < len - at ? piece : len - at;
        assert_int_equal(send(fds[1], script + at, n, 0), n);
    }
    *ret_ours = fds[0];
    return fds[1];
}

static struct qmp *attach_ok(const char *replies, int *ret_peer) {
    cleanup_free char *script = xasprintf("%s%s%s", GREETING, NEGOTIATED, replies);
    struct context ctx = context_timeout(NULL, 5000);
    struct error e = {.code = ERR_NONE};
    struct qmp *q = NULL;
    int ours;
    *ret_peer = peer(script, 0, &ours);
    if (qmp_attach(ours, SUBJECT, &q, &ctx, &e))
        fail_msg("%s", e.cause);
    return q;
}

static void sends_one_line_per_command(void **state) {
    (void)state;
    int far;
    struct qmp *q = attach_ok("{\"return\": {\"status\": \"running\"}, \"id\": 2}\r\n", &far);
    struct context ctx = context_timeout(NULL, 5000);
    struct error e = {.code = ERR_NONE};
    json_t *value = NULL;
    assert_int_equal(qmp_execute(q, "qom-get", json_pack("{s:s}", "path", "/a"), &value, &ctx, &e), 0);
    assert_string_equal(json_string_value(json_object_get(value, "status")), "running");
    json_decref(value);
    qmp_close(q);
    char sent[512];
    ssize_t n = recv(far, sent, sizeof sent - 1, 0);
    assert_true(n > 0);
    sent[n] = '\0';
    assert_string_equal(sent, "{\"execute\":\"qmp_capabilities\",\"id\":1}\n"
                              "{\"execute\":\"qom-get\",\"id\":2,\"arguments\":{\"path\":\"/a\"}}\n");
    close(far);
}

static void skips_events_and_joins_pieces(void **state) {
    (void)state;
    static const char event[] = "{\"timestamp\": {\"seconds\": 1}, \"event\": \"RESUME\"}\r\n";
    cleanup_free char *script = xasprintf("%s%s%s%s", GREETING, event, NEGOTIATED, event);
    struct context ctx = context_timeout(NULL, 5000);
    struct error e = {.code = ERR_NONE};
    struct qmp *q = NULL;
    int ours, far = peer(script, 1, &ours);
    assert_int_equal(qmp_attach(ours, SUBJECT, &q, &ctx, &e), 0);
    assert_true(send(far, "{\"return\": 7, \"id\": 2}\n", 23, 0) == 23);
    json_t *value = NULL;
    assert_int_equal(qmp_execute(q, "x", NULL, &value, &ctx, &e), 0);
    assert_int_equal(json_integer_value(value), 7);
    json_decref(value);
    qmp_close(q);
    close(far);
}

static void a_refusal_is_an_answer(void **state) {
    (void)state;
    int far;
    struct qmp *q =
        attach_ok("{\"error\": {\"class\": \"GenericError\", \"desc\": \"No \\u001b[31msuch\"}, \"id\": 2}\n"
                  "{\"return\": {}, \"id\": 3}\n",
                  &far);
    struct context ctx = context_timeout(NULL, 5000);
    struct error e = {.code = ERR_NONE};
    check_error(qmp_execute(q, "cont", NULL, NULL, &ctx, &e), &e, ERR_PROCESS, "QEMU refused 'cont': No  [31msuch");
    error_clear(&e);
    assert_int_equal(qmp_execute(q, "cont", NULL, NULL, &ctx, &e), 0);
    qmp_close(q);
    close(far);
}

static void hostile_replies_are_protocol_errors(void **state) {
    (void)state;
    static const struct {
        const char *reply, *cause;
    } cases[] = {
        {"{\"return\": {}, \"id\": 1}\n", "QEMU answered 'cont' with something else"},
        {"{\"return\": {}}\n", "QEMU answered 'cont' with something else"},
        {"{\"return\": {}, \"id\": \"2\"}\n", "QEMU answered 'cont' with something else"},
        {"{\"error\": {\"desc\": \"x\"}, \"id\": 9}\n", "QEMU answered 'cont' with something else"},
        {"{\"id\": 2}\n", "QEMU answered 'cont' with something else"},
        {"[1]\n", "sent something that is not QMP"},
        {"\n", "sent something that is not QMP"},
        {"{\"return\": {}, \"return\": {}, \"id\": 2}\n", "sent something that is not QMP"},
        {"{\"return\": {}, \"id\": 2} trailing\n", "sent something that is not QMP"},
        {"{\"return\": \"\xff\", \"id\": 2}\n", "sent something that is not QMP"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int far;
        struct qmp *q = attach_ok(cases[i].reply, &far);
        struct context ctx = context_timeout(NULL, 5000);
        struct error e = {.code = ERR_NONE};
        check_error(qmp_execute(q, "cont", NULL, NULL, &ctx, &e), &e, ERR_PROTOCOL, cases[i].cause);
        qmp_close(q);
        close(far);
    }
}

static void wrong_greetings_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *script;
        enum error_code code;
        const char *cause;
    } cases[] = {
        {"{\"return\": {}}\n", ERR_PROTOCOL, "did not greet as QMP does"},
        {"{\"QMP\": 1}\n", ERR_PROTOCOL, "did not greet as QMP does"},
        {"SSH-2.0-OpenSSH_9.2\r\n", ERR_PROTOCOL, "sent something that is not QMP"},
        {GREETING "{\"error\": {\"desc\": \"busy\"}}\n", ERR_PROCESS, "QEMU refused 'qmp_capabilities': busy"},
        {"", ERR_UNREACHABLE, "QEMU closed its control socket"},
        {GREETING "{\"return\"", ERR_UNREACHABLE, "QEMU closed its control socket"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct context ctx = context_timeout(NULL, 5000);
        struct error e = {.code = ERR_NONE};
        struct qmp *q = NULL;
        int ours, far = peer(cases[i].script, 0, &ours);
        shutdown(far, SHUT_WR);
        check_error(qmp_attach(ours, SUBJECT, &q, &ctx, &e), &e, cases[i].code, cases[i].cause);
        assert_null(q);
        assert_int_equal(e.retry, cases[i].code == ERR_UNREACHABLE);
        close(far);
    }
}

static void *write_without_end(void *data) {
    static const char letters[4096] = {[0 ... 4095] = 'a'};
    for (int i = 0; i < 1024; i++)
        if (send(*(int *)data, letters, sizeof letters, MSG_NOSIGNAL) < 0)
            break;
    return NULL;
}

static void an_endless_line_is_cut(void **state) {
    (void)state;
    struct context ctx = context_timeout(NULL, 20000);
    struct error e = {.code = ERR_NONE};
    struct qmp *q = NULL;
    pthread_t writer;
    int ours, far = peer("", 0, &ours);
    assert_int_equal(pthread_create(&writer, NULL, write_without_end, &far), 0);
    check_error(qmp_attach(ours, SUBJECT, &q, &ctx, &e), &e, ERR_PROTOCOL, "a line of more than 1048576 bytes");
    pthread_join(writer, NULL);
    close(far);
}

static void a_silent_peer_costs_no_more_than_the_deadline(void **state) {
    (void)state;
    struct context ctx = context_timeout(NULL, SOON_MS);
    struct error e = {.code = ERR_NONE};
    struct qmp *q = NULL;
    int ours, far = peer("", 0, &ours);
    check_error(qmp_attach(ours, SUBJECT, &q, &ctx, &e), &e, ERR_TIMEOUT, "waiting for QEMU's greeting");
    close(far);

    q = attach_ok("", &far);
    ctx = context_timeout(NULL, SOON_MS);
    error_clear(&e);
    check_error(qmp_execute(q, "quit", NULL, NULL, &ctx, &e), &e, ERR_TIMEOUT, "waiting for QEMU's answer");
    qmp_close(q);
    close(far);
}

static void a_peer_that_reads_nothing_costs_no_more_than_the_deadline(void **state) {
    (void)state;
    int far;
    struct qmp *q = attach_ok("", &far);
    struct context ctx = context_timeout(NULL, SOON_MS);
    struct error e = {.code = ERR_NONE};
    cleanup_free char *long_text = xcalloc(1, 4 << 20);
    memset(long_text, 'x', (4 << 20) - 1);
    check_error(qmp_execute(q, "x", json_pack("{s:s}", "t", long_text), NULL, &ctx, &e), &e, ERR_TIMEOUT,
                "sending to QEMU's control socket");
    qmp_close(q);
    close(far);
}

static void a_cancel_ends_the_wait(void **state) {
    (void)state;
    struct cancel cancel;
    struct error e = {.code = ERR_NONE};
    assert_int_equal(cancel_init(&cancel, &e), 0);
    cancel_fire(&cancel);
    struct context ctx = {.deadline = DEADLINE_NEVER, .cancel = &cancel};
    struct qmp *q = NULL;
    int ours, far = peer(GREETING, 0, &ours);
    check_error(qmp_attach(ours, SUBJECT, &q, &ctx, &e), &e, ERR_CANCELLED, "waiting for QEMU's greeting");
    cancel_destroy(&cancel);
    close(far);
}

static int listen_in(int dirfd) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/qmp.sock", dirfd);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 0), 0);
    return fd;
}

/* With a backlog of 0 the queue holds one: whoever comes after it waits, and no longer than it may. */
static void connects_in_a_deep_directory_and_queues(void **state) {
    (void)state;
    char top[] = "/tmp/nestor-qmp-XXXXXX";
    assert_non_null(mkdtemp(top));
    cleanup_free char *deep = xasprintf("%s/%0150d", top, 1);
    assert_int_equal(mkdir(deep, 0700), 0);
    int dirfd = open(deep, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct context ctx = context_timeout(NULL, 5000);
    struct error e = {.code = ERR_NONE};
    struct qmp *q = NULL;
    check_error(qmp_connect(dirfd, "qmp.sock", SUBJECT, &q, &ctx, &e), &e, ERR_NOT_FOUND, "cannot reach QEMU");

    int server = listen_in(dirfd);
    for (int i = 0; i < 2; i++) {
        /* The first is queued without a greeting, the second is not even queued: both end with the deadline. */
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/qmp.sock", dirfd);
        int holder = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (i)
            assert_int_equal(connect(holder, (const struct sockaddr *)&address, sizeof address), 0);
        ctx = context_timeout(NULL, SOON_MS);
        error_clear(&e);
        check_error(qmp_connect(dirfd, "qmp.sock", SUBJECT, &q, &ctx, &e), &e, ERR_TIMEOUT,
                    i ? "queueing for QEMU's control socket" : "waiting for QEMU's greeting");
        if (!i)
            close(accept(server, NULL, NULL));
        close(holder);
    }
    close(server);
    ctx = context_timeout(NULL, 5000);
    error_clear(&e);
    check_error(qmp_connect(dirfd, "qmp.sock", SUBJECT, &q, &ctx, &e), &e, ERR_CONNECT_REFUSED, "cannot reach QEMU");
    unlinkat(dirfd, "qmp.sock", 0);
    close(dirfd);
    rmdir(deep);
    rmdir(top);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sends_one_line_per_command),
        cmocka_unit_test(skips_events_and_joins_pieces),
        cmocka_unit_test(a_refusal_is_an_answer),
        cmocka_unit_test(hostile_replies_are_protocol_errors),
        cmocka_unit_test(wrong_greetings_are_refused),
        cmocka_unit_test(an_endless_line_is_cut),
        cmocka_unit_test(a_silent_peer_costs_no_more_than_the_deadline),
        cmocka_unit_test(a_peer_that_reads_nothing_costs_no_more_than_the_deadline),
        cmocka_unit_test(a_cancel_ends_the_wait),
        cmocka_unit_test(connects_in_a_deep_directory_and_queues),
    };
    return cmocka_run_group_tests_name("qmp client", tests, NULL, NULL);
}
