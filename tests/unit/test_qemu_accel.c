/* The accelerator rule, over made-up machines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "drivers/qemu/qemu_priv.h"

static const char *const dirs[] = {"",
                                   "/proc",
                                   "/dev",
                                   "/sys",
                                   "/sys/module",
                                   "/sys/module/kvm_intel",
                                   "/sys/module/kvm_intel/parameters",
                                   "/sys/module/kvm_amd",
                                   "/sys/module/kvm_amd/parameters"};
static const char *const files[] = {"/proc/cpuinfo", "/dev/kvm", "/sys/module/kvm_intel/parameters/nested",
                                    "/sys/module/kvm_amd/parameters/nested"};
#define NDIRS (sizeof dirs / sizeof *dirs)
#define NFILES (sizeof files / sizeof *files)

static void put(const char *root, const char *file, const char *text) {
    cleanup_free char *path = xasprintf("%s%s", root, file);
    unlink(path);
    FILE *out = text ? fopen(path, "we") : NULL;
    if (!text)
        return;
    assert_non_null(out);
    fputs(text, out);
    assert_int_equal(fclose(out), 0);
}

static int setup(void **state) {
    static char root[] = "/tmp/nestor-accel-XXXXXX";
    memcpy(root + strlen(root) - 6, "XXXXXX", 6);
    assert_non_null(mkdtemp(root));
    for (size_t i = 1; i < NDIRS; i++) {
        cleanup_free char *path = xasprintf("%s%s", root, dirs[i]);
        assert_int_equal(mkdir(path, 0700), 0);
    }
    *state = root;
    return 0;
}

static int teardown(void **state) {
    const char *root = *state;
    for (size_t i = 0; i < NFILES; i++)
        put(root, files[i], NULL);
    for (size_t i = NDIRS; i-- > 0;) {
        cleanup_free char *path = xasprintf("%s%s", root, dirs[i]);
        assert_int_equal(rmdir(path), 0);
    }
    return 0;
}

#define CPU(flags) "processor\t: 0\nvendor_id\t: x\nflags\t\t: fpu " flags " sse\nvmx flags\t: vnmi\nbugs\t\t:\n"

static void decides_by_flag_module_and_device(void **state) {
    const char *root = *state;
    static const struct {
        const char *cpuinfo, *dev, *intel, *amd;
        enum accel_wish wish;
        const char *cpu;
        bool kvm;
        const char *flag, *reason, *detail;
    } cases[] = {
        {CPU("vmx"), "", "Y\n", NULL, ACCEL_AUTO, "", true, "vmx", "", "guests see vmx"},
        {CPU("vmx"), "", "1\n", NULL, ACCEL_AUTO, "+vmx", true, "vmx", "", "guests see vmx"},
        {CPU("svm"), "", NULL, "1\n", ACCEL_AUTO, "", true, "svm", "", "guests see svm"},
        {CPU("svm"), "", NULL, "1\n", ACCEL_KVM, "", true, "svm", "", "guests see svm"},

        /* The trap: /dev/kvm opens, but there is nothing behind it that could run a guest. */
        {CPU("hypervisor"), "", "Y\n", NULL, ACCEL_AUTO, "", false, "svm", "", "shows neither vmx nor svm"},
        {CPU("hypervisor"), "", NULL, NULL, ACCEL_KVM, "", true, "", "host-not-capable", "neither vmx nor svm"},
        {CPU("svm_lock xvmx"), "", "Y\n", "1\n", ACCEL_KVM, "", true, "", "host-not-capable", "neither"},
        {NULL, "", "Y\n", NULL, ACCEL_KVM, "", true, "", "host-not-capable", "neither vmx nor svm"},

        {CPU("vmx"), "", "N\n", NULL, ACCEL_AUTO, "", false, "svm", "", "kvm_intel/parameters/nested is not Y"},
        {CPU("vmx"), "", "N\n", NULL, ACCEL_KVM, "", true, "", "host-nested-off", "kvm_intel/parameters/nested"},
        {CPU("svm"), "", "Y\n", "0\n", ACCEL_KVM, "", true, "", "host-nested-off", "kvm_amd/parameters/nested"},
        {CPU("svm"), "", "Y\n", NULL, ACCEL_KVM, "", true, "", "host-nested-off", "kvm_amd/parameters/nested"},
        {CPU("vmx"), NULL, "Y\n", NULL, ACCEL_KVM, "", true, "", "host-not-capable", "/dev/kvm cannot be opened: No"},
        {CPU("vmx"), NULL, "Y\n", NULL, ACCEL_AUTO, "", false, "svm", "", "/dev/kvm cannot be opened: No"},

        {CPU("vmx"), "", "Y\n", NULL, ACCEL_TCG, "", false, "svm", "", "the spec says accel: tcg"},
        {CPU("vmx"), "", "Y\n", NULL, ACCEL_TCG, "+vmx", false, "", "emulated-vmx-unsupported", "cpu: +vmx"},
        {CPU("fpu"), "", NULL, NULL, ACCEL_AUTO, "-avx,vmx=on", false, "", "emulated-vmx-unsupported", "svm only"},
        {CPU("fpu"), "", NULL, NULL, ACCEL_AUTO, "+vmx-ept", false, "", "emulated-vmx-unsupported", "svm only"},
        {CPU("fpu"), "", NULL, NULL, ACCEL_AUTO, "-vmx,vmx=off,vmx=no,+vmxoff", false, "svm", "", "emulates"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *const texts[NFILES] = {cases[i].cpuinfo, cases[i].dev, cases[i].intel, cases[i].amd};
        for (size_t j = 0; j < NFILES; j++)
            put(root, files[j], texts[j]);
        struct accel a;
        accel_choose(root, cases[i].wish, cases[i].cpu, &a);
        if (a.kvm != cases[i].kvm || strcmp(a.flag, cases[i].flag) != 0 || strcmp(a.reason, cases[i].reason) != 0 ||
            !strstr(a.detail, cases[i].detail))
            fail_msg("case %zu: kvm %d flag '%s' reason '%s': %s", i, a.kvm, a.flag, a.reason, a.detail);
    }
}

static void a_reason_is_an_error_where_nesting_is_needed(void **state) {
    (void)state;
    struct error e = {.code = ERR_NONE};
    assert_int_equal(accel_require_nesting(&(struct accel){.reason = ""}, "lab/kvm1", &e), 0);
    assert_false(error_is_set(&e));
    static const struct {
        const char *reason, *mend;
    } cases[] = {
        {"host-not-capable", "accel: tcg"},
        {"host-nested-off", "nested=1"},
        {"emulated-vmx-unsupported", "remove vmx"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        error_clear(&e);
        struct accel a = {.reason = cases[i].reason, .detail = "so it is"};
        assert_int_equal(accel_require_nesting(&a, "lab/kvm1", &e), -1);
        assert_int_equal(e.code, ERR_NESTING);
        assert_string_equal(e.reason, cases[i].reason);
        assert_string_equal(e.subject, "lab/kvm1");
        assert_non_null(strstr(e.cause, "so it is"));
        assert_non_null(strstr(e.mend, cases[i].mend));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(decides_by_flag_module_and_device, setup, teardown),
        cmocka_unit_test(a_reason_is_an_error_where_nesting_is_needed),
    };
    return cmocka_run_group_tests_name("qemu accel", tests, NULL, NULL);
}
