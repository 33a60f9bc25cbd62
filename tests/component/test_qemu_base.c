/* What machines are clones of stays as it is, whatever becomes of the image it came from. */
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

static void create_ok(struct qemu_fixture *f, const struct machine_spec *m) {
    struct error e = {.code = ERR_NONE};
    qemu_assert_ok(qemu_driver.create(f->hv, m, &f->ctx, &e), &e);
}

static void ensure_ok(struct qemu_fixture *f) {
    struct error e = {.code = ERR_NONE};
    qemu_assert_ok(qemu_driver.ensure_image(f->hv, &f->image, NULL, NULL, &f->ctx, &e), &e);
}

static void prune_ok(struct qemu_fixture *f) {
    struct error e = {.code = ERR_NONE};
    qemu_assert_ok(qemu_driver.prune(f->hv, &f->ctx, &e), &e);
}

static void start_ok(struct qemu_fixture *f, const struct machine_spec *m) {
    struct error e = {.code = ERR_NONE};
    qemu_assert_ok(qemu_driver.start(f->hv, m, &f->ctx, &e), &e);
}

static void cut_ok(struct qemu_fixture *f, const struct machine_spec *m) {
    struct error e = {.code = ERR_NONE};
    qemu_assert_ok(qemu_driver.power_cut(f->hv, &m->tag, &f->ctx, &e), &e);
}

static struct stat stat_of(const char *path) {
    struct stat st;
    if (stat(path, &st))
        fail_msg("there is no %s", path);
    return st;
}

static bool is_there(const char *path) { return access(path, F_OK) == 0; }

/* Another disk of the same name and another checksum, as `nestor image build --rebuild` leaves it. */
static void rebuild(struct qemu_fixture *f) {
    cleanup_free char *fresh = xasprintf("%s.new", f->image.disk);
    cleanup_free char *command = xasprintf("qemu-img create -q -f qcow2 '%s' 65M", fresh);
    assert_int_equal(system(command), 0);
    assert_int_equal(rename(fresh, f->image.disk), 0);
    memset(f->image.sha256, 'c', 64);
    f->image.virtual_size = (uint64_t)65 << 20;
}

static void clones_survive_a_rebuild(void **state) {
    struct qemu_fixture *f = *state;
    struct machine_spec running = qemu_machine(f, "lab/running"), off = qemu_machine(f, "lab/off"),
                        later = qemu_machine(f, "lab/later");
    ensure_ok(f);
    cleanup_free char *old = qemu_base(f);
    qemu_run(f, &running);
    create_ok(f, &off);
    struct stat before = stat_of(old);
    assert_int_equal(before.st_ino, stat_of(f->image.disk).st_ino); /* a second name, no copy */

    rebuild(f);
    prune_ok(f);
    cut_ok(f, &running);
    start_ok(f, &running);
    start_ok(f, &off);
    struct stat after = stat_of(old);
    assert_int_equal(after.st_ino, before.st_ino);
    assert_int_equal(after.st_size, before.st_size);

    create_ok(f, &later); /* of the new one */
    cleanup_free char *fresh = qemu_base(f);
    assert_string_not_equal(fresh, old);
    assert_int_equal(stat_of(fresh).st_ino, stat_of(f->image.disk).st_ino);
    start_ok(f, &later);
    qemu_remove_ok(f, &running);
    prune_ok(f);
    assert_true(is_there(old)); /* the other clone needs it */
    qemu_remove_ok(f, &off);
    prune_ok(f);
    assert_false(is_there(old));
    assert_true(is_there(fresh));
    qemu_remove_ok(f, &later);
    prune_ok(f);
    assert_false(is_there(fresh));
}

static void a_users_own_file_may_be_edited(void **state) {
    struct qemu_fixture *f = *state;
    struct machine_spec m = qemu_machine(f, "lab/kvm1");
    f->image.in_place = true;
    create_ok(f, &m);
    cleanup_free char *base = qemu_base(f);
    struct stat before = stat_of(base);
    assert_int_not_equal(before.st_ino, stat_of(f->image.disk).st_ino);
    assert_int_equal(before.st_mode & 07777, 0400);
    mode_t mode = stat_of(f->image.disk).st_mode;
    int fd = open(f->image.disk, O_WRONLY | O_APPEND | O_CLOEXEC);
    assert_int_equal(write(fd, "x", 1), 1);
    close(fd);
    assert_int_equal(stat_of(base).st_size, before.st_size);
    assert_int_equal(stat_of(f->image.disk).st_mode, mode);
    start_ok(f, &m);
    qemu_remove_ok(f, &m);
}

struct seen {
    uint64_t done, total;
};
static void note(void *data, uint64_t done, uint64_t total) { *(struct seen *)data = (struct seen){done, total}; }

/* No link reaches there. */
static void another_file_system_is_copied_from(void **state) {
    struct qemu_fixture *f = *state;
    struct error e = {.code = ERR_NONE};
    struct seen seen = {0};
    char elsewhere[] = "/dev/shm/nestor-base-XXXXXX";
    int fd = mkstemp(elsewhere);
    if (fd < 0 || stat_of(elsewhere).st_dev == stat_of(f->home).st_dev) {
        print_message("there is no second file system here\n");
        skip();
    }
    assert_int_equal(write(fd, "bytes", 5), 5);
    close(fd);
    struct image image = f->image;
    image.disk = elsewhere;
    image.format = (char *)"raw";
    image.file_size = 5;
    int rc = qemu_driver.ensure_image(f->hv, &image, note, &seen, &f->ctx, &e);
    unlink(elsewhere);
    qemu_assert_ok(rc, &e);
    assert_int_equal(seen.done, 5);
    assert_int_equal(seen.total, 5);
    cleanup_free char *base = xasprintf("%s/qemu/base/%s.raw", f->home, image.sha256);
    cleanup_free char *content = qemu_read(base);
    assert_string_equal(content, "bytes");
    assert_int_equal(stat_of(base).st_mode & 07777, 0400);
}

static void kernel_and_initrd_are_kept_too(void **state) {
    struct qemu_fixture *f = *state;
    struct machine_spec m = qemu_machine(f, "lab/kvm1");
    struct image image = f->image;
    cleanup_free char *kernel = xasprintf("%s/vmlinuz", f->dir), *initrd = xasprintf("%s/initrd.img", f->dir);
    qemu_write(kernel, "kernel");
    qemu_write(initrd, "initrd");
    image.boot = BOOT_KERNEL;
    image.kernel = kernel;
    image.initrd = initrd;
    memset(image.kernel_sha256, '1', 64);
    memset(image.initrd_sha256, '2', 64);
    m.image = &image;
    create_ok(f, &m);
    unlink(kernel);
    unlink(initrd);
    prune_ok(f);
    cleanup_free char *kept_kernel = xasprintf("%s/qemu/base/%s.kernel", f->home, image.kernel_sha256),
                      *kept_initrd = xasprintf("%s/qemu/base/%s.initrd", f->home, image.initrd_sha256),
                      *record = qemu_file(f, &m, RECORD_FILE), *kernel_text = qemu_read(kept_kernel),
                      *initrd_text = qemu_read(kept_initrd), *record_text = qemu_read(record);
    assert_string_equal(kernel_text, "kernel");
    assert_string_equal(initrd_text, "initrd");
    assert_non_null(strstr(record_text, kept_kernel));
    assert_non_null(strstr(record_text, kept_initrd));
    qemu_remove_ok(f, &m);
}

static void bases_are_no_lab(void **state) {
    struct qemu_fixture *f = *state;
    struct error e = {.code = ERR_NONE};
    struct observation *o = NULL;
    ensure_ok(f);
    qemu_assert_ok(qemu_driver.observe(f->hv, NULL, &o, &f->ctx, &e), &e);
    assert_int_equal(o->n, 0);
    observation_free(o);
}

/* Between ensuring and recording, another lab's prune may come. */
static void create_finds_a_base_that_was_pruned(void **state) {
    struct qemu_fixture *f = *state;
    struct machine_spec m = qemu_machine(f, "lab/kvm1");
    cleanup_free char *base = qemu_base(f);
    ensure_ok(f);
    prune_ok(f);
    assert_false(is_there(base));
    create_ok(f, &m);
    start_ok(f, &m);
    qemu_remove_ok(f, &m);
}

static void what_is_being_prepared_is_not_pruned(void **state) {
    struct qemu_fixture *f = *state;
    struct error e = {.code = ERR_NONE};
    cleanup_close int hold = -1;
    cleanup_free char *base = qemu_base(f);
    ensure_ok(f);
    qemu_assert_ok(base_hold(f->hv, &hold, &f->ctx, &e), &e);
    struct context soon = context_timeout(NULL, 100);
    qemu_assert_error(qemu_driver.prune(f->hv, &soon, &e), &e, ERR_TIMEOUT, "host test", "no image is being prepared");
    assert_true(is_there(base));
}

/* Of a machine whose record cannot be read nobody knows what it needs. */
static void a_damaged_record_keeps_all_bases(void **state) {
    struct qemu_fixture *f = *state;
    struct machine_spec m = qemu_machine(f, "lab/kvm1");
    create_ok(f, &m);
    cleanup_free char *record = qemu_file(f, &m, RECORD_FILE), *base = qemu_base(f);
    qemu_write(record, "{");
    prune_ok(f);
    assert_true(is_there(base));
    assert_int_equal(unlink(record), 0);
    qemu_remove_ok(f, &m);
    prune_ok(f);
    assert_false(is_there(base));
}

static void a_cut_copy_is_begun_again(void **state) {
    struct qemu_fixture *f = *state;
    f->image.in_place = true;
    ensure_ok(f);
    cleanup_free char *base = qemu_base(f), *part = xasprintf("%s.part", base);
    off_t size = stat_of(base).st_size;
    assert_int_equal(rename(base, part), 0);
    assert_int_equal(chmod(part, 0600), 0);
    assert_int_equal(truncate(part, 2 * size), 0); /* longer: what was there must go */
    ensure_ok(f);
    assert_int_equal(stat_of(base).st_size, size);
    assert_false(is_there(part));
    qemu_write(part, "left");
    prune_ok(f);
    assert_false(is_there(part));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        QEMU_TEST(clones_survive_a_rebuild),
        QEMU_TEST(a_users_own_file_may_be_edited),
        QEMU_TEST(another_file_system_is_copied_from),
        QEMU_TEST(kernel_and_initrd_are_kept_too),
        QEMU_TEST(bases_are_no_lab),
        QEMU_TEST(create_finds_a_base_that_was_pruned),
        QEMU_TEST(what_is_being_prepared_is_not_pruned),
        QEMU_TEST(a_damaged_record_keeps_all_bases),
        QEMU_TEST(a_cut_copy_is_begun_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
