/* HTTPS to one server: calls of many threads over a pool of kept-alive connections (libcurl; transport/https.c).
 *
 * Thread rules: one `struct http` is used by any number of threads at once; each call is independent and blocks.
 * A call takes an idle connection or makes one; beyond `connections` it waits its turn.
 * Who is at the other end is proved on every connection, or the connection is not used (enum http_trust). Redirects
 * are not followed: a login must not be sent where a reply points. Cookies set by the server are kept in memory, by
 * name, unless a request says otherwise, and sent with every request. Proxies of the environment (https_proxy,
 * no_proxy) are used as curl does, but not to a loopback address nor through an access. The errors' `native` is 0, or
 * what access_dial put there: it is free for numbers of the protocol spoken over this.
 */
#ifndef NESTOR_HTTP_H
#define NESTOR_HTTP_H

#include "nestor/buffer.h"
#include "nestor/context.h"
#include "nestor/error.h"
#include "nestor/transport.h"

struct http;

/* How the server proves who it is. The first that is given counts. */
struct http_trust {
    bool insecure;          /* it need not: every user of this says so on every run */
    const char *thumbprint; /* SHA-256 of its certificate (DER), hex digits with or without colons: no name and no CA
                             * is looked at then. As ThumbprintSHA256 in `govc about.cert -json` shows it */
    const char *ca;         /* PEM file of the CAs that count instead of the system's; names are checked */
};

/* Everything is borrowed until http_close. */
struct http_config {
    const char *subject; /* "host vc": for messages */
    const char *url;     /* "https://vcenter.example/sdk": the default path of requests. User and password in it are
                          * refused (ERR_USAGE); `http:` only to a loopback address or through a non-local access */
    struct http_trust trust;
    struct access *access; /* connections are dialled through it (transport.h) */
    const char *dial_host; /* connect there instead of to the URL's host: a machine inside a lab; NULL */
    uint16_t dial_port;
    uint32_t connections; /* most at once; 0: 64. One of whose replies one in eight comes within 10 ms
                           * gets 8, which keep it busy */
    size_t max_reply;     /* bytes of one body; 0: 64 MiB. More is ERR_PROTOCOL, found while it comes */
};

/* Makes no connection yet. ERR_USAGE: the URL or the thumbprint is malformed; ERR_NOT_FOUND: no such CA file. */
int http_open(const struct http_config *config, struct http **ret, struct error *err) NESTOR_CHECKED;
/* NULL-safe. No call may be under way. */
void http_close(struct http *h);

struct http_request {
    const char *method;         /* "POST" */
    const char *path;           /* NULL: the URL's own; else absolute, on the same server */
    const char *const *headers; /* "Name: value" lines, ends with NULL; may be NULL */
    const void *body;           /* borrowed for the call; may be NULL */
    size_t body_len;
    bool ignore_cookies; /* those of its reply are not kept */
};

struct http_reply {
    long status;        /* 200 ... */
    struct buffer body; /* as it was sent, never unpacked. If the server gave neither a length nor chunks, it ends where
                         * the connection did, and may have been cut */
};
void http_reply_free(struct http_reply *r); /* empties it; NULL-safe */
#define cleanup_http_reply __attribute__((cleanup(http_reply_free)))

/* One exchange, never repeated by itself once a byte of the request may have reached the server. A kept connection that
 * was closed, or idle for more than ten seconds, is replaced before anything is sent on it. One that ends while the
 * request is on its way is ERR_UNREACHABLE with `sent`, even if no byte of a reply came: the server may have acted.
 * Returns 0 whatever the status.
 *
 *   ERR_CONNECT_REFUSED, ERR_UNREACHABLE   retry set; `sent` tells whether the server may have acted on it
 *                  (and access_dial's own errors, unchanged)
 *   ERR_AUTH       the certificate does not prove it; the mend names the certificate's thumbprint. Nothing was sent
 *   ERR_PROTOCOL   not HTTP, or a body over max_reply
 *   ERR_TIMEOUT, ERR_CANCELLED   the context's end
 *
 * *ret_sent (may be NULL) is set on failure too: false means that the server has seen nothing of the request. */
int http_perform(struct http *h, const struct http_request *request, struct http_reply *ret, bool *ret_sent,
                 const struct context *ctx, struct error *err) NESTOR_CHECKED;

/* Drops all cookies: a session that is over. */
void http_forget_cookies(struct http *h);

/* How many calls are of use at the same time, as the server answers now: more only wait for their turn. */
uint32_t http_at_once(struct http *h);

/* How many requests went out since http_open: for benchmarks and for tests of round trips. */
unsigned long http_exchanges(const struct http *h);

#endif
