#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/session.h"

struct exec_options {
    unsigned timeout;
};
static const struct option_spec options[] = {
    {"timeout", 't', OPTION_NUMBER, offsetof(struct exec_options, timeout), "SECONDS",
     "how long to wait until the machine answers (default 30)"},
    {0},
};

/* One word goes to the remote shell as it is, as with ssh; several are the exact argument list, as with docker exec. */
static char *script_of(int argc, char **argv) {
    struct buffer script = {0};
    if (argc == 1)
        return xstrdup(argv[0]);
    for (int i = 0; i < argc; i++) {
        if (i)
            buffer_putc(&script, ' ');
        buffer_put_shell(&script, argv[i]);
    }
    return buffer_steal(&script);
}

static int execute(struct session *s, const char *path, int argc, char **argv, unsigned timeout, struct error *err) {
    uint32_t row;
    struct access *access;
    struct context reaching = context_timeout(&s->cli->ctx, (int64_t)(timeout ? timeout : 30) * 1000);
    cleanup_command_result struct command_result result = {0};
    if (session_reach(s, s->lab != NULL, NULL, err) || session_find_machine(s, path, &row, err) ||
        reach_wait(s->reach, row, &access, &reaching, err))
        return -1;
    cleanup_free char *script = script_of(argc, argv);
    struct command command = {
        .script = script, .in_fd = STDIN_FILENO, .out_fd = STDOUT_FILENO, .err_fd = STDERR_FILENO};
    if (access_run(access, &command, &result, &s->cli->ctx, err))
        return error_subject(err, path);
    return result.status;
}

static int run(struct cli *cli, const void *opts, int argc, char **argv, struct error *err) {
    const struct exec_options *o = opts;
    cleanup_free char *lab = NULL;
    struct session s;
    if (split_machine_path(argv[0], &lab, err))
        return -1;
    char **words = argv + 1;
    int n = argc - 1;
    if (n && strcmp(words[0], "--") == 0) {
        words++;
        n--;
    }
    if (n == 0) {
        error_set(err, ERR_USAGE, argv[0], "exec: there is no command to run");
        return error_mend(err, "nestor exec %s -- COMMAND; for a shell: nestor ssh %s", argv[0], argv[0]);
    }
    int code = session_from_name(&s, cli, lab, NULL, err) ? -1 : execute(&s, argv[0], n, words, o->timeout, err);
    session_close(&s);
    return code;
}

const struct cli_command cmd_exec = {
    .name = "exec",
    .summary = "Run a command in a machine at any level",
    .arguments = "LAB/MACHINE... -- COMMAND...",
    .completes = ARGUMENT_MACHINE,
    .options = options,
    .options_size = sizeof(struct exec_options),
    .min_args = 1,
    .max_args = -1,
    .passes_rest = true,
    .details =
        "Over SSH through however many levels, host keys pinned. Passes standard input, output and error, and ends\n"
        "with the command's exit status. A single word is given to the remote shell; several words are passed\n"
        "exactly as they are.",
    .examples = "  nestor exec quickstart/kvm1/web1 -- uname -a\n"
                "  nestor exec quickstart/kvm1 'virsh list --all | grep running'",
    .run = run,
};
