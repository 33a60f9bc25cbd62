/* A home, an empty image and an opened qemu driver for tests with real QEMU processes. Nothing boots: the firmware
 * looks for a system on an empty disk and stays there, which is all that ports, failures and clean-up need. */
#ifndef TESTS_QEMU_FIXTURE_H
#define TESTS_QEMU_FIXTURE_H

#include <sys/types.h>

#include "nestor/driver.h"

#define QEMU_LAB "00112233445566aa"
#define QEMU_IMAGE_BYTES ((uint64_t)64 << 20)
/* Nobody hashes it here: only the name is taken from it. */
#define QEMU_IMAGE_SHA256 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

struct qemu_fixture {
    char *dir, *home;
    struct image image;
    struct param params[4];
    struct hypervisor_config config;
    struct hypervisor *hv;
    struct context ctx; /* a minute */
};
/* home_name: of the home in the fixture's directory; several levels are made. Exits with 77 where there is no QEMU. */
void qemu_setup(struct qemu_fixture *f, const char *home_name);
/* Asserts that no process and, after pruning, no file is left of any machine. */
void qemu_teardown(struct qemu_fixture *f);
/* Both for cmocka, with the home "home". */
int qemu_begin(void **state);
int qemu_end(void **state);
#define QEMU_TEST(name) cmocka_unit_test_setup_teardown(name, qemu_begin, qemu_end)
/* From now on machines boot a disk (in raw format) whose 512 bytes of system power off when asked to. */
void qemu_use_obedient_image(struct qemu_fixture *f);
/* Closes f->hv and opens it again with one more parameter (key NULL: none). */
void qemu_reopen(struct qemu_fixture *f, const char *key, const char *value);

/* A machine with expose on, of 64 MiB and one CPU. uuid and mac differ by path. `path` is borrowed. */
struct machine_spec qemu_machine(const struct qemu_fixture *f, const char *path);
/* create, expose if the spec says so, start; each must succeed. */
void qemu_run(struct qemu_fixture *f, const struct machine_spec *spec);
void qemu_remove_ok(struct qemu_fixture *f, const struct machine_spec *spec);
/* What observe says; POWER_ABSENT when it does not mention it. ret_exposed may be NULL. */
enum power qemu_power(struct qemu_fixture *f, const struct machine_spec *spec, bool *ret_exposed);

/* The one process whose arguments name the machine's UUID, 0: none. Found without the driver's help. */
pid_t qemu_pid(const struct machine_spec *spec);
/* How many QEMU processes work in the fixture's home. */
size_t qemu_count_processes(const struct qemu_fixture *f);
/* Kills it and waits until it is gone. */
void qemu_kill(const struct machine_spec *spec);
/* DIR/qemu/LAB/PATH/file. The caller frees it. */
char *qemu_file(const struct qemu_fixture *f, const struct machine_spec *spec, const char *file);
/* Where the image's disk is once it was ensured. The caller frees it. */
char *qemu_base(const struct qemu_fixture *f);
void qemu_write(const char *path, const char *text);
/* The whole file; "" when there is none. The caller frees it. */
char *qemu_read(const char *path);

/* The call failed with exactly this error; subject NULL: any. */
void qemu_assert_error(int rc, const struct error *e, enum error_code code, const char *subject, const char *cause);
/* The call succeeded; prints the error if it did not. */
void qemu_assert_ok(int rc, const struct error *e);

#endif
