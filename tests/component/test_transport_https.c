/* Exchanges over HTTPS: what goes out, what comes back, and replies that are too large, cut, broken or hostile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "https_check.h"
#include "transport_server.h"

static struct test_cert cert;

/* --- requests --- */

struct seen {
    char method[16], path[256];
    char *head;
    struct buffer body;
};

static void look(void *data, const struct test_request *r, struct test_answer *a) {
    struct seen *s = data;
    (void)a;
    memcpy(s->method, r->method, sizeof s->method);
    memcpy(s->path, r->path, sizeof s->path);
    free(s->head);
    s->head = xstrdup(r->head);
    buffer_clear(&s->body);
    buffer_append(&s->body, r->body.data, r->body.len);
}

static void a_request_arrives_as_it_was_given(void **state) {
    (void)state;
    struct seen seen = {0};
    struct test_tls server = {.cert = &cert, .answer = look, .data = &seen};
    test_tls_start(&server);
    struct http *h = test_http_open(&server, NULL);
    test_http_fine(h, "fine");
    http_close(h);
    test_tls_stop(&server);
    assert_string_equal(seen.method, "POST");
    assert_string_equal(seen.path, "/sdk");
    assert_string_equal(buffer_str(&seen.body), TEST_BODY);
    assert_non_null(strstr(seen.head, "\r\nSOAPAction: urn:vim25/6.7\r\n"));
    assert_non_null(strstr(seen.head, "HTTP/1.1\r\n"));
    assert_non_null(strstr(seen.head, "\r\nUser-Agent: nestor/"));
    /* What nobody asked for is not there. */
    assert_null(strstr(seen.head, "Content-Type"));
    assert_null(strstr(seen.head, "Expect"));
    assert_null(strstr(seen.head, "Accept-Encoding"));
    assert_null(strstr(seen.head, "Cookie"));
    free(seen.head);
    buffer_free(&seen.body);
}

static void each_request_has_its_own_method_path_and_body(void **state) {
    (void)state;
    static const char *const typed[] = {"Content-Type: text/xml; charset=utf-8", NULL};
    const struct {
        struct http_request request;
        const char *path;
    } cases[] = {
        {{.method = "GET", .path = "/folder/a%20b.vmdk?dcPath=DC0&dsName=x"}, "/folder/a%20b.vmdk?dcPath=DC0&dsName=x"},
        {{.method = "POST", .body = "one", .body_len = 3, .headers = typed}, "/sdk"},
        {{.method = "HEAD", .path = "/a/../b"}, "/a/../b"},
        {{.method = "PUT", .path = "/x", .body = "four", .body_len = 4}, "/x"},
        {{.method = "POST"}, "/sdk"},
        {{.method = "DELETE", .path = "/y"}, "/y"},
        {{.method = "GET"}, "/sdk"},
    };
    struct seen seen = {0};
    struct test_tls server = {.cert = &cert, .answer = look, .data = &seen};
    test_tls_start(&server);
    struct http *h = test_http_open(&server, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct context ctx = test_within(10000);
        const struct http_request *r = &cases[i].request;
        struct test_try t = test_http_try(h, r, &ctx);
        assert_int_equal(t.rc, 0);
        assert_string_equal(seen.method, r->method);
        assert_string_equal(seen.path, cases[i].path);
        assert_string_equal(buffer_str(&seen.body), r->body ? r->body : "");
        assert_int_equal(strstr(seen.head, "Content-Type: text/xml; charset=utf-8\r\n") != NULL, r->headers != NULL);
        http_reply_free(&t.reply);
    }
    http_close(h);
    test_tls_stop(&server);
    free(seen.head);
    buffer_free(&seen.body);
}

static void a_large_request_is_sent_without_asking_first(void **state) {
    (void)state;
    size_t len = (size_t)3 << 20;
    cleanup_free char *body = xmalloc(len + 1);
    memset(body, 'x', len);
    body[len] = '\0';
    struct seen seen = {0};
    struct test_tls server = {.cert = &cert, .answer = look, .data = &seen};
    test_tls_start(&server);
    struct http *h = test_http_open(&server, NULL);
    struct context ctx = test_within(20000);
    struct test_try t = test_http_try(h, &(struct http_request){.method = "POST", .body = body, .body_len = len}, &ctx);
    assert_int_equal(t.rc, 0);
    assert_int_equal(seen.body.len, len);
    assert_null(strstr(seen.head, "100-continue"));
    http_reply_free(&t.reply);
    http_close(h);
    test_tls_stop(&server);
    free(seen.head);
    buffer_free(&seen.body);
}

static void a_request_that_would_say_more_than_it_should_is_not_sent(void **state) {
    (void)state;
    static const char *const injected[] = {"SOAPAction: x\r\nHost: evil", NULL};
    const struct {
        struct http_request request;
        const char *why;
    } cases[] = {
        {{.method = "GET", .headers = injected}, "control character"},
        {{.method = "GET", .path = "@evil.example/"}, "does not begin with a slash"},
        {{.method = "GET", .path = "/a\r\nHost: evil"}, "control character"},
    };
    struct test_tls server = {.cert = &cert};
    test_tls_start(&server);
    struct http *h = test_http_open(&server, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct context ctx = test_within(10000);
        struct test_try t = test_http_try(h, &cases[i].request, &ctx);
        assert_int_equal(t.rc, -1);
        assert_int_equal(t.err.code, ERR_USAGE);
        assert_false(t.sent);
        assert_non_null(strstr(t.err.cause, cases[i].why));
    }
    test_http_fine(h, "fine");
    http_close(h);
    test_tls_stop(&server);
    assert_int_equal(atomic_load(&server.requests), 1);
}

/* --- replies --- */

static void give(void *data, const struct test_request *r, struct test_answer *a) {
    (void)r;
    *a = *(const struct test_answer *)data;
}

/* One POST that is answered like this. */
static struct test_try answered(const struct test_answer *like, size_t max_reply) {
    struct test_answer a = *like;
    struct test_tls server = {.cert = &cert, .answer = give, .data = &a};
    test_tls_start(&server);
    struct http *h = test_http_open(&server, &(struct http_config){.max_reply = max_reply});
    struct context ctx = test_within(10000);
    struct test_try t = test_http_post(h, &ctx);
    assert_true(t.sent);
    assert_int_equal(atomic_load(&server.requests), 1);
    http_close(h);
    test_tls_stop(&server);
    return t;
}

static struct error failing(const struct test_answer *like, size_t max_reply) {
    struct test_try t = answered(like, max_reply);
    assert_int_equal(t.rc, -1);
    return t.err;
}

static void every_status_is_a_reply(void **state) {
    (void)state;
    const int statuses[] = {200, 201, 204, 302, 401, 404, 500, 503};
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        /* A redirect is not followed, a login not repeated. */
        bool empty = statuses[i] == 204;
        struct test_try t =
            answered(&(struct test_answer){.status = statuses[i],
                                           .headers = "Location: /elsewhere\r\nWWW-Authenticate: Basic realm=\"x\"\r\n",
                                           .body = empty ? NULL : "why",
                                           .len = empty ? 0 : 3},
                     0);
        assert_int_equal(t.rc, 0);
        assert_int_equal(t.reply.status, statuses[i]);
        assert_string_equal(buffer_str(&t.reply.body), empty ? "" : "why");
        http_reply_free(&t.reply);
        assert_int_equal(t.reply.status, 0);
        assert_null(t.reply.body.data);
    }
}

static void a_reply_of_every_kind_comes_whole(void **state) {
    (void)state;
    size_t len = (size_t)2 << 20;
    cleanup_free char *body = xmalloc(len);
    for (size_t i = 0; i < len; i++)
        body[i] = (char)(i * 31 >> 3);
    for (int chunked = 0; chunked < 2; chunked++) {
        struct test_try t = answered(&(struct test_answer){.body = body, .len = len, .chunked = chunked}, len);
        assert_int_equal(t.rc, 0);
        assert_int_equal(t.reply.body.len, len);
        assert_int_equal(memcmp(t.reply.body.data, body, len), 0);
        http_reply_free(&t.reply);
    }
}

static void what_is_compressed_unasked_stays_so(void **state) {
    (void)state;
    struct test_try t =
        answered(&(struct test_answer){.headers = "Content-Encoding: gzip\r\n", .body = "\x1f\x8b bomb", .len = 7}, 0);
    assert_int_equal(t.rc, 0);
    assert_int_equal(t.reply.body.len, 7);
    assert_memory_equal(t.reply.body.data, "\x1f\x8b bomb", 7);
    http_reply_free(&t.reply);
}

/* --- too much --- */

static void a_reply_over_the_limit_is_refused_while_it_comes(void **state) {
    (void)state;
    static char block[20000];
    memset(block, 'x', sizeof block);
    const struct test_answer answers[] = {
        {.body = block, .len = sizeof block},
        {.body = block, .len = sizeof block, .chunked = true},
        {.body = block, .len = sizeof block, .endless = true},
        {.body = block, .len = 10, .claims = true, .claim = 10001, .then = THEN_SILENT}, /* its word is enough */
        {.raw = "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n", .then = THEN_SILENT},
    };
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        struct error err = failing(&answers[i], 10000);
        assert_int_equal(err.code, ERR_PROTOCOL);
        assert_string_equal(err.cause, "its reply is larger than the limit of 10000 bytes");
        assert_false(err.retry);
    }
    struct test_try t = answered(&(struct test_answer){.body = block, .len = 10000}, 10000);
    assert_int_equal(t.rc, 0);
    assert_int_equal(t.reply.body.len, 10000);
    http_reply_free(&t.reply);
}

static void a_head_without_end_is_refused(void **state) {
    (void)state;
    cleanup_buffer struct buffer many = {0}, one = {0}, early = {0};
    buffer_puts(&many, "HTTP/1.1 200 OK\r\n");
    for (int i = 0; i < 20000; i++)
        buffer_printf(&many, "X-%d: some more of it\r\n", i);
    buffer_puts(&one, "HTTP/1.1 200 OK\r\nX: ");
    for (int i = 0; i < 400000; i++)
        buffer_putc(&one, 'x');
    for (int i = 0; i < 20000; i++)
        buffer_puts(&early, "HTTP/1.1 100 Continue\r\n\r\n");
    const char *const heads[] = {buffer_str(&many), buffer_str(&one), buffer_str(&early)};
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        struct error err = failing(&(struct test_answer){.raw = heads[i], .then = THEN_SILENT}, 0);
        assert_int_equal(err.code, ERR_PROTOCOL);
        assert_non_null(strstr(err.cause, "its reply's head is larger than"));
    }
}

/* --- cut and broken --- */

static void a_reply_that_was_cut_may_be_asked_for_again(void **state) {
    (void)state;
    const struct test_answer answers[] = {
        {.body = "fine", .len = 4, .claims = true, .claim = 1000, .then = THEN_CLOSE},
        {.body = "fine", .len = 4, .claims = true, .claim = 1000, .then = THEN_DROP},
        {.body = "fine", .len = 4, .claims = true, .claim = 1000, .then = THEN_RESET},
        {.body = "fine", .len = 4, .chunked = true, .cut = true, .cut_at = 60, .then = THEN_CLOSE},
        {.body = "fine", .len = 4, .cut = true, .cut_at = 10, .then = THEN_CLOSE},
        {.cut = true, .then = THEN_CLOSE},
        {.cut = true, .then = THEN_DROP},
        {.cut = true, .then = THEN_RESET},
    };
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        struct error err = failing(&answers[i], 0);
        assert_int_equal(err.code, ERR_UNREACHABLE);
        assert_true(err.retry);
        assert_non_null(strstr(err.mend, "the network in between"));
    }
}

static void what_is_not_http_is_told_so(void **state) {
    (void)state;
    const char *const answers[] = {
        "220 smtp.example ESMTP\r\n",
        "HTTP/7.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: minus one\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nfine\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfine and more\r\n0\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        struct error err = failing(&(struct test_answer){.raw = answers[i], .then = THEN_CLOSE}, 0);
        assert_int_equal(err.code, ERR_PROTOCOL);
        assert_false(err.retry);
    }
}

/* --- cookies --- */

static void set_cookies(void *data, const struct test_request *r, struct test_answer *a) {
    (void)data;
    if (strcmp(r->path, "/login") == 0)
        a->headers = "Set-Cookie: vmware_soap_session=\"" TEST_COOKIE "\"; Path=/; HttpOnly; Secure;\r\n"
                     "set-cookie:other = thing ; Domain=elsewhere.example\r\n";
    if (strcmp(r->path, "/logout") == 0)
        a->headers = "Set-Cookie: vmware_soap_session=; Max-Age=0\r\n";
    const char *at = strstr(r->head, "\r\nCookie: ");
    a->body = at ? at + 10 : "none\r\n";
    a->len = strcspn(a->body, "\r");
}

static void ask(struct http *h, const char *path, const char *wanted) {
    struct context ctx = test_within(10000);
    struct test_try t = test_http_try(h, &(struct http_request){.method = "GET", .path = path}, &ctx);
    assert_int_equal(t.rc, 0);
    assert_string_equal(buffer_str(&t.reply.body), wanted);
    http_reply_free(&t.reply);
}

static void a_reply_whose_cookies_are_not_wanted_changes_none(void **state) {
    (void)state;
    const char *both = "vmware_soap_session=\"" TEST_COOKIE "\"; other=thing", *const paths[] = {"/login", "/logout"};
    struct test_tls server = {.cert = &cert, .answer = set_cookies};
    test_tls_start(&server);
    struct http *h = test_http_open(&server, NULL);
    for (int logged_in = 0; logged_in < 2; logged_in++) {
        struct context ctx = test_within(10000);
        const struct http_request late = {.method = "GET", .path = paths[logged_in], .ignore_cookies = true};
        struct test_try t = test_http_try(h, &late, &ctx);
        assert_int_equal(t.rc, 0);
        http_reply_free(&t.reply);
        ask(h, "/login", logged_in ? both : "none");
        ask(h, "/", both);
    }
    http_close(h);
    test_tls_stop(&server);
}

static void *ask_on_thread(void *h) {
    ask(h, "/", "vmware_soap_session=\"" TEST_COOKIE "\"; other=thing");
    return NULL;
}

static void cookies_belong_to_all_connections(void **state) {
    (void)state;
    const char *both = "vmware_soap_session=\"" TEST_COOKIE "\"; other=thing";
    struct test_tls server = {.cert = &cert, .answer = set_cookies};
    test_tls_start(&server);
    struct http *h = test_http_open(&server, NULL);
    ask(h, "/", "none");
    ask(h, "/login", "none");
    ask(h, "/sdk", both);
    pthread_t threads[8];
    for (int i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask_on_thread, h), 0);
    for (int i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
    ask(h, "/logout", both);
    ask(h, "/", "other=thing");
    ask(h, "/login", "other=thing");
    http_forget_cookies(h);
    ask(h, "/", "none");
    http_close(h);
    test_tls_stop(&server);
}

/* --- plain --- */

static void plain_http_works_to_the_loopback(void **state) {
    (void)state;
    struct test_tls server = {0};
    test_tls_start(&server);
    struct http *h = test_http_open(&server, NULL);
    for (int i = 0; i < 3; i++)
        test_http_fine(h, "fine");
    http_close(h);
    test_tls_stop(&server);
    assert_int_equal(atomic_load(&server.accepted), 1);
}

static int set_up(void **state) {
    (void)state;
    test_cert_make(&cert, &(struct test_cert_spec){.name = "vc"});
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    test_cert_free(&cert);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_arrives_as_it_was_given),
        cmocka_unit_test(each_request_has_its_own_method_path_and_body),
        cmocka_unit_test(a_large_request_is_sent_without_asking_first),
        cmocka_unit_test(a_request_that_would_say_more_than_it_should_is_not_sent),
        cmocka_unit_test(every_status_is_a_reply),
        cmocka_unit_test(a_reply_of_every_kind_comes_whole),
        cmocka_unit_test(what_is_compressed_unasked_stays_so),
        cmocka_unit_test(a_reply_over_the_limit_is_refused_while_it_comes),
        cmocka_unit_test(a_head_without_end_is_refused),
        cmocka_unit_test(a_reply_that_was_cut_may_be_asked_for_again),
        cmocka_unit_test(what_is_not_http_is_told_so),
        cmocka_unit_test(cookies_belong_to_all_connections),
        cmocka_unit_test(a_reply_whose_cookies_are_not_wanted_changes_none),
        cmocka_unit_test(plain_http_works_to_the_loopback),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
