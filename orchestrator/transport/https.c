/* HTTPS to one server: the URL and what follows from it, and the whole. See https.h for the other files. */
#include "transport/https.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define CONNECTIONS_DEFAULT 64
#define PORT_TEXT_MAX 8

/* --- the URL --- */

static void curlu_cleanupp(CURLU **u) { curl_url_cleanup(*u); }
static void curl_freep(char **text) { curl_free(*text); }
#define cleanup_curlu __attribute__((cleanup(curlu_cleanupp)))
#define cleanup_curl __attribute__((cleanup(curl_freep)))

/* Without the URL itself: it may hold a password. */
static int url_error(const struct http *h, CURLUcode rc, struct error *err) {
    if (rc == CURLUE_USER_NOT_ALLOWED) {
        error_set(err, ERR_USAGE, h->config.subject, "the URL carries a user name or a password");
        return error_mend(err, "leave them out of the URL: they have settings of their own");
    }
    error_set(err, ERR_USAGE, h->config.subject, "the URL is malformed: %s", curl_url_strerror(rc));
    return error_mend(err, "write it as https://SERVER/PATH");
}

static char *without_brackets(const char *host) {
    size_t n = strlen(host);
    if (n >= 2 && host[0] == '[' && host[n - 1] == ']')
        return xstrndup(host + 1, n - 2);
    return xstrndup(host, n > 1 && host[n - 1] == '.' ? n - 1 : n);
}

/* Takes the URL apart; what is left of u is the origin. */
static CURLUcode take_parts(struct http *h, CURLU *u) {
    cleanup_curl char *scheme = NULL, *host = NULL, *port = NULL, *path = NULL, *query = NULL, *origin = NULL;
    CURLUcode rc = curl_url_set(u, CURLUPART_URL, h->config.url, CURLU_DISALLOW_USER);
    rc = rc ? rc : curl_url_get(u, CURLUPART_SCHEME, &scheme, 0);
    rc = rc ? rc : curl_url_get(u, CURLUPART_HOST, &host, CURLU_PUNYCODE);
    rc = rc ? rc : curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT);
    rc = rc ? rc : curl_url_get(u, CURLUPART_PATH, &path, 0);
    if (rc)
        return rc;
    h->tls = strcasecmp(scheme, "https") == 0;
    if (!h->tls && strcasecmp(scheme, "http") != 0)
        return CURLUE_UNSUPPORTED_SCHEME;
    curl_url_get(u, CURLUPART_QUERY, &query, 0);
    h->host = without_brackets(host);
    h->port = (uint16_t)strtoul(port, NULL, 10);
    h->path = xasprintf("%s%s%s", path, query ? "?" : "", query ? query : "");
    curl_url_set(u, CURLUPART_QUERY, NULL, 0);
    curl_url_set(u, CURLUPART_FRAGMENT, NULL, 0);
    curl_url_set(u, CURLUPART_PATH, "/", 0);
    rc = curl_url_get(u, CURLUPART_URL, &origin, 0);
    if (!rc)
        h->origin = xstrndup(origin, strlen(origin) - 1);
    return rc;
}

static bool is_loopback(const char *host) {
    struct in_addr v4;
    struct in6_addr v6;
    size_t n = strlen(host);
    if (inet_pton(AF_INET, host, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 == IN_LOOPBACKNET;
    if (inet_pton(AF_INET6, host, &v6) == 1)
        return IN6_IS_ADDR_LOOPBACK(&v6);
    return strcasecmp(host, "localhost") == 0 || (n > 10 && strcasecmp(host + n - 10, ".localhost") == 0);
}

static int read_url(struct http *h, struct error *err) {
    cleanup_curlu CURLU *u = curl_url();
    CURLUcode rc = u ? take_parts(h, u) : CURLUE_OUT_OF_MEMORY;
    if (rc)
        return url_error(h, rc, err);
    bool local = h->config.access == access_local();
    bool loopback = local && is_loopback(h->config.dial_host ? h->config.dial_host : h->host);
    h->dialled = !local || h->config.dial_host;
    h->no_proxy = h->dialled || loopback;
    if (h->tls || !local || loopback)
        return 0;
    error_set(err, ERR_USAGE, h->config.subject, "plain HTTP would show every password to whoever listens in between");
    return error_mend(err, "use https in the URL");
}

/* --- the share --- */

static void share_lock(CURL *easy, curl_lock_data what, curl_lock_access how, void *data) {
    struct http *h = data;
    (void)easy;
    (void)how;
    pthread_mutex_lock(&h->share_locks[what]);
}

static void share_unlock(CURL *easy, curl_lock_data what, void *data) {
    struct http *h = data;
    (void)easy;
    pthread_mutex_unlock(&h->share_locks[what]);
}

/* Names, but no TLS sessions: libcurl (7.88) gives all threads the same SSL_SESSION, which OpenSSL changes while
 * it is resumed (https://github.com/curl/curl/pull/14751). */
static int share_open(struct http *h, struct error *err) {
    for (int i = 0; i < CURL_LOCK_DATA_LAST; i++)
        pthread_mutex_init(&h->share_locks[i], NULL);
    h->share = curl_share_init();
    if (!h->share || curl_share_setopt(h->share, CURLSHOPT_LOCKFUNC, share_lock) ||
        curl_share_setopt(h->share, CURLSHOPT_UNLOCKFUNC, share_unlock) ||
        curl_share_setopt(h->share, CURLSHOPT_USERDATA, h) ||
        curl_share_setopt(h->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_DNS))
        return error_set(err, ERR_INTERNAL, h->config.subject, "libcurl cannot be started");
    return 0;
}

/* --- the whole --- */

void http_close(struct http *h) {
    if (!h)
        return;
    https_pool_close(&h->pool);
    curl_share_cleanup(h->share);
    for (int i = 0; i < CURL_LOCK_DATA_LAST; i++)
        pthread_mutex_destroy(&h->share_locks[i]);
    https_cookies_free(&h->cookies);
    https_trust_free(h->trust);
    free(h->origin);
    free(h->path);
    free(h->host);
    free(h);
}

static void http_closep(struct http **h) { http_close(*h); }

int http_open(const struct http_config *config, struct http **ret, struct error *err) {
    http_curl_init();
    __attribute__((cleanup(http_closep))) struct http *h = xcalloc(1, sizeof *h);
    h->config = *config;
    h->config.access = config->access ? config->access : access_local();
    h->config.max_reply = config->max_reply ? config->max_reply : BUFFER_DEFAULT_MAX;
    h->idle_ms = HTTPS_IDLE_MS;
    https_pool_init(&h->pool, config->connections ? config->connections : CONNECTIONS_DEFAULT);
    https_cookies_init(&h->cookies);
    if (share_open(h, err) || read_url(h, err))
        return -1;
    if (h->tls && https_trust_new(&config->trust, h->host, config->subject, &h->trust, err))
        return -1;
    *ret = steal_ptr(&h);
    return 0;
}

static bool is_printable(const char *text) {
    while (*text && ((unsigned char)*text >= ' ' || *text == '\t') && *text != 0x7f)
        text++;
    return *text == '\0';
}

/* A line feed would begin a header, or a request, of somebody else's making. */
static int check_request(const struct http *h, const struct http_request *r, struct error *err) {
    if (r->path && r->path[0] != '/')
        return error_set(err, ERR_USAGE, h->config.subject, "the path of a request does not begin with a slash");
    bool fine = is_printable(r->method) && (!r->path || is_printable(r->path));
    for (const char *const *line = r->headers; line && *line; line++)
        fine = fine && is_printable(*line);
    return fine ? 0 : error_set(err, ERR_USAGE, h->config.subject, "a control character stands in a request's head");
}

int http_perform(struct http *h, const struct http_request *request, struct http_reply *ret, bool *ret_sent,
                 const struct context *ctx, struct error *err) {
    struct https_connection *c = NULL;
    bool ignored;
    bool *sent = ret_sent ? ret_sent : &ignored;
    *sent = false;
    if (check_request(h, request, err) || context_check(ctx, h->config.subject, "connecting", err) ||
        https_pool_take(h, &c, ctx, err))
        return -1;
    int rc = https_connection_perform(c, request, ret, sent, ctx, err);
    https_pool_give(h, c);
    return rc;
}

void http_reply_free(struct http_reply *r) {
    if (!r)
        return;
    buffer_free(&r->body);
    r->status = 0;
}

void http_forget_cookies(struct http *h) { https_cookies_forget(&h->cookies); }

uint32_t http_at_once(struct http *h) { return https_pool_at_once(h); }

unsigned long http_exchanges(const struct http *h) { return atomic_load(&h->exchanges); }
