/* docs/cli.md and every help text say what the command table says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/cli.h"
#include "nestor/buffer.h"
#include "ui_capture.h"

static void print_markdown(void *data, FILE *out) {
    (void)data;
    help_print_markdown(out);
}

static char *read_file(const char *path) {
    char *text = NULL;
    size_t size = 0;
    FILE *in = fopen(path, "r");
    if (!in)
        fail_msg("cannot open %s", path);
    if (getdelim(&text, &size, '\0', in) < 0)
        fail_msg("cannot read %s", path);
    fclose(in);
    return text;
}

static void the_reference_is_the_table(void **state) {
    (void)state;
    cleanup_free char *path = xasprintf("%s/docs/cli.md", getenv("NESTOR_SOURCE_DIR"));
    cleanup_free char *wanted = ui_capture(print_markdown, NULL), *there = read_file(path);
    if (strcmp(wanted, there) != 0)
        fail_msg("docs/cli.md is not what the table says: nestor help --markdown > docs/cli.md");
}

static void print_help(void *data, FILE *out) { help_print_command(data, out); }

static void help_names_every_option(void **state) {
    (void)state;
    for (const struct cli_command *const *c = commands; *c; c++) {
        cleanup_free char *text = ui_capture(print_help, (void *)*c);
        for (const struct option_spec *o = (*c)->options; o && o->name; o++) {
            cleanup_free char *line = xasprintf("--%s", o->name);
            assert_non_null(strstr(text, line));
            assert_non_null(strstr(text, o->help));
        }
        assert_non_null(strstr(text, (*c)->details));
        assert_non_null(strstr(text, "--quiet"));
    }
}

static void print_overview(void *data, FILE *out) {
    (void)data;
    help_print(out);
}

static void the_overview_fits_a_terminal_and_has_every_command(void **state) {
    (void)state;
    cleanup_free char *text = ui_capture(print_overview, NULL);
    for (const struct cli_command *const *c = commands; *c; c++)
        assert_non_null(strstr(text, (*c)->summary));
    for (const char *line = text; *line; line += strcspn(line, "\n") + 1)
        assert_true(strcspn(line, "\n") <= 100);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_reference_is_the_table),
        cmocka_unit_test(help_names_every_option),
        cmocka_unit_test(the_overview_fits_a_terminal_and_has_every_command),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
