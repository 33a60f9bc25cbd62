/* SFTP against a server of prepared words: what a real one says seldom or never. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "transport/ssh/sftp_packet.h"

/* The requests' ids are known: the first after the greeting is 4. */
enum { FIRST = 4 };

struct server {
    int in, out; /* its ends */
    struct sftp sftp;
    struct context ctx;
};

static int server_setup(void **state) {
    struct server *v = xcalloc(1, sizeof *v);
    int to[2], from[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, to), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, from), 0);
    v->in = to[1];
    v->out = from[1];
    v->sftp = (struct sftp){.in = to[0], .out = from[0], .subject = "lab/vm", .target = "/there/image"};
    v->ctx = context_timeout(NULL, 5000);
    *state = v;
    return 0;
}

static int server_teardown(void **state) {
    struct server *v = *state;
    int fds[] = {v->in, v->out, v->sftp.in, v->sftp.out};
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    sftp_free(&v->sftp);
    free(v);
    return 0;
}

static void says(struct server *v, const void *bytes, size_t n) {
    assert_int_equal(send(v->out, bytes, n, MSG_NOSIGNAL), n);
}
#define SAYS(v, text) says(v, text, sizeof text - 1)

static void ends(struct server *v) { cleanup_closep(&v->out); }

/* A packet's length, type and id, then what it carries. */
static void replies(struct server *v, int type, uint8_t id, const void *body, size_t n) {
    unsigned char head[9] = {0, 0, (unsigned char)((n + 5) >> 8), (unsigned char)(n + 5), (unsigned char)type, 0, 0,
                             0, id};
    says(v, head, sizeof head);
    says(v, body, n);
}
#define REPLIES(v, type, id, body) replies(v, type, id, body, sizeof body - 1)
#define STATUS_BODY(status) "\0\0\0" status "\0\0\0\0\0\0\0\0"

static const char version[] = "\0\0\0\x18posix-rename@openssh.com\0\0\0\1"
                              "1"
                              "\0\0\0\x14"
                              "fstatvfs@openssh.com\0\0\0\1"
                              "2";

static void greet(struct server *v) {
    replies(v, SFTP_VERSION, 3, version, sizeof version - 1);
    assert_int_equal(sftp_greet(&v->sftp, &v->ctx, NULL), 0);
}

static void speaks_no_sftp(const struct error *err) {
    assert_int_equal(err->code, ERR_PROTOCOL);
    assert_string_equal(err->subject, "lab/vm");
    assert_non_null(strstr(err->cause, "does not speak SFTP"));
}

static void its_extensions_are_noted(void **state) {
    struct server *v = *state;
    greet(v);
    assert_int_equal(v->sftp.extensions, SFTP_POSIX_RENAME | SFTP_FSTATVFS);
    unsigned char said[64];
    assert_int_equal(recv(v->in, said, sizeof said, MSG_DONTWAIT), 9);
    assert_memory_equal(said, "\0\0\0\5\1\0\0\0\3", 9);
}

static void a_greeting_that_is_cut_inside_is_refused(void **state) {
    struct server *v = *state;
    struct error err = {0};
    REPLIES(v, SFTP_VERSION, 3, "\0\0\0\x18posix-rename");
    assert_int_equal(sftp_greet(&v->sftp, &v->ctx, &err), -1);
    speaks_no_sftp(&err);
}

static void a_banner_is_no_greeting(void **state) {
    struct server *v = *state;
    struct error err = {0};
    SAYS(v, "Welcome to this machine\n");
    assert_int_equal(sftp_greet(&v->sftp, &v->ctx, &err), -1);
    speaks_no_sftp(&err);
}

static void an_end_without_a_word_is_told_apart(void **state) {
    struct server *v = *state;
    struct error err = {0};
    ends(v);
    assert_int_equal(sftp_greet(&v->sftp, &v->ctx, &err), -1);
    assert_int_equal(err.code, ERR_PROTOCOL);
    assert_true(v->sftp.ended);
    assert_false(sftp_heard(&v->sftp));
}

static void an_end_inside_a_reply_is_an_end(void **state) {
    struct server *v = *state;
    struct sftp_file file;
    struct error err = {0};
    greet(v);
    SAYS(v, "\0\0\0\x11\x65\0\0");
    ends(v);
    assert_int_equal(sftp_create(&v->sftp, "/there/part", &file, &v->ctx, &err), -1);
    assert_int_equal(err.code, ERR_PROTOCOL);
    assert_non_null(strstr(err.cause, "ended before it had answered"));
    assert_true(err.retry);
    assert_true(v->sftp.ended && sftp_heard(&v->sftp));
}

static void silence_costs_only_the_time_given(void **state) {
    struct server *v = *state;
    struct error err = {0};
    v->ctx = context_timeout(NULL, 50);
    assert_int_equal(sftp_greet(&v->sftp, &v->ctx, &err), -1);
    assert_int_equal(err.code, ERR_TIMEOUT);
    assert_false(v->sftp.ended);
}

static void a_handle_that_is_too_long_is_refused(void **state) {
    struct server *v = *state;
    struct sftp_file file;
    struct error err = {0};
    char body[4 + SFTP_HANDLE_MAX + 1] = "\0\0\1\1";
    greet(v);
    replies(v, SFTP_HANDLE, FIRST, body, sizeof body);
    assert_int_equal(sftp_create(&v->sftp, "/there/part", &file, &v->ctx, &err), -1);
    speaks_no_sftp(&err);
}

static void success_is_no_answer_to_opening(void **state) {
    struct server *v = *state;
    struct sftp_file file;
    struct error err = {0};
    greet(v);
    REPLIES(v, SFTP_STATUS, FIRST, STATUS_BODY("\0"));
    assert_int_equal(sftp_create(&v->sftp, "/there/part", &file, &v->ctx, &err), -1);
    speaks_no_sftp(&err);
}

/* What the number means, and that it is about the file the user asked for. */
static void each_status_has_its_error(void **state) {
    static const struct {
        const char *body;
        enum error_code code;
        const char *cause;
        bool mend;
    } cases[] = {
        {STATUS_BODY("\2"), ERR_NOT_FOUND, "cannot write /there/image: the directory does not exist", false},
        {STATUS_BODY("\3"), ERR_IO, "cannot write /there/image: the user may not write there", true},
        {STATUS_BODY("\4"), ERR_IO, "cannot write /there/image: its SFTP server failed and does not say why", true},
        {STATUS_BODY("\x0e"), ERR_DISK_FULL, "cannot write /there/image: its disk is full", true},
        {STATUS_BODY("\x0f"), ERR_DISK_FULL, "cannot write /there/image: the user's quota is used up", true},
    };
    struct server *v = *state;
    greet(v);
    for (uint8_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sftp_file file;
        struct error err = {0};
        replies(v, SFTP_STATUS, (uint8_t)(FIRST + i), cases[i].body, 12);
        assert_int_equal(sftp_create(&v->sftp, "/there/part", &file, &v->ctx, &err), -1);
        assert_int_equal(err.code, cases[i].code);
        assert_string_equal(err.subject, "lab/vm");
        assert_string_equal(err.cause, cases[i].cause);
        assert_int_equal(err.native, cases[i].body[3]);
        assert_int_equal(err.mend[0] != '\0', cases[i].mend);
    }
}

static void answers_nobody_waits_for_are_dropped(void **state) {
    struct server *v = *state;
    greet(v);
    REPLIES(v, SFTP_STATUS, 200, STATUS_BODY("\4"));
    REPLIES(v, SFTP_STATUS, FIRST, STATUS_BODY("\0"));
    assert_int_equal(sftp_remove(&v->sftp, "/there/part", &v->ctx, NULL), 0);
}

/* --- writing --- */

#define CHUNK 32768
static const struct sftp_file opened = {.handle_len = 1, .handle = "h"};

static struct sftp_source source(uint64_t size) {
    int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    return (struct sftp_source){.path = "/here/image", .fd = fd, .size = size};
}

static int write_all(struct server *v, uint64_t size, struct error *err) {
    struct sftp_source from = source(size);
    int rc = sftp_write(&v->sftp, &opened, &from, &(struct transfer){.total = size}, &v->ctx, err);
    close(from.fd);
    return rc;
}

static void answers_may_come_in_any_order(void **state) {
    struct server *v = *state;
    greet(v);
    REPLIES(v, SFTP_STATUS, FIRST + 1, STATUS_BODY("\0"));
    REPLIES(v, SFTP_STATUS, FIRST, STATUS_BODY("\0"));
    assert_int_equal(write_all(v, CHUNK + 1, NULL), 0);
}

static void an_answer_to_no_write_is_refused(void **state) {
    struct server *v = *state;
    struct error err = {0};
    greet(v);
    REPLIES(v, SFTP_STATUS, 77, STATUS_BODY("\0"));
    assert_int_equal(write_all(v, CHUNK, &err), -1);
    speaks_no_sftp(&err);
}

/* f_bsize 4096, f_frsize 4096, f_blocks, f_bfree 9, f_bavail as given, and six more. */
#define ROOM(available)                                                                                                \
    "\0\0\0\0\0\0\x10\0\0\0\0\0\0\0\x10\0"                                                                             \
    "\0\0\0\0\0\0\0\x40\0\0\0\0\0\0\0\x09\0\0\0\0\0\0\0" available                                                     \
    "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"

/* OpenSSH's server has only "failure" for a full disk. Eight blocks are what the chunk needs. */
static void a_vague_failure_without_room_is_a_full_disk(void **state) {
    struct server *v = *state;
    struct error err = {0};
    greet(v);
    REPLIES(v, SFTP_STATUS, FIRST, STATUS_BODY("\4"));
    REPLIES(v, SFTP_EXTENDED_REPLY, FIRST + 1, ROOM("\7"));
    assert_int_equal(write_all(v, CHUNK, &err), -1);
    assert_int_equal(err.code, ERR_DISK_FULL);
    assert_string_equal(err.cause, "cannot write /there/image: its disk is full");
}

static void a_vague_failure_with_room_stays_vague(void **state) {
    struct server *v = *state;
    struct error err = {0};
    greet(v);
    REPLIES(v, SFTP_STATUS, FIRST, STATUS_BODY("\4"));
    REPLIES(v, SFTP_EXTENDED_REPLY, FIRST + 1, ROOM("\x09"));
    assert_int_equal(write_all(v, CHUNK, &err), -1);
    assert_int_equal(err.code, ERR_IO);
    assert_int_equal(err.native, 4);
}

/* A server that never answers gets so many writes and no more. */
static void a_bounded_number_is_under_way(void **state) {
    struct server *v = *state;
    struct error err = {0};
    greet(v);
    int size = 16 << 20; /* the socket takes them all */
    if (setsockopt(v->sftp.in, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size))
        skip();
    v->ctx = context_timeout(NULL, 2000);
    assert_int_equal(write_all(v, (uint64_t)1 << 40, &err), -1);
    assert_int_equal(err.code, ERR_TIMEOUT);
    size_t sent = 0;
    char bytes[65536];
    for (ssize_t n; (n = recv(v->in, bytes, sizeof bytes, MSG_DONTWAIT)) > 0;)
        sent += (size_t)n;
    const size_t greeting = 9, around = 26;
    assert_int_equal(sent, greeting + 64 * (CHUNK + around));
}

static void a_source_that_shrank_is_told(void **state) {
    struct server *v = *state;
    struct error err = {0};
    greet(v);
    struct sftp_source from = {.path = "/here/image", .fd = open("/dev/null", O_RDONLY | O_CLOEXEC), .size = 1};
    int rc = sftp_write(&v->sftp, &opened, &from, &(struct transfer){.total = 1}, &v->ctx, &err);
    close(from.fd);
    assert_int_equal(rc, -1);
    assert_int_equal(err.code, ERR_IO);
    assert_string_equal(err.subject, "/here/image");
    assert_non_null(strstr(err.cause, "became shorter"));
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, server_setup, server_teardown)
    const struct CMUnitTest tests[] = {
        TEST(its_extensions_are_noted),
        TEST(a_greeting_that_is_cut_inside_is_refused),
        TEST(a_banner_is_no_greeting),
        TEST(an_end_without_a_word_is_told_apart),
        TEST(an_end_inside_a_reply_is_an_end),
        TEST(silence_costs_only_the_time_given),
        TEST(a_handle_that_is_too_long_is_refused),
        TEST(success_is_no_answer_to_opening),
        TEST(each_status_has_its_error),
        TEST(answers_nobody_waits_for_are_dropped),
        TEST(answers_may_come_in_any_order),
        TEST(an_answer_to_no_write_is_refused),
        TEST(a_vague_failure_without_room_is_a_full_disk),
        TEST(a_vague_failure_with_room_stays_vague),
        TEST(a_bounded_number_is_under_way),
        TEST(a_source_that_shrank_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
