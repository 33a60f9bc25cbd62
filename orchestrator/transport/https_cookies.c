/* Cookies of one server (RFC 6265, as much of it as one server needs). Not libcurl's: its store must not be shared by
 * threads (CURLSHOPT_SHARE(3), CURL_LOCK_DATA_COOKIE), and a session belongs to all connections. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "transport/https.h"

#define PAIR_MAX 4096 /* RFC 6265, 6.1: what every browser takes */
#define LINE_MAX_BYTES 8190

struct text {
    const char *at;
    size_t n;
};

static struct text trim(struct text t) {
    while (t.n && isspace((unsigned char)*t.at)) {
        t.at++;
        t.n--;
    }
    while (t.n && isspace((unsigned char)t.at[t.n - 1]))
        t.n--;
    return t;
}

/* What stands before the next `end`; *rest goes behind it. */
static struct text cut(struct text *rest, char end) {
    const char *found = rest->n ? memchr(rest->at, end, rest->n) : NULL;
    struct text part = {rest->at, found ? (size_t)(found - rest->at) : rest->n};
    size_t used = part.n + (found != NULL);
    *rest = (struct text){rest->at + used, rest->n - used};
    return trim(part);
}

static bool text_is(struct text t, const char *word) { return t.n == strlen(word) && !strncasecmp(t.at, word, t.n); }

static bool printable(struct text t) {
    for (size_t i = 0; i < t.n; i++)
        if ((unsigned char)t.at[i] < ' ' || t.at[i] == 0x7f)
            return false;
    return true;
}

/* Max-Age, which goes before Expires, or Expires says that it is over: a server's way to take a cookie back. */
static bool is_over(struct text attributes) {
    bool expired = false;
    while (attributes.n) {
        char value[64] = "";
        struct text attribute = cut(&attributes, ';'), name = cut(&attribute, '=');
        attribute = trim(attribute);
        if (attribute.n >= sizeof value)
            continue;
        memcpy(value, attribute.at, attribute.n);
        if (text_is(name, "max-age"))
            return strtol(value, NULL, 10) <= 0;
        if (text_is(name, "expires")) {
            time_t when = curl_getdate(value, NULL);
            expired = when != -1 && when <= (time_t)clock_unix();
        }
    }
    return expired;
}

static void wipe(char *pair) {
    if (pair)
        explicit_bzero(pair, strlen(pair));
    free(pair);
}

static size_t find(const struct https_cookies *k, struct text name) {
    size_t i = 0;
    while (i < k->n && (strncmp(k->pairs[i], name.at, name.n) != 0 || k->pairs[i][name.n] != '='))
        i++;
    return i;
}

static void drop(struct https_cookies *k, size_t i) {
    wipe(k->pairs[i]);
    k->pairs[i] = k->pairs[--k->n];
    atomic_fetch_add(&k->generation, 1);
}

static bool pair_is(const char *pair, struct text name, struct text value) {
    return strlen(pair) == name.n + 1 + value.n && memcmp(pair + name.n + 1, value.at, value.n) == 0;
}

static void keep(struct https_cookies *k, size_t i, struct text name, struct text value) {
    if (i == COOKIES_MAX || (i < k->n && pair_is(k->pairs[i], name, value)))
        return;
    if (i == k->n)
        k->pairs[k->n++] = NULL;
    wipe(k->pairs[i]);
    k->pairs[i] = xasprintf("%.*s=%.*s", (int)name.n, name.at, (int)value.n, value.at);
    atomic_fetch_add(&k->generation, 1);
}

void https_cookies_hear(struct https_cookies *k, const char *line, size_t n) {
    static const char word[] = "set-cookie:";
    if (n < sizeof word || strncasecmp(line, word, sizeof word - 1) != 0)
        return;
    struct text rest = {line + sizeof word - 1, n - (sizeof word - 1)};
    struct text value = cut(&rest, ';');
    if (value.n > PAIR_MAX || !printable(value) || !memchr(value.at, '=', value.n))
        return;
    struct text name = cut(&value, '=');
    if (!name.n)
        return;
    pthread_mutex_lock(&k->lock);
    size_t i = find(k, name);
    if (!is_over(rest))
        keep(k, i, name, trim(value));
    else if (i < k->n)
        drop(k, i);
    pthread_mutex_unlock(&k->lock);
}

void https_cookies_say(struct https_cookies *k, unsigned *generation, struct buffer *line) {
    if (atomic_load(&k->generation) == *generation)
        return;
    if (line->data)
        explicit_bzero(line->data, line->cap);
    buffer_clear(line);
    pthread_mutex_lock(&k->lock);
    *generation = atomic_load(&k->generation);
    for (size_t i = 0; i < k->n; i++) {
        if (line->len + strlen(k->pairs[i]) > LINE_MAX_BYTES)
            continue;
        buffer_puts(line, line->len ? "; " : "Cookie: ");
        buffer_puts(line, k->pairs[i]);
    }
    pthread_mutex_unlock(&k->lock);
}

void https_cookies_forget(struct https_cookies *k) {
    pthread_mutex_lock(&k->lock);
    while (k->n)
        drop(k, k->n - 1);
    pthread_mutex_unlock(&k->lock);
}

void https_cookies_init(struct https_cookies *k) { pthread_mutex_init(&k->lock, NULL); }

void https_cookies_free(struct https_cookies *k) {
    https_cookies_forget(k);
    pthread_mutex_destroy(&k->lock);
}
