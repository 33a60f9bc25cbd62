#include "nestor/buffer.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A crash at any instant is a tested path (see docs/architecture.md, "Out of memory"), so ending here is safe. */
static void *out_of_memory(void) {
    static const char line[] = "nestor: out of memory; run the same command again: it continues where it stopped\n";
    ssize_t ignored = write(STDERR_FILENO, line, sizeof line - 1);
    (void)ignored;
    _exit(1);
}

void *xmalloc(size_t n) {
    void *p = malloc(n ? n : 1);
    return p ? p : out_of_memory();
}

void *xcalloc(size_t n, size_t size) {
    void *p = calloc(n ? n : 1, size ? size : 1);
    return p ? p : out_of_memory();
}

void *xrealloc(void *p, size_t n) {
    void *fresh = realloc(p, n ? n : 1);
    return fresh ? fresh : out_of_memory();
}

char *xstrdup(const char *s) {
    size_t n = strlen(s) + 1;
    return memcpy(xmalloc(n), s, n);
}

char *xstrndup(const char *s, size_t n) {
    char *p = memcpy(xmalloc(n + 1), s, n);
    p[n] = '\0';
    return p;
}

char *xasprintf(const char *fmt, ...) {
    va_list ap;
    char *s = NULL;
    va_start(ap, fmt);
    int n = vasprintf(&s, fmt, ap);
    va_end(ap);
    return n >= 0 ? s : out_of_memory();
}

void cleanup_freep(void *p) {
    free(*(void **)p);
    *(void **)p = NULL;
}

void cleanup_closep(int *fd) {
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

char *buffer_reserve(struct buffer *b, size_t n) {
    size_t max = b->max ? b->max : BUFFER_DEFAULT_MAX;
    if (b->overflow || n > max || b->len > max - n) {
        b->overflow = true;
        return NULL;
    }
    if (b->cap < b->len + n + 1) {
        size_t cap = b->cap ? b->cap : 64;
        while (cap < b->len + n + 1)
            cap *= 2;
        b->data = xrealloc(b->data, cap);
        b->cap = cap;
    }
    return b->data + b->len;
}

void buffer_append(struct buffer *b, const void *bytes, size_t n) {
    char *to = buffer_reserve(b, n);
    if (!to)
        return;
    if (n)
        memcpy(to, bytes, n);
    b->len += n;
    b->data[b->len] = '\0';
}

void buffer_puts(struct buffer *b, const char *s) { buffer_append(b, s, strlen(s)); }

void buffer_putc(struct buffer *b, char c) { buffer_append(b, &c, 1); }

void buffer_vprintf(struct buffer *b, const char *fmt, va_list ap) {
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    char *to = n >= 0 ? buffer_reserve(b, (size_t)n) : NULL;
    if (to) {
        vsnprintf(to, (size_t)n + 1, fmt, again);
        b->len += (size_t)n;
    }
    va_end(again);
}

void buffer_printf(struct buffer *b, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    buffer_vprintf(b, fmt, ap);
    va_end(ap);
}

void buffer_put_shell(struct buffer *b, const char *s) {
    buffer_putc(b, '\'');
    for (; *s; s++) {
        if (*s == '\'')
            buffer_puts(b, "'\\''");
        else
            buffer_putc(b, *s);
    }
    buffer_putc(b, '\'');
}

/* RFC 3986, 3.2: the authority ends at a slash, a question mark or a number sign, its login at the last at-sign. */
const char *url_login(const char *url, size_t *ret_len) {
    const char *slashes = strstr(url, "://"), *begin = slashes ? slashes + 3 : url;
    const char *at = slashes ? memrchr(begin, '@', strcspn(begin, "/?#")) : NULL;
    if (!at)
        return NULL;
    *ret_len = (size_t)(at - begin);
    return begin;
}

const char *buffer_str(const struct buffer *b) { return b->data ? b->data : ""; }

char *buffer_steal(struct buffer *b) {
    char *s = b->data ? b->data : xstrdup("");
    *b = (struct buffer){.max = b->max};
    return s;
}

void buffer_clear(struct buffer *b) {
    b->len = 0;
    b->overflow = false;
    if (b->data)
        b->data[0] = '\0';
}

void buffer_free(struct buffer *b) {
    if (!b)
        return;
    free(b->data);
    *b = (struct buffer){.max = b->max};
}
