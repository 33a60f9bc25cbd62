#include <string.h>

#include "cli/cli.h"
#include "ui/text.h"
#include "ui/ui.h"

/* Beside what stands there already, `column` columns wide. */
static void print_beside(const char *text, size_t column, FILE *out) {
    cleanup_buffer struct buffer line = {0};
    text_put_hanging(&line, text, column, text_width(out), terminal_is_utf8());
    fprintf(out, "%s\n", buffer_str(&line));
}

/* Its lines fit into 110 columns. */
static void print_paragraph(const char *text, FILE *out) {
    cleanup_buffer struct buffer lines = {0};
    size_t width = text_width(out);
    if (width < 110)
        text_put_wrapped(&lines, text, 0, 0, width, terminal_is_utf8());
    fprintf(out, "\n%s\n", width < 110 ? buffer_str(&lines) : text);
}

static void print_option(const struct option_spec *o, FILE *out) {
    char left[48], letter[8] = "    ";
    if (o->letter)
        snprintf(letter, sizeof letter, "-%c, ", o->letter);
    snprintf(left, sizeof left, "%s--%s%s%s", letter, o->name, o->value ? " " : "", o->value ? o->value : "");
    fprintf(out, "  %-24s ", left);
    print_beside(o->help, 27, out);
}

void help_print_command(const struct cli_command *c, FILE *out) {
    fprintf(out, "Usage: nestor %s%s%s%s\n\n%s.\n", c->name, c->options ? " [OPTIONS]" : "", c->arguments[0] ? " " : "",
            c->arguments, c->summary);
    if (c->details)
        print_paragraph(c->details, out);
    fputs("\nOptions:\n", out);
    for (const struct option_spec *o = c->options; o && o->name; o++)
        print_option(o, out);
    print_option(&(struct option_spec){.name = "quiet", .letter = 'q', .help = "only warnings and errors"}, out);
    print_option(&(struct option_spec){.name = "help", .letter = 'h', .help = "this text"}, out);
    if (c->examples)
        fprintf(out, "\nExamples:\n%s\n", c->examples);
}

void help_print(FILE *out) {
    fputs("nestor: labs of hypervisors inside hypervisors, from one YAML file\n\n"
          "Usage: nestor COMMAND [OPTIONS] [ARGUMENTS]\n\nCommands:\n",
          out);
    for (const struct cli_command *const *c = commands; *c; c++) {
        fprintf(out, "  %-12s ", (*c)->name);
        print_beside((*c)->summary, 15, out);
    }
    print_paragraph("'nestor COMMAND --help' tells more about one of them.\n"
                    "State is kept in $NESTOR_HOME, or else in ~/.local/state/nestor and ~/.cache/nestor.",
                    out);
    print_paragraph("Exit status: 0 done, 1 failed, 2 usage or lab file error, 3 something to do ('plan', 'gc'),\n"
                    "4 partly done, 130 interrupted.",
                    out);
}
