/* What is wrong with a file before any key of the spec is looked at. */
#include <string.h>

#include "spec_lab.h"

#define REST "machines: { a: { template: t } }\n"

static void empty(void **state) {
    (void)state;
    assert_refused("", "1:1: error: the file is empty");
    assert_refused("# nothing\n", "1:1: error: the file is empty");
    assert_refused("---\n...\n",
                   "2:1: error: a spec is a map of keys and values, not nothing; its first line is 'lab: NAME'");
}

static void not_a_map(void **state) {
    (void)state;
    assert_refused("just words\n",
                   "1:1: error: a spec is a map of keys and values, not a single value; its first line is 'lab: NAME'");
    assert_refused("- lab: x\n",
                   "1:1: error: a spec is a map of keys and values, not a list; its first line is 'lab: NAME'");
}

static void malformed(void **state) {
    (void)state;
    assert_refused("lab: x\nmachines:\n  a: { template: t\n",
                   "4:1: error: not valid YAML: did not find expected ',' or '}' while parsing a flow mapping (from "
                   "3:6); a '{' is not closed, or a ',' is missing");
    assert_refused(
        "lab: x\nmachines:\n  a: b: c\n",
        "3:7: error: not valid YAML: mapping values are not allowed in this context; put quotes around a text "
        "with ': ' in it, or check the indentation of this line");
    assert_refused("lab: 'x\n",
                   "2:1: error: not valid YAML: found unexpected end of stream while scanning a quoted scalar "
                   "(from 1:6); a quote is not closed");
    assert_refused(
        "lab: x\n  machines: {}\n",
        "2:11: error: not valid YAML: mapping values are not allowed in this context; put quotes around a text "
        "with ': ' in it, or check the indentation of this line");
    assert_refused(
        "lab: x\n-machines\n",
        "3:1: error: not valid YAML: could not find expected ':' while scanning a simple key (from 2:1); a key "
        "is followed by ':' and a space");
    assert_refused("lab: @x\n", "1:6: error: not valid YAML: found character that cannot start any token");
}

static void tabs(void **state) {
    (void)state;
    assert_refused("lab: x\nmachines:\n\ta: {}\n",
                   "3:1: error: a tab is used for indentation; YAML indents with spaces only");
    /* Columns count characters, so do the marks of libyaml. */
    assert_refused("# \xc3\xa9\xc3\xa9\nlab: x\nmachines:\n\ta: {}\n",
                   "4:1: error: a tab is used for indentation; YAML indents with spaces only");
    spec_refused("\xef\xbb\xbfmachines:\n\ta: {}\n", 18,
                 (const char *[]){"2:1: error: a tab is used for indentation; YAML indents with spaces only"}, 1);
}

static void cyclic(void **state) {
    (void)state;
    assert_refused("lab: x\nmachines: &m\n  a:\n    machines: *m\n",
                   "4:15: error: the alias '*m' stands inside what it names (2:11): a spec cannot contain itself");
    assert_refused("&all { lab: x, machines: *all }\n",
                   "1:26: error: the alias '*all' stands inside what it names (1:1): a spec cannot contain itself");
    assert_refused("x-l: &l [1, [2, *l]]\n",
                   "1:17: error: the alias '*l' stands inside what it names (1:6): a spec cannot contain itself");
    assert_refused("machines: &m { <<: *m }\n",
                   "1:20: error: the alias '*m' stands inside what it names (1:11): a spec cannot contain itself");
}

static void unknown_alias(void **state) {
    (void)state;
    assert_refused("lab: *name\n", "1:6: error: the alias '*name' has no anchor '&name' before it");
}

static void alias_bomb(void **state) {
    (void)state;
    cleanup_buffer struct buffer text = {0};
    buffer_puts(&text, "lab: x\nx-0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for (int i = 1; i < 10; i++) {
        buffer_printf(&text, "x-%d: &a%d [", i, i);
        for (int k = 0; k < 10; k++)
            buffer_printf(&text, "*a%d, ", i - 1);
        buffer_puts(&text, "]\n");
    }
    /* 11, 111, 1111 ... values: the tenfold of 111,111 still fits into 2,000,000, the second such does not. */
    assert_refused(buffer_str(&text),
                   "8:11: error: the file holds more than 2000000 values once its aliases are written out");
}

static void too_deep(void **state) {
    (void)state;
    cleanup_buffer struct buffer text = {0};
    buffer_puts(&text, "x: ");
    for (int i = 0; i < 1000; i++)
        buffer_putc(&text, '[');
    assert_refused(buffer_str(&text), "1:131: error: more than 128 maps and lists stand inside each other");
}

static void huge(void **state) {
    (void)state;
    size_t len = ((size_t)4 << 20) + 1;
    cleanup_free char *text = xmalloc(len);
    memset(text, '#', len);
    spec_refused(text, len, (const char *[]){"1:1: error: the file is larger than 4MiB"}, 1);
    spec_refused(text, len - 1, (const char *[]){"1:1: error: the file is empty"}, 1);
}

static void not_utf8(void **state) {
    (void)state;
    assert_refused("lab: x\n# caf\xe9\n", "2:6: error: the byte 0xe9 is not UTF-8; save the file as UTF-8");
    assert_refused("\xff\xfel", "1:1: error: the byte 0xff is not UTF-8; save the file as UTF-8");
}

static void control_characters(void **state) {
    (void)state;
    static const char nul[] = "lab: x\n\0";
    spec_refused(nul, sizeof nul - 1,
                 (const char *[]){"2:1: error: a control character is in the file (its first byte is 0x00)"}, 1);
    assert_refused("lab: \x1b[2Jx\n", "1:6: error: a control character is in the file (its first byte is 0x1b)");
    assert_refused("lab: \"a\\0b\"\n" REST, "1:6: error: a text must not hold a NUL character");
    assert_refused("lab: x\n\"\\e[2J\": 1\n" REST, "2:1: error: unknown key '?[2J'; the keys of 'lab' are lab, hosts, "
                                                   "templates, defaults, machines, networks, seats, lease");
}

static void duplicate_keys(void **state) {
    (void)state;
    assert_refused("lab: x\nlab: y\n" REST, "2:1: error: duplicate key 'lab'; it is first used at 1:1");
    assert_refused("lab: x\nmachines:\n  a: { template: t }\n  b: { template: t }\n  a: { template: u }\n",
                   "5:3: error: duplicate key 'a'; it is first used at 3:3");
    assert_refused("lab: x\nmachines: { a: { template: t, cpus: 1, \"cpus\": 2, cpus: 3 } }\n",
                   "2:40: error: duplicate key 'cpus'; it is first used at 2:31",
                   "2:51: error: duplicate key 'cpus'; it is first used at 2:31");
    assert_refused("lab: x\nx-a: &a {}\nmachines: { a: { <<: *a, template: t, <<: *a } }\n",
                   "3:39: error: duplicate key '<<'; it is first used at 3:18");
}

static void odd_keys(void **state) {
    (void)state;
    assert_refused("lab: x\n" REST "[a, b]: c\n", "3:1: error: a key must be a word, not a list");
    assert_refused("lab: x\n" REST "? { a: b }\n: c\n", "3:3: error: a key must be a word, not a map");
    assert_refused("lab: x\n" REST "~: c\n", "3:1: error: a key must be a word, not nothing");
}

static void merges_of_no_map(void **state) {
    (void)state;
    assert_refused(
        "lab: x\nmachines: { a: { template: t, <<: b } }\n",
        "2:35: error: '<<' merges maps, and this is a single value; write '<<: *anchor' with the anchor on a map");
    assert_refused("lab: x\nx-l: &l [{}, [] ]\nmachines: { a: { template: t, <<: *l } }\n",
                   "2:14: error: '<<' merges maps, and this is a list; write '<<: *anchor' with the anchor on a map");
}

static void second_document(void **state) {
    (void)state;
    assert_refused("lab: x\n" REST "---\nlab: y\n",
                   "3:1: error: a second YAML document starts here; one file holds one "
                   "lab: remove the '---' or split the file");
}

static void tags(void **state) {
    (void)state;
    assert_refused("lab: !ruby/object x\n" REST, "1:6: error: the tag '!ruby/object' is not supported");
    assert_refused("lab: x\nmachines: !include other.yaml\n", "2:11: error: the tag '!include' is not supported");
    lab_free(spec_good("lab: !!str x\nmachines: !!map { a: { template: ! t } }\n"));
}

static void unusual_but_fine(void **state) {
    (void)state;
    lab_free(spec_good("\xef\xbb\xbf%YAML 1.1\r\n---\r\nlab: \"x\"\r\n" REST "...\r\n"));
    lab_free(spec_good("{\"lab\": \"x\", \"machines\": {\"a\": {\"template\": \"t\", \"cpus\": 2}}}"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty),
        cmocka_unit_test(not_a_map),
        cmocka_unit_test(malformed),
        cmocka_unit_test(tabs),
        cmocka_unit_test(cyclic),
        cmocka_unit_test(unknown_alias),
        cmocka_unit_test(alias_bomb),
        cmocka_unit_test(too_deep),
        cmocka_unit_test(huge),
        cmocka_unit_test(not_utf8),
        cmocka_unit_test(control_characters),
        cmocka_unit_test(duplicate_keys),
        cmocka_unit_test(odd_keys),
        cmocka_unit_test(merges_of_no_map),
        cmocka_unit_test(second_document),
        cmocka_unit_test(tags),
        cmocka_unit_test(unusual_but_fine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
