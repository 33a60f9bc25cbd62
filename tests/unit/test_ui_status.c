#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "nestor/buffer.h"
#include "ui/text.h"
#include "ui/ui.h"
#include "ui_capture.h"

#define CHECKED_AT 1700000000 /* 2023-11-14 22:13:20 UTC */
#define MACHINE(path_, name_, level_, state_)                                                                          \
    .path = path_, .name = name_, .level = level_, .driver = "qemu", .template = "tiny", .state = state_,              \
    .address = "", .failure = "", .mend = "", .hypervisor = "", .wanted = "off", .flag = "", .reason = ""

static struct machine_view machines[] = {
    {MACHINE("lab/kvm1", "kvm1", 1, "running"), .ready = true},
    {MACHINE("lab/kvm1/web1", "web1", 2, "running"), .ready = true},
    {MACHINE("lab/kvm1/web2", "web2", 2, "failed")},
    {MACHINE("lab/kvm2", "kvm2", 1, "running")},
    {MACHINE("lab/kvm3", "kvm3", 1, "stopped")},
    {MACHINE("lab/kvm1/old", "old", 2, "absent")},
};
static const struct lab_view lab = {.lab = "lab", .state = "failed", .machines = machines, .n = 6};

static int setup(void **state) {
    (void)state;
    ui_speak_utf8();
    setenv("TZ", "XXX-1", 1); /* an hour before UTC */
    tzset();
    machines[0].wanted = "required";
    machines[0].address = "127.0.0.1:40001";
    machines[0].checked = machines[0].verified = true;
    machines[0].flag = "svm";
    machines[0].checked_at = CHECKED_AT;
    machines[1].driver = "libvirt";
    machines[1].address = "192.168.122.10:22";
    machines[2].failure = "it ended: \033[2Jpanic\rsecond";
    machines[2].mend = "see why: \033]0;x";
    machines[3].wanted = "required";
    machines[3].checked = true;
    machines[3].reason = "dev-kvm-missing";
    machines[3].checked_at = CHECKED_AT;
    machines[4].wanted = "preferred";
    return 0;
}

static void print(void *data, FILE *out) { status_print(data, false, out); }

static void a_lab_is_a_tree_with_states_addresses_and_evidence(void **state) {
    (void)state;
    cleanup_free char *text = ui_capture(print, (void *)&lab);
    assert_string_equal(text,
                        "lab  failed  2 of 6 machines ready\n"
                        "\n"
                        "  MACHINE  STATE    ADDRESS            TEMPLATE  NESTING\n"
                        "  kvm1     ready    127.0.0.1:40001    tiny      svm verified 2023-11-14 23:13:20 +0100\n"
                        "  ├─ web1  ready    192.168.122.10:22  tiny\n"
                        "  ├─ web2  failed   –                  tiny\n"
                        "  │     it ended: ?[2Jpanic second\n"
                        "  │     mend: see why: ?]0;x\n"
                        "  └─ old   absent   –                  tiny\n"
                        "  kvm2     running  –                  tiny      not verified 2023-11-14 23:13:20 +0100\n"
                        "     /dev/kvm is missing in the guest or cannot be opened (dev-kvm-missing)\n"
                        "     mend: check the kvm modules and the permissions of /dev/kvm in the guest\n"
                        "  kvm3     stopped  –                  tiny      preferred, not checked\n");
    ui_assert_harmless(text);
}

static void a_failed_proof_is_told_once_with_one_mend(void **state) {
    (void)state;
    struct machine_view failed = {MACHINE("lab/kvm1", "kvm1", 1, "failed"), .checked = true};
    const struct lab_view one = {.lab = "lab", .state = "failed", .machines = &failed, .n = 1};
    failed.wanted = "required";
    failed.reason = "dev-kvm-missing";
    failed.checked_at = CHECKED_AT;
    failed.failure = "/dev/kvm is missing in the guest or cannot be opened (dev-kvm-missing)";
    failed.mend = "check it";
    cleanup_free char *same = ui_capture(print, (void *)&one);
    assert_non_null(strstr(same, "+0100\n     /dev/kvm is missing in the guest or cannot be opened (dev-kvm-missing)\n"
                                 "     mend: check it\n"));
    assert_null(strstr(strstr(same, "/dev/kvm") + 1, "/dev/kvm"));
    failed.failure = "it does not start";
    cleanup_free char *other = ui_capture(print, (void *)&one);
    assert_non_null(strstr(
        other, "     it does not start\n     mend: check it\n"
               "     /dev/kvm is missing in the guest or cannot be opened (dev-kvm-missing)\n     mend: check the"));
}

static void a_proof_of_today_has_the_time_alone(void **state) {
    (void)state;
    char now[32], line[64];
    machines[0].checked_at = clock_unix();
    time_format(machines[0].checked_at, now);
    snprintf(line, sizeof line, "svm verified %.8s\n", now + 11);
    cleanup_free char *text = ui_capture(print, (void *)&lab);
    time_format(clock_unix(), line + 32);
    if (strncmp(now, line + 32, 10) == 0) /* else it was midnight meanwhile */
        assert_non_null(strstr(text, line));
}

static void without_utf8_it_is_ascii(void **state) {
    (void)state;
    ui_speak_ascii();
    cleanup_free char *text = ui_capture(print, (void *)&lab);
    for (const char *c = text; *c; c++)
        assert_true((unsigned char)*c < 0x80);
    assert_non_null(strstr(text, "  |- web1  ready"));
    assert_non_null(strstr(text, "  `- old   absent   -  "));
}

static void a_lab_without_machines_is_shown(void **state) {
    (void)state;
    struct lab_view none = {.lab = "lab", .state = "down"};
    cleanup_free char *text = ui_capture(print, &none);
    assert_string_equal(text, "lab  down  0 of 0 machines ready\n\n"
                              "  MACHINE  STATE  ADDRESS  TEMPLATE  NESTING\n");
}

/* --- the JSON whose shape is fixed --- */

static const char *const expected_json =
    "{\"lab\": \"lab\", \"state\": \"failed\", \"machines\": ["
    "{\"path\": \"lab/kvm1\", \"level\": 1, \"driver\": \"qemu\", \"template\": \"tiny\", \"state\": \"running\","
    " \"ready\": true, \"address\": \"127.0.0.1:40001\", \"failure\": null, \"mend\": null, \"nesting\": {\"wanted\": "
    "\"required\", \"verified\": true,"
    " \"flag\": \"svm\", \"reason\": null, \"checked_at\": \"2023-11-14T22:13:20Z\"}},"
    "{\"path\": \"lab/kvm1/web1\", \"level\": 2, \"driver\": \"libvirt\", \"template\": \"tiny\", \"state\": "
    "\"running\", \"ready\": true, \"address\": \"192.168.122.10:22\", \"failure\": null, \"mend\": null, \"nesting\": "
    "{\"wanted\": \"off\","
    " \"verified\": null, \"flag\": null, \"reason\": null, \"checked_at\": null}},"
    "{\"path\": \"lab/kvm1/web2\", \"level\": 2, \"driver\": \"qemu\", \"template\": \"tiny\", \"state\": \"failed\","
    " \"ready\": false, \"address\": null, \"failure\": \"it ended: \\u001b[2Jpanic\\rsecond\", \"mend\": \"see why: "
    "\\u001b]0;x\", \"nesting\": {\"wanted\": \"off\", \"verified\": null, \"flag\": null,"
    " \"reason\": null, \"checked_at\": null}},"
    "{\"path\": \"lab/kvm2\", \"level\": 1, \"driver\": \"qemu\", \"template\": \"tiny\", \"state\": \"running\","
    " \"ready\": false, \"address\": null, \"failure\": null, \"mend\": null, \"nesting\": {\"wanted\": \"required\", "
    "\"verified\": false, \"flag\": "
    "null, \"reason\": \"dev-kvm-missing\", \"checked_at\": \"2023-11-14T22:13:20Z\"}},"
    "{\"path\": \"lab/kvm3\", \"level\": 1, \"driver\": \"qemu\", \"template\": \"tiny\", \"state\": \"stopped\","
    " \"ready\": false, \"address\": null, \"failure\": null, \"mend\": null, \"nesting\": {\"wanted\": \"preferred\", "
    "\"verified\": null, \"flag\": "
    "null, \"reason\": null, \"checked_at\": null}},"
    "{\"path\": \"lab/kvm1/old\", \"level\": 2, \"driver\": \"qemu\", \"template\": \"tiny\", \"state\": \"absent\","
    " \"ready\": false, \"address\": null, \"failure\": null, \"mend\": null, \"nesting\": {\"wanted\": \"off\", "
    "\"verified\": null, \"flag\": null,"
    " \"reason\": null, \"checked_at\": null}}]}";

static void json_keeps_its_promise_to_scripts(void **state) {
    (void)state;
    json_error_t why;
    json_t *wanted = json_loads(expected_json, 0, &why), *got = status_json(&lab);
    if (!wanted)
        fail_msg("%s at %d", why.text, why.position);
    cleanup_free char *a = json_dumps(wanted, JSON_SORT_KEYS), *b = json_dumps(got, JSON_SORT_KEYS);
    assert_string_equal(b, a);
    json_decref(wanted);
    json_decref(got);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_lab_is_a_tree_with_states_addresses_and_evidence, setup),
        cmocka_unit_test_setup(a_failed_proof_is_told_once_with_one_mend, setup),
        cmocka_unit_test_setup(a_proof_of_today_has_the_time_alone, setup),
        cmocka_unit_test_setup(without_utf8_it_is_ascii, setup),
        cmocka_unit_test_setup(a_lab_without_machines_is_shown, setup),
        cmocka_unit_test_setup(json_keeps_its_promise_to_scripts, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
