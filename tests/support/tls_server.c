#include "tls_server.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

/* --- certificates --- */

static void add_extension(X509 *cert, X509 *issuer, int nid, const char *value) {
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    assert_non_null(e);
    assert_true(X509_add_ext(cert, e, -1));
    X509_EXTENSION_free(e);
}

static void note_thumbprint(struct test_cert *c) {
    unsigned char bytes[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    assert_true(X509_digest(c->cert, EVP_sha256(), bytes, &n));
    for (unsigned i = 0; i < n; i++)
        snprintf(c->thumbprint + 3 * i, 4, "%02X%s", bytes[i], i + 1 < n ? ":" : "");
}

void test_cert_make(struct test_cert *c, const struct test_cert_spec *spec) {
    static atomic_int serial = 1;
    c->key = spec->rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256");
    c->cert = X509_new();
    assert_non_null(c->key);
    const struct test_cert *issuer = spec->issuer ? spec->issuer : c;
    X509_NAME *name = X509_get_subject_name(c->cert);
    X509_set_version(c->cert, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(c->cert), atomic_fetch_add(&serial, 1));
    X509_gmtime_adj(X509_getm_notBefore(c->cert), -10L * 86400);
    X509_gmtime_adj(X509_getm_notAfter(c->cert), (spec->expired ? -1L : 10L) * 86400);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)spec->name, -1, -1, 0);
    X509_set_issuer_name(c->cert, X509_get_subject_name(issuer->cert));
    X509_set_pubkey(c->cert, c->key);
    add_extension(c->cert, issuer->cert, NID_basic_constraints, spec->ca ? "critical,CA:TRUE" : "CA:FALSE");
    if (spec->san)
        add_extension(c->cert, issuer->cert, NID_subject_alt_name, spec->san);
    assert_true(X509_sign(c->cert, issuer->key, EVP_sha256()) > 0);
    note_thumbprint(c);
}

void test_cert_write(const struct test_cert *c, const char *path) {
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    assert_true(PEM_write_X509(f, c->cert));
    assert_int_equal(fclose(f), 0);
}

void test_cert_free(struct test_cert *c) {
    X509_free(c->cert);
    EVP_PKEY_free(c->key);
    *c = (struct test_cert){0};
}

/* --- one connection --- */

struct test_tls_connection {
    struct test_tls_connection *next;
    struct test_tls *server;
    pthread_t thread;
    int fd; /* closed when the thread is joined, so that its number is not taken by another */
    SSL *ssl;
    int number;
    char read_ahead[65536];
    size_t have;
};

static ssize_t receive(struct test_tls_connection *c, void *to, size_t n) {
    if (!c->ssl)
        return recv(c->fd, to, n, 0);
    ERR_clear_error();
    return SSL_read(c->ssl, to, (int)n);
}

static bool deliver(struct test_tls_connection *c, const char *from, size_t n) {
    while (n > 0) {
        ERR_clear_error();
        int part = n < 16384 ? (int)n : 16384;
        ssize_t m = c->ssl ? SSL_write(c->ssl, from, part) : send(c->fd, from, (size_t)part, MSG_NOSIGNAL);
        if (m <= 0)
            return false;
        from += m;
        n -= (size_t)m;
    }
    return true;
}

static bool read_more(struct test_tls_connection *c) {
    ssize_t n = receive(c, c->read_ahead + c->have, sizeof c->read_ahead - 1 - c->have);
    if (n <= 0)
        return false;
    c->have += (size_t)n;
    atomic_fetch_add(&c->server->bytes, n);
    return true;
}

static void consume(struct test_tls_connection *c, size_t n) {
    memmove(c->read_ahead, c->read_ahead + n, c->have - n);
    c->have -= n;
}

static bool read_body(struct test_tls_connection *c, size_t len, struct buffer *body) {
    while (body->len < len) {
        if (c->have == 0 && !read_more(c))
            return false;
        size_t part = c->have < len - body->len ? c->have : len - body->len;
        buffer_append(body, c->read_ahead, part);
        consume(c, part);
    }
    return true;
}

static bool read_request(struct test_tls_connection *c, struct test_request *r, char **head) {
    char *end;
    for (;;) {
        c->read_ahead[c->have] = '\0';
        end = strstr(c->read_ahead, "\r\n\r\n");
        if (end)
            break;
        if (!read_more(c))
            return false;
    }
    size_t n = (size_t)(end - c->read_ahead) + 4;
    *head = xstrndup(c->read_ahead, n);
    consume(c, n);
    r->head = *head;
    if (sscanf(*head, "%15s %255s", r->method, r->path) != 2)
        return false;
    const char *length = strcasestr(*head, "\r\nContent-Length:");
    return !length || read_body(c, strtoul(length + 17, NULL, 10), &r->body);
}

static void add_chunks(struct buffer *out, const char *body, size_t len) {
    for (size_t at = 0; at < len; at += 1000) {
        size_t n = len - at < 1000 ? len - at : 1000;
        buffer_printf(out, "%zx\r\n", n);
        buffer_append(out, body + at, n);
        buffer_puts(out, "\r\n");
    }
    buffer_puts(out, "0\r\n\r\n");
}

static void write_answer(const struct test_answer *a, bool head_only, struct buffer *out) {
    if (a->raw) {
        buffer_puts(out, a->raw);
        return;
    }
    buffer_printf(out, "HTTP/1.1 %d Whatever\r\n%s", a->status ? a->status : 200, a->headers ? a->headers : "");
    if (a->chunked)
        buffer_puts(out, "Transfer-Encoding: chunked\r\n\r\n");
    else if (a->endless && !a->claims)
        buffer_puts(out, "Connection: close\r\n\r\n");
    else
        buffer_printf(out, "Content-Length: %zu\r\n\r\n", a->claims ? a->claim : a->len);
    if (head_only)
        return;
    if (a->chunked)
        add_chunks(out, a->body, a->len);
    else
        buffer_append(out, a->body, a->len);
}

static void wait_for_end(struct test_tls_connection *c) {
    char byte;
    while (receive(c, &byte, 1) > 0)
        continue;
}

static void reset(struct test_tls_connection *c) {
    struct linger now = {.l_onoff = 1};
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

/* False: that was the last one on this connection. */
static bool answer(struct test_tls_connection *c, const struct test_request *r) {
    struct test_answer a = {.body = "fine", .len = 4};
    cleanup_buffer struct buffer out = {0};
    if (c->server->answer)
        c->server->answer(c->server->data, r, &a);
    write_answer(&a, strcmp(r->method, "HEAD") == 0, &out);
    size_t n = a.cut && a.cut_at < out.len ? a.cut_at : out.len;
    if (!deliver(c, out.data, n))
        return false;
    while (a.endless)
        if (!deliver(c, a.body, a.len))
            return false;
    if (a.gate)
        test_await(a.gate, a.gate_at);
    if (a.then == THEN_SILENT)
        wait_for_end(c);
    if (a.then == THEN_RESET)
        reset(c);
    if (a.then == THEN_CLOSE && c->ssl)
        SSL_shutdown(c->ssl);
    return a.then == THEN_GO_ON;
}

static void serve(struct test_tls_connection *c) {
    struct test_tls *s = c->server;
    for (int nth = 1;; nth++) {
        struct test_request r = {.connection = c->number, .nth = nth};
        cleanup_free char *head = NULL;
        bool whole = read_request(c, &r, &head);
        if (whole) {
            pthread_mutex_lock(&s->lock);
            buffer_puts(&s->heads, head);
            pthread_mutex_unlock(&s->lock);
            atomic_fetch_add(&s->requests, 1);
        }
        bool on = whole && answer(c, &r);
        buffer_free(&r.body);
        if (!on)
            return;
    }
}

/* False: no requests will come. */
static bool greet(struct test_tls_connection *c) {
    struct test_tls *s = c->server;
    char byte;
    if (s->greeting == GREETS_SILENTLY) {
        wait_for_end(c);
        return false;
    }
    if (s->greeting != GREETS) {
        recv(c->fd, &byte, 1, 0);
        if (s->greeting == GREETS_IN_PLAIN)
            deliver(c, "220 smtp.example ESMTP\r\n", 24);
        if (s->greeting == GREETS_WITH_RST)
            reset(c);
        return false;
    }
    if (!s->cert)
        return true;
    SSL *ssl = SSL_new(s->ctx);
    SSL_set_fd(ssl, c->fd);
    bool fine = SSL_accept(ssl) == 1;
    c->ssl = ssl;
    if (fine) {
        atomic_fetch_add(&s->handshakes, 1);
        atomic_fetch_add(&s->resumed, SSL_session_reused(ssl));
    }
    return fine;
}

static void *connection_main(void *arg) {
    struct test_tls_connection *c = arg;
    sigset_t pipe;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE); /* of our own writes; the client's are under test */
    pthread_sigmask(SIG_BLOCK, &pipe, NULL);
    if (greet(c))
        serve(c);
    SSL_free(c->ssl);
    /* Only the end of it, here: closing would give its number away. With SO_LINGER 0 it is the close that resets. */
    struct linger l = {0};
    socklen_t n = sizeof l;
    getsockopt(c->fd, SOL_SOCKET, SO_LINGER, &l, &n);
    pthread_mutex_lock(&c->server->lock);
    if (l.l_onoff)
        cleanup_closep(&c->fd);
    else
        shutdown(c->fd, SHUT_RDWR);
    pthread_mutex_unlock(&c->server->lock);
    atomic_fetch_sub(&c->server->open, 1);
    return NULL;
}

/* --- the server --- */

static void connection_start(struct test_tls *s, int fd) {
    struct test_tls_connection *c = xcalloc(1, sizeof *c);
    c->server = s;
    c->fd = fd;
    c->number = atomic_fetch_add(&s->accepted, 1) + 1;
    atomic_fetch_add(&s->open, 1);
    pthread_mutex_lock(&s->lock);
    c->next = s->connections;
    s->connections = c;
    pthread_mutex_unlock(&s->lock);
    assert_int_equal(pthread_create(&c->thread, NULL, connection_main, c), 0);
}

static void *server_main(void *arg) {
    struct test_tls *s = arg;
    for (;;) {
        struct pollfd fds[] = {{.fd = s->stop, .events = POLLIN}, {.fd = s->fd, .events = POLLIN}};
        poll(fds, 2, -1);
        if (fds[0].revents)
            return NULL;
        int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0)
            connection_start(s, fd);
    }
}

static void listen_any(struct test_tls *s) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof at;
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(s->fd >= 0);
    assert_int_equal(bind(s->fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(s->fd, 128), 0);
    assert_int_equal(getsockname(s->fd, (struct sockaddr *)&at, &n), 0);
    s->port = ntohs(at.sin_port);
}

void test_tls_start(struct test_tls *s) {
    pthread_mutex_init(&s->lock, NULL);
    if (s->cert) {
        s->ctx = SSL_CTX_new(TLS_server_method());
        assert_non_null(s->ctx);
        assert_true(SSL_CTX_use_certificate(s->ctx, s->cert->cert));
        assert_true(SSL_CTX_use_PrivateKey(s->ctx, s->cert->key));
        assert_true(SSL_CTX_set_max_proto_version(s->ctx, s->max_version));
    }
    listen_any(s);
    s->stop = eventfd(0, EFD_CLOEXEC);
    assert_int_equal(pthread_create(&s->thread, NULL, server_main, s), 0);
}

void test_tls_stop(struct test_tls *s) {
    uint64_t one = 1;
    assert_int_equal(write(s->stop, &one, sizeof one), sizeof one);
    pthread_join(s->thread, NULL);
    pthread_mutex_lock(&s->lock);
    for (struct test_tls_connection *c = s->connections; c; c = c->next)
        if (c->fd >= 0)
            shutdown(c->fd, SHUT_RDWR);
    pthread_mutex_unlock(&s->lock);
    for (struct test_tls_connection *c = s->connections, *next; c; c = next) {
        next = c->next;
        pthread_join(c->thread, NULL);
        cleanup_closep(&c->fd);
        free(c);
    }
    s->connections = NULL;
    close(s->fd);
    close(s->stop);
    SSL_CTX_free(s->ctx);
    buffer_free(&s->heads);
    pthread_mutex_destroy(&s->lock);
}

char *test_tls_heads(struct test_tls *s) {
    pthread_mutex_lock(&s->lock);
    char *copy = xstrdup(buffer_str(&s->heads));
    pthread_mutex_unlock(&s->lock);
    return copy;
}

static void await(const atomic_int *value, int n, bool down) {
    struct context ctx = context_timeout(NULL, 10000);
    while (down ? atomic_load(value) > n : atomic_load(value) < n)
        if (context_sleep(&ctx, 1, NULL, "waiting for a count", NULL))
            fail_msg("the count is %d, not %d", atomic_load(value), n);
}

void test_await(const atomic_int *value, int n) { await(value, n, false); }
void test_await_down(const atomic_int *value, int n) { await(value, n, true); }
