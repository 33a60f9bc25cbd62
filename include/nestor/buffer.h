/* A growing byte buffer, always NUL-terminated, with a ceiling.
 *
 * Ownership: a struct buffer owns its bytes; free with buffer_free (NULL-safe, leaves it empty and usable),
 * or take them with buffer_steal. `struct buffer b = {0};` is an empty buffer with the default ceiling.
 * Thread rules: one thread at a time.
 *
 * Memory: nestor ends the process when the system is out of memory (see docs/architecture.md, "Out of
 * memory"), so nothing here reports it. Exceeding `max` is different: it is hostile or broken input, and is
 * told by buffer_overflowed().
 */
#ifndef NESTOR_BUFFER_H
#define NESTOR_BUFFER_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include "nestor/error.h"

#define BUFFER_DEFAULT_MAX ((size_t)64 << 20)

struct buffer {
    char *data; /* NULL while empty */
    size_t len;
    size_t cap;
    size_t max; /* 0 means BUFFER_DEFAULT_MAX */
    bool overflow;
};

void buffer_append(struct buffer *b, const void *bytes, size_t n);
void buffer_puts(struct buffer *b, const char *s);
void buffer_putc(struct buffer *b, char c);
void buffer_printf(struct buffer *b, const char *fmt, ...) NESTOR_PRINTF(2, 3);
void buffer_vprintf(struct buffer *b, const char *fmt, va_list ap);

/* Appends s in single quotes for a POSIX shell. */
void buffer_put_shell(struct buffer *b, const char *s);

/* The login of a URL, "user:password" of "https://user:password@host/": where it begins in it, and its length in
 * *ret_len. NULL: it has none. */
const char *url_login(const char *url, size_t *ret_len);

/* Makes room for n more bytes and returns where they go; the caller then adds to len. NULL past max. */
char *buffer_reserve(struct buffer *b, size_t n);

/* The bytes as a C string, "" when empty; borrowed until the next change. */
const char *buffer_str(const struct buffer *b);

/* Hands the bytes over (never NULL; caller frees with free) and leaves b empty. */
char *buffer_steal(struct buffer *b);

void buffer_clear(struct buffer *b); /* len = 0, keeps the memory */
void buffer_free(struct buffer *b);
static inline bool buffer_overflowed(const struct buffer *b) { return b->overflow; }

/* malloc family that ends the process with one clear line when memory is gone. Free with free(). */
void *xmalloc(size_t n);
void *xcalloc(size_t n, size_t size);
void *xrealloc(void *p, size_t n);
char *xstrdup(const char *s);
char *xstrndup(const char *s, size_t n); /* of at least n bytes */
char *xasprintf(const char *fmt, ...) NESTOR_PRINTF(1, 2);

/* Scope-bound clean-up, as in systemd and crun: `cleanup_free char *p = ...;` */
void cleanup_freep(void *p);
void cleanup_closep(int *fd);
#define cleanup_free __attribute__((cleanup(cleanup_freep)))
#define cleanup_close __attribute__((cleanup(cleanup_closep)))
#define cleanup_buffer __attribute__((cleanup(buffer_free)))

/* Takes the value out of a cleanup variable: `*ret = steal_ptr(&local);` */
#define steal_ptr(p)                                                                                                   \
    ({                                                                                                                 \
        __typeof__(*(p)) _v = *(p);                                                                                    \
        *(p) = NULL;                                                                                                   \
        _v;                                                                                                            \
    })
static inline int steal_fd(int *fd) {
    int v = *fd;
    *fd = -1;
    return v;
}

#endif
