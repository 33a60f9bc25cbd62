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
    if (cancel_fire(&interrupted->cancel) > 0) /* in one step: the next one may come to another thread meanwhile */
        _exit(NESTOR_INTERRUPTED);
    static const char line[] = "\nnestor: stopping; what runs is brought to a safe point (again: end at once)\n";
    ssize_t ignored = interrupted->live ? 0 : write(STDERR_FILENO, line, sizeof line - 1); /* else the tree tells */
    (void)ignored;
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

/* What the commands are called elsewhere: docker, docker compose, terraform, virsh. */
static const struct {
    const char *there, *here;
} synonyms[] = {
    {"apply", "up"},       {"create", "up"},    {"start", "up"},      {"destroy", "down"}, {"delete", "down"},
    {"rm", "down"},        {"stop", "down"},    {"ls", "status"},     {"list", "status"},  {"ps", "status"},
    {"show", "status"},    {"run", "exec"},     {"shell", "ssh"},     {"logs", "console"}, {"log", "events"},
    {"history", "events"}, {"check", "doctor"}, {"lint", "validate"}, {"images", "image"},
};

static int unknown_command(const char *word, struct error *err) {
    const char *names[64];
    size_t n = 0;
    for (const struct cli_command *const *c = commands; *c && n < 64; c++)
        names[n++] = (*c)->name;
    error_set(err, ERR_USAGE, NULL, "there is no command '%s'", word);
    if (word[0] == '-')
        return error_mend(err, "options stand after the command: nestor COMMAND %s", word);
    for (size_t i = 0; i < sizeof synonyms / sizeof *synonyms; i++)
        if (strcmp(synonyms[i].there, word) == 0)
            return error_mend(err, "here it is 'nestor %s'; 'nestor help' shows all", synonyms[i].here);
    return mend_with_words(err, word, names, n);
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

/* "nestor help [COMMAND]" */
static int help(const char *about, struct error *err) {
    const struct cli_command *command = about ? command_find(about) : NULL;
    if (about && strcmp(about, "--markdown") == 0)
        help_print_markdown(stdout);
    else if (command)
        help_print_command(command, stdout);
    else if (about)
        return unknown_command(about, err);
    else
        help_print(stdout);
    return NESTOR_DONE;
}

static int dispatch(struct cli *cli, int argc, char **argv, struct error *err) {
    if (is_word(argv[1], "--help", "-h", "help"))
        return help(argv[2], err);
    return catch_signals(cli, err) ? -1 : run_command(cli, argc, argv, err);
}

static void print_error(const struct error *err) { error_print(err, color_on(STDERR_FILENO), stderr); }

/* What was to be said may not have arrived. A reader that left has seen what it wanted. */
static int end_output(int code) {
    struct error err = {0};
    if (fflush(stdout) == 0 || errno == EPIPE)
        return code;
    error_set_errno(&err, errno, "standard output", "cannot write to it");
    print_error(&err);
    return code == NESTOR_DONE || code == NESTOR_CHANGES ? NESTOR_FAILED : code;
}

int cli_main(int argc, char **argv) {
    struct cli cli = {.color = color_on(STDOUT_FILENO), .live = isatty(STDERR_FILENO)};
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
    asking_begin(&asking, &cli.ctx);
    cli.asking = &asking;
    int code = dispatch(&cli, argc, argv, &err);
    if (code < 0) {
        print_error(&err);
        code = exit_code_of(&err);
    }
    asking_end(&asking);
    return end_output(code);
}
