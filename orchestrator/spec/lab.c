/* The stage's front door: lab_parse and lab_load, with the drivers this build has. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "spec/limits.h"
#include "spec/parse.h"
#include "spec/plain_file.h"

#define DRIVERS_MAX 64

struct drivers {
    const struct driver *items[DRIVERS_MAX];
    size_t n;
};

static void add_driver(void *data, const struct driver *driver) {
    struct drivers *all = data;
    if (all->n < DRIVERS_MAX)
        all->items[all->n++] = driver;
}

static int parse(const char *file, const char *text, size_t len, template_check_fn *check, struct lab **ret,
                 struct diagnostics *diags, struct error *err) {
    struct drivers all = {.n = 0};
    driver_each(add_driver, &all);
    const struct driver_list list = {all.items, all.n};
    return spec_parse(file, text, len, &list, check, ret, diags, err);
}

int lab_parse(const char *file, const char *text, size_t len, struct lab **ret, struct diagnostics *diags,
              struct error *err) {
    return parse(file, text, len, NULL, ret, diags, err);
}

/* A person or a program at the other end may take its time. */
static int read_standard_input(size_t max, struct buffer *ret, const struct context *ctx, struct error *err) {
    struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
    char chunk[4096];
    for (ssize_t got = 1; got != 0 && ret->len < max;) {
        if (context_poll(ctx, &in, 1, -1, "-", "reading the lab file from standard input", err) < 0)
            return -1;
        got = read(STDIN_FILENO, chunk, sizeof chunk);
        if (got < 0 && errno != EINTR && errno != EAGAIN)
            return error_set_errno(err, errno, "-", "it cannot be read");
        buffer_append(ret, chunk, got > 0 ? (size_t)got : 0);
    }
    return 0;
}

int lab_load(const char *file, template_check_fn *check, struct lab **ret, struct diagnostics *diags,
             const struct context *ctx, struct error *err) {
    cleanup_buffer struct buffer text = {0};
    if (strcmp(file, "-") == 0) {
        if (read_standard_input(SPEC_FILE_MAX + 1, &text, ctx, err))
            return -1;
    } else if (plain_file_read(file, SPEC_FILE_MAX + 1, &text, err)) {
        return error_mend(err, "name a lab file, or '-' for standard input; 'nestor init' makes a first one");
    }
    return parse(file, buffer_str(&text), text.len, check, ret, diags, err);
}
