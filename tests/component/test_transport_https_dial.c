/* Where HTTPS connects to: through an access, to another address than the URL's, through a proxy or past it. */
#include <errno.h>
#include <fcntl.h>
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

#include "https_check.h"
#include "transport_check.h"
#include "transport_server.h"

static char dir[] = "/tmp/nestor-dial-XXXXXX";
static char ca_file[64];
static struct test_cert ca, named;

/* --- an access: a machine that reaches the server, over a Unix socket as an SSH access gives one --- */

struct relay {
    pthread_t thread;
    int near, far;
};

struct machine {
    struct access access;
    uint16_t port; /* where it really goes */
    struct error refuses;
    bool silent; /* connects, and nobody is there */
    char host[64];
    uint16_t asked_port;
    struct relay relays[8];
    int dials;
};

static void pass_on(int from, int to) {
    char bytes[16384];
    ssize_t n = read(from, bytes, sizeof bytes);
    if (n > 0)
        assert_int_equal(send(to, bytes, (size_t)n, MSG_NOSIGNAL), n);
    else
        shutdown(to, SHUT_RDWR);
}

static void *relay_main(void *arg) {
    struct relay *r = arg;
    struct pollfd fds[] = {{.fd = r->near, .events = POLLIN}, {.fd = r->far, .events = POLLIN}};
    while (!((fds[0].revents | fds[1].revents) & POLLHUP)) {
        poll(fds, 2, -1);
        if (fds[0].revents & POLLIN)
            pass_on(r->near, r->far);
        if (fds[1].revents & POLLIN)
            pass_on(r->far, r->near);
    }
    shutdown(r->near, SHUT_RDWR);
    shutdown(r->far, SHUT_RDWR);
    return NULL;
}

static int machine_dial(struct access *a, const char *host, uint16_t port, int *ret_fd, const struct context *ctx,
                        struct error *err) {
    struct machine *m = (struct machine *)a;
    int pair[2], far;
    snprintf(m->host, sizeof m->host, "%s", host);
    m->asked_port = port;
    if (m->silent)
        return context_sleep(ctx, 60000, "the machine", "dialling", err);
    if (error_is_set(&m->refuses)) {
        if (err)
            *err = m->refuses;
        return -1;
    }
    assert_int_equal(access_dial(access_local(), "127.0.0.1", m->port, &far, ctx, err), 0);
    assert_int_equal(fcntl(far, F_SETFL, 0), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(fcntl(pair[0], F_SETFL, O_NONBLOCK), 0);
    struct relay *r = &m->relays[m->dials++];
    *r = (struct relay){.near = pair[1], .far = far};
    assert_int_equal(pthread_create(&r->thread, NULL, relay_main, r), 0);
    *ret_fd = pair[0];
    return 0;
}

static const struct access_ops machine_ops = {.dial = machine_dial};

static void machine_end(struct machine *m) {
    for (int i = 0; i < m->dials; i++) {
        pthread_join(m->relays[i].thread, NULL);
        close(m->relays[i].near);
        close(m->relays[i].far);
    }
}

static int open_files(void) {
    int n = 0;
    for (int fd = 0; fd < 1024; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

/* --- through an access --- */

static void check_through(const char *scheme, const struct test_cert *cert, int max_version) {
    struct test_tls server = {.cert = cert, .max_version = max_version};
    test_tls_start(&server);
    struct machine m = {.access = {.ops = &machine_ops, .subject = "lab/gh"}, .port = server.port};
    cleanup_free char *url = xasprintf("%s://vc.invalid:4433/sdk", scheme);
    struct http_config config = {.url = url, .trust.ca = cert ? ca_file : NULL, .access = &m.access};
    int before = open_files();
    struct http *h = test_http_open(&server, &config);
    for (int i = 0; i < 5; i++)
        test_http_fine(h, "fine");
    assert_int_equal(m.dials, 1);
    assert_string_equal(m.host, "vc.invalid"); /* which only the machine could resolve */
    assert_int_equal(m.asked_port, 4433);
    cleanup_free char *heads = test_tls_heads(&server);
    assert_non_null(strstr(heads, "\r\nHost: vc.invalid:4433\r\n"));
    http_close(h);
    machine_end(&m);
    test_tls_stop(&server);
    assert_int_equal(atomic_load(&server.accepted), 1);
    assert_int_equal(open_files(), before - 2); /* the server's own two */
}

static void a_server_inside_a_lab_is_reached_through_its_machine(void **state) {
    (void)state;
    check_through("https", &named, 0);
    check_through("https", &named, TLS1_2_VERSION);
    check_through("http", NULL, 0); /* the access is what hides it */
}

static void another_address_is_dialled_but_the_urls_name_is_proved(void **state) {
    (void)state;
    struct test_tls server = {.cert = &named};
    test_tls_start(&server);
    struct http_config config = {
        .url = "https://vc.invalid/sdk", .trust.ca = ca_file, .dial_host = "127.0.0.1", .dial_port = server.port};
    struct http *h = test_http_open(&server, &config);
    test_http_fine(h, "fine");
    test_http_fine(h, "fine");
    assert_int_equal(atomic_load(&server.accepted), 1);
    http_close(h);
    config.url = "https://other.invalid/sdk";
    h = test_http_open(&server, &config);
    struct context ctx = test_within(10000);
    struct test_try t = test_http_post(h, &ctx);
    assert_int_equal(t.err.code, ERR_AUTH);
    assert_non_null(strstr(t.err.cause, "ostname mismatch"));
    assert_non_null(strstr(t.err.cause, "that it is other.invalid"));
    assert_false(t.sent);
    http_close(h);
    test_tls_stop(&server);
    assert_int_equal(atomic_load(&server.requests), 2);
}

static void a_refused_dial_is_told_in_its_own_words(void **state) {
    (void)state;
    struct machine m = {.access = {.ops = &machine_ops, .subject = "lab/gh"}};
    error_set(&m.refuses, ERR_UNSUPPORTED, "lab/gh", "its SSH server forwards nothing");
    error_mend(&m.refuses, "allow it");
    m.refuses.native = -34;
    m.refuses.retry = true;
    struct http_config config = {
        .subject = "host vc", .url = "https://vc.invalid/", .trust.insecure = true, .access = &m.access};
    struct context ctx = test_within(10000);
    struct error err = {0};
    struct http *h = NULL;
    bool sent = true;
    struct http_reply reply = {0};
    int before = open_files();
    assert_int_equal(http_open(&config, &h, NULL), 0);
    for (int i = 0; i < 2; i++) {
        error_clear(&err);
        assert_int_equal(
            http_perform(h, &(struct http_request){.method = "POST"}, &reply, &sent, &ctx, i == 0 ? &err : NULL), -1);
        assert_false(sent);
        if (i == 0)
            assert_memory_equal(&err, &m.refuses, sizeof err);
    }
    http_close(h);
    assert_int_equal(open_files(), before);
}

static void a_dial_ends_with_its_caller(void **state) {
    (void)state;
    struct machine m = {.access = {.ops = &machine_ops, .subject = "lab/gh"}, .silent = true};
    struct http_config config = {
        .subject = "host vc", .url = "https://vc.invalid/", .trust.insecure = true, .access = &m.access};
    struct http *h = NULL;
    assert_int_equal(http_open(&config, &h, NULL), 0);
    struct test_cancel c;
    struct context ctx = test_cancel_start(&c, 100);
    struct error err = {0};
    struct http_reply reply = {0};
    int64_t start = clock_ms();
    assert_int_equal(http_perform(h, &(struct http_request){.method = "POST"}, &reply, NULL, &ctx, &err), -1);
    test_cancel_end(&c);
    assert_int_equal(err.code, ERR_CANCELLED);
    assert_string_equal(err.cause, "interrupted while dialling");
    assert_true(clock_ms() - start < 5000);
    http_close(h);
}

static void nobody_at_the_dialled_address_is_told_as_by_the_access(void **state) {
    (void)state;
    struct http_config config = {.subject = "host vc",
                                 .url = "https://vc.invalid/",
                                 .trust.insecure = true,
                                 .dial_host = "127.0.0.1",
                                 .dial_port = test_free_port()};
    struct http *h = NULL;
    assert_int_equal(http_open(&config, &h, NULL), 0);
    struct context ctx = test_within(10000);
    struct error err = {0}, direct = {0};
    struct http_reply reply = {0};
    int fd;
    assert_int_equal(http_perform(h, &(struct http_request){.method = "POST"}, &reply, NULL, &ctx, &err), -1);
    assert_int_equal(access_dial(access_local(), config.dial_host, config.dial_port, &fd, &ctx, &direct), -1);
    assert_memory_equal(&err, &direct, sizeof err);
    assert_int_equal(err.code, ERR_CONNECT_REFUSED);
    http_close(h);
}

/* --- proxies --- */

static char heard[4096];

static void hear(void *data, int fd) {
    (void)data;
    ssize_t n = recv(fd, heard, sizeof heard - 1, 0);
    heard[n > 0 ? n : 0] = '\0';
    static const char no[] = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
    send(fd, no, sizeof no - 1, MSG_NOSIGNAL);
}

static void a_proxy_of_the_environment_is_used_but_not_to_the_loopback_or_a_machine(void **state) {
    (void)state;
    struct test_listener proxy;
    struct test_tls server = {.cert = &named};
    test_listener_start(&proxy, hear, NULL);
    test_tls_start(&server);
    cleanup_free char *url = xasprintf("http://127.0.0.1:%u", proxy.port);
    setenv("https_proxy", url, 1);
    setenv("http_proxy", url, 1);
    setenv("all_proxy", url, 1);

    struct http *h = test_http_open(&server, NULL);
    test_http_fine(h, "fine");
    http_close(h);

    struct http_config machine = {
        .url = "https://vc.invalid/sdk", .trust.ca = ca_file, .dial_host = "127.0.0.1", .dial_port = server.port};
    h = test_http_open(&server, &machine);
    test_http_fine(h, "fine");
    http_close(h);
    assert_string_equal(heard, "");

    struct http_config far = {.url = "https://vc.invalid/sdk"};
    h = test_http_open(&server, &far);
    struct context ctx = test_within(10000);
    struct test_try t = test_http_post(h, &ctx);
    assert_int_equal(t.rc, -1);
    assert_int_equal(t.err.code, ERR_UNREACHABLE);
    assert_non_null(strstr(t.err.cause, "CONNECT tunnel failed, response 403"));
    assert_false(t.sent);
    http_close(h);
    test_listener_stop(&proxy);
    assert_non_null(strstr(heard, "CONNECT vc.invalid:443 HTTP/1.1\r\n"));
    assert_null(strstr(heard, "c2VjcmV0")); /* what is the server's is not the proxy's */
    unsetenv("https_proxy");
    unsetenv("http_proxy");
    unsetenv("all_proxy");
    test_tls_stop(&server);
}

static int set_up(void **state) {
    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(ca_file, sizeof ca_file, "%s/ca.pem", dir);
    test_cert_make(&ca, &(struct test_cert_spec){.name = "CA", .ca = true});
    test_cert_make(&named, &(struct test_cert_spec){.name = "vc", .san = "DNS:vc.invalid", .issuer = &ca});
    test_cert_write(&ca, ca_file);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    test_cert_free(&ca);
    test_cert_free(&named);
    unlink(ca_file);
    return rmdir(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_server_inside_a_lab_is_reached_through_its_machine),
        cmocka_unit_test(another_address_is_dialled_but_the_urls_name_is_proved),
        cmocka_unit_test(a_refused_dial_is_told_in_its_own_words),
        cmocka_unit_test(a_dial_ends_with_its_caller),
        cmocka_unit_test(nobody_at_the_dialled_address_is_told_as_by_the_access),
        cmocka_unit_test(a_proxy_of_the_environment_is_used_but_not_to_the_loopback_or_a_machine),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
