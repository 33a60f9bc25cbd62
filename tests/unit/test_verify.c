#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "nestor/verify.h"

/* What a Debian 12 guest hypervisor under emulated SVM prints. */
static const char good[] = "@@ cpu-flag 0\n svm\n svm\n"
                           "@@ kvm-module 0\n /sys/module/kvm_amd\n"
                           "@@ dev-kvm 0\n /dev/kvm opens\n"
                           "@@ kvm-nested 0\n 1\n"
                           "@@ virsh 0\n Running hypervisor: QEMU 7.2.22\n"
                           "@@ virt-host-validate 1\n QEMU: Checking for IOMMU support : WARN\n";

static struct evidence judge(const char *output, bool exposed, bool nested_needed) {
    struct evidence e;
    struct error err = {0};
    if (verify_parse("libvirt", exposed, nested_needed, output, strlen(output), &e, &err))
        fail_msg("%s", err.cause);
    return e;
}

static void expect_reason(const char *output, bool exposed, bool nested_needed, const char *reason) {
    struct evidence e = judge(output, exposed, nested_needed);
    assert_false(e.verified);
    assert_string_equal(e.reason, reason);
    evidence_free(&e);
}

static void good_guest_is_verified(void **state) {
    (void)state;
    struct evidence e = judge(good, true, true);
    assert_true(e.verified);
    assert_null(e.reason);
    assert_string_equal(e.flag, "svm");
    assert_int_equal(e.nprobes, 7);
    assert_string_equal(e.probes[1].name, "cpu-flag");
    assert_string_equal(e.probes[1].output, "svm\nsvm");
    assert_false(e.probes[6].ok); /* told, but does not decide */
    assert_null(e.probes[6].reason);
    evidence_free(&e);
}

static void intel_flag_is_recognised(void **state) {
    (void)state;
    struct evidence e =
        judge("@@ cpu-flag 0\n vmx\n@@ kvm-module 0\n x\n@@ dev-kvm 0\n x\n@@ virsh 0\n x\n", true, false);
    assert_true(e.verified);
    assert_string_equal(e.flag, "vmx");
    evidence_free(&e);
}

static void each_failure_has_its_reason(void **state) {
    (void)state;
    expect_reason("@@ cpu-flag 1\n \n@@ kvm-module 1\n \n@@ dev-kvm 1\n \n@@ virsh 0\n ok\n", true, false,
                  "guest-flag-missing");
    expect_reason("@@ cpu-flag 0\n svm\n@@ kvm-module 1\n \n@@ dev-kvm 1\n \n@@ virsh 0\n ok\n", true, false,
                  "kvm-module-missing");
    expect_reason("@@ cpu-flag 0\n svm\n@@ kvm-module 0\n x\n@@ dev-kvm 1\n \n@@ virsh 0\n ok\n", true, false,
                  "dev-kvm-missing");
    expect_reason("@@ cpu-flag 0\n svm\n@@ kvm-module 0\n x\n@@ dev-kvm 0\n x\n@@ virsh 1\n error\n", true, false,
                  "hypervisor-probe-failed");
}

static void module_without_nesting_matters_only_if_the_lab_nests_deeper(void **state) {
    (void)state;
    static const char off[] =
        "@@ cpu-flag 0\n svm\n@@ kvm-module 0\n x\n@@ dev-kvm 0\n x\n@@ kvm-nested 1\n 0\n@@ virsh 0\n x\n";
    struct evidence e = judge(off, true, false);
    assert_true(e.verified);
    evidence_free(&e);
    expect_reason(off, true, true, "kvm-nested-off");
}

/* The cause, not the symptom: the flag is missing in the guest because it was never exposed. */
static void unexposed_machine_is_told_as_such(void **state) {
    (void)state;
    expect_reason("@@ cpu-flag 1\n \n@@ kvm-module 1\n \n", false, false, "vhv-not-set");
}

static void probe_that_did_not_run_is_no_proof(void **state) {
    (void)state;
    expect_reason("@@ cpu-flag 0\n svm\n@@ kvm-module 0\n x\n@@ dev-kvm 0\n x\n", true, false,
                  "hypervisor-probe-failed");
}

static void output_cannot_forge_a_verdict(void **state) {
    (void)state;
    expect_reason("@@ cpu-flag 1\n @@ cpu-flag 0\n svm\n@@ cpu-flag 0\n svm\n", true, false, "guest-flag-missing");
}

static void control_characters_do_not_reach_the_terminal(void **state) {
    (void)state;
    struct evidence e = judge("Welcome!\n@@ cpu-flag 0\n svm\x1b[31m\n@@ nonsense 0\n x\n@@ \n", true, false);
    assert_string_equal(e.probes[1].output, "svm [31m");
    evidence_free(&e);
}

static void silence_is_an_error(void **state) {
    (void)state;
    struct evidence e;
    struct error err = {0};
    assert_int_equal(verify_parse("libvirt", true, false, "Last login: today\n", 18, &e, &err), -1);
    assert_int_equal(err.code, ERR_PROTOCOL);
    assert_non_null(strstr(err.cause, "probes printed nothing"));
}

static void every_reason_can_be_explained(void **state) {
    (void)state;
    const char *used[] = {"guest-flag-missing", "kvm-module-missing",      "dev-kvm-missing",
                          "kvm-nested-off",     "hypervisor-probe-failed", "vhv-not-set"};
    for (size_t i = 0; i < sizeof used / sizeof *used; i++)
        assert_non_null(reason_find(used[i]));
    assert_null(reason_find("no-such-reason"));
}

static void script_asks_every_probe_of_its_kind(void **state) {
    (void)state;
    assert_non_null(strstr(verify_script("libvirt"), "probe virsh "));
    assert_null(strstr(verify_script("generic"), "probe virsh "));
    assert_non_null(strstr(verify_script("generic"), "(vmx|svm)"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_guest_is_verified),
        cmocka_unit_test(intel_flag_is_recognised),
        cmocka_unit_test(each_failure_has_its_reason),
        cmocka_unit_test(module_without_nesting_matters_only_if_the_lab_nests_deeper),
        cmocka_unit_test(unexposed_machine_is_told_as_such),
        cmocka_unit_test(probe_that_did_not_run_is_no_proof),
        cmocka_unit_test(output_cannot_forge_a_verdict),
        cmocka_unit_test(control_characters_do_not_reach_the_terminal),
        cmocka_unit_test(silence_is_an_error),
        cmocka_unit_test(every_reason_can_be_explained),
        cmocka_unit_test(script_asks_every_probe_of_its_kind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
