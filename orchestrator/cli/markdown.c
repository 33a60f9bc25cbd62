/* docs/cli.md, from the command table. A test compares the two. */
#include <string.h>

#include "cli/cli.h"

/* In a table a bar ends the cell. */
static void print_cell(const char *text, FILE *out) {
    for (; *text; text++) {
        if (*text == '|')
            fputc('\\', out);
        fputc(*text, out);
    }
}

static void print_option(const struct option_spec *o, FILE *out) {
    fputs("| `", out);
    if (o->letter)
        fprintf(out, "-%c`, `", o->letter);
    fprintf(out, "--%s", o->name);
    if (o->value) {
        fputc(' ', out);
        print_cell(o->value, out);
    }
    fputs("` | ", out);
    print_cell(o->help, out);
    fputs(" |\n", out);
}

/* The help indents examples; here the block does. */
static void print_examples(const char *text, FILE *out) {
    fputs("\n```sh\n", out);
    for (size_t n; *text; text += n + (text[n] == '\n')) {
        text += strspn(text, " ");
        n = strcspn(text, "\n");
        fprintf(out, "%.*s\n", (int)n, text);
    }
    fputs("```\n", out);
}

static void print_command(const struct cli_command *c, FILE *out) {
    fprintf(out, "\n## nestor %s\n\n%s.\n\n```\nnestor %s%s%s%s\n```\n", c->name, c->summary, c->name,
            c->options ? " [OPTIONS]" : "", c->arguments[0] ? " " : "", c->arguments);
    if (c->details)
        fprintf(out, "\n%s\n", c->details);
    if (c->options)
        fputs("\n| option | |\n| --- | --- |\n", out);
    for (const struct option_spec *o = c->options; o && o->name; o++)
        print_option(o, out);
    if (c->examples)
        print_examples(c->examples, out);
}

void help_print_markdown(FILE *out) {
    fputs("# The command line\n\n"
          "Written by `nestor help --markdown` from the command table (`orchestrator/cli/`); a test keeps it so.\n\n"
          "| command | |\n| --- | --- |\n",
          out);
    for (const struct cli_command *const *c = commands; *c; c++)
        fprintf(out, "| [`%s`](#nestor-%s) | %s |\n", (*c)->name, (*c)->name, (*c)->summary);
    fputs("\nEvery command has `-q`, `--quiet` (only warnings and errors) and `-h`, `--help`. Options may stand before "
          "or\n"
          "after the arguments; `--` ends them. For `exec` and `ssh` they stand before the machine: what follows it is "
          "the\n"
          "command's. Progress is told on standard error: as a tree that redraws itself on a terminal, else as a line "
          "per\n"
          "event. `NO_COLOR` and `TERM=dumb` are respected.\n\n"
          "| exit status | |\n| --- | --- |\n"
          "| 0 | done |\n"
          "| 1 | failed |\n"
          "| 2 | usage or lab file error |\n"
          "| 3 | `plan`, `gc`, `adopt`: there is something to do |\n"
          "| 4 | partly done |\n"
          "| 130 | interrupted |\n",
          out);
    for (const struct cli_command *const *c = commands; *c; c++)
        print_command(*c, out);
}
