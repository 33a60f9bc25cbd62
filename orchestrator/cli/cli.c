#include "cli/ask.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "nestor/lab.h"

/* The one thing a signal handler needs to reach. Set once, before the handler is installed. */
static struct cli *interrupted;

/* Once: stop cleanly. Again: end now; everything is resumable, as after a SIGKILL. */
static void on_signal(int number) {
    (void)number;
    if (cancel_fired(&interrupted->cancel))
        _exit(NESTOR_INTERRUPTED);
    static const char line[] = "\nnestor: stopping; what runs is brought to a safe point (again: end at once)\n";
    ssize_t ignored = interrupted->live ? 0 : write(STDERR_FILENO, line, sizeof line - 1); /* else the tree tells */
    (void)ignored;
    cancel_fire(&interrupted->cancel);
}

static int catch_signals(struct cli *cli, struct error *err) {
    if (cancel_init(&cli->cancel, err))
        return -1;
    interrupted = cli;
    cli->ctx = (struct context){.deadline = DEADLINE_NEVER, .cancel = &cli->cancel};
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    struct sigaction hup;
    if (sigaction(SIGHUP, NULL, &hup) == 0 && hup.sa_handler != SIG_IGN) /* as under nohup(1) */
        sigaction(SIGHUP, &action, NULL);
    signal(SIGPIPE, SIG_IGN); /* a closed pipe is an error of the write, not the end of nestor */
    return 0;
}

const struct cli_command *command_find(const char *name) {
    for (const struct cli_command *const *c = commands; *c; c++)
        if (strcmp((*c)->name, name) == 0)
            return *c;
    return NULL;
}

static int unknown_command(const char *word, struct error *err) {
    const char *names[64];
    size_t n = 0;
    for (const struct cli_command *const *c = commands; *c && n < 64; c++)
        names[n++] = (*c)->name;
    const char *near = nearest_word(word, names, n);
    error_set(err, ERR_USAGE, NULL, "there is no command '%s'", word);
    if (near)
        return error_mend(err, "did you mean 'nestor %s'?", near);
    return error_mend(err, "'nestor --help' lists the commands");
}

static int run_command(struct cli *cli, int argc, char **argv, struct error *err) {
    const struct cli_command *command = command_find(argv[1]);
    _Alignas(max_align_t) char options[OPTIONS_MAX] = {0};
    bool help = false;
    int nargs = 0;
    if (!command)
        return unknown_command(argv[1], err);
    if (options_parse(command, argc - 2, argv + 2, options, cli, &nargs, &help, err))
        return -1;
    if (help) {
        help_print_command(command, stdout);
        return NESTOR_DONE;
    }
    return command->run(cli, options, nargs, argv + 2, err);
}

static bool is_word(const char *word, const char *a, const char *b, const char *c) {
    return strcmp(word, a) == 0 || strcmp(word, b) == 0 || strcmp(word, c) == 0;
}

int cli_main(int argc, char **argv) {
    struct cli cli = {.color = isatty(STDOUT_FILENO) && !getenv("NO_COLOR"), .live = isatty(STDERR_FILENO)};
    struct error err = {0};
    struct asking asking;
    const char *term = getenv("TERM");
    if (term && strcmp(term, "dumb") == 0)
        cli.live = cli.color = false;
    if (argc < 2) {
        help_print(stderr);
        return NESTOR_USAGE;
    }
    if (is_word(argv[1], "--version", "-V", "version")) {
        puts("nestor " NESTOR_VERSION);
        return NESTOR_DONE;
    }
    if (is_word(argv[1], "--help", "-h", "help")) {
        const struct cli_command *about = argc > 2 ? command_find(argv[2]) : NULL;
        if (argc > 2 && strcmp(argv[2], "--markdown") == 0)
            help_print_markdown(stdout);
        else if (about)
            help_print_command(about, stdout);
        else
            help_print(stdout);
        return NESTOR_DONE;
    }
    asking_begin(&asking, &cli.ctx);
    cli.asking = &asking;
    int code = catch_signals(&cli, &err) ? -1 : run_command(&cli, argc, argv, &err);
    if (code < 0) {
        error_print(&err, isatty(STDERR_FILENO) && !getenv("NO_COLOR"), stderr);
        code = exit_code_of(&err);
    }
    asking_end(&asking);
    if (fflush(stdout) != 0 && errno != EPIPE && code == NESTOR_DONE)
        code = NESTOR_FAILED;
    return code;
}
