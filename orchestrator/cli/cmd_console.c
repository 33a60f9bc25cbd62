#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "cli/session.h"
#include "ui/text.h"

#define READING_MS 30000 /* with the way to its hypervisor, which is ready as a rule */

struct console_options {
    unsigned lines;
};
static const struct option_spec options[] = {
    {"lines", 'n', OPTION_NUMBER, offsetof(struct console_options, lines), "N", "only the last N lines"},
    {0},
};

static int read_console(struct session *s, const char *path, struct buffer *ret, struct error *err) {
    uint32_t row;
    struct hypervisor *hv;
    const struct driver *driver;
    struct context ctx = context_timeout(&s->cli->ctx, READING_MS);
    struct tag tag = {s->lab_id, path};
    if (session_reach(s, s->lab != NULL, NULL, err) || session_find_machine(s, path, &row, err) ||
        reach_hypervisor(s->reach, row, &hv, &driver, &ctx, err) || driver->console(hv, &tag, ret, &ctx, err))
        return -1;
    if (ret->len)
        return 0;
    error_set(err, ERR_NOT_FOUND, path,
              "there is no text of its console: it has printed nothing yet, or driver '%s' keeps none", driver->name);
    return error_mend(err, "look at it with its hypervisor's own tools");
}

static int run(struct cli *cli, const void *opts, int argc, char **argv, struct error *err) {
    const struct console_options *o = opts;
    cleanup_free char *lab = NULL;
    cleanup_buffer struct buffer text = {0}, safe = {0};
    struct session s;
    (void)argc;
    if (split_machine_path(argv[0], &lab, err))
        return -1;
    int failed = session_from_name(&s, cli, lab, NULL, err) || read_console(&s, argv[0], &text, err);
    session_close(&s);
    if (failed)
        return -1;
    text_put_block(&safe, buffer_str(&text), "", o->lines ? o->lines : SIZE_MAX, terminal_is_utf8());
    fputs(buffer_str(&safe), stdout);
    return NESTOR_DONE;
}

const struct cli_command cmd_console = {
    .name = "console",
    .summary = "Show what a machine at any level last printed on its serial console",
    .arguments = "LAB/MACHINE...",
    .completes = ARGUMENT_MACHINE,
    .options = options,
    .options_size = sizeof(struct console_options),
    .min_args = 1,
    .max_args = 1,
    .details =
        "The last few KiB, as its hypervisor keeps them, control characters replaced; also of a machine that is off,\n"
        "or that never answered. It only reads: for a shell there is 'nestor ssh'. vSphere keeps no such text.",
    .examples = "  nestor console quickstart/kvm1\n  nestor console quickstart/kvm1/web1 --lines 5",
    .run = run,
};
