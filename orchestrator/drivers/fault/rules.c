#include "drivers/fault/rules.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "nestor/buffer.h"
#include "nestor/file.h"

#define FILE_MAX ((size_t)64 << 10)
#define HELD_MS 10

static const struct {
    const char *name;
    bool changes;
} operations[FAULT_OPERATION_MAX] = {
#define X(symbol, name, changes) [symbol] = {name, changes},
    FAULT_OPERATIONS(X)
#undef X
};

const char *fault_operation_name(enum fault_operation op) { return operations[op].name; }

/* A line, cut into words where it stands. */
struct rule {
    enum fault_operation op;
    const char *glob;
    struct fault fault;
    char *skip, *times; /* the counters' digits, or NULL */
};

/* --- one line --- */

static bool parse_operation(const char *word, struct rule *r) {
    for (int op = 0; op < FAULT_OPERATION_MAX; op++)
        if (strcmp(word, operations[op].name) == 0) {
            r->op = (enum fault_operation)op;
            return true;
        }
    return false;
}

static bool parse_outcome(const char *word, struct rule *r) {
    r->fault.kill = strcmp(word, "kill") == 0;
    for (int code = ERR_NONE; code < ERR_MAX; code++)
        if (strcmp(word, error_code_name((enum error_code)code)) == 0) {
            r->fault.code = (enum error_code)code;
            return true;
        }
    return r->fault.kill;
}

static bool is_number(const char *s) { return *s && strlen(s) <= 9 && strspn(s, "0123456789") == strlen(s); }

static bool set_skip(struct rule *r, char *value) { return is_number(r->skip = value); }
static bool set_times(struct rule *r, char *value) { return is_number(r->times = value); }
static bool set_delay(struct rule *r, char *value) {
    r->fault.delay_ms = strtol(value, NULL, 10);
    return is_number(value);
}
static bool set_reason(struct rule *r, char *value) {
    snprintf(r->fault.reason, sizeof r->fault.reason, "%s", value);
    return *value;
}
static bool set_retry(struct rule *r, char *value) {
    r->fault.retry = true;
    return !*value;
}
static bool set_hold(struct rule *r, char *value) {
    r->fault.hold = true;
    return !*value;
}
static bool set_after(struct rule *r, char *value) {
    r->fault.after = true;
    return !*value && operations[r->op].changes;
}

static bool parse_option(char *word, struct rule *r) {
    static const struct {
        const char *prefix;
        bool (*set)(struct rule *r, char *value);
    } options[] = {{"skip=", set_skip},     {"times=", set_times}, {"delay=", set_delay}, {"hold", set_hold},
                   {"reason=", set_reason}, {"retry", set_retry},  {"after", set_after}};
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        size_t n = strlen(options[i].prefix);
        if (strncmp(word, options[i].prefix, n) == 0)
            return options[i].set(r, word + n);
    }
    return false;
}

static char *next_word(char **rest) {
    char *word;
    do
        word = strsep(rest, " \t");
    while (word && !*word);
    return word;
}

/* True with ret->glob NULL for an empty line. */
static bool parse_line(char *line, struct rule *ret) {
    *ret = (struct rule){0};
    line[strcspn(line, "#")] = '\0';
    char *word = next_word(&line);
    if (!word)
        return true;
    if (!parse_operation(word, ret) || !(ret->glob = next_word(&line)))
        return false;
    word = next_word(&line);
    if (!word || !parse_outcome(word, ret))
        return false;
    while ((word = next_word(&line)))
        if (!parse_option(word, ret))
            return false;
    return true;
}

/* --- the file --- */

struct rules {
    int fd;
    const char *path;
    char text[FILE_MAX + 1];
};

static bool matches(const struct rule *r, enum fault_operation op, const char *path) {
    return r->glob && r->op == op && (strcmp(r->glob, "**") == 0 || fnmatch(r->glob, path, FNM_PATHNAME) == 0);
}

static bool is_zero(const char *digits) { return strspn(digits, "0") == strlen(digits); }

/* Counts down where the digits stand, keeping their number: one write, which a kill cannot cut in half. */
static int count_down(struct rules *rules, char *digits, struct error *err) {
    size_t n = strlen(digits);
    for (char *d = digits + n - 1; (*d == '0' ? (*d = '9') : (--*d, 0)); d--)
        ;
    if (pwrite(rules->fd, digits, n, digits - rules->text) == (ssize_t)n)
        return 0;
    return error_set_errno(err, errno, rules->path, "cannot count down a fault");
}

/* Whether the rule, which matches, is due now. */
static int take_rule(struct rules *rules, struct rule *r, bool *ret_due, struct error *err) {
    bool waiting = r->skip && !is_zero(r->skip);
    bool used_up = r->times && is_zero(r->times);
    *ret_due = !waiting && !used_up;
    if (waiting)
        return count_down(rules, r->skip, err);
    return *ret_due && r->times ? count_down(rules, r->times, err) : 0;
}

static int search(struct rules *rules, enum fault_operation op, const char *path, struct fault *ret,
                  struct error *err) {
    char *rest = rules->text, *line;
    for (int number = 1; (line = strsep(&rest, "\n")); number++) {
        struct rule r;
        bool due = false;
        if (!parse_line(line, &r)) {
            cleanup_free char *where = xasprintf("%s:%d", rules->path, number);
            error_set(err, ERR_USAGE, where, "this is not a fault");
            return error_mend(err, "write OPERATION GLOB ERROR [skip=N] [times=N] [delay=MS] ...: see docs/drivers.md");
        }
        if (matches(&r, op, path) && take_rule(rules, &r, &due, err))
            return -1;
        if (due) {
            *ret = r.fault;
            return 0;
        }
    }
    return 0;
}

int fault_wait(const char *home, const char *path, const struct context *ctx, struct error *err) {
    cleanup_free char *file = xasprintf("%s/faults", home);
    while (file_exists(AT_FDCWD, file))
        if (context_sleep(ctx, HELD_MS, path, "a fault holds it", err))
            return -1;
    return 0;
}

int fault_take(const char *home, enum fault_operation op, const char *path, struct fault *ret, struct error *err) {
    cleanup_free char *file = xasprintf("%s/faults", home);
    cleanup_close int fd = open(file, O_RDWR | O_CLOEXEC);
    *ret = (struct fault){0};
    if (fd < 0)
        return errno == ENOENT ? 0 : error_set_errno(err, errno, file, "cannot open the list of faults");
    while (flock(fd, LOCK_EX) != 0) /* held for microseconds by others, and released by the kernel if they die */
        if (errno != EINTR)
            return error_set_errno(err, errno, file, "cannot lock the list of faults");
    cleanup_free struct rules *rules = xcalloc(1, sizeof *rules);
    rules->fd = fd;
    rules->path = file;
    ssize_t n = pread(fd, rules->text, FILE_MAX, 0);
    if (n < 0)
        return error_set_errno(err, errno, file, "cannot read the list of faults");
    rules->text[n] = '\0';
    return search(rules, op, path, ret, err);
}
