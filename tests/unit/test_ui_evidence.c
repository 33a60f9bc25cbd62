#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "nestor/buffer.h"
#include "ui/ui.h"
#include "ui_capture.h"

static struct evidence evidence = {
    .checked_at = 1700000000,
    .flag = "",
    .reason = "dev-kvm-missing",
    .nprobes = 4,
    .probes =
        {
            {"cpu-flag", "grep -Eow '(vmx|svm)' /proc/cpuinfo", (char *)"svm\nsvm\n", true, true, NULL},
            {"dev-kvm", "exec 3<>/dev/kvm",
             (char *)"sh: \033[2J\x9b"
                     "31mno\xff",
             true, false, "dev-kvm-missing"},
            {"virt-host-validate", "virt-host-validate qemu", (char *)"", true, false, NULL},
            {"kvm-nested", "(not asked)", (char *)"", false, false, NULL},
        },
};

static int an_hour_before_utc(void **state) {
    (void)state;
    setenv("TZ", "XXX-1", 1);
    tzset();
    return 0;
}

static void print(void *data, FILE *out) { evidence_print("lab/kvm1", data, false, out); }

static void each_probe_has_its_verdict_its_output_and_its_mend(void **state) {
    (void)state;
    ui_speak_utf8();
    cleanup_free char *text = ui_capture(print, &evidence);
    assert_string_equal(text, "lab/kvm1: not verified: dev-kvm-missing  (2023-11-14 23:13:20 +0100)\n"
                              "  ✔ cpu-flag             passed\n"
                              "      $ grep -Eow '(vmx|svm)' /proc/cpuinfo\n"
                              "      svm\n"
                              "      svm\n"
                              "  ✖ dev-kvm              failed: dev-kvm-missing\n"
                              "      $ exec 3<>/dev/kvm\n"
                              "      sh: ?[2J?31mno?\n"
                              "      /dev/kvm is missing in the guest or cannot be opened\n"
                              "      mend: check the kvm modules and the permissions of /dev/kvm in the guest\n"
                              "  ! virt-host-validate   did not pass; told only\n"
                              "      $ virt-host-validate qemu\n"
                              "  - kvm-nested           did not run\n"
                              "      (not asked)\n");
    ui_assert_harmless(text);
}

static void what_is_verified_names_its_flag(void **state) {
    (void)state;
    struct evidence good = {.checked_at = 1700000000, .verified = true, .flag = "vmx"};
    cleanup_free char *text = ui_capture(print, &good);
    assert_string_equal(text, "lab/kvm1: verified, it has vmx  (2023-11-14 23:13:20 +0100)\n");
}

static void print_json(void *data, FILE *out) { json_print(evidence_json("lab/kvm1", data), out); }

static void json_has_command_output_verdict_reason_and_mend(void **state) {
    (void)state;
    cleanup_free char *text = ui_capture(print_json, &evidence);
    ui_assert_harmless(text);
    json_t *json = json_loads(text, 0, NULL);
    assert_non_null(json);
    assert_string_equal(json_string_value(json_object_get(json, "path")), "lab/kvm1");
    assert_true(json_is_false(json_object_get(json, "verified")));
    assert_true(json_is_null(json_object_get(json, "flag")));
    assert_string_equal(json_string_value(json_object_get(json, "reason")), "dev-kvm-missing");
    assert_string_equal(json_string_value(json_object_get(json, "checked_at")), "2023-11-14T22:13:20Z");
    json_t *probes = json_object_get(json, "probes"), *good = json_array_get(probes, 0),
           *bad = json_array_get(probes, 1);
    assert_int_equal(json_array_size(probes), 4);
    assert_string_equal(json_string_value(json_object_get(good, "command")), "grep -Eow '(vmx|svm)' /proc/cpuinfo");
    assert_string_equal(json_string_value(json_object_get(good, "output")), "svm\nsvm\n");
    assert_true(json_is_true(json_object_get(good, "ok")));
    assert_true(json_is_null(json_object_get(good, "mend")));
    assert_true(json_is_false(json_object_get(bad, "ok")));
    assert_string_equal(json_string_value(json_object_get(bad, "output")), "sh: \033[2J\ufffd31mno\ufffd");
    assert_string_equal(json_string_value(json_object_get(bad, "reason")), "dev-kvm-missing");
    assert_string_equal(json_string_value(json_object_get(bad, "mend")),
                        "check the kvm modules and the permissions of /dev/kvm in the guest");
    assert_true(json_is_false(json_object_get(json_array_get(probes, 3), "ran")));
    json_decref(json);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_probe_has_its_verdict_its_output_and_its_mend),
        cmocka_unit_test(what_is_verified_names_its_flag),
        cmocka_unit_test(json_has_command_output_verdict_reason_and_mend),
    };
    return cmocka_run_group_tests(tests, an_hour_before_utc, NULL);
}
