/* What users look up by name stands in the documentation: reasons, probes, errors, exit codes, drivers, parameters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/cli.h"
#include "nestor/driver.h"
#include "nestor/file.h"
#include "nestor/verify.h"

static char *page(const char *name) {
    cleanup_buffer struct buffer text = {0};
    cleanup_free char *path = xasprintf("%s/docs/%s", getenv("NESTOR_SOURCE_DIR"), name);
    struct error err = {0};
    if (file_read(AT_FDCWD, path, 1 << 20, &text, NULL, &err))
        fail_msg("%s: %s", err.subject, err.cause);
    return buffer_steal(&text);
}

/* From "## TITLE" to the next heading. */
static char *section(const char *name, const char *title) {
    cleanup_free char *text = page(name), *heading = xasprintf("\n## %s\n", title);
    char *start = strstr(text, heading);
    if (!start)
        fail_msg("docs/%s has no section '%s'", name, title);
    char *end = strstr(start + 1, "\n#");
    return xstrndup(start, end ? (size_t)(end - start) + 1 : strlen(start));
}

static size_t count_rows(const char *text) {
    size_t n = 0;
    for (const char *row = strstr(text, "\n| `"); row; row = strstr(row + 1, "\n| `"))
        n++;
    return n;
}

/* In a Markdown table a pipe must be escaped. */
static void put_cell(struct buffer *out, const char *text) {
    for (; *text; text++) {
        if (*text == '|')
            buffer_putc(out, '\\');
        buffer_putc(out, *text);
    }
}

static void the_table_of_reasons_is_the_documented_one(void **state) {
    (void)state;
    cleanup_free char *text = section("verify.md", "Reasons");
    size_t n = 0;
    for (const struct reason *r = reasons; r->code; r++, n++) {
        cleanup_buffer struct buffer row = {0};
        buffer_printf(&row, "\n| `%s` | ", r->code);
        put_cell(&row, r->meaning);
        buffer_puts(&row, " | ");
        put_cell(&row, r->mend);
        buffer_puts(&row, " |\n");
        if (!strstr(text, buffer_str(&row)))
            fail_msg("docs/verify.md lacks this row:%s", buffer_str(&row));
    }
    assert_int_equal(count_rows(text), n);
}

static void every_probe_is_documented(void **state) {
    (void)state;
    cleanup_free char *text = section("verify.md", "What is asked");
    struct evidence e;
    static const char output[] = "@@ cpu-flag 0\n svm\n";
    assert_int_equal(verify_parse("libvirt", true, true, output, sizeof output - 1, &e, NULL), 0);
    for (size_t i = 0; i < e.nprobes; i++) {
        cleanup_free char *row = xasprintf("\n| `%s` | ", e.probes[i].name);
        if (!strstr(text, row))
            fail_msg("docs/verify.md lacks the probe '%s'", e.probes[i].name);
    }
    assert_int_equal(count_rows(text), e.nprobes);
    evidence_free(&e);
}

static void every_error_code_is_documented(void **state) {
    (void)state;
    cleanup_free char *text = page("errors.md");
    for (int code = 0; code < ERR_MAX; code++) {
        cleanup_free char *row = xasprintf("\n| `%s` | ", error_code_name((enum error_code)code));
        if (!strstr(text, row))
            fail_msg("docs/errors.md lacks the code '%s'", error_code_name((enum error_code)code));
    }
    assert_int_equal(count_rows(text), ERR_MAX);
}

static bool in_row(const char *text, const char *row, const char *word) {
    const char *line = strstr(text, row);
    cleanup_free char *whole = line ? xstrndup(line + 1, strcspn(line + 1, "\n")) : NULL;
    return whole && strstr(whole, word);
}

static void every_exit_status_is_documented(void **state) {
    (void)state;
    static const int statuses[] = {NESTOR_DONE,    NESTOR_FAILED, NESTOR_USAGE,
                                   NESTOR_CHANGES, NESTOR_PARTLY, NESTOR_INTERRUPTED};
    cleanup_free char *errors = section("errors.md", "Exit status"), *cli = page("cli.md");
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        cleanup_free char *row = xasprintf("\n| %d | ", statuses[i]);
        if (!strstr(errors, row) || !strstr(cli, row))
            fail_msg("docs/errors.md or docs/cli.md lacks the exit status %d", statuses[i]);
    }
    for (const struct cli_command *const *c = commands; *c; c++) {
        cleanup_free char *name = xasprintf("`%s`", (*c)->name);
        bool says_so = (*c)->details && strstr((*c)->details, "with 3");
        if (says_so && (!in_row(errors, "\n| 3 | ", name) || !in_row(cli, "\n| 3 | ", name)))
            fail_msg("docs/errors.md or docs/cli.md does not name %s for the exit status 3", name);
    }
}

/* Two drivers take the fake driver's parameters, which are told there. */
static bool is_fakes(const struct driver *driver, const char *key) {
    bool takes = strcmp(driver->name, "fault") == 0 || strcmp(driver->name, "fake-remote") == 0;
    for (const struct driver_param *p = driver_find("fake")->params; takes && p->key; p++)
        if (strcmp(p->key, key) == 0)
            return true;
    return false;
}

/* A driver has a page of its own, or a section in docs/drivers.md. */
static void check_driver(void *data, const struct driver *driver) {
    const char *overview = data;
    cleanup_free char *row = xasprintf("\n| `%s` | ", driver->name);
    if (!strstr(overview, row))
        fail_msg("docs/drivers.md lacks the driver '%s'", driver->name);
    cleanup_free char *heading = xasprintf("\n## The %s driver\n", driver->name);
    cleanup_free char *title = xasprintf("The %s driver", driver->name), *file = xasprintf("hosts/%s.md", driver->name);
    cleanup_free char *text = strstr(overview, heading) ? section("drivers.md", title) : page(file);
    for (const struct driver_param *p = driver->params; p && p->key; p++) {
        cleanup_free char *param = xasprintf("\n| `%s` | ", p->key);
        if (!strstr(text, param) && !is_fakes(driver, p->key))
            fail_msg("the parameter '%s' of the driver '%s' is not documented", p->key, driver->name);
    }
}

static void every_driver_and_its_parameters_are_documented(void **state) {
    (void)state;
    cleanup_free char *overview = page("drivers.md");
    driver_each(check_driver, overview);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table_of_reasons_is_the_documented_one),
        cmocka_unit_test(every_probe_is_documented),
        cmocka_unit_test(every_error_code_is_documented),
        cmocka_unit_test(every_exit_status_is_documented),
        cmocka_unit_test(every_driver_and_its_parameters_are_documented),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
