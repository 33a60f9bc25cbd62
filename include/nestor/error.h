/* One error, told once: what failed (subject), why (cause), what to do (mend).
 *
 * Rules
 *  - Every function that can fail returns 0 or -1 and takes `struct error *err` last.
 *    On failure *err is filled exactly once; on success it is untouched. `err` may be NULL.
 *  - A struct error is a plain value: no allocation, nothing to release, safe to copy. Long text is
 *    cut at the field's size (ending in "..."), so an error can be reported when memory is gone.
 *  - A foreign library's number (errno, CURLcode, sqlite result ...) is kept in `native`; only the
 *    folder that speaks to that library knows what it means.
 *  - Never put a secret, or unfiltered text of a guest, into an error: error_set() replaces control
 *    characters, but it cannot know a password.
 *  - Thread rules: a struct error belongs to one thread at a time.
 */
#ifndef NESTOR_ERROR_H
#define NESTOR_ERROR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#define NESTOR_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define NESTOR_CHECKED __attribute__((warn_unused_result))

/* X(symbol, name): the name is what users see in --json and what tests assert; it never changes. */
#define ERROR_CODES(X)                                                                                                 \
    X(ERR_NONE, "none")                                                                                                \
    X(ERR_USAGE, "usage")                                                                                              \
    X(ERR_SPEC, "spec-invalid")                                                                                        \
    X(ERR_NOT_FOUND, "not-found")                                                                                      \
    X(ERR_EXISTS, "exists")                                                                                            \
    X(ERR_CONFLICT, "conflict")                                                                                        \
    X(ERR_TIMEOUT, "timeout")                                                                                          \
    X(ERR_CANCELLED, "cancelled")                                                                                      \
    X(ERR_IO, "io")                                                                                                    \
    X(ERR_DISK_FULL, "disk-full")                                                                                      \
    X(ERR_MISSING_PROGRAM, "missing-program")                                                                          \
    X(ERR_PROCESS, "process-failed")                                                                                   \
    X(ERR_DIED, "machine-died")                                                                                        \
    X(ERR_CONNECT_REFUSED, "connect-refused")                                                                          \
    X(ERR_UNREACHABLE, "unreachable")                                                                                  \
    X(ERR_AUTH, "auth-refused")                                                                                        \
    X(ERR_HOST_KEY_UNKNOWN, "host-key-unknown")                                                                        \
    X(ERR_HOST_KEY_CHANGED, "host-key-changed")                                                                        \
    X(ERR_PROTOCOL, "protocol")                                                                                        \
    X(ERR_CAPACITY, "capacity")                                                                                        \
    X(ERR_CHECKSUM, "checksum-mismatch")                                                                               \
    X(ERR_IMAGE, "image-invalid")                                                                                      \
    X(ERR_NESTING, "nesting")                                                                                          \
    X(ERR_UNSUPPORTED, "unsupported")                                                                                  \
    X(ERR_LOCKED, "locked")                                                                                            \
    X(ERR_STATE_CORRUPT, "state-corrupt")                                                                              \
    X(ERR_STATE_TOO_NEW, "state-too-new")                                                                              \
    X(ERR_INTERNAL, "internal")

enum error_code {
#define X(symbol, name) symbol,
    ERROR_CODES(X)
#undef X
        ERR_MAX
};

struct error {
    enum error_code code;
    bool retry;        /* the same call may succeed a little later */
    long native;       /* the foreign number behind it, 0 if none */
    char reason[32];   /* reason code for ERR_NESTING ("guest-flag-missing"), else "" */
    char subject[192]; /* "quickstart/kvm1", "lab.yaml:14:7" */
    char cause[640];   /* one sentence, no trailing full stop */
    char mend[320];    /* what the user can do, or "" */
    char context[320]; /* frames pushed on the way up, outermost first: "starting kvm1: ..." */
    char note[320];    /* what went wrong while cleaning up; never replaces the cause */
};

/* "timeout" for ERR_TIMEOUT; static storage. */
const char *error_code_name(enum error_code code);

/* Fills err (asserting in debug builds that it was unset) and returns -1, so that
 * `return error_set(err, ...)` is the idiom. `subject` may be NULL. */
int error_set(struct error *err, enum error_code code, const char *subject, const char *cause_fmt, ...)
    NESTOR_PRINTF(4, 5);

/* As error_set, for a failed system call: the code follows errnum (ENOSPC -> ERR_DISK_FULL, ENOENT ->
 * ERR_NOT_FOUND, ECONNREFUSED -> ERR_CONNECT_REFUSED ...) and ": strerror" is appended to the cause. */
int error_set_errno(struct error *err, int errnum, const char *subject, const char *cause_fmt, ...) NESTOR_PRINTF(4, 5);

/* Each adds one thing to an error that is already set, and returns -1. */
int error_mend(struct error *err, const char *fmt, ...) NESTOR_PRINTF(2, 3);
int error_context(struct error *err, const char *fmt, ...) NESTOR_PRINTF(2, 3); /* pushed in front */
int error_note(struct error *err, const char *fmt, ...) NESTOR_PRINTF(2, 3);
int error_subject(struct error *err, const char *subject); /* replaces the subject */
int error_reason(struct error *err, const char *reason_code);
int error_retry(struct error *err); /* marks it as worth repeating */

/* All of these return -1. Said so that compilers and analyzers see it too, and know that what a failed call leaves
 * unset is not used: as in git's error() (git-compat-util.h). */
static inline int error_minus_one(void) { return -1; }
#define error_set(...) (error_set(__VA_ARGS__), error_minus_one())
#define error_set_errno(...) (error_set_errno(__VA_ARGS__), error_minus_one())
#define error_mend(...) (error_mend(__VA_ARGS__), error_minus_one())
#define error_context(...) (error_context(__VA_ARGS__), error_minus_one())
#define error_subject(...) (error_subject(__VA_ARGS__), error_minus_one())

static inline bool error_is_set(const struct error *err) { return err && err->code != ERR_NONE; }

/* Empties err so that it can be used again. */
void error_clear(struct error *err);

#endif
