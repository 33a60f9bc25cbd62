/* Downloads, against a small server that behaves and misbehaves as told. */
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
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "nestor/identity.h"
#include "transport/http.h"
#include "transport_server.h"

#define SIZE 300000
#define HALF (SIZE / 2)

enum manner {
    WHOLE,      /* ranges are honoured */
    NO_RANGES,  /* always 200 and everything */
    CUT,        /* closes after half */
    STALL,      /* half, then nothing */
    MISSING,    /* 404 */
    TROUBLED,   /* 503 */
    TO_FILE,    /* redirects to a local file */
    IN_CIRCLES, /* redirects to itself */
    SILENT,     /* not even a header */
};

struct server {
    struct test_listener listener;
    enum manner manner;
    char *body;
    int requests;
    long range_start; /* of the last request; -1: none */
};

static char dir[] = "/tmp/nestor-http-XXXXXX";
static char body[SIZE];
static char body_sha256[65];
static const char other_sha256[] = "0000000000000000000000000000000000000000000000000000000000000000";

static void say(int fd, const void *bytes, size_t n) {
    for (size_t at = 0; at < n;) {
        ssize_t m = send(fd, (const char *)bytes + at, n - at, MSG_NOSIGNAL);
        if (m <= 0)
            return;
        at += (size_t)m;
    }
}

/* Blocks until the client has gone. */
static void wait_for_end(int fd) {
    char byte;
    while (recv(fd, &byte, 1, 0) > 0)
        continue;
}

static void read_request(struct server *s, int fd) {
    char text[4096] = "";
    size_t len = 0;
    while (len < sizeof text - 1 && !strstr(text, "\r\n\r\n")) {
        ssize_t n = recv(fd, text + len, sizeof text - 1 - len, 0);
        if (n <= 0)
            break;
        len += (size_t)n;
        text[len] = '\0';
    }
    const char *range = strstr(text, "Range: bytes=");
    s->range_start = range ? strtol(range + strlen("Range: bytes="), NULL, 10) : -1;
    s->requests++;
}

static void send_body(const struct server *s, int fd) {
    bool ranged = s->manner != NO_RANGES && s->range_start >= 0;
    size_t start = ranged ? (size_t)s->range_start : 0;
    cleanup_free char *head = NULL;
    if (start >= SIZE)
        head = xasprintf("HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */%d\r\nContent-Length: 0\r\n"
                         "Connection: close\r\n\r\n",
                         SIZE);
    else if (ranged)
        head = xasprintf("HTTP/1.1 206 Partial Content\r\nContent-Range: bytes %zu-%d/%d\r\nContent-Length: %zu\r\n"
                         "Connection: close\r\n\r\n",
                         start, SIZE - 1, SIZE, SIZE - start);
    else
        head = xasprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n", SIZE);
    say(fd, head, strlen(head));
    size_t end = s->manner == CUT || s->manner == STALL ? HALF : SIZE;
    if (start < end)
        say(fd, s->body + start, end - start);
    if (s->manner == STALL)
        wait_for_end(fd);
}

static void send_redirect(const struct server *s, int fd) {
    cleanup_free char *to =
        s->manner == TO_FILE ? xstrdup("file:///etc/passwd") : xasprintf("http://127.0.0.1:%u/again", s->listener.port);
    cleanup_free char *head = xasprintf("HTTP/1.1 302 Found\r\nLocation: %s\r\nContent-Length: 0\r\n"
                                        "Connection: close\r\n\r\n",
                                        to);
    say(fd, head, strlen(head));
}

static void send_status(int fd, const char *status) {
    cleanup_free char *head = xasprintf("HTTP/1.1 %s\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno", status);
    say(fd, head, strlen(head));
}

static void serve(void *data, int fd) {
    struct server *s = data;
    read_request(s, fd);
    if (s->manner == MISSING)
        send_status(fd, "404 Not Found");
    else if (s->manner == TROUBLED)
        send_status(fd, "503 Service Unavailable");
    else if (s->manner == SILENT)
        wait_for_end(fd);
    else if (s->manner == TO_FILE || s->manner == IN_CIRCLES)
        send_redirect(s, fd);
    else
        send_body(s, fd);
}

/* --- one download --- */

struct result {
    int rc, requests;
    long range_start;
    struct error err;
    uint64_t done, total;
    int64_t took;
};

static void note(void *data, uint64_t done, uint64_t total) {
    struct result *r = data;
    r->done = done;
    r->total = total;
}

static struct result download_ctx(enum manner manner, const char *sha256, struct http_limits limits,
                                  const struct context *ctx) {
    struct server s = {.manner = manner, .body = body};
    test_listener_start(&s.listener, serve, &s);
    cleanup_free char *url = xasprintf("http://user:hunter2@127.0.0.1:%u/image?token=s3cret", s.listener.port);
    cleanup_free char *path = xasprintf("%s/image", dir);
    struct result r = {0};
    int64_t start = clock_ms();
    r.rc = http_download_within(limits, url, path, sha256, note, &r, ctx, &r.err);
    r.took = clock_ms() - start;
    test_listener_stop(&s.listener);
    r.requests = s.requests;
    r.range_start = s.range_start;
    assert_null(strstr(r.err.cause, "hunter2"));
    assert_null(strstr(r.err.subject, "hunter2"));
    assert_null(strstr(r.err.subject, "s3cret"));
    return r;
}

static struct result download(enum manner manner, const char *sha256) {
    struct context ctx = test_within(10000);
    return download_ctx(manner, sha256, HTTP_LIMITS_DEFAULT, &ctx);
}

static void assert_image(void) {
    cleanup_free char *path = xasprintf("%s/image", dir);
    char actual[65];
    struct stat st;
    assert_int_equal(sha256_file(path, actual, NULL, NULL, NULL, NULL), 0);
    assert_string_equal(actual, body_sha256);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0644);
    cleanup_free char *part = xasprintf("%s/.image.part", dir);
    assert_int_equal(access(part, F_OK), -1);
}

static bool exists(const char *name) {
    cleanup_free char *path = xasprintf("%s/%s", dir, name);
    return access(path, F_OK) == 0;
}

static void put_part(const void *bytes, size_t n) {
    cleanup_free char *path = xasprintf("%s/.image.part", dir);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static int64_t part_size(void) {
    cleanup_free char *path = xasprintf("%s/.image.part", dir);
    struct stat st;
    return stat(path, &st) ? -1 : st.st_size;
}

/* --- the tests --- */

static void a_file_comes_whole(void **state) {
    (void)state;
    struct result r = download(WHOLE, body_sha256);
    assert_int_equal(r.rc, 0);
    assert_int_equal(r.range_start, -1);
    assert_int_equal(r.done, SIZE);
    assert_int_equal(r.total, SIZE);
    assert_image();
}

static void a_cut_download_continues(void **state) {
    (void)state;
    struct result r = download(CUT, body_sha256);
    assert_int_equal(r.rc, -1);
    assert_int_equal(r.err.code, ERR_UNREACHABLE);
    assert_true(r.err.retry);
    assert_non_null(strstr(r.err.mend, "continues"));
    assert_false(exists("image"));
    assert_int_equal(part_size(), HALF);
    r = download(WHOLE, body_sha256);
    assert_int_equal(r.rc, 0);
    assert_int_equal(r.range_start, HALF);
    assert_int_equal(r.done, SIZE);
    assert_int_equal(r.total, SIZE);
    assert_image();
}

static void without_a_checksum_it_starts_anew(void **state) {
    (void)state;
    put_part(body, HALF);
    struct result r = download(WHOLE, NULL);
    assert_int_equal(r.rc, 0);
    assert_int_equal(r.range_start, -1);
    assert_image();
}

static void a_server_without_ranges_sends_all_again(void **state) {
    (void)state;
    put_part(body, HALF);
    struct result r = download(NO_RANGES, body_sha256);
    assert_int_equal(r.rc, 0);
    assert_int_equal(r.requests, 2);
    assert_image();
}

static void a_whole_part_is_not_downloaded_again(void **state) {
    (void)state;
    put_part(body, SIZE);
    struct result r = download(WHOLE, body_sha256);
    assert_int_equal(r.rc, 0);
    assert_int_equal(r.requests, 0);
    assert_image();
}

static void a_part_of_another_file_is_replaced(void **state) {
    (void)state;
    char old[HALF];
    memset(old, 'x', sizeof old);
    put_part(old, sizeof old);
    struct result r = download(WHOLE, body_sha256);
    assert_int_equal(r.rc, 0);
    assert_int_equal(r.requests, 2);
    assert_image();
}

static void a_part_that_is_too_long_is_replaced(void **state) {
    (void)state;
    cleanup_free char *longer = xcalloc(1, SIZE + 10);
    put_part(longer, SIZE + 10);
    struct result r = download(WHOLE, body_sha256);
    assert_int_equal(r.rc, 0);
    assert_int_equal(r.requests, 2);
    assert_image();
}

static void a_wrong_checksum_leaves_nothing(void **state) {
    (void)state;
    struct result r = download(WHOLE, other_sha256);
    assert_int_equal(r.rc, -1);
    assert_int_equal(r.err.code, ERR_CHECKSUM);
    assert_non_null(strstr(r.err.cause, body_sha256));
    assert_non_null(strstr(r.err.cause, other_sha256));
    assert_false(exists("image"));
    assert_int_equal(part_size(), -1);
}

static void statuses_have_their_own_errors(void **state) {
    (void)state;
    struct result r = download(MISSING, body_sha256);
    assert_int_equal(r.err.code, ERR_NOT_FOUND);
    assert_int_equal(r.err.native, 404);
    assert_false(r.err.retry);
    r = download(TROUBLED, body_sha256);
    assert_int_equal(r.err.code, ERR_UNREACHABLE);
    assert_int_equal(r.err.native, 503);
    assert_true(r.err.retry);
    assert_false(exists("image"));
}

static void a_stalled_server_is_given_up(void **state) {
    (void)state;
    struct context ctx = test_within(20000);
    struct http_limits limits = HTTP_LIMITS_DEFAULT;
    limits.stall_ms = 300;
    struct result r = download_ctx(STALL, body_sha256, limits, &ctx);
    assert_int_equal(r.err.code, ERR_TIMEOUT);
    assert_non_null(strstr(r.err.cause, "no byte"));
    assert_true(r.took < 15000);
    assert_int_equal(part_size(), HALF);
}

static void the_deadline_is_kept(void **state) {
    (void)state;
    struct context ctx = test_within(200);
    struct result r = download_ctx(SILENT, body_sha256, HTTP_LIMITS_DEFAULT, &ctx);
    assert_int_equal(r.err.code, ERR_TIMEOUT);
    assert_non_null(strstr(r.err.cause, "time ran out"));
    assert_true(r.took < 15000);
}

static void a_cancel_is_prompt(void **state) {
    (void)state;
    struct cancel cancel;
    pthread_t thread;
    assert_int_equal(cancel_init(&cancel, NULL), 0);
    struct context ctx = {.deadline = DEADLINE_NEVER, .cancel = &cancel};
    assert_int_equal(pthread_create(&thread, NULL, test_fire_soon, &cancel), 0);
    struct result r = download_ctx(STALL, body_sha256, HTTP_LIMITS_DEFAULT, &ctx);
    pthread_join(thread, NULL);
    cancel_destroy(&cancel);
    assert_int_equal(r.err.code, ERR_CANCELLED);
    assert_true(r.took < 15000);
    assert_int_equal(part_size(), HALF);
}

static void too_much_is_refused(void **state) {
    (void)state;
    struct context ctx = test_within(10000);
    struct http_limits limits = HTTP_LIMITS_DEFAULT;
    limits.max_bytes = HALF;
    struct result r = download_ctx(WHOLE, body_sha256, limits, &ctx);
    assert_int_equal(r.err.code, ERR_PROTOCOL);
    assert_non_null(strstr(r.err.cause, "larger than the limit of 150000 bytes"));
    assert_true(part_size() <= HALF);
}

static void redirects_lead_to_no_local_file(void **state) {
    (void)state;
    struct result r = download(TO_FILE, NULL);
    assert_int_equal(r.err.code, ERR_UNSUPPORTED);
    assert_false(exists("image"));
}

static void redirects_have_an_end(void **state) {
    (void)state;
    struct result r = download(IN_CIRCLES, NULL);
    assert_int_equal(r.err.code, ERR_PROTOCOL);
    assert_non_null(strstr(r.err.mend, "circle"));
    assert_int_equal(r.requests, 9);
}

static void nobody_there_is_refused(void **state) {
    (void)state;
    struct context ctx = test_within(10000);
    struct error err = {0};
    cleanup_free char *url = xasprintf("http://127.0.0.1:%u/x", test_free_port());
    cleanup_free char *path = xasprintf("%s/image", dir);
    assert_int_equal(http_download(url, path, NULL, NULL, NULL, &ctx, &err), -1);
    assert_int_equal(err.code, ERR_CONNECT_REFUSED);
    assert_string_equal(err.subject, url);
    assert_true(err.retry);
}

/* A server with a certificate nobody vouches for. The pid of openssl(1), or 0 if it is not installed. */
static pid_t start_tls_server(uint16_t port) {
    cleanup_free char *script =
        xasprintf("cd %s && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key -out cert "
                  "-subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 2>/dev/null",
                  dir);
    struct context ctx = test_within(10000);
    struct access *local = access_local();
    int rc = access_run_ok(local, script, NULL, &ctx, NULL);
    access_close(local);
    if (rc)
        return 0;
    pid_t pid = fork();
    if (pid == 0) {
        cleanup_free char *accept = xasprintf("127.0.0.1:%u", port);
        cleanup_free char *key = xasprintf("%s/key", dir);
        cleanup_free char *cert = xasprintf("%s/cert", dir);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execlp("openssl", "openssl", "s_server", "-quiet", "-WWW", "-accept", accept, "-key", key, "-cert", cert,
               (char *)NULL);
        _exit(127);
    }
    return pid;
}

static void a_certificate_nobody_vouches_for_is_refused(void **state) {
    (void)state;
    uint16_t port = test_free_port();
    pid_t pid = start_tls_server(port);
    if (pid == 0) {
        print_message("openssl is not installed\n");
        skip();
    }
    cleanup_free char *url = xasprintf("https://127.0.0.1:%u/cert", port);
    cleanup_free char *path = xasprintf("%s/image", dir);
    struct context ctx = test_within(10000);
    struct error err = {0};
    while (http_download(url, path, NULL, NULL, NULL, &ctx, &err) && err.code == ERR_CONNECT_REFUSED) {
        error_clear(&err);
        assert_int_equal(context_sleep(&ctx, 10, NULL, "waiting for the server", NULL), 0);
    }
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    cleanup_free char *key = xasprintf("%s/key", dir);
    cleanup_free char *cert = xasprintf("%s/cert", dir);
    unlink(key);
    unlink(cert);
    assert_int_equal(err.code, ERR_PROTOCOL);
    assert_non_null(strstr(err.cause, "certificate"));
    assert_non_null(strstr(err.mend, "ca-certificates"));
    assert_false(err.retry);
    assert_false(exists("image"));
}

static void a_file_url_works_and_continues(void **state) {
    (void)state;
    cleanup_free char *source = xasprintf("%s/source", dir);
    cleanup_free char *url = xasprintf("file://%s", source);
    cleanup_free char *path = xasprintf("%s/image", dir);
    struct context ctx = test_within(10000);
    FILE *f = fopen(source, "we");
    fwrite(body, 1, SIZE, f);
    fclose(f);
    put_part(body, HALF);
    assert_int_equal(http_download(url, path, body_sha256, NULL, NULL, &ctx, NULL), 0);
    assert_image();
    unlink(source);
    struct error err = {0};
    assert_int_equal(http_download(url, path, body_sha256, NULL, NULL, &ctx, &err), -1);
    assert_int_equal(err.code, ERR_NOT_FOUND);
}

static void a_second_download_of_the_same_file_is_kept_out(void **state) {
    (void)state;
    cleanup_free char *path = xasprintf("%s/.image.part", dir);
    put_part(body, HALF);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    struct result r = download(WHOLE, body_sha256);
    close(fd);
    assert_int_equal(r.err.code, ERR_LOCKED);
    assert_true(r.err.retry);
    assert_int_equal(r.requests, 0);
    assert_int_equal(part_size(), HALF);
}

static int clean(void **state) {
    (void)state;
    cleanup_free char *path = xasprintf("%s/image", dir);
    cleanup_free char *part = xasprintf("%s/.image.part", dir);
    unlink(path);
    unlink(part);
    return 0;
}

static int group_setup(void **state) {
    (void)state;
    assert_non_null(mkdtemp(dir));
    for (size_t i = 0; i < SIZE; i++)
        body[i] = (char)(i * 2654435761u >> 11);
    sha256_hex(body, SIZE, body_sha256);
    return 0;
}

static int group_teardown(void **state) {
    (void)state;
    return rmdir(dir);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, clean, clean)

int main(void) {
    unsetenv("http_proxy");
    const struct CMUnitTest tests[] = {
        TEST(a_file_comes_whole),
        TEST(a_cut_download_continues),
        TEST(without_a_checksum_it_starts_anew),
        TEST(a_server_without_ranges_sends_all_again),
        TEST(a_whole_part_is_not_downloaded_again),
        TEST(a_part_of_another_file_is_replaced),
        TEST(a_part_that_is_too_long_is_replaced),
        TEST(a_wrong_checksum_leaves_nothing),
        TEST(statuses_have_their_own_errors),
        TEST(a_stalled_server_is_given_up),
        TEST(the_deadline_is_kept),
        TEST(a_cancel_is_prompt),
        TEST(too_much_is_refused),
        TEST(redirects_lead_to_no_local_file),
        TEST(redirects_have_an_end),
        TEST(nobody_there_is_refused),
        TEST(a_certificate_nobody_vouches_for_is_refused),
        TEST(a_file_url_works_and_continues),
        TEST(a_second_download_of_the_same_file_is_kept_out),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
