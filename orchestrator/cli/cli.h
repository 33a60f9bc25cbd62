/* The command line: one file per command, one row per command in table.c. Help, completion, docs/cli.md and the
 * option parser are all driven by these structs, so they cannot drift. */
#ifndef NESTOR_CLI_CLI_H
#define NESTOR_CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "nestor/context.h"
#include "nestor/error.h"

/* Exit codes, fixed for scripts. */
enum {
    NESTOR_DONE = 0,
    NESTOR_FAILED = 1,
    NESTOR_USAGE = 2,   /* usage or spec error */
    NESTOR_CHANGES = 3, /* plan, gc, adopt: there is something to do */
    NESTOR_PARTLY = 4,  /* some of it is done */
    NESTOR_INTERRUPTED = 130,
};

enum option_type { OPTION_FLAG, OPTION_STRING, OPTION_NUMBER };

/* A row of a command's option table. `offset` is where the value goes in the command's options struct: bool for a flag,
 * const char * for a string, unsigned for a number. */
struct option_spec {
    const char *name; /* "json": --json */
    char letter;      /* 'y': -y; 0 if none */
    enum option_type type;
    size_t offset;
    const char *value; /* "FILE", "STARTER": completed with these; "dot|mermaid": one of these; NULL for a flag */
    const char *help;
};

/* What an argument is, for shell completion. */
enum argument_kind {
    ARGUMENT_NONE,
    ARGUMENT_FILE,
    ARGUMENT_WORD,
    ARGUMENT_LAB, /* or its file */
    ARGUMENT_MACHINE,
    ARGUMENT_HOST,
    ARGUMENT_IMAGE,
    ARGUMENT_STARTER,
};

struct cli;
struct cli_command {
    const char *name;
    const char *summary;   /* one line */
    const char *arguments; /* "FILE", "LAB[/MACHINE...] -- COMMAND..."; "list|rm [NAME]": the first is one of these */
    enum argument_kind completes;      /* the first, or all if there may be any number; ARGUMENT_WORD: one of these */
    enum argument_kind then;           /* the second */
    const struct option_spec *options; /* ends with name NULL; may be NULL */
    size_t options_size;               /* of the options struct, at most OPTIONS_MAX */
    int min_args, max_args;            /* -1: any number */
    bool passes_rest;    /* everything after "--" belongs to the command to be run, options stop at the first word after
                            the path */
    const char *details; /* paragraphs for the help and the docs */
    const char *examples; /* lines "nestor up lab.yaml --yes    # what it does" */
    /* Returns an exit code, or -1 with err (its code decides the exit code). `options` points to the filled struct. */
    int (*run)(struct cli *cli, const void *options, int argc, char **argv, struct error *err);
};
#define OPTIONS_MAX 128

/* Common to all commands. */
struct cli {
    struct context ctx; /* no deadline, the cancel token Ctrl-C fires */
    struct cancel cancel;
    bool quiet;
    bool color;            /* stdout is a terminal and NO_COLOR is unset */
    bool live;             /* stderr is a terminal: progress may redraw */
    struct asking *asking; /* who is asked for secrets (ask.h) */
};

extern const struct cli_command *const commands[]; /* ends with NULL, in the order of the help */
const struct cli_command *command_find(const char *name);

/* Parses argv into options and arguments, handles --help and --version, runs the command, prints its error. Returns
 * the exit code. */
int cli_main(int argc, char **argv);

/* Options and arguments of one command. Arguments are left in argv[0 .. *ret_argc). ERR_USAGE. */
int options_parse(const struct cli_command *command, int argc, char **argv, void *ret_options, struct cli *cli,
                  int *ret_argc, bool *ret_help, struct error *err) NESTOR_CHECKED;

/* What each prints. */
void help_print(FILE *out);
void help_print_command(const struct cli_command *command, FILE *out);
void help_print_markdown(FILE *out); /* docs/cli.md */
/* Whether what goes to this descriptor is coloured: a terminal, and NO_COLOR (no-color.org) is not set. */
bool color_on(int fd);
void error_print(const struct error *err, bool color, FILE *out);
void warning_print(const char *text, bool color, FILE *out);
int exit_code_of(const struct error *err);

/* What to do about a word that is none of these: "did you mean 'list'? There are: list, build, rm". Returns -1. */
int mend_with_words(struct error *err, const char *word, const char *const *words, size_t n);

/* Asks "TEXT [y/N]" on the terminal. ERR_USAGE with the mend "--yes" when there is no terminal; false is a plain no. */
int confirm(struct cli *cli, const char *text, bool *ret_yes, struct error *err) NESTOR_CHECKED;

#endif
