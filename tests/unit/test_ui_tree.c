#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ui/tree.h"

/* Each node on a line: its prefix and path, then the prefix of a line beneath it. */
static void expect(const char *const *paths, size_t n, bool utf8, const char *drawn) {
    struct tree t;
    cleanup_buffer struct buffer out = {0};
    tree_build(paths, n, &t);
    assert_int_equal(t.n, n);
    for (size_t i = 0; i < t.n; i++) {
        tree_put_prefix(&t, i, glyphs_get(utf8), false, &out);
        buffer_printf(&out, "%s\n", paths[t.nodes[i].item]);
    }
    assert_string_equal(buffer_str(&out), drawn);
    tree_free(&t);
}
#define EXPECT(paths, utf8, drawn) expect(paths, sizeof(paths) / sizeof *(paths), utf8, drawn)

static void children_stand_under_their_parent(void **state) {
    (void)state;
    static const char *const paths[] = {"l/a", "l/a/x", "l/a/x/p", "l/a/y", "l/b", "l/b/z"};
    EXPECT(paths, true,
           "l/a\n"
           "├─ l/a/x\n"
           "│  └─ l/a/x/p\n"
           "└─ l/a/y\n"
           "l/b\n"
           "└─ l/b/z\n");
    EXPECT(paths, false,
           "l/a\n"
           "|- l/a/x\n"
           "|  `- l/a/x/p\n"
           "`- l/a/y\n"
           "l/b\n"
           "`- l/b/z\n");
}

/* Machines that left the spec come after all others in the inventory. */
static void a_child_that_comes_late_is_put_where_it_belongs(void **state) {
    (void)state;
    static const char *const paths[] = {"l/a", "l/a/x", "l/b", "l/a/old"};
    EXPECT(paths, true, "l/a\n├─ l/a/x\n└─ l/a/old\nl/b\n");
}

static void a_child_without_its_parent_stands_alone(void **state) {
    (void)state;
    static const char *const paths[] = {"local", "l/gone/x", "l/a"};
    EXPECT(paths, true, "local\nl/gone/x\nl/a\n");
}

static void nothing_is_a_tree_too(void **state) {
    (void)state;
    struct tree t;
    tree_build(NULL, 0, &t);
    assert_int_equal(t.n, 0);
    tree_free(&t);
}

static void a_line_beneath_a_name_continues_the_branches(void **state) {
    (void)state;
    static const char *const paths[] = {"l/a", "l/a/x", "l/a/y", "l/b"};
    static const char *const beneath[] = {"│  ", "│     ", "      ", "   "};
    struct tree t;
    tree_build(paths, 4, &t);
    for (size_t i = 0; i < 4; i++) {
        cleanup_buffer struct buffer out = {0};
        tree_put_prefix(&t, i, glyphs_get(true), true, &out);
        assert_string_equal(buffer_str(&out), beneath[i]);
    }
    tree_free(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(children_stand_under_their_parent),
        cmocka_unit_test(a_child_that_comes_late_is_put_where_it_belongs),
        cmocka_unit_test(a_child_without_its_parent_stands_alone),
        cmocka_unit_test(nothing_is_a_tree_too),
        cmocka_unit_test(a_line_beneath_a_name_continues_the_branches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
