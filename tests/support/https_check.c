#include "https_check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "transport_server.h"

struct http *test_http_open(const struct test_tls *server, const struct http_config *like) {
    static char urls[256][48];
    static int used;
    struct http_config config = like ? *like : (struct http_config){0};
    struct error err = {0};
    struct http *h = NULL;
    assert_true(used < 256);
    snprintf(urls[used], sizeof urls[used], "%s://127.0.0.1:%u/sdk", server->cert ? "https" : "http", server->port);
    config.subject = "host vc";
    config.url = config.url ? config.url : urls[used++];
    config.trust.insecure = !config.trust.thumbprint && !config.trust.ca;
    if (http_open(&config, &h, &err))
        fail_msg("%s: %s", error_code_name(err.code), err.cause);
    return h;
}

static void assert_no_secret(const struct error *err) {
    const char *fields[] = {err->subject, err->cause, err->mend, err->context, err->note};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        assert_null(strstr(fields[i], "hunter2"));
        assert_null(strstr(fields[i], "c2VjcmV0"));
        assert_null(strstr(fields[i], TEST_COOKIE));
    }
}

struct test_try test_http_try(struct http *h, const struct http_request *request, const struct context *ctx) {
    struct test_try t = {.sent = true};
    int64_t start = clock_ms();
    t.rc = http_perform(h, request, &t.reply, &t.sent, ctx, &t.err);
    t.took = clock_ms() - start;
    if (t.rc) {
        assert_string_equal(t.err.subject, "host vc");
        assert_int_equal(t.err.native, 0);
        assert_null(t.reply.body.data);
        assert_int_equal(t.reply.status, 0);
        assert_no_secret(&t.err);
    } else {
        assert_false(error_is_set(&t.err));
        assert_true(t.sent);
    }
    return t;
}

struct test_try test_http_post(struct http *h, const struct context *ctx) {
    static const char *const headers[] = {"SOAPAction: urn:vim25/6.7", "Authorization: Basic c2VjcmV0", NULL};
    struct http_request request = {
        .method = "POST", .headers = headers, .body = TEST_BODY, .body_len = sizeof TEST_BODY - 1};
    return test_http_try(h, &request, ctx);
}

void test_http_fine(struct http *h, const char *body) {
    struct context ctx = test_within(10000);
    struct test_try t = test_http_post(h, &ctx);
    if (t.rc)
        fail_msg("%s: %s", error_code_name(t.err.code), t.err.cause);
    assert_int_equal(t.reply.status, 200);
    assert_string_equal(buffer_str(&t.reply.body), body);
    http_reply_free(&t.reply);
}
