#include <stddef.h>

#include "cli/hosts.h"
#include "nestor/state.h"
#include "ui/text.h"
#include "ui/ui.h"

#define PREPARE_MS 300000

struct prepare_options {
    const char *file;
    bool undo;
};
static const struct option_spec options[] = {
    {"undo", 0, OPTION_FLAG, offsetof(struct prepare_options, undo), NULL, "take back what was done"},
    {"file", 'f', OPTION_STRING, offsetof(struct prepare_options, file), "FILE",
     "the lab file that describes the host (default " HOSTS_FILE ")"},
    {0},
};

static int prepare(struct cli *cli, const struct known_host *host, bool undo, struct error *err) {
    const struct driver *driver = host->driver;
    struct context ctx = context_timeout(&cli->ctx, PREPARE_MS);
    struct hypervisor *hv;
    cleanup_buffer struct buffer report = {0}, text = {0};
    const char *home = nestor_home(err);
    if (!home)
        return -1;
    if (!driver->prepare)
        return error_set(err, ERR_UNSUPPORTED, host->name, "a host of driver '%s' is never prepared by nestor",
                         driver->name);
    if (host_open(cli, host, home, &hv, &ctx, err))
        return -1;
    int failed = driver->prepare(hv, undo, &report, &ctx, err);
    driver->close(hv);
    text_put_block(&text, buffer_str(&report), "", SIZE_MAX, terminal_is_utf8());
    fputs(buffer_str(&text), stdout); /* what was done before it failed, too */
    return failed;
}

static int run(struct cli *cli, const void *opts, int argc, char **argv, struct error *err) {
    (void)argc;
    const struct prepare_options *o = opts;
    const char *file = o->file ? o->file : HOSTS_FILE;
    struct known_hosts hosts = {0};
    const struct known_host *host;
    int failed = hosts_from_file(cli, file, &hosts, NULL, err) || hosts_find(&hosts, argv[0], file, &host, err) ||
                 prepare(cli, host, o->undo, err);
    hosts_free(&hosts);
    return failed ? -1 : NESTOR_DONE;
}

const struct cli_command cmd_prepare = {
    .name = "prepare",
    .summary = "Make a host ready to nest, where it needs that once",
    .arguments = "HOST",
    .completes = ARGUMENT_NONE,
    .options = options,
    .options_size = sizeof(struct prepare_options),
    .min_args = 1,
    .max_args = 1,
    .details =
        "What is done depends on the driver, and is told line by line. Asking twice changes nothing, and --undo takes\n"
        "it back. 'nestor doctor --host HOST' tells whether it is needed.",
    .examples = "  nestor prepare esx\n  nestor prepare esx --undo --file lab.yaml",
    .run = run,
};
