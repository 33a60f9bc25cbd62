/* What the files behind nestor/http.h share.
 *
 *   https.c             the URL, the whole, http_perform
 *   https_pool.c        who gets which connection, and who waits for one
 *   https_connection.c  one exchange over one connection: libcurl
 *   https_tls.c         is it the right server: OpenSSL
 *   https_cookies.c     what the server wants to hear again
 */
#ifndef TRANSPORT_HTTPS_H
#define TRANSPORT_HTTPS_H

#include <pthread.h>
#include <stdatomic.h>

#include "nestor/http.h"
#include "transport/http_curl.h"

/* --- who the server must be (https_tls.c) --- */

#define THUMBPRINT_LEN 32                    /* SHA-256 */
#define THUMBPRINT_TEXT (THUMBPRINT_LEN * 3) /* "AB:CD:...", with its end */

struct https_trust; /* read only once made: any number of threads */

/* host: as certificates name it, an IPv6 address without brackets; copied. */
int https_trust_new(const struct http_trust *given, const char *host, const char *subject, struct https_trust **ret,
                    struct error *err) NESTOR_CHECKED;
void https_trust_free(struct https_trust *t); /* NULL-safe */
/* Whether CAs and names count. */
bool https_trust_names(const struct https_trust *t);

/* What one connection's handshake has shown. */
struct https_proof {
    const struct https_trust *trust; /* NULL: no TLS, so nothing to prove */
    void (*on_done)(void *data);     /* called when the handshake has ended well, and perhaps later on */
    void *data;
    bool proved;  /* without this no request goes out */
    bool refused; /* a certificate was shown and does not do; why: */
    int reason;   /* X509_V_ERR_... */
    bool garbled; /* what came was not TLS, or not one both sides speak */
    char thumbprint[THUMBPRINT_TEXT];
    char name[65]; /* the certificate's common name, printable */
};
/* Makes the handshake that is about to begin prove the server: ssl_ctx is what CURLOPT_SSL_CTX_FUNCTION is given. The
 * proof stays until the connection is closed. False: OpenSSL failed. */
bool https_proof_begin(struct https_proof *p, void *ssl_ctx);
/* ERR_AUTH about a certificate that did not do; why: if it was not the proof that refused it. */
int https_proof_error(const struct https_proof *p, const char *why, const char *subject, struct error *err);

/* --- cookies (https_cookies.c) --- */

#define COOKIES_MAX 32

/* One server's, by name alone: they come from it and go to it, whatever path or domain they name. */
struct https_cookies {
    pthread_mutex_t lock;
    atomic_uint generation;   /* grows with each change */
    char *pairs[COOKIES_MAX]; /* "name=value" */
    size_t n;
};
void https_cookies_init(struct https_cookies *k);
void https_cookies_free(struct https_cookies *k); /* wipes */
void https_cookies_forget(struct https_cookies *k);
/* A line of a reply's head, n bytes: keeps it if it sets a cookie. */
void https_cookies_hear(struct https_cookies *k, const char *line, size_t n);
/* "Cookie: a=b; c=d" into *line, empty when there is none, unless *generation says that it is that already. */
void https_cookies_say(struct https_cookies *k, unsigned *generation, struct buffer *line);

/* --- one connection (https_connection.c) --- */

struct https_exchange;

struct https_connection {
    struct http *http;
    struct https_connection *next; /* in a list of the pool */
    CURLM *multi;                  /* one each, so that a call waits for its own transfer and its own context only */
    CURL *easy;
    int fd;          /* of the kept connection; -1: none */
    int64_t used_at; /* clock_ms of the last exchange's end */
    struct https_proof proof;
    char *path; /* which libcurl was told last */
    struct curl_slist nowhere;
    struct curl_slist *lines;
    size_t lines_max;
    struct buffer cookie_line;
    unsigned cookie_generation;
    struct https_exchange *now; /* the one under way */
    char message[CURL_ERROR_SIZE];
};
struct https_connection *https_connection_new(struct http *h);
/* Closes its connection and gives back what libcurl needs for one. */
void https_connection_close(struct https_connection *c);
void https_connection_free(struct https_connection *c);
static inline bool https_connection_is_kept(const struct https_connection *c) { return c->fd >= 0; }
/* http_perform on this connection, or on a new one in its place. */
int https_connection_perform(struct https_connection *c, const struct http_request *request, struct http_reply *ret,
                             bool *ret_sent, const struct context *ctx, struct error *err) NESTOR_CHECKED;

/* --- the pool (https_pool.c) --- */

struct https_turn;

struct https_pool {
    pthread_mutex_t lock;
    uint32_t made, used, max;
    struct https_connection *kept;   /* idle, the last used first */
    struct https_connection *bare;   /* idle, without a connection */
    int64_t swept_at;                /* when those that were kept for too long were last looked for */
    struct https_turn *first, *last; /* those who wait, in the order they came */
};
void https_pool_init(struct https_pool *p, uint32_t max);
void https_pool_close(struct https_pool *p);
int https_pool_take(struct http *h, struct https_connection **ret, const struct context *ctx,
                    struct error *err) NESTOR_CHECKED;
uint32_t https_pool_at_once(struct http *h);
/* How long a reply took, from its request to its end. */
void https_pool_note(struct http *h, int64_t took_ms);
void https_pool_give(struct http *h, struct https_connection *c);

/* --- the whole --- */

/* A server ends idle connections after a time of its own; one that was idle for long is replaced before it is tried,
 * because a request that meets the end of its connection may or may not have been seen. */
#define HTTPS_IDLE_MS 10000

struct http {
    struct http_config config; /* with the defaults filled in; what it points at is the caller's */
    int64_t idle_ms;           /* HTTPS_IDLE_MS, or what a test wants */
    bool tls;
    bool dialled;  /* through config.access, not by libcurl */
    bool no_proxy; /* of the environment */
    char *origin;  /* "https://vcenter.example:8443" */
    char *path;    /* "/sdk" */
    char *host;    /* without brackets */
    uint16_t port;
    struct https_trust *trust; /* NULL without TLS */
    CURLSH *share;             /* names that were looked up, by any connection */
    pthread_mutex_t share_locks[CURL_LOCK_DATA_LAST];
    struct https_cookies cookies;
    struct https_pool pool;
    atomic_ulong exchanges;
    _Atomic uint64_t pace; /* a bit for each of the last 64 replies: it came at once */
    atomic_uint replies;   /* all so far */
};

#endif
