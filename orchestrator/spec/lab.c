/* The stage's front door: lab_parse and lab_load, with the drivers this build has. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "nestor/file.h"
#include "spec/limits.h"
#include "spec/parse.h"

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

int lab_parse(const char *file, const char *text, size_t len, struct lab **ret, struct diagnostics *diags,
              struct error *err) {
    struct drivers all = {.n = 0};
    driver_each(add_driver, &all);
    const struct driver_list list = {all.items, all.n};
    return spec_parse(file, text, len, &list, ret, diags, err);
}

int lab_load(const char *file, struct lab **ret, struct diagnostics *diags, struct error *err) {
    bool standard_input = strcmp(file, "-") == 0;
    cleanup_close int opened = standard_input ? -1 : open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    cleanup_buffer struct buffer text = {0};
    if (!standard_input && opened < 0) {
        error_set_errno(err, errno, file, "the lab spec cannot be opened");
        return error_mend(err, "name a lab spec, or make one with 'nestor init'");
    }
    if (fd_read(standard_input ? STDIN_FILENO : opened, SPEC_FILE_MAX + 1, &text) < 0)
        return error_set_errno(err, errno, file, "it cannot be read");
    return lab_parse(file, buffer_str(&text), text.len, ret, diags, err);
}
