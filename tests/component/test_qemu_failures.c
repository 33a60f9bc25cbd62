/* What cannot be created or started is told with its cause, and leaves nothing running. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "drivers/qemu/qemu.h"
#include "drivers/qemu/qemu_priv.h"
#include "qemu_fixture.h"

static void create_ok(struct qemu_fixture *f, const struct machine_spec *m, bool expose) {
    struct error e = {.code = ERR_NONE};
    bool exposed;
    qemu_assert_ok(qemu_driver.create(f->hv, m, &f->ctx, &e), &e);
    if (expose)
        qemu_assert_ok(qemu_driver.expose(f->hv, m, true, &exposed, &f->ctx, &e), &e);
}

static void check_start(struct qemu_fixture *f, const struct machine_spec *m, enum error_code code, const char *cause,
                        struct error *e) {
    error_clear(e);
    qemu_assert_error(qemu_driver.start(f->hv, m, &f->ctx, e), e, code, m->tag.path, cause);
    assert_int_equal(qemu_pid(m), 0);
}

static void a_missing_qemu_is_named(void **state) {
    struct qemu_fixture *f = *state;
    struct error e = {.code = ERR_NONE};
    struct capability c;
    struct machine_spec m = qemu_machine(f, "lab/kvm1");
    qemu_reopen(f, "binary", "qemu-system-nowhere");
    create_ok(f, &m, true);
    check_start(f, &m, ERR_MISSING_PROGRAM, "qemu-system-nowhere is not installed", &e);
    assert_string_equal(e.mend, "apt-get install qemu-system-x86");
    error_clear(&e);
    qemu_assert_error(qemu_driver.check(f->hv, &c, &f->ctx, &e), &e, ERR_MISSING_PROGRAM, "host test",
                      "qemu-system-nowhere");
    assert_string_equal(e.mend, "apt-get install qemu-system-x86");
    qemu_remove_ok(f, &m); /* needs no QEMU */
}

static void a_missing_qemu_img_is_named(void **state) {
    struct qemu_fixture *f = *state;
    struct error e = {.code = ERR_NONE};
    struct machine_spec m = qemu_machine(f, "lab/kvm1");
    cleanup_free char *path = xstrdup(getenv("PATH"));
    setenv("PATH", f->dir, 1);
    int rc = qemu_driver.create(f->hv, &m, &f->ctx, &e);
    setenv("PATH", path, 1);
    qemu_assert_error(rc, &e, ERR_MISSING_PROGRAM, "lab/kvm1", "qemu-img is not installed");
    assert_string_equal(e.mend, "apt-get install qemu-utils");
    assert_int_equal(qemu_power(f, &m, NULL), POWER_BROKEN); /* half made, and seen */
    qemu_remove_ok(f, &m);
}

static void what_qemu_complains_about_is_the_cause(void **state) {
    struct qemu_fixture *f = *state;
    struct error e = {.code = ERR_NONE};
    struct machine_spec m = qemu_machine(f, "lab/kvm1");
    qemu_reopen(f, "cpu", "nosuchflag=on");
    create_ok(f, &m, true);
    check_start(f, &m, ERR_PROCESS, "QEMU ended while starting: qemu-system-x86_64: ", &e);
    assert_non_null(strstr(e.cause, "nosuchflag"));
    cleanup_free char *log = qemu_file(f, &m, "qemu.log");
    assert_non_null(strstr(e.mend, log));
    assert_int_equal(qemu_power(f, &m, NULL), POWER_OFF);
    qemu_remove_ok(f, &m);
}

static void vmx_under_emulation_is_refused_before_anything_starts(void **state) {
    struct qemu_fixture *f = *state;
    struct error e = {.code = ERR_NONE};
    struct machine_spec m = qemu_machine(f, "lab/kvm1");
    bool exposed = false;
    create_ok(f, &m, true);
    qemu_reopen(f, "cpu", "+vmx");
    check_start(f, &m, ERR_NESTING, "emulation offers svm only", &e);
    assert_string_equal(e.reason, "emulated-vmx-unsupported");
    error_clear(&e);
    qemu_assert_error(qemu_driver.expose(f->hv, &m, true, &exposed, &f->ctx, &e), &e, ERR_NESTING, "lab/kvm1",
                      "emulation offers svm only");
    assert_string_equal(e.reason, "emulated-vmx-unsupported");
    cleanup_free char *log = qemu_file(f, &m, "qemu.log");
    assert_int_not_equal(access(log, F_OK), 0);
    qemu_remove_ok(f, &m);
}

/* The setting says on, the CPU that was made says no: the CPU is believed. */
static void a_cpu_without_the_flag_is_not_let_run(void **state) {
    struct qemu_fixture *f = *state;
    struct error e = {.code = ERR_NONE};
    struct machine_spec m = qemu_machine(f, "lab/kvm1");
    qemu_reopen(f, "cpu", "-svm");
    create_ok(f, &m, true);
    check_start(f, &m, ERR_NESTING, "shows neither vmx nor svm", &e);
    assert_string_equal(e.reason, "vhv-not-set");
    assert_int_equal(qemu_power(f, &m, NULL), POWER_OFF);
    qemu_remove_ok(f, &m);
}

/* QEMU lets "-svm" win over "+svm" wherever they stand. */
static void the_cpu_parameter_cannot_expose(void **state) {
    struct qemu_fixture *f = *state;
    struct machine_spec m = qemu_machine(f, "lab/plain");
    bool exposed = true;
    m.expose = false;
    qemu_reopen(f, "cpu", "+svm");
    qemu_run(f, &m);
    assert_int_equal(qemu_power(f, &m, &exposed), POWER_ON);
    assert_false(exposed);
    qemu_remove_ok(f, &m);
}

/* A machine whose CPU and modules are not the real ones. */
static void pretend_no_virtualization(struct qemu_fixture *f) {
    free(f->hv->root);
    f->hv->root = xstrdup(f->dir);
    f->hv->accel = ACCEL_KVM;
}

static void kvm_on_an_unfit_host_is_refused(void **state) {
    struct qemu_fixture *f = *state;
    struct error e = {.code = ERR_NONE};
    struct machine_spec m = qemu_machine(f, "lab/kvm1");
    struct capability c;
    create_ok(f, &m, true);
    pretend_no_virtualization(f);
    check_start(f, &m, ERR_NESTING, "this machine's CPU shows neither vmx nor svm", &e);
    assert_string_equal(e.reason, "host-not-capable");
    error_clear(&e);
    qemu_assert_ok(qemu_driver.check(f->hv, &c, &f->ctx, &e), &e);
    assert_false(c.can_nest);
    assert_false(c.emulated);
    assert_string_equal(c.reason, "host-not-capable");
    assert_string_equal(c.flag, "");
    assert_true(c.memory_free == UINT64_MAX); /* there is no meminfo either */
    qemu_remove_ok(f, &m);
}

static void a_missing_or_changed_image_is_told(void **state) {
    struct qemu_fixture *f = *state;
    struct error e = {.code = ERR_NONE};
    struct machine_spec m = qemu_machine(f, "lab/kvm1"), late = qemu_machine(f, "lab/late");
    cleanup_free char *base = qemu_base(f);
    create_ok(f, &m, true);
    int fd = open(base, O_WRONLY | O_APPEND | O_CLOEXEC);
    assert_int_equal(write(fd, "x", 1), 1);
    close(fd);
    check_start(f, &m, ERR_IMAGE, "was changed since", &e);
    assert_non_null(strstr(e.cause, base));
    assert_int_equal(unlink(f->image.disk), 0);
    assert_int_equal(unlink(base), 0);
    check_start(f, &m, ERR_NOT_FOUND, "cannot use the image it is a clone of", &e);

    error_clear(&e);
    qemu_assert_error(qemu_driver.create(f->hv, &late, &f->ctx, &e), &e, ERR_NOT_FOUND, "lab/late", "cannot read");
    assert_non_null(strstr(e.cause, f->image.disk));
    assert_int_equal(qemu_power(f, &late, NULL), POWER_ABSENT);
    error_clear(&e);
    qemu_assert_error(qemu_driver.ensure_image(f->hv, &f->image, NULL, NULL, &f->ctx, &e), &e, ERR_NOT_FOUND, "empty",
                      "cannot read");
    qemu_remove_ok(f, &m); /* needs no image */
}

static uint64_t virtual_size(const char *path) {
    unsigned char header[32];
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_int_equal(read(fd, header, sizeof header), sizeof header);
    uint64_t size = 0;
    for (int i = 24; i < 32; i++) /* big-endian, at offset 24 of a qcow2 file */
        size = size << 8 | header[i];
    return size;
}

static void a_disk_may_grow_but_not_shrink(void **state) {
    struct qemu_fixture *f = *state;
    struct error e = {.code = ERR_NONE};
    struct machine_spec same = qemu_machine(f, "lab/same"), big = qemu_machine(f, "lab/big"),
                        small = qemu_machine(f, "lab/small");
    big.disk = QEMU_IMAGE_BYTES * 3;
    small.disk = QEMU_IMAGE_BYTES - 1;
    create_ok(f, &same, false);
    create_ok(f, &big, false);
    cleanup_free char *same_disk = qemu_file(f, &same, "disk.qcow2"), *big_disk = qemu_file(f, &big, "disk.qcow2");
    assert_true(virtual_size(same_disk) == QEMU_IMAGE_BYTES);
    assert_true(virtual_size(big_disk) == big.disk);
    qemu_assert_error(qemu_driver.create(f->hv, &small, &f->ctx, &e), &e, ERR_SPEC, "lab/small",
                      "is smaller than the 64MiB of the template empty");
    assert_int_equal(qemu_power(f, &small, NULL), POWER_ABSENT);
    qemu_remove_ok(f, &same);
    qemu_remove_ok(f, &big);
}

static void create_replaces_halves_but_no_other_machine(void **state) {
    struct qemu_fixture *f = *state;
    struct error e = {.code = ERR_NONE};
    struct machine_spec m = qemu_machine(f, "lab/kvm1");
    create_ok(f, &m, true);
    cleanup_free char *disk = qemu_file(f, &m, "disk.qcow2");
    struct stat before, after;
    assert_int_equal(stat(disk, &before), 0);
    create_ok(f, &m, true); /* as it is already */
    assert_int_equal(stat(disk, &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);

    m.digest = "another";
    qemu_assert_error(qemu_driver.create(f->hv, &m, &f->ctx, &e), &e, ERR_EXISTS, "lab/kvm1",
                      "exists with another configuration");
    assert_int_equal(unlink(disk), 0);
    assert_int_equal(qemu_power(f, &m, NULL), POWER_BROKEN);
    check_start(f, &m, ERR_NOT_FOUND, "only half made", &e);
    error_clear(&e);
    qemu_assert_ok(qemu_driver.create(f->hv, &m, &f->ctx, &e), &e);
    assert_int_equal(qemu_power(f, &m, NULL), POWER_OFF);
    qemu_remove_ok(f, &m);
}

static void a_machine_that_is_not_there_is_told(void **state) {
    struct qemu_fixture *f = *state;
    struct error e = {.code = ERR_NONE};
    struct machine_spec m = qemu_machine(f, "lab/ghost"), evil = qemu_machine(f, "../../etc");
    struct endpoint at;
    check_start(f, &m, ERR_NOT_FOUND, "there is no such machine on host test", &e);
    error_clear(&e);
    qemu_assert_error(qemu_driver.address(f->hv, &m, &at, &f->ctx, &e), &e, ERR_NOT_FOUND, "lab/ghost",
                      "there is no such machine");
    error_clear(&e);
    qemu_assert_error(qemu_driver.remove(f->hv, &evil.tag, &f->ctx, &e), &e, ERR_INTERNAL, "host test",
                      "is no machine path");
}

static void unfit_hosts_are_refused_at_opening(void **state) {
    struct qemu_fixture *f = *state;
    static const struct {
        const char *key, *value, *cause;
    } cases[] = {
        {"accel", "hvf", "accel 'hvf' is none of auto, kvm, tcg"},
        {"cpu", "+svm -incoming", "cpu '+svm -incoming' has the character ' '"},
        {"machine", "q35,accel=xen", "machine 'q35,accel=xen' has the character ','"},
    };
    struct hypervisor *hv = NULL;
    struct error e = {.code = ERR_NONE};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct param param = {.key = cases[i].key, .value = cases[i].value};
        struct hypervisor_config config = f->config;
        config.params = &param;
        config.nparams = 1;
        error_clear(&e);
        qemu_assert_error(qemu_driver.open(&config, &hv, &f->ctx, &e), &e, ERR_SPEC, "host test", cases[i].cause);
    }
    static const struct access_ops elsewhere = {.run = NULL};
    struct access remote = {.ops = &elsewhere, .subject = "remote"};
    struct hypervisor_config config = f->config;
    config.access = &remote;
    error_clear(&e);
    qemu_assert_error(qemu_driver.open(&config, &hv, &f->ctx, &e), &e, ERR_UNSUPPORTED, "host test",
                      "only where nestor itself runs");
    assert_null(hv);
}

static void a_context_that_is_over_starts_nothing(void **state) {
    struct qemu_fixture *f = *state;
    struct error e = {.code = ERR_NONE};
    struct machine_spec m = qemu_machine(f, "lab/kvm1");
    struct context over = context_timeout(NULL, 0);
    struct observation *o = NULL;
    create_ok(f, &m, true);
    qemu_assert_error(qemu_driver.start(f->hv, &m, &over, &e), &e, ERR_TIMEOUT, "lab/kvm1", "starting it");
    error_clear(&e);
    qemu_assert_error(qemu_driver.observe(f->hv, NULL, &o, &over, &e), &e, ERR_TIMEOUT, "host test", "looking for");
    assert_null(o);
    qemu_remove_ok(f, &m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        QEMU_TEST(a_missing_qemu_is_named),
        QEMU_TEST(a_missing_qemu_img_is_named),
        QEMU_TEST(what_qemu_complains_about_is_the_cause),
        QEMU_TEST(vmx_under_emulation_is_refused_before_anything_starts),
        QEMU_TEST(a_cpu_without_the_flag_is_not_let_run),
        QEMU_TEST(the_cpu_parameter_cannot_expose),
        QEMU_TEST(kvm_on_an_unfit_host_is_refused),
        QEMU_TEST(a_missing_or_changed_image_is_told),
        QEMU_TEST(a_disk_may_grow_but_not_shrink),
        QEMU_TEST(create_replaces_halves_but_no_other_machine),
        QEMU_TEST(a_machine_that_is_not_there_is_told),
        QEMU_TEST(unfit_hosts_are_refused_at_opening),
        QEMU_TEST(a_context_that_is_over_starts_nothing),
    };
    return cmocka_run_group_tests_name("qemu failures", tests, NULL, NULL);
}
