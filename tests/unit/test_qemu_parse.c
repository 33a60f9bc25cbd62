/* What the qemu driver reads from others: the monitor's text, consoles, process arguments, directory names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "drivers/qemu/qemu_priv.h"

static void finds_the_forwarded_port(void **state) {
    (void)state;
    /* QEMU 7.2, with a connection open beside the forward. */
    static const char text[] = "Hub -1 (net0):\r\n"
                               "  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\r\n"
                               "  TCP[ESTABLISHED]   17       127.0.0.1 40022       10.0.2.15    22     0     0\r\n"
                               "  TCP[HOST_FORWARD]  16         0.0.0.0  8080       10.0.2.15  8443     0     0\r\n"
                               "  TCP[HOST_FORWARD]  15       127.0.0.1 35299       10.0.2.15    22     0     0\r\n"
                               "  UDP[236 sec]       14       10.0.2.15 60346         1.1.1.1    53     0     0\r\n";
    assert_int_equal(forward_find(text, 22), 35299);
    assert_int_equal(forward_find(text, 23), 0);
    assert_int_equal(forward_find(text, 8443), 0); /* open to the network: not ours */
}

static void odd_monitor_text_has_no_port(void **state) {
    (void)state;
    static const char *const texts[] = {
        "",
        "TCP[HOST_FORWARD]",
        "TCP[HOST_FORWARD] x 127.0.0.1 35299 10.0.2.15 22",
        "TCP[HOST_FORWARD] 15 127.0.0.1 0 10.0.2.15 22",
        "TCP[HOST_FORWARD] 15 127.0.0.1 99999 10.0.2.15 22",
        "TCP[HOST_FORWARD] 15 127.0.0.1 35299 10.0.2.15",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_int_equal(forward_find(texts[i], 22), 0);
}

static void a_console_becomes_plain_text(void **state) {
    (void)state;
    static const struct {
        const char *raw, *text;
    } cases[] = {
        {"login: \r\n", "login: \n"},
        {"\x1b[0;1;32mOK\x1b[0m\tdone\n", "OK\tdone\n"},
        {"\x1b"
         "c\x1b[2Jx",
         "x"},
        {"cut \x1b[31", "cut "},
        {"cut \x1b", "cut "},
        {"caf\xc3\xa9\x07\x7f!", "caf..!"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cleanup_buffer struct buffer out = {0};
        console_printable(cases[i].raw, strlen(cases[i].raw), &out);
        assert_string_equal(buffer_str(&out), cases[i].text);
    }
}

#define UUID "11111111-2222-8333-8444-555555555555"
#define PROCESS(text) text, sizeof text

static void knows_its_processes_by_their_arguments(void **state) {
    (void)state;
    struct arena arena = {0};
    struct qemu_process p;
    assert_true(qemu_process_parse(
        PROCESS("qemu-system-x86_64\0-uuid\0" UUID "\0-pidfile\0/h/qemu/1a/lab.kvm1/pidfile"), &arena, &p));
    assert_string_equal(p.uuid, UUID);
    assert_string_equal(p.dir, "/h/qemu/1a/lab.kvm1");
    arena_free(&arena);
}

static void other_processes_are_not_ours(void **state) {
    (void)state;
    static const struct {
        const char *cmdline;
        size_t len;
    } cases[] = {
        {PROCESS("qemu-system-x86_64\0-pidfile\0/h/pidfile")},
        {PROCESS("qemu-system-x86_64\0-uuid\0" UUID)},
        {PROCESS("qemu-system-x86_64\0-uuid\0" UUID "\0-pidfile")},
        {PROCESS("qemu-system-x86_64\0-pidfile\0/h/pidfile\0-uuid")},
        {PROCESS("qemu-system-x86_64\0-uuid\0short\0-pidfile\0/h/pidfile")},
        {PROCESS("qemu-system-x86_64\0-uuid\0" UUID "\0-pidfile\0relative/pidfile")},
        {PROCESS("qemu-system-x86_64\0-uuid\0" UUID "\0-pidfile\0/run/qemu.pid")},
        {PROCESS("qemu-system-x86_64\0-uuid\0" UUID "\0-pidfile\0/x")},
        {PROCESS("grep\0-uuid " UUID " -pidfile /h/pidfile")},
        {"-uuid", 5}, /* cut: no NUL at its end */
        {"", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct arena arena = {0};
        struct qemu_process p;
        assert_false(qemu_process_parse(cases[i].cmdline, cases[i].len, &arena, &p));
        arena_free(&arena);
    }
}

static void directory_names_stand_for_paths(void **state) {
    (void)state;
    struct arena arena = {0};
    const char *path = NULL;
    assert_true(dir_name_to_path("lab.seat-07.kvm1", &arena, &path));
    assert_string_equal(path, "lab/seat-07/kvm1");
    static const char *const foreign[] = {"", ".", "..", ".hidden", "lost+found", "a b", "lab.kvm1\n", "l\xc3\xa9"};
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++)
        assert_false(dir_name_to_path(foreign[i], &arena, &path));
    arena_free(&arena);
    assert_true(is_lab_id("00112233445566aa"));
    assert_false(is_lab_id(""));
    assert_false(is_lab_id("../x"));
    assert_false(is_lab_id("00112233445566aa00112233445566aa00112233445566aa00112233445566aa0"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_the_forwarded_port),     cmocka_unit_test(odd_monitor_text_has_no_port),
        cmocka_unit_test(a_console_becomes_plain_text), cmocka_unit_test(knows_its_processes_by_their_arguments),
        cmocka_unit_test(other_processes_are_not_ours), cmocka_unit_test(directory_names_stand_for_paths),
    };
    return cmocka_run_group_tests_name("qemu parse", tests, NULL, NULL);
}
