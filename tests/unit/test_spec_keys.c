/* Keys and values that are wrong by themselves. */
#include <string.h>

#include "spec_lab.h"

#define REST "machines: { a: { template: t } }\n"
#define A(keys) "lab: x\nmachines:\n  a: { template: t, " keys " }\n"

static void unknown_keys(void **state) {
    (void)state;
    assert_refused(A("memroy: 1GiB"), "3:21: error: unknown key 'memroy'; did you mean 'memory'?");
    assert_refused(A("user_data: x"), "3:21: error: unknown key 'user_data'; did you mean 'user-data'?");
    assert_refused(A("ssh: { prot: 22 }"), "3:28: error: unknown key 'prot'; did you mean 'port'?");
    assert_refused(A("timeouts: { bot: 5m, halt: 1 }"), "3:33: error: unknown key 'bot'; did you mean 'boot'?",
                   "3:42: error: unknown key 'halt'; the keys of 'timeouts' are boot, stop");
    assert_refused("lab: x\nmachine: {}\n" REST, "2:1: error: unknown key 'machine'; did you mean 'machines'?");
    assert_refused(
        "lab: x\ndefaults: { count: 2 }\n" REST,
        "2:13: error: unknown key 'count'; the keys of 'defaults' are template, clone, cpus, memory, disk, nesting, "
        "ready, ssh, timeouts");
}

static void missing_keys(void **state) {
    (void)state;
    assert_refused("x-only: 1\n", "1:1: error: the spec needs the key 'lab'",
                   "1:1: error: the spec needs the key 'machines'");
    assert_refused("lab: x\nhosts: { h: {} }\n" REST, "2:10: error: 'h' needs the key 'driver'");
    assert_refused("lab: x\nhosts: { h: { drivr: metal } }\n" REST,
                   "2:10: error: 'h' needs the key 'driver'; did you mean 'driver' by the key in line 2?");
    assert_refused("lab: x\n" REST "templates: { t: { source: d, boot: { initrd: i } } }\n",
                   "3:30: error: 'boot' needs the key 'kernel'");
    assert_refused(A("user-data: {}"), "3:21: error: 'user-data' needs the key 'file'");
}

static void extensions_are_ignored(void **state) {
    (void)state;
    lab_free(spec_good("lab: x\nx-any: [1, { b: c }]\n" REST));
    lab_free(spec_good(A("x-note: hello")));
}

static void reserved_keys(void **state) {
    (void)state;
    assert_refused("lab: x\nseats: 12\nlease: 3d\nnetworks: {}\n" REST,
                   "2:1: error: 'seats' is reserved for a later version of nestor",
                   "3:1: error: 'lease' is reserved for a later version of nestor",
                   "4:1: error: 'networks' is reserved for a later version of nestor");
    assert_refused(A("networks: [n]"), "3:21: error: 'networks' is reserved for a later version of nestor");
}

static void wrong_kinds(void **state) {
    (void)state;
    assert_refused("lab: [x]\n" REST, "1:6: error: 'lab' must be a single value, not a list");
    assert_refused("lab: x\nmachines: [a]\n", "2:11: error: 'machines' must be a map of keys and values, not a list");
    assert_refused("lab: x\nmachines: { a: t }\n",
                   "2:16: error: 'a' must be a map of keys and values, not a single value");
    assert_refused("lab: x\nhosts: qemu\n" REST,
                   "2:8: error: 'hosts' must be a map of keys and values, not a single value");
    assert_refused("lab: x\nhosts: { h: qemu }\n" REST,
                   "2:13: error: 'h' must be a map of keys and values, not a single value");
    assert_refused("lab: x\ntemplates: { h: [] }\n" REST,
                   "2:17: error: 'h' must be a map of keys and values, not a list");
    assert_refused(A("cpus: { a: 1 }"), "3:27: error: 'cpus' must be a single value, not a map");
    assert_refused(A("ssh: root"), "3:26: error: 'ssh' must be a map of keys and values, not a single value");
    assert_refused(A("user-data: [a]"), "3:32: error: 'user-data' must be a text or a map with 'file', not a list");
}

static void values_left_out(void **state) {
    (void)state;
    assert_refused(A("cpus: "), "3:21: error: 'cpus' has no value");
    assert_refused(A("ready: null"), "3:21: error: 'ready' has no value");
    assert_refused(A("host: \"\""), "3:27: error: 'host' has no value");
}

static void counts(void **state) {
    (void)state;
    static const char *const bad[] = {"0", "257", "four", "-1", "1.5", "08", "0x2", "1e1", "99999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cleanup_free char *text = xasprintf(A("cpus: %s"), bad[i]);
        cleanup_free char *finding =
            xasprintf("3:27: error: 'cpus' must be a whole number from 1 to 256, not '%s'", bad[i]);
        assert_refused(text, finding);
    }
    assert_refused(A("ssh: { port: 65536 }"),
                   "3:34: error: 'port' must be a whole number from 1 to 65535, not '65536'");
    assert_refused(A("count: 10001"), "3:28: error: 'count' must be a whole number from 1 to 10000, not '10001'");
}

static void sizes(void **state) {
    (void)state;
    assert_refused(A("memory: 12 apples"),
                   "3:29: error: 'memory' must be a size from 16MiB to 64TiB, not '12 apples'; for "
                   "example 128MiB, 1.5GiB or 20GB");
    assert_refused(A("memory: 15MiB"), "3:29: error: 'memory' must be a size from 16MiB to 64TiB, not '15MiB'; for "
                                       "example 128MiB, 1.5GiB or 20GB");
    assert_refused(A("memory: 512"), "3:29: error: 'memory' must be a size from 16MiB to 64TiB, not '512'; for "
                                     "example 128MiB, 1.5GiB or 20GB");
    assert_refused(A("disk: -1GiB"), "3:27: error: 'disk' must be a size from 1MiB to 256TiB, not '-1GiB'; for example "
                                     "128MiB, 1.5GiB or 20GB");
    assert_refused(
        A("memory: 99999999999999999999TiB"),
        "3:29: error: 'memory' must be a size from 16MiB to 64TiB, not '99999999999999999999TiB'; for example "
        "128MiB, 1.5GiB or 20GB");
}

static void durations(void **state) {
    (void)state;
    assert_refused(A("timeouts: { boot: soon, stop: 25h }"),
                   "3:39: error: 'boot' must be a duration from 1s to 24h, not 'soon'; for example 90s, 5m or 1h",
                   "3:51: error: 'stop' must be a duration from 1s to 24h, not '25h'; for example 90s, 5m or 1h");
}

static void choices(void **state) {
    (void)state;
    assert_refused(A("nesting: requird"), "3:30: error: 'nesting' cannot be 'requird'; did you mean 'required'?");
    assert_refused(A("nesting: yes"),
                   "3:30: error: 'nesting' cannot be 'yes'; choose one of required, preferred, exposed, off");
    assert_refused(A("ready: SSH"), "3:28: error: 'ready' cannot be 'SSH'; choose one of ssh, address, running");
}

static void names(void **state) {
    (void)state;
    static const char hint[] = "use 1 to 42 lower-case letters, digits and '-', with no '-' at either end";
    static const struct {
        const char *text, *place, *what;
    } bad[] = {
        {"lab: ../etc\n" REST, "1:6", "'../etc' cannot be the name of a lab"},
        {"lab: \"x; rm -rf /\"\n" REST, "1:6", "'x; rm -rf /' cannot be the name of a lab"},
        {"lab: x\nmachines: { \"a/b\": { template: t } }\n", "2:13", "'a/b' cannot be the name of a machine"},
        {"lab: x\nmachines: { \"a<b>&\": { template: t } }\n", "2:13", "'a<b>&' cannot be the name of a machine"},
        {"lab: x\nmachines: { Web: { template: t } }\n", "2:13", "'Web' cannot be the name of a machine"},
        {"lab: x\nmachines: { \"a\\nb\": { template: t } }\n", "2:13", "'a b' cannot be the name of a machine"},
        {"lab: x\nmachines: { $(id): { template: t } }\n", "2:13", "'$(id)' cannot be the name of a machine"},
        {"lab: x\nhosts: { -h: { driver: qemu } }\n" REST, "2:10", "'-h' cannot be the name of a host"},
        {"lab: x\nmachines: { a: { template: ../t } }\n", "2:28", "'../t' cannot be the name of a template"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cleanup_free char *finding = xasprintf("%s: error: %s; %s", bad[i].place, bad[i].what, hint);
        assert_refused(bad[i].text, finding);
    }
}

static void logins(void **state) {
    (void)state;
    static const char *const bad[] = {"-oProxyCommand=x",
                                      "a b",
                                      "a;b",
                                      "a@b",
                                      ".a",
                                      "a.b",
                                      "1a",
                                      "root/x",
                                      "abcdefghijklmnopqrstuvwxyzabcdefg" /* 33 */};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cleanup_free char *text = xasprintf(A("ssh: { user: \"%s\" }"), bad[i]);
        cleanup_free char *finding =
            xasprintf("3:34: error: '%s' is no login name; use at most 32 letters, digits, '_' "
                      "and '-', beginning with a letter or '_'",
                      bad[i]);
        assert_refused(text, finding);
    }
}

static void control_characters_in_values(void **state) {
    (void)state;
    assert_refused(A("host: \"a\\nb\""), "3:27: error: 'host' holds a line break or another control character");
}

static void long_words_are_cut(void **state) {
    (void)state;
    char word[1001] = "";
    memset(word, 'k', sizeof word - 1);
    cleanup_free char *text = xasprintf("lab: x\n" REST "%s: 1\n", word);
    cleanup_free char *finding =
        xasprintf("3:1: error: unknown key '%.60s...'; the keys of 'lab' are lab, hosts, templates, "
                  "defaults, machines, networks, seats, lease",
                  word);
    assert_refused(text, finding);
}

static void all_at_once(void **state) {
    (void)state;
    assert_refused(
        "lab: X\nhostz: {}\nmachines:\n  a: { cpus: 0, memory: x }\n  b: { template: t, redy: ssh }\n",
        "1:6: error: 'X' cannot be the name of a lab; use 1 to 42 lower-case letters, digits and '-', with no '-' "
        "at either end",
        "2:1: error: unknown key 'hostz'; did you mean 'hosts'?",
        "4:3: error: 'a' needs a 'template'; say which here, or for all machines under 'defaults'",
        "4:14: error: 'cpus' must be a whole number from 1 to 256, not '0'",
        "4:25: error: 'memory' must be a size from 16MiB to 64TiB, not 'x'; for example 128MiB, 1.5GiB or 20GB",
        "5:21: error: unknown key 'redy'; did you mean 'ready'?");
}

static void findings_of_an_alias_are_told_once(void **state) {
    (void)state;
    assert_refused("lab: x\nx-m: &m { template: t, memroy: 1 }\nmachines: { a: *m, b: *m, c: { <<: *m } }\n",
                   "2:24: error: unknown key 'memroy'; did you mean 'memory'?");
}

static void too_many_findings(void **state) {
    (void)state;
    cleanup_buffer struct buffer text = {0};
    buffer_puts(&text, "lab: x\n" REST);
    for (int i = 0; i < 5000; i++)
        buffer_printf(&text, "key%d: 1\n", i);
    struct lab *lab = NULL;
    struct diagnostics diags = {0};
    assert_int_equal(spec_parse("x", buffer_str(&text), text.len, &spec_test_drivers, NULL, &lab, &diags, NULL), -1);
    assert_int_equal(diags.n, 1000);
    assert_int_equal(diags.nerrors, 1000);
    assert_string_equal(diags.items[998].text, "unknown key 'key998'");
    assert_string_equal(diags.items[999].text, "too many errors: the rest is not shown");
    diagnostics_free(&diags);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unknown_keys),
        cmocka_unit_test(missing_keys),
        cmocka_unit_test(extensions_are_ignored),
        cmocka_unit_test(reserved_keys),
        cmocka_unit_test(wrong_kinds),
        cmocka_unit_test(values_left_out),
        cmocka_unit_test(counts),
        cmocka_unit_test(sizes),
        cmocka_unit_test(durations),
        cmocka_unit_test(choices),
        cmocka_unit_test(names),
        cmocka_unit_test(logins),
        cmocka_unit_test(control_characters_in_values),
        cmocka_unit_test(long_words_are_cut),
        cmocka_unit_test(all_at_once),
        cmocka_unit_test(findings_of_an_alias_are_told_once),
        cmocka_unit_test(too_many_findings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
