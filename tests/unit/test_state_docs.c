/* docs/state.md names what the database has: every table, every word in a CHECK, the version, the mark. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "state/state_priv.h"
#include "state_fixture.h"

static char *read_docs(void) {
    const char *source = getenv("NESTOR_SOURCE_DIR");
    if (!source)
        skip();
    cleanup_free char *path = state_folder_path(source, "docs/state.md");
    return state_file_read(path, NULL);
}

static void assert_documented(const char *docs, const char *word) {
    cleanup_free char *quoted = xasprintf("`%s`", word);
    if (!strstr(docs, quoted))
        fail_msg("%s is not in docs/state.md", quoted);
}

static void version_and_mark(void **state) {
    (void)state;
    cleanup_free char *docs = read_docs();
    cleanup_free char *version = xasprintf("Version %d (", migrations[nmigrations - 1].version);
    cleanup_free char *statement = xasprintf("user_version = %d;", migrations[nmigrations - 1].version);
    cleanup_free char *mark = xasprintf("application_id = 0x%x;", STATE_APPLICATION_ID);
    assert_non_null(strstr(docs, version));
    assert_non_null(strstr(docs, statement));
    assert_non_null(strstr(docs, mark));
}

static void tables(void **state) {
    struct state_fixture *f = *state;
    cleanup_free char *docs = read_docs();
    cleanup_free char *names = state_fixture_text(f->database, "SELECT group_concat(name, ' ') FROM sqlite_schema"
                                                               " WHERE type = 'table' AND name NOT LIKE 'sqlite_%'");
    int n = 0;
    for (char *save = NULL, *name = strtok_r(names, " ", &save); name; name = strtok_r(NULL, " ", &save), n++)
        assert_documented(docs, name);
    assert_int_equal(n, 6);
}

/* The words in quotes of CHECK (x = 'a' OR x = 'b'). */
static void words_of_the_states(void **state) {
    struct state_fixture *f = *state;
    cleanup_free char *docs = read_docs();
    cleanup_free char *sql = state_fixture_text(
        f->database, "SELECT group_concat(sql, ' ') FROM sqlite_schema WHERE name IN ('machines', 'journal')");
    int n = 0;
    for (char *at = sql; (at = strstr(at, " = '")); n++) {
        char *word = at + 4, *end = strchr(word, '\'');
        *end = '\0';
        assert_documented(docs, word);
        at = end + 1;
    }
    assert_int_equal(n, 6 + 4);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(version_and_mark),
        STATE_TEST(tables),
        STATE_TEST(words_of_the_states),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
