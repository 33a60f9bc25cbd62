/* One exchange over one connection. Each connection is a libcurl handle in a multi handle of its own, and all of it
 * runs on the caller's thread.
 *
 * Never twice: libcurl 7.88 sends a request again by itself when a kept connection ends before the first byte of a
 * reply (Curl_retry_request in lib/transfer.c), a POST too. The server may have acted on the first one, so the second
 * is stopped where it begins (CURLOPT_PREREQFUNCTION, and the socket for it), and the caller hears that the connection
 * was lost. That this is rare is the work of can_be_kept. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "transport/https.h"

#define HEAD_MAX ((size_t)256 << 10) /* bytes of all header lines of a reply, those of 1xx replies too */
/* Of each connection that is in use: libcurl's least for a request, and for a reply a fraction of its 16 KiB. */
#define UPLOAD_BUFFER (16L << 10)
#define REPLY_BUFFER (4L << 10)
/* Longer than the call's context by this, so that it is the context that ends the call. */
#define CONNECT_SLACK_MS 1000

struct https_exchange {
    const struct context *ctx;
    struct error *err;
    bool ignore_cookies;
    struct buffer body;
    size_t head;              /* bytes of header lines so far */
    bool begun;               /* the request may be on its way */
    bool again;               /* libcurl wanted to send it a second time */
    bool unproved;            /* libcurl wanted to send it to somebody who has not proved anything */
    int64_t begun_at;         /* clock_ms */
    bool told;                /* err says already what went wrong */
    int dialled;              /* through the access; until the request begins */
    int stand_in;             /* the same for: a socket that is connected to nowhere */
    int number;               /* under which libcurl has one of the two; -1 unless dialled */
    int opened, socket_errno; /* sockets for libcurl to connect; why there was none */
};

/* --- the socket --- */

/* A dialled socket is given to libcurl behind its back. Told that it is connected (CURL_SOCKOPT_ALREADY_CONNECTED),
 * 7.88 connects it all the same (curl issue 10626); and it keeps no connection whose peer has no address to show
 * (ConnectionExists in lib/url.c), which is so for the Unix sockets of an SSH access. So libcurl has a UDP socket,
 * which is connected at once and sends nothing, when it connects and when it asks for the address. Under the same
 * number it has the dialled one during the handshake and from the first byte of the request on. */
static curl_socket_t dial(const struct http *h, struct https_exchange *e) {
    const struct http_config *to = &h->config;
    e->stand_in = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    e->number = e->stand_in < 0 ? -1 : fcntl(e->stand_in, F_DUPFD_CLOEXEC, 0);
    if (e->number < 0)
        error_set_errno(e->err, errno, to->subject, "cannot make a socket");
    e->told = e->number < 0 || access_dial(to->access, to->dial_host ? to->dial_host : h->host,
                                           to->dial_host ? to->dial_port : h->port, &e->dialled, e->ctx, e->err);
    if (e->told)
        cleanup_closep(&e->number);
    return e->number < 0 ? CURL_SOCKET_BAD : e->number; /* which libcurl closes */
}

static bool put(const struct https_exchange *e, int fd) {
    return e->dialled < 0 || dup3(fd, e->number, O_CLOEXEC) >= 0;
}

static void put_away(struct https_exchange *e) {
    cleanup_closep(&e->dialled);
    cleanup_closep(&e->stand_in);
}

static curl_socket_t on_open_socket(void *data, curlsocktype purpose, struct curl_sockaddr *to) {
    struct https_connection *c = data;
    struct https_exchange *e = c->now;
    (void)purpose;
    if (e->begun) {
        e->again = true;
        return CURL_SOCKET_BAD;
    }
    if (c->http->dialled)
        return e->told || e->number >= 0 ? CURL_SOCKET_BAD : dial(c->http, e);
    int fd = socket(to->family, to->socktype | SOCK_CLOEXEC, to->protocol);
    if (fd < 0)
        e->socket_errno = errno;
    e->opened += fd >= 0;
    return fd < 0 ? CURL_SOCKET_BAD : fd;
}

/* --- what libcurl asks and tells --- */

static CURLcode on_tls(CURL *easy, void *ssl_ctx, void *data) {
    struct https_connection *c = data;
    (void)easy;
    if (!put(c->now, c->now->dialled))
        return CURLE_COULDNT_CONNECT;
    return https_proof_begin(&c->proof, ssl_ctx) ? CURLE_OK : CURLE_SSL_CONNECT_ERROR;
}

static void on_handshake_done(void *data) {
    struct https_connection *c = data;
    if (c->now && !put(c->now, c->now->stand_in))
        c->proof.proved = false;
}

/* Connected, proved; the next thing is the request. */
static int on_request(void *data, char *remote_ip, char *local_ip, int remote_port, int local_port) {
    struct https_connection *c = data;
    struct https_exchange *e = c->now;
    (void)remote_ip;
    (void)local_ip;
    (void)remote_port;
    (void)local_port;
    if (e->begun) {
        e->again = true;
        return CURL_PREREQFUNC_ABORT;
    }
    e->unproved = c->proof.trust && !c->proof.proved;
    if (e->unproved || !put(e, e->dialled))
        return CURL_PREREQFUNC_ABORT;
    put_away(e);
    e->begun = true;
    e->begun_at = clock_ms();
    atomic_fetch_add(&c->http->exchanges, 1);
    return CURL_PREREQFUNC_OK;
}

static size_t on_header(char *line, size_t size, size_t count, void *data) {
    struct https_connection *c = data;
    size_t n = size * count;
    c->now->head += n;
    if (c->now->head > HEAD_MAX)
        return CURL_WRITEFUNC_ERROR;
    if (!c->now->ignore_cookies)
        https_cookies_hear(&c->http->cookies, line, n);
    return n;
}

static size_t on_body(char *bytes, size_t size, size_t count, void *data) {
    struct https_connection *c = data;
    buffer_append(&c->now->body, bytes, size * count);
    return buffer_overflowed(&c->now->body) ? CURL_WRITEFUNC_ERROR : size * count;
}

/* --- life --- */

static struct https_proof no_proof(struct https_connection *c) {
    return (struct https_proof){.trust = c->http->trust, .on_done = on_handshake_done, .data = c};
}

struct https_connection *https_connection_new(struct http *h) {
    struct https_connection *c = xcalloc(1, sizeof *c);
    c->http = h;
    c->fd = -1;
    c->proof = no_proof(c);
    return c;
}

void https_connection_close(struct https_connection *c) {
    curl_easy_cleanup(c->easy);
    curl_multi_cleanup(c->multi);
    c->easy = NULL;
    c->multi = NULL;
    c->fd = -1;
    free(c->path);
    c->path = NULL;
}

void https_connection_free(struct https_connection *c) {
    https_connection_close(c);
    if (c->cookie_line.data)
        explicit_bzero(c->cookie_line.data, c->cookie_line.cap);
    buffer_free(&c->cookie_line);
    free(c->lines);
    free(c);
}

#define SET(option, value) rc = rc ? rc : curl_easy_setopt(c->easy, option, value)

static CURLcode set_tls(struct https_connection *c) {
    CURLcode rc = CURLE_OK;
    bool by_name = c->http->trust && https_trust_names(c->http->trust);
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    /* https_tls.c decides. Where names and CAs count, libcurl looks at its decision and at the name once more. */
    SET(CURLOPT_SSL_VERIFYPEER, by_name ? 1L : 0L);
    SET(CURLOPT_SSL_VERIFYHOST, by_name ? 2L : 0L);
    SET(CURLOPT_CAINFO, NULL);
    SET(CURLOPT_CAPATH, NULL);
    SET(CURLOPT_SSL_CTX_FUNCTION, on_tls);
    SET(CURLOPT_SSL_CTX_DATA, c);
    return rc;
}

/* What is the same for every exchange. */
static CURLcode set_constant(struct https_connection *c) {
    const struct http *h = c->http;
    CURLcode rc = h->tls ? set_tls(c) : CURLE_OK;
    SET(CURLOPT_SHARE, h->share);
    SET(CURLOPT_ERRORBUFFER, c->message);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_QUICK_EXIT, 1L); /* a silent name server must not hold up the end */
    SET(CURLOPT_PROTOCOLS_STR, h->tls ? "https" : "http");
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_PATH_AS_IS, 1L);
    SET(CURLOPT_TCP_KEEPALIVE, 1L);
    SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);   /* a proxy sets no cookies, */
    SET(CURLOPT_HEADEROPT, CURLHEADER_SEPARATE); /* and sees none */
    SET(CURLOPT_USERAGENT, "nestor/" NESTOR_VERSION);
    SET(CURLOPT_UPLOAD_BUFFERSIZE, UPLOAD_BUFFER);
    SET(CURLOPT_BUFFERSIZE, REPLY_BUFFER);
    SET(CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)h->config.max_reply);
    SET(CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
    SET(CURLOPT_OPENSOCKETDATA, c);
    SET(CURLOPT_PREREQFUNCTION, on_request);
    SET(CURLOPT_PREREQDATA, c);
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, c);
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, c);
    if (h->no_proxy)
        SET(CURLOPT_PROXY, "");
    c->nowhere.data = (char *)"::127.0.0.1:9"; /* nobody is asked for a name: the dial knows where to go */
    if (h->dialled)
        SET(CURLOPT_CONNECT_TO, &c->nowhere);
    return rc;
}

static int prepare(struct https_connection *c, struct error *err) {
    if (c->easy)
        return 0;
    c->easy = curl_easy_init();
    c->multi = curl_multi_init();
    if (!c->easy || !c->multi)
        return error_set(err, ERR_INTERNAL, c->http->config.subject, "libcurl cannot be started");
    CURLcode rc = set_constant(c);
    if (!rc && curl_multi_setopt(c->multi, CURLMOPT_MAXCONNECTS, 1L))
        rc = CURLE_FAILED_INIT;
    if (!rc)
        return 0;
    https_connection_close(c);
    return error_set(err, ERR_INTERNAL, c->http->config.subject, "libcurl: %s", curl_easy_strerror(rc));
}

/* --- the request --- */

/* What a server sends while nobody asked it is the end, or its announcement: TLS's close_notify, a FIN, a reset. */
static bool can_be_kept(const struct https_connection *c) {
    struct pollfd silent = {.fd = c->fd, .events = POLLIN | POLLRDHUP};
    return c->fd >= 0 && clock_ms() - c->used_at <= c->http->idle_ms && poll(&silent, 1, 0) == 0;
}

static void add_line(struct https_connection *c, size_t *n, const char *line) {
    if (*n == c->lines_max) {
        c->lines_max = c->lines_max ? 2 * c->lines_max : 16;
        c->lines = xrealloc(c->lines, c->lines_max * sizeof *c->lines);
    }
    c->lines[(*n)++].data = (char *)line; /* which libcurl only reads */
}

/* The lines are linked here, without curl_slist_append's copies: they live as long as the call. */
static struct curl_slist *link_lines(struct https_connection *c, const struct http_request *r) {
    size_t n = 0;
    /* Without a value: what libcurl would add by itself, a wait for "100 Continue" and a form's type. */
    add_line(c, &n, "Expect:");
    add_line(c, &n, "Content-Type:");
    for (const char *const *line = r->headers; line && *line; line++)
        add_line(c, &n, *line);
    https_cookies_say(&c->http->cookies, &c->cookie_generation, &c->cookie_line);
    if (c->cookie_line.len)
        add_line(c, &n, buffer_str(&c->cookie_line));
    for (size_t i = 0; i < n; i++)
        c->lines[i].next = i + 1 < n ? &c->lines[i + 1] : NULL;
    return c->lines;
}

static CURLcode set_path(struct https_connection *c, const char *path) {
    if (c->path && strcmp(c->path, path) == 0)
        return CURLE_OK;
    cleanup_free char *url = xasprintf("%s%s", c->http->origin, path);
    CURLcode rc = curl_easy_setopt(c->easy, CURLOPT_URL, url);
    free(c->path);
    c->path = rc ? NULL : xstrdup(path);
    return rc;
}

static CURLcode set_method(struct https_connection *c, const struct http_request *r) {
    CURLcode rc = CURLE_OK;
    bool get = !r->body && strcmp(r->method, "GET") == 0, head = !r->body && strcmp(r->method, "HEAD") == 0;
    SET(get ? CURLOPT_HTTPGET : head ? CURLOPT_NOBODY : CURLOPT_POST, 1L);
    SET(CURLOPT_CUSTOMREQUEST, get || head || strcmp(r->method, "POST") == 0 ? NULL : r->method);
    if (get || head)
        return rc;
    SET(CURLOPT_POSTFIELDS, r->body ? r->body : "");
    SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)(r->body ? r->body_len : 0));
    return rc;
}

static CURLcode set_request(struct https_connection *c, const struct http_request *r) {
    CURLcode rc = set_path(c, r->path ? r->path : c->http->path);
    rc = rc ? rc : set_method(c, r);
    bool kept = can_be_kept(c);
    if (!kept)
        c->proof = no_proof(c);
    int64_t patience = (int64_t)context_left(c->now->ctx) + CONNECT_SLACK_MS;
    SET(CURLOPT_HTTPHEADER, link_lines(c, r));
    SET(CURLOPT_FRESH_CONNECT, kept ? 0L : 1L);
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)(patience < INT32_MAX ? patience : INT32_MAX));
    return rc;
}

#undef SET

/* --- the exchange --- */

static int wait_for_something(struct https_connection *c, struct error *err) {
    const struct context *ctx = c->now->ctx;
    const char *what = !c->now->begun      ? "connecting"
                       : c->now->head == 0 ? "waiting for its reply"
                                           : "reading its reply";
    if (context_check(ctx, c->http->config.subject, what, err))
        return -1;
    int left = context_left(ctx);
    struct curl_waitfd cancelled = {.fd = ctx->cancel ? ctx->cancel->fd : -1, .events = CURL_WAIT_POLLIN};
    CURLMcode rc = curl_multi_poll(c->multi, &cancelled, ctx->cancel ? 1 : 0, left < 60000 ? left + 1 : 60000, NULL);
    return rc ? error_set(err, ERR_INTERNAL, c->http->config.subject, "libcurl: %s", curl_multi_strerror(rc)) : 0;
}

/* To the end of the transfer, whichever that is: *ret_rc. */
static int drive(struct https_connection *c, CURLcode *ret_rc, struct error *err) {
    for (;;) {
        int running = 0, messages = 0;
        CURLMcode rc = curl_multi_perform(c->multi, &running);
        if (rc)
            return error_set(err, ERR_INTERNAL, c->http->config.subject, "libcurl: %s", curl_multi_strerror(rc));
        if (c->now->told)
            return -1;
        const CURLMsg *message = running ? NULL : curl_multi_info_read(c->multi, &messages);
        if (message) {
            *ret_rc = message->data.result;
            return 0;
        }
        if (wait_for_something(c, err))
            return -1;
    }
}

static const struct http_failure failures[] = {
    {CURLE_URL_MALFORMAT, ERR_USAGE, false, "check the URL"},
    {CURLE_WEIRD_SERVER_REPLY, ERR_PROTOCOL, false, "check the URL: what answers there is no HTTP server"},
    {CURLE_UNSUPPORTED_PROTOCOL, ERR_PROTOCOL, false, "check the URL: what answers there is no HTTP server"},
    {CURLE_BAD_CONTENT_ENCODING, ERR_PROTOCOL, false, NULL},
};
#define LOOK "check that the server runs and that the network in between works, then run the same command again"

/* errno of a connect that failed is more than "cannot connect". native stays 0, here and below: to a caller it is a
 * number of the protocol it speaks over this. */
static int connect_error(const struct https_connection *c, struct error *err) {
    long errnum = c->now->socket_errno;
    if (c->now->opened)
        curl_easy_getinfo(c->easy, CURLINFO_OS_ERRNO, &errnum);
    /* libcurl's words say to where: to one of the server's addresses, or to a proxy. */
    error_set_errno(err, (int)errnum, c->http->config.subject, "cannot connect to %.200s%s%s", c->http->origin,
                    c->message[0] ? ": " : "", c->message);
    if (err)
        err->native = 0;
    if (err && err->code == ERR_TIMEOUT) /* ETIMEDOUT: the kernel's patience, not the caller's */
        err->code = ERR_UNREACHABLE;
    return error_mend(err, LOOK);
}

static int lost_error(const struct https_connection *c, const char *how, struct error *err) {
    error_set(err, ERR_UNREACHABLE, c->http->config.subject, "the connection was lost: %s", how);
    error_mend(err, LOOK);
    return error_retry(err);
}

static int tls_error(const struct https_connection *c, struct error *err) {
    if (!c->proof.garbled)
        return lost_error(c, "it ended before TLS was set up", err);
    error_set(err, ERR_PROTOCOL, c->http->config.subject, "no TLS with it: %s", c->message);
    return error_mend(err, "check the URL and its port: it must be one that speaks TLS 1.2 or later");
}

static int other_error(const struct https_connection *c, CURLcode rc, struct error *err) {
    const struct http_failure *f = http_failure_find(failures, sizeof failures / sizeof *failures, rc);
    const char *why = c->message[0] ? c->message : curl_easy_strerror(rc);
    /* Broken framing has no code of its own in 7.88 (lib/transfer.c). */
    bool broken = rc == CURLE_RECV_ERROR && strstr(c->message, "chunked-encoding");
    error_set(err, broken ? ERR_PROTOCOL : f ? f->code : ERR_IO, c->http->config.subject, "no reply from it: %s", why);
    if (f && f->retry && !broken) {
        error_mend(err, "%s", f->mend ? f->mend : LOOK);
        return error_retry(err), -1;
    }
    return f && f->mend ? error_mend(err, "%s", f->mend) : -1;
}

static int exchange_error(const struct https_connection *c, CURLcode rc, struct error *err) {
    const struct https_exchange *e = c->now;
    const char *subject = c->http->config.subject;
    if (e->again)
        return lost_error(c, "it ended after the request was sent and before a reply came", err);
    if (e->unproved || c->proof.refused || rc == CURLE_PEER_FAILED_VERIFICATION)
        return https_proof_error(&c->proof, c->message, subject, err);
    /* A line over CURL_MAX_HTTP_HEADER is no memory to libcurl. */
    if (e->head > HEAD_MAX || (e->begun && rc == CURLE_OUT_OF_MEMORY))
        return error_set(err, ERR_PROTOCOL, subject, "its reply's head is larger than %zu bytes", HEAD_MAX);
    if (buffer_overflowed(&e->body) || rc == CURLE_FILESIZE_EXCEEDED)
        return error_set(err, ERR_PROTOCOL, subject, "its reply is larger than the limit of %zu bytes",
                         c->http->config.max_reply);
    if (rc == CURLE_SSL_CONNECT_ERROR)
        return tls_error(c, err);
    if (rc == CURLE_COULDNT_CONNECT)
        return connect_error(c, err);
    return other_error(c, rc, err);
}

static int run(struct https_connection *c, struct error *err) {
    CURLcode rc = CURLE_OK;
    curl_socket_t fd = CURL_SOCKET_BAD;
    CURLMcode added = curl_multi_add_handle(c->multi, c->easy);
    if (added)
        return error_set(err, ERR_INTERNAL, c->http->config.subject, "libcurl: %s", curl_multi_strerror(added));
    int failed = drive(c, &rc, err);
    if (!failed && rc)
        failed = exchange_error(c, rc, err);
    if (!failed)
        curl_easy_getinfo(c->easy, CURLINFO_ACTIVESOCKET, &fd);
    curl_multi_remove_handle(c->multi, c->easy);
    c->fd = fd == CURL_SOCKET_BAD ? -1 : (int)fd;
    c->used_at = clock_ms();
    return failed;
}

int https_connection_perform(struct https_connection *c, const struct http_request *request, struct http_reply *ret,
                             bool *ret_sent, const struct context *ctx, struct error *err) {
    struct https_exchange e = {.ctx = ctx,
                               .err = err,
                               .ignore_cookies = request->ignore_cookies,
                               .body.max = c->http->config.max_reply,
                               .dialled = -1,
                               .stand_in = -1,
                               .number = -1};
    if (prepare(c, err))
        return -1;
    c->now = &e;
    c->message[0] = '\0';
    CURLcode rc = set_request(c, request);
    int failed =
        rc ? error_set(err, ERR_INTERNAL, c->http->config.subject, "libcurl: %s", curl_easy_strerror(rc)) : run(c, err);
    put_away(&e);
    c->now = NULL;
    *ret_sent = e.begun;
    if (failed) {
        buffer_free(&e.body);
        return -1;
    }
    curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &ret->status);
    https_pool_note(c->http, c->used_at - e.begun_at);
    ret->body = e.body;
    return 0;
}
