#include "nestor/error.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Here they are what they say. */
#undef error_set
#undef error_set_errno
#undef error_mend
#undef error_context
#undef error_subject

static const char *const code_names[ERR_MAX] = {
#define X(symbol, name) [symbol] = name,
    ERROR_CODES(X)
#undef X
};

const char *error_code_name(enum error_code code) { return (unsigned)code < ERR_MAX ? code_names[code] : "unknown"; }

/* Text may come from a guest or a server: a terminal escape in it must not reach the user's terminal. */
static void make_printable(char *s) {
    for (; *s; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7f)
            *s = ' ';
}

static void put_text(char *out, size_t size, const char *fmt, va_list ap) {
    int n = vsnprintf(out, size, fmt, ap);
    if (n < 0)
        out[0] = '\0';
    else if ((size_t)n >= size)
        memcpy(out + size - 4, "...", 4);
    make_printable(out);
}

static void fill(struct error *err, enum error_code code, const char *subject) {
    assert(err->code == ERR_NONE && "an error is set once");
    if (err->code != ERR_NONE) { /* release builds keep the first cause */
        error_note(err, "also: %s", error_code_name(code));
        return;
    }
    *err = (struct error){.code = code};
    if (subject) {
        snprintf(err->subject, sizeof err->subject, "%s", subject);
        make_printable(err->subject);
    }
}

int error_set(struct error *err, enum error_code code, const char *subject, const char *fmt, ...) {
    if (!err)
        return -1;
    fill(err, code, subject);
    va_list ap;
    va_start(ap, fmt);
    put_text(err->cause, sizeof err->cause, fmt, ap);
    va_end(ap);
    return -1;
}

static const struct {
    int errnum;
    enum error_code code;
    bool retry;
} errno_codes[] = {
    {ENOSPC, ERR_DISK_FULL, false},
    {EDQUOT, ERR_DISK_FULL, false},
    {ENOENT, ERR_NOT_FOUND, false},
    {EEXIST, ERR_EXISTS, false},
    {ECONNREFUSED, ERR_CONNECT_REFUSED, true},
    {EHOSTUNREACH, ERR_UNREACHABLE, true},
    {ENETUNREACH, ERR_UNREACHABLE, true},
    {ECONNRESET, ERR_UNREACHABLE, true},
    {EPIPE, ERR_UNREACHABLE, true},
    {ETIMEDOUT, ERR_TIMEOUT, true},
};

int error_set_errno(struct error *err, int errnum, const char *subject, const char *fmt, ...) {
    if (!err)
        return -1;
    enum error_code code = ERR_IO;
    bool retry = false;
    for (size_t i = 0; i < sizeof errno_codes / sizeof *errno_codes; i++)
        if (errno_codes[i].errnum == errnum) {
            code = errno_codes[i].code;
            retry = errno_codes[i].retry;
        }
    fill(err, code, subject);
    err->native = errnum;
    err->retry = retry;
    va_list ap;
    va_start(ap, fmt);
    put_text(err->cause, sizeof err->cause, fmt, ap);
    va_end(ap);
    size_t len = strlen(err->cause);
    snprintf(err->cause + len, sizeof err->cause - len, ": %s", strerror(errnum));
    if (code == ERR_DISK_FULL)
        error_mend(err, "free some space, then run the same command again: it continues where it stopped");
    return -1;
}

int error_mend(struct error *err, const char *fmt, ...) {
    if (!err)
        return -1;
    va_list ap;
    va_start(ap, fmt);
    put_text(err->mend, sizeof err->mend, fmt, ap);
    va_end(ap);
    return -1;
}

int error_context(struct error *err, const char *fmt, ...) {
    if (!err)
        return -1;
    char older[sizeof err->context];
    memcpy(older, err->context, sizeof older);
    va_list ap;
    va_start(ap, fmt);
    put_text(err->context, sizeof err->context, fmt, ap);
    va_end(ap);
    size_t len = strlen(err->context);
    if (older[0])
        snprintf(err->context + len, sizeof err->context - len, ": %s", older);
    return -1;
}

int error_note(struct error *err, const char *fmt, ...) {
    if (!err)
        return -1;
    size_t len = strlen(err->note);
    if (len && len + 3 < sizeof err->note) {
        memcpy(err->note + len, "; ", 3);
        len += 2;
    }
    va_list ap;
    va_start(ap, fmt);
    if (sizeof err->note - len > 4)
        put_text(err->note + len, sizeof err->note - len, fmt, ap);
    va_end(ap);
    return -1;
}

int error_subject(struct error *err, const char *subject) {
    if (err) {
        snprintf(err->subject, sizeof err->subject, "%s", subject);
        make_printable(err->subject);
    }
    return -1;
}

int error_reason(struct error *err, const char *reason) {
    if (err)
        snprintf(err->reason, sizeof err->reason, "%s", reason);
    return -1;
}

int error_retry(struct error *err) {
    if (err)
        err->retry = true;
    return -1;
}

void error_clear(struct error *err) {
    if (err)
        *err = (struct error){.code = ERR_NONE};
}
