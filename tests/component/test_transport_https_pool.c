/* The connections of HTTPS: how many, who waits, which are kept, what ends a call, and that nothing is sent twice. */
#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "https_check.h"
#include "transport/https.h"
#include "transport_server.h"

static struct test_cert cert;

/* --- answers --- */

static void echo(void *data, const struct test_request *r, struct test_answer *a) {
    (void)data;
    a->body = buffer_str(&r->body);
    a->len = r->body.len;
}

static void never(void *data, const struct test_request *r, struct test_answer *a) {
    (void)data;
    (void)r;
    a->cut = true;
    a->then = THEN_SILENT;
}

static void half(void *data, const struct test_request *r, struct test_answer *a) {
    (void)data;
    (void)r;
    a->claims = true;
    a->claim = 1000;
    a->then = THEN_SILENT;
}

struct end {
    enum test_then then;
    atomic_int gate; /* how many replies the client has read: before that, a reset would take them away */
};

static void end_after_it(void *data, const struct test_request *r, struct test_answer *a) {
    const struct end *end = data;
    a->then = end->then;
    a->gate = &end->gate;
    a->gate_at = r->connection;
}

/* The second request of a connection is read, and then the connection ends. */
static void end_instead(void *data, const struct test_request *r, struct test_answer *a) {
    if (r->nth == 1)
        return;
    a->cut = true;
    a->then = *(const enum test_then *)data;
}

/* --- how many --- */

#define THREADS 32
#define EACH 50

struct worker {
    struct http *h;
    pthread_t thread;
    int number, failed;
};

static void *work(void *arg) {
    struct worker *w = arg;
    for (int i = 0; i < EACH; i++) {
        struct context ctx = test_within(60000);
        struct http_reply reply = {0};
        char body[64];
        int n = snprintf(body, sizeof body, "this is %d of thread %d", i, w->number);
        struct http_request request = {.method = "POST", .body = body, .body_len = (size_t)n};
        if (http_perform(w->h, &request, &reply, NULL, &ctx, NULL) || strcmp(buffer_str(&reply.body), body) != 0)
            w->failed++;
        http_reply_free(&reply);
    }
    return NULL;
}

static void many_threads_share_few_connections_that_are_kept(void **state) {
    (void)state;
    struct test_tls server = {.cert = &cert, .answer = echo};
    test_tls_start(&server);
    struct http *h = test_http_open(&server, &(struct http_config){.connections = 8});
    struct worker workers[THREADS];
    for (int i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){.h = h, .number = i};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    int failed = 0;
    for (int i = 0; i < THREADS; i++) {
        pthread_join(workers[i].thread, NULL);
        failed += workers[i].failed;
    }
    assert_int_equal(failed, 0);
    assert_int_equal(http_exchanges(h), THREADS * EACH);
    http_close(h);
    test_tls_stop(&server);
    assert_int_equal(atomic_load(&server.requests), THREADS * EACH);
    assert_true(atomic_load(&server.accepted) <= 8);
    assert_int_equal(atomic_load(&server.handshakes), atomic_load(&server.accepted));
}

static void one_thread_needs_one_connection(void **state) {
    (void)state;
    struct test_tls server = {.cert = &cert};
    test_tls_start(&server);
    struct http *h = test_http_open(&server, NULL);
    for (int i = 0; i < 100; i++)
        test_http_fine(h, "fine");
    http_close(h);
    test_tls_stop(&server);
    assert_int_equal(atomic_load(&server.accepted), 1);
    assert_int_equal(atomic_load(&server.requests), 100);
}

/* --- who waits --- */

struct caller {
    struct http *h;
    struct context ctx;
    pthread_t thread;
    struct test_try result;
};

static void *call(void *arg) {
    struct caller *c = arg;
    c->result = test_http_post(c->h, &c->ctx);
    return NULL;
}

static void caller_start(struct caller *c, struct http *h, struct context ctx) {
    *c = (struct caller){.h = h, .ctx = ctx};
    assert_int_equal(pthread_create(&c->thread, NULL, call, c), 0);
}

static void caller_end(struct caller *c) {
    pthread_join(c->thread, NULL);
    http_reply_free(&c->result.reply);
}

static int waiting(struct http *h) {
    int n = 0;
    pthread_mutex_lock(&h->pool.lock);
    n = (h->pool.first != NULL) + (h->pool.first != h->pool.last);
    pthread_mutex_unlock(&h->pool.lock);
    return n;
}

static void await_waiting(struct http *h, int n) {
    struct context ctx = test_within(10000);
    while (waiting(h) != n)
        assert_int_equal(context_sleep(&ctx, 1, NULL, "waiting for the queue", NULL), 0);
}

static void whoever_came_first_gets_the_next_free_connection(void **state) {
    (void)state;
    struct test_tls server = {.cert = &cert, .answer = never};
    test_tls_start(&server);
    struct http *h = test_http_open(&server, &(struct http_config){.connections = 1});
    struct cancel cancels[3];
    struct caller callers[3];
    for (int i = 0; i < 3; i++) {
        assert_int_equal(cancel_init(&cancels[i], NULL), 0);
        caller_start(&callers[i], h, (struct context){.deadline = DEADLINE_NEVER, .cancel = &cancels[i]});
        if (i == 0)
            test_await(&server.requests, 1);
        else
            await_waiting(h, i);
    }
    for (int i = 0; i < 3; i++) {
        test_await(&server.requests, i + 1); /* this one's turn: the others have not been heard */
        assert_int_equal(atomic_load(&server.requests), i + 1);
        cancel_fire(&cancels[i]);
        caller_end(&callers[i]);
        assert_int_equal(callers[i].result.err.code, ERR_CANCELLED);
        assert_true(callers[i].result.sent);
        cancel_destroy(&cancels[i]);
    }
    http_close(h);
    test_tls_stop(&server);
}

static void whoever_gives_up_waiting_is_passed_over(void **state) {
    (void)state;
    struct test_tls server = {.cert = &cert, .answer = never};
    test_tls_start(&server);
    struct http *h = test_http_open(&server, &(struct http_config){.connections = 1});
    struct cancel holds, gives_up, stays;
    struct caller first, second, third;
    assert_int_equal(cancel_init(&holds, NULL), 0);
    assert_int_equal(cancel_init(&gives_up, NULL), 0);
    assert_int_equal(cancel_init(&stays, NULL), 0);
    caller_start(&first, h, (struct context){.deadline = DEADLINE_NEVER, .cancel = &holds});
    test_await(&server.requests, 1);
    caller_start(&second, h, (struct context){.deadline = DEADLINE_NEVER, .cancel = &gives_up});
    await_waiting(h, 1);
    caller_start(&third, h, (struct context){.deadline = DEADLINE_NEVER, .cancel = &stays});
    await_waiting(h, 2);
    cancel_fire(&gives_up);
    caller_end(&second);
    assert_int_equal(second.result.err.code, ERR_CANCELLED);
    assert_string_equal(second.result.err.cause, "interrupted while waiting for a free connection");
    assert_false(second.result.sent);
    cancel_fire(&holds);
    caller_end(&first);
    test_await(&server.requests, 2); /* it has the connection now */
    cancel_fire(&stays);
    caller_end(&third);
    assert_true(third.result.sent);
    cancel_destroy(&holds);
    cancel_destroy(&gives_up);
    cancel_destroy(&stays);
    http_close(h);
    test_tls_stop(&server);
}

/* --- what ends a call --- */

static const struct phase {
    enum test_greeting greeting;
    void (*answer)(void *, const struct test_request *, struct test_answer *);
    const char *what;
    bool sent;
} phases[] = {
    {GREETS_SILENTLY, NULL, "connecting", false},
    {GREETS, never, "waiting for its reply", true},
    {GREETS, half, "reading its reply", true},
};

/* Time enough for a busy machine to come that far, and for what the server said to be read. */
#define FAR_MS 1500
#define READ_MS 300

static void check_phase(const struct phase *p, bool cancelled) {
    struct test_tls server = {.cert = &cert, .greeting = p->greeting, .answer = p->answer};
    test_tls_start(&server);
    struct http *h = test_http_open(&server, NULL);
    struct cancel cancel;
    struct caller caller;
    assert_int_equal(cancel_init(&cancel, NULL), 0);
    struct context ctx = cancelled ? (struct context){.deadline = DEADLINE_NEVER, .cancel = &cancel}
                                   : test_within(p->sent ? FAR_MS : READ_MS);
    caller_start(&caller, h, ctx);
    test_await(p->sent ? &server.requests : &server.accepted, 1);
    if (cancelled)
        usleep(READ_MS * 1000);
    int64_t start = clock_ms();
    if (cancelled)
        cancel_fire(&cancel);
    caller_end(&caller);
    assert_true(clock_ms() - start < 5000);
    struct test_try *t = &caller.result;
    cleanup_free char *cause = xasprintf("%s while %s", cancelled ? "interrupted" : "time ran out", p->what);
    assert_int_equal(t->rc, -1);
    assert_int_equal(t->err.code, cancelled ? ERR_CANCELLED : ERR_TIMEOUT);
    assert_string_equal(t->err.cause, cause);
    assert_int_equal(t->sent, p->sent);
    /* What was cut off is not used again. */
    test_await_down(&server.open, 0);
    server.answer = NULL;
    server.greeting = GREETS;
    test_http_fine(h, "fine");
    assert_int_equal(atomic_load(&server.accepted), 2);
    cancel_destroy(&cancel);
    http_close(h);
    test_tls_stop(&server);
}

static void the_deadline_is_kept_in_every_phase(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof phases / sizeof *phases; i++)
        check_phase(&phases[i], false);
}

static void a_cancel_is_prompt_in_every_phase(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof phases / sizeof *phases; i++)
        check_phase(&phases[i], true);
}

/* A listener whose queue is full: what comes then is dropped, as by a firewall. */
static void the_deadline_is_kept_where_nobody_accepts(void **state) {
    (void)state;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof at;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), fillers[4];
    assert_int_equal(bind(listener, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(listener, 0), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &n), 0);
    for (int i = 0; i < 4; i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (connect(fillers[i], (struct sockaddr *)&at, sizeof at))
            assert_int_equal(errno, EINPROGRESS);
    }
    struct context ctx = test_within(300);
    cleanup_free char *url = xasprintf("https://127.0.0.1:%u/sdk", ntohs(at.sin_port));
    struct http_config config = {.subject = "host vc", .url = url, .trust.insecure = true};
    struct http *h = NULL;
    assert_int_equal(http_open(&config, &h, NULL), 0);
    struct test_try t = test_http_post(h, &ctx);
    assert_int_equal(t.err.code, ERR_TIMEOUT);
    assert_string_equal(t.err.cause, "time ran out while connecting");
    assert_false(t.sent);
    assert_true(t.took < 5000);
    http_close(h);
    for (int i = 0; i < 4; i++)
        close(fillers[i]);
    close(listener);
}

static void a_call_that_is_over_before_it_begins_does_nothing(void **state) {
    (void)state;
    struct test_tls server = {.cert = &cert};
    test_tls_start(&server);
    struct http *h = test_http_open(&server, NULL);
    struct context ctx = test_within(0);
    struct test_try t = test_http_post(h, &ctx);
    assert_int_equal(t.err.code, ERR_TIMEOUT);
    assert_false(t.sent);
    http_close(h);
    test_tls_stop(&server);
    assert_int_equal(atomic_load(&server.accepted), 0);
}

static void nobody_there_is_refused(void **state) {
    (void)state;
    struct http *h = NULL;
    cleanup_free char *url = xasprintf("https://127.0.0.1:%u/sdk", test_free_port());
    struct http_config config = {.subject = "host vc", .url = url, .trust.insecure = true};
    struct context ctx = test_within(10000);
    assert_int_equal(http_open(&config, &h, NULL), 0);
    struct test_try t = test_http_post(h, &ctx);
    assert_int_equal(t.err.code, ERR_CONNECT_REFUSED);
    assert_non_null(strstr(t.err.cause, "Connection refused"));
    assert_non_null(strstr(t.err.mend, "the server runs"));
    assert_true(t.err.retry);
    assert_false(t.sent);
    assert_int_equal(http_exchanges(h), 0);
    http_close(h);
}

/* --- which are kept --- */

static void an_idle_connection_that_ended_is_replaced_before_it_is_used(void **state) {
    (void)state;
    const enum test_then ends[] = {THEN_CLOSE, THEN_DROP, THEN_RESET};
    for (size_t i = 0; i < 3; i++) {
        struct end end = {.then = ends[i]};
        struct test_tls server = {.cert = &cert, .answer = end_after_it, .data = &end};
        test_tls_start(&server);
        struct http *h = test_http_open(&server, NULL);
        for (int n = 1; n <= 3; n++) {
            test_http_fine(h, "fine");
            atomic_store(&end.gate, n);
            test_await_down(&server.open, 0);
            assert_int_equal(atomic_load(&server.accepted), n);
            assert_int_equal(atomic_load(&server.requests), n);
        }
        http_close(h);
        test_tls_stop(&server);
    }
}

static void a_connection_that_was_idle_for_long_is_replaced(void **state) {
    (void)state;
    struct test_tls server = {.cert = &cert};
    test_tls_start(&server);
    struct http *h = test_http_open(&server, NULL);
    assert_int_equal(h->idle_ms, 10000);
    test_http_fine(h, "fine");
    test_http_fine(h, "fine");
    assert_int_equal(atomic_load(&server.accepted), 1);
    h->idle_ms = -1;
    test_http_fine(h, "fine");
    assert_int_equal(atomic_load(&server.accepted), 2);
    test_await_down(&server.open, 1); /* the old one is not only forgotten */
    h->pool.swept_at = 0;
    test_http_fine(h, "fine"); /* and this one is closed at once */
    test_await_down(&server.open, 0);
    http_close(h);
    test_tls_stop(&server);
    assert_int_equal(atomic_load(&server.requests), 4);
}

/* What the server says while nobody asked could be taken for the answer to the next request. */
static void talk_on(void *data, const struct test_request *r, struct test_answer *a) {
    (void)data;
    if (r->nth == 1)
        a->raw = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine"
                 "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged";
}

static void an_answer_nobody_asked_for_is_not_taken_for_the_next_one(void **state) {
    (void)state;
    struct test_tls server = {.cert = &cert, .answer = talk_on};
    test_tls_start(&server);
    struct http *h = test_http_open(&server, NULL);
    for (int i = 0; i < 3; i++)
        test_http_fine(h, "fine");
    http_close(h);
    test_tls_stop(&server);
    assert_int_equal(atomic_load(&server.accepted), 3);
}

/* --- nothing is sent twice --- */

static void a_request_that_met_the_end_of_its_connection_is_not_repeated(void **state) {
    (void)state;
    const enum test_then ends[] = {THEN_CLOSE, THEN_DROP, THEN_RESET};
    const char *const methods[] = {"POST", "GET"};
    for (size_t i = 0; i < 6; i++) {
        struct test_tls server = {.cert = &cert, .answer = end_instead, .data = (void *)&ends[i % 3]};
        test_tls_start(&server);
        struct http *h = test_http_open(&server, NULL);
        struct context ctx = test_within(10000);
        test_http_fine(h, "fine");
        struct test_try t = test_http_try(h, &(struct http_request){.method = methods[i / 3]}, &ctx);
        assert_int_equal(t.rc, -1);
        assert_int_equal(t.err.code, ERR_UNREACHABLE);
        assert_non_null(strstr(t.err.cause, "after the request was sent and before a reply came"));
        assert_true(t.err.retry);
        assert_true(t.sent);
        assert_int_equal(http_exchanges(h), 2);
        test_http_fine(h, "fine"); /* on a new connection */
        http_close(h);
        test_tls_stop(&server);
        assert_int_equal(atomic_load(&server.requests), 3);
        assert_int_equal(atomic_load(&server.accepted), 2);
    }
}

static void a_broken_connection_ends_no_program(void **state) {
    (void)state;
    struct sigaction action;
    assert_int_equal(sigaction(SIGPIPE, NULL, &action), 0);
    assert_true(action.sa_handler == SIG_DFL);
    struct end end = {.then = THEN_RESET};
    struct test_tls server = {.cert = &cert, .answer = end_after_it, .data = &end};
    test_tls_start(&server);
    struct http *h = test_http_open(&server, NULL);
    test_http_fine(h, "fine");
    atomic_store(&end.gate, 1);
    test_await_down(&server.open, 0);
    http_close(h); /* says goodbye to nobody */
    test_tls_stop(&server);
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
        cmocka_unit_test(many_threads_share_few_connections_that_are_kept),
        cmocka_unit_test(one_thread_needs_one_connection),
        cmocka_unit_test(whoever_came_first_gets_the_next_free_connection),
        cmocka_unit_test(whoever_gives_up_waiting_is_passed_over),
        cmocka_unit_test(the_deadline_is_kept_in_every_phase),
        cmocka_unit_test(a_cancel_is_prompt_in_every_phase),
        cmocka_unit_test(the_deadline_is_kept_where_nobody_accepts),
        cmocka_unit_test(a_call_that_is_over_before_it_begins_does_nothing),
        cmocka_unit_test(nobody_there_is_refused),
        cmocka_unit_test(an_idle_connection_that_ended_is_replaced_before_it_is_used),
        cmocka_unit_test(a_connection_that_was_idle_for_long_is_replaced),
        cmocka_unit_test(an_answer_nobody_asked_for_is_not_taken_for_the_next_one),
        cmocka_unit_test(a_request_that_met_the_end_of_its_connection_is_not_repeated),
        cmocka_unit_test(a_broken_connection_ends_no_program),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
