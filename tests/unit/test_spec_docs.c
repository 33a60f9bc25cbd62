/* docs/spec.md says the same as the parser: its tables are the key tables, its examples do what it says. */
#include <stdlib.h>
#include <string.h>

#include "spec/draft.h"
#include "spec/limits.h"
#include "spec_lab.h"

static int load_page(void **state) {
    *state = spec_source_file("docs/spec.md");
    return 0;
}

static int free_page(void **state) {
    free(*state);
    return 0;
}

/* From a heading to the next one of any level; free with free. */
static char *section(const char *page, const char *title) {
    cleanup_free char *heading = xasprintf("\n### %s\n", title);
    const char *start = strstr(page, heading);
    if (!start)
        fail_msg("docs/spec.md has no section '%s'", title);
    start += strlen(heading) - 1;
    const char *end = strstr(start, "\n#");
    return end ? strndup(start, (size_t)(end - start)) : xstrdup(start);
}

static void check_rows(const char *text, const struct keyset *keys) {
    for (; keys; keys = keys->more)
        for (const struct field *f = keys->fields; f->key; f++) {
            cleanup_free char *row =
                xasprintf("\n| `%s` | %s | %s | %s |\n", f->key, f->type, f->fallback ? f->fallback : "", f->help);
            if (!strstr(text, row))
                fail_msg("docs/spec.md lacks this row under '%s':%s", keys->name, row);
        }
}

static bool has_key(const struct keyset *keys, const char *key, size_t len) {
    for (; keys; keys = keys->more)
        for (const struct field *f = keys->fields; f->key; f++)
            if (strlen(f->key) == len && memcmp(f->key, key, len) == 0)
                return true;
    return false;
}

static void check_nothing_else(const char *text, const struct keyset *keys) {
    static const char start[] = "\n| `";
    for (const char *row = strstr(text, start); row; row = strstr(row + 1, start)) {
        const char *key = row + strlen(start);
        size_t len = strcspn(key, "`");
        /* The values of `nesting` have a table of their own. */
        if (!has_key(keys, key, len) && strncmp(key + len, "` | yes | yes |", 15) != 0 &&
            strncmp(key + len, "` | no |", 8) != 0)
            fail_msg("docs/spec.md has a key '%.*s' under '%s', and the parser has not", (int)len, key, keys->name);
    }
}

static void tables_are_the_parsers(void **state) {
    for (size_t i = 0; keysets[i]; i++) {
        cleanup_free char *text = section(*state, keysets[i]->name);
        if (keysets[i] != &settings_keys) {
            check_rows(text, keysets[i]);
            check_nothing_else(text, keysets[i]);
        }
    }
}

/* They have their rows under `machine`; here they are only listed. */
static void defaults_are_listed(void **state) {
    cleanup_free char *text = section(*state, "defaults");
    for (const struct field *f = settings_keys.fields; f->key; f++) {
        cleanup_free char *quoted = xasprintf("`%s`", f->key);
        if (!strstr(text, quoted))
            fail_msg("docs/spec.md does not list '%s' under 'defaults'", f->key);
    }
}

static void limits_are_the_parsers(void **state) {
    const struct {
        const char *what;
        size_t most;
        const char *unit;
    } limits[] = {
        {"size of the file", SPEC_FILE_MAX >> 20, "MiB"},
        {"keys and values, aliases written out", SPEC_NODES_MAX, ""},
        {"maps and lists inside each other", SPEC_TREE_DEPTH_MAX, ""},
        {"levels of machines", SPEC_LEVELS_MAX, ""},
        {"machines, counts expanded", SPEC_MACHINES_MAX, ""},
        {"`count` of one machine", SPEC_COUNT_MAX, ""},
        {"characters of a name", SPEC_NAME_MAX, ""},
        {"characters of a path", SPEC_PATH_MAX, ""},
        {"bytes of the name of a template on a hypervisor", SPEC_TEMPLATE_MAX, ""},
        {"keys of one `extra-config`", SPEC_EXTRA_MAX, ""},
        {"size of one `extra-config`", SPEC_EXTRA_SIZE_MAX >> 10, "KiB"},
        {"size of one user-data", SPEC_USER_DATA_MAX >> 10, "KiB"},
        {"size of all user-data files", SPEC_USER_DATA_TOTAL_MAX >> 20, "MiB"},
        {"errors shown", SPEC_ERRORS_MAX, ""},
        {"warnings shown", SPEC_WARNINGS_MAX, ""},
    };
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        cleanup_free char *row = xasprintf("\n| %s | %zu%s |\n", limits[i].what, limits[i].most, limits[i].unit);
        if (!strstr(*state, row))
            fail_msg("docs/spec.md lacks this row:%s", row);
    }
}

/* The text between the fences that open with `fence` at or after *p, which is moved behind them; NULL if none. */
static char *fenced(const char **p, const char *fence) {
    const char *start = strstr(*p, fence);
    if (!start)
        return NULL;
    start += strlen(fence);
    const char *end = strstr(start, "```\n");
    assert_non_null(end);
    *p = end + 4;
    return strndup(start, (size_t)(end - start));
}

/* What must be printed for the example before p: the block of text that follows it directly, else nothing. */
static char *output_after(const char *p) {
    static const char fence[] = "\n```text\n";
    return strncmp(p, fence, strlen(fence)) == 0 ? fenced(&p, fence) : xstrdup("");
}

static void examples_do_what_is_said(void **state) {
    const char *p = *state;
    size_t good = 0, bad = 0;
    for (char *example; (example = fenced(&p, "\n```yaml\n")); free(example)) {
        if (strncmp(example, "lab: ", 5) != 0)
            continue;
        cleanup_free char *wanted = output_after(p);
        cleanup_buffer struct buffer got = {0};
        struct diagnostics diags = {0};
        struct lab *lab = NULL;
        int failed = spec_parse("lab.yaml", example, strlen(example), &spec_test_drivers, NULL, &lab, &diags, NULL);
        diagnostics_print(&diags, "lab.yaml", &got);
        assert_string_equal(buffer_str(&got), wanted);
        good += !failed;
        bad += failed != 0;
        lab_free(lab);
        diagnostics_free(&diags);
    }
    assert_in_range(good, 5, 100);
    assert_in_range(bad, 3, 100);
}

static void the_first_example_is_the_quickstart(void **state) {
    const char *p = *state;
    cleanup_free char *example = fenced(&p, "\n```yaml\n"), *file = spec_source_file("templates/labs/quickstart.yaml");
    struct lab *a = spec_good(example), *b = spec_good(file);
    assert_string_equal(a->name, b->name);
    assert_int_equal(a->nmachines, b->nmachines);
    for (size_t i = 0; i < a->nmachines; i++) {
        assert_string_equal(a->machines[i].path, b->machines[i].path);
        assert_int_equal(a->machines[i].memory, b->machines[i].memory);
    }
    lab_free(a);
    lab_free(b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_are_the_parsers),
        cmocka_unit_test(defaults_are_listed),
        cmocka_unit_test(limits_are_the_parsers),
        cmocka_unit_test(examples_do_what_is_said),
        cmocka_unit_test(the_first_example_is_the_quickstart),
    };
    return cmocka_run_group_tests(tests, load_page, free_page);
}
