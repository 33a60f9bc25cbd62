/* A TLS server for tests, on a free port of 127.0.0.1: a thread per connection, certificates made as they are needed,
 * and per request whatever a good or a bad server may do. It counts, and remembers what arrived.
 */
#ifndef TLS_SERVER_H
#define TLS_SERVER_H

#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>

#include "nestor/buffer.h"
#include "nestor/context.h"

/* --- certificates --- */

struct test_cert {
    X509 *cert;
    EVP_PKEY *key;
    char thumbprint[96]; /* SHA-256, "AB:CD:..." */
};
struct test_cert_spec {
    const char *name;               /* CN */
    const char *san;                /* "IP:127.0.0.1,DNS:localhost"; NULL: none */
    const struct test_cert *issuer; /* NULL: signed by itself */
    bool ca;
    bool rsa;     /* else P-256 */
    bool expired; /* since yesterday */
};
void test_cert_make(struct test_cert *c, const struct test_cert_spec *spec);
void test_cert_write(const struct test_cert *c, const char *path); /* PEM, without the key */
void test_cert_free(struct test_cert *c);

/* --- the server --- */

struct test_request {
    char method[16], path[256];
    const char *head; /* all lines, as text */
    struct buffer body;
    int connection; /* the how-manieth, from 1 */
    int nth;        /* on this connection, from 1 */
};

enum test_then {
    THEN_GO_ON,  /* the next request */
    THEN_CLOSE,  /* says goodbye in TLS, but has not announced it in HTTP */
    THEN_DROP,   /* closes without goodbye */
    THEN_RESET,  /* TCP RST */
    THEN_SILENT, /* nothing more until the other side goes */
};

struct test_answer {
    int status;          /* 0: 200 */
    const char *headers; /* more of them, each with its end; may be NULL */
    const char *body;    /* NULL: empty */
    size_t len;
    bool chunked;
    bool endless; /* the body again and again until the other side goes */
    bool claims;  /* a Content-Length of: */
    size_t claim;
    const char *raw; /* all of the answer, in place of the above */
    bool cut;        /* after cut_at bytes of head and body, then does: */
    size_t cut_at;
    const atomic_int *gate; /* then waits until it opens: is at least gate_at; NULL: open */
    int gate_at;
    enum test_then then;
};

enum test_greeting {
    GREETS,          /* a handshake, and requests */
    GREETS_SILENTLY, /* accepts, and never speaks */
    GREETS_AND_GOES, /* closes in the middle of the handshake */
    GREETS_WITH_RST,
    GREETS_IN_PLAIN, /* with text that is not TLS */
};

struct test_tls {
    /* set before the start */
    const struct test_cert *cert; /* NULL: plain HTTP */
    enum test_greeting greeting;
    int max_version; /* TLS1_2_VERSION; 0: any */
    void (*answer)(void *data, const struct test_request *request, struct test_answer *answer); /* many threads */
    void *data;

    uint16_t port;
    atomic_int accepted, handshakes, resumed, requests, open;
    atomic_long bytes; /* of requests: what was inside TLS */

    SSL_CTX *ctx;
    int fd, stop;
    pthread_t thread;
    pthread_mutex_t lock;
    struct test_tls_connection *connections;
    struct buffer heads; /* of all requests, one after the other */
};
void test_tls_start(struct test_tls *s);
void test_tls_stop(struct test_tls *s);
/* The heads of all requests so far; caller frees. */
char *test_tls_heads(struct test_tls *s);
/* Waits until *value is at least n, ten seconds at most. */
void test_await(const atomic_int *value, int n);
/* The same for at most. */
void test_await_down(const atomic_int *value, int n);

#endif
