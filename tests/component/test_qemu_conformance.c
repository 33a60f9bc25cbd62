/* What the conformance suite asks of every driver, asked of real QEMU processes. */
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "conformance.h"
#include "drivers/qemu/qemu.h"
#include "qemu_fixture.h"

/* nftw has no argument for its callback. */
static _Thread_local size_t counted;

static int count_entry(const char *path, const struct stat *st, int type, struct FTW *ftw) {
    (void)st;
    (void)type;
    counted += ftw->level > 0 && !strstr(path, "/qemu/base");
    return 0;
}

static int count_file(const char *path, const struct stat *st, int type, struct FTW *ftw) {
    (void)path;
    (void)st;
    (void)ftw;
    counted += type == FTW_F;
    return 0;
}

/* Copies that lie there, parts included. */
static size_t copies(void *data) {
    const struct qemu_fixture *f = data;
    cleanup_free char *base = xasprintf("%s/qemu/base", f->home);
    counted = 0;
    nftw(base, count_file, 16, FTW_PHYS);
    return counted;
}

/* Files, and the processes that are not among them. */
static size_t things(void *data) {
    const struct qemu_fixture *f = data;
    cleanup_free char *base = xasprintf("%s/qemu", f->home);
    counted = 0;
    nftw(base, count_entry, 16, FTW_PHYS);
    return counted + qemu_count_processes(f);
}

/* A create that was killed before the disk was there. */
static void make_half(void *data, const struct machine_spec *spec) {
    struct qemu_fixture *f = data;
    struct error e = {.code = ERR_NONE};
    qemu_assert_ok(qemu_driver.create(f->hv, spec, &f->ctx, &e), &e);
    cleanup_free char *disk = qemu_file(f, spec, "disk.qcow2");
    assert_int_equal(unlink(disk), 0);
}

static void make_foreign(void *data, const char *name) {
    const struct qemu_fixture *f = data;
    cleanup_free char *dir = xasprintf("%s/qemu/not a lab", f->home), *machine = xasprintf("%s/%s", dir, name);
    mkdir(dir, 0700);
    mkdir(machine, 0700);
}

int main(void) {
    static struct qemu_fixture f;
    static const char seed[512] = "seed";
    qemu_setup(&f, "home");
    qemu_use_obedient_image(&f);
    f.image.in_place = true;
    const struct conformance_target target = {
        .driver = &qemu_driver,
        .config = f.config,
        .image = &f.image,
        .seed = seed,
        .seed_len = sizeof seed,
        .memory = (uint64_t)64 << 20,
        .powers = true,
        .obeys = true,
        .operation_ms = 60000,
        .boot_ms = 60000,
        .things = things,
        .copies = copies,
        .make_half = make_half,
        .make_foreign = make_foreign,
        .data = &f,
    };
    int failed = conformance_run(&target);
    cleanup_free char *foreign = xasprintf("%s/qemu/not a lab/conf.one", f.home);
    rmdir(foreign);
    *strrchr(foreign, '/') = '\0';
    rmdir(foreign);
    qemu_teardown(&f);
    return failed;
}
