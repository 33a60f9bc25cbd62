#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "qemu_priv.h"

/* The bases a machine is made of. */
struct bases {
    char *disk, *kernel, *initrd; /* the latter two NULL when it boots from the disk */
};

static struct bases bases_of(const struct hypervisor *hv, const struct image *image) {
    struct bases b = {.disk = base_path(hv, image->disk, image->sha256, image->format)};
    if (image->boot == BOOT_KERNEL) {
        b.kernel = base_path(hv, image->kernel, image->kernel_sha256, "kernel");
        b.initrd = base_path(hv, image->initrd, image->initrd_sha256, "initrd");
    }
    return b;
}

static void bases_free(struct bases *b) {
    free(b->disk);
    free(b->kernel);
    free(b->initrd);
}

static const char *or_empty(const char *s) { return s ? s : ""; }

/* Borrows from the spec and the bases: the record is written, not kept. */
static int describe(const struct machine_spec *spec, const struct bases *bases, struct record *ret, struct error *err) {
    const struct image *image = spec->image;
    struct stat st;
    if (stat(bases->disk, &st))
        return error_set_errno(err, errno, spec->tag.path, "cannot use the image %s", bases->disk);
    *ret = (struct record){
        .lab_id = spec->tag.lab_id,
        .path = spec->tag.path,
        .name = spec->name,
        .digest = spec->digest,
        .uuid = spec->uuid,
        .mac = spec->mac,
        .image = bases->disk,
        .format = image->format,
        .image_size = st.st_size,
        .image_mtime_ns = st.st_mtim.tv_sec * 1000000000LL + st.st_mtim.tv_nsec,
        .kernel = or_empty(bases->kernel),
        .initrd = or_empty(bases->initrd),
        .cmdline = image->cmdline ? image->cmdline : "root=/dev/vda rw console=ttyS0 quiet",
        .cpus = spec->cpus,
        .memory = (int64_t)spec->memory,
        .ssh_port = spec->ssh_port,
    };
    return 0;
}

static int run_qemu_img(const struct vm *vm, const char *const argv[], const struct context *ctx, struct error *err) {
    cleanup_command_result struct command_result result = {0};
    if (process_run(argv, &COMMAND(NULL), &result, ctx, err)) {
        if (err && err->code == ERR_MISSING_PROGRAM)
            error_mend(err, "apt-get install qemu-utils");
        return error_subject(err, vm->tag.path);
    }
    if (result.status)
        return error_set(err, ERR_PROCESS, vm->tag.path, "cannot clone the disk: %s", buffer_str(&result.err));
    return 0;
}

/* Under another name until it is whole: one of this process's own, since a killed nestor's qemu-img may be at work
 * still. */
static int clone_disk(const struct vm *vm, const struct machine_spec *spec, const char *base, const struct context *ctx,
                      struct error *err) {
    cleanup_free char *part = xasprintf("%s/%s.part-%d", vm->dir, DISK_FILE, (int)getpid());
    char size[24];
    snprintf(size, sizeof size, "%llu", (unsigned long long)spec->disk);
    const char *const argv[] = {"qemu-img",
                                "create",
                                "-q",
                                "-f",
                                "qcow2",
                                "-b",
                                base,
                                "-F",
                                spec->image->format,
                                part,
                                spec->disk ? size : NULL,
                                NULL};
    if (run_qemu_img(vm, argv, ctx, err))
        return -1;
    if (renameat(vm->fd, strrchr(part, '/') + 1, vm->fd, DISK_FILE))
        return error_set_errno(err, errno, vm->tag.path, "cannot name its disk");
    return 0;
}

/* The record is first: from then on observe tells whose directory this is, and prune that its bases are used. The disk
 * is last: with it the machine is whole. */
static int make_on(struct vm *vm, const struct machine_spec *spec, const struct bases *bases, const struct context *ctx,
                   struct error *err) {
    struct record r;
    if (describe(spec, bases, &r, err) || vm_make_dir(vm, err) || vm_record_save(vm->fd, &r, spec->tag.path, err) ||
        file_write(vm->fd, SEED_FILE, spec->seed, spec->seed_len, 0600, spec->tag.path, err))
        return -1;
    return clone_disk(vm, spec, bases->disk, ctx, err);
}

/* The bases again: another lab's prune may have taken away what was not on record yet. */
static int make(struct vm *vm, const struct machine_spec *spec, const struct context *ctx, struct error *err) {
    cleanup_close int hold = -1;
    if (base_hold(vm->hv, &hold, ctx, err) || base_ensure(vm->hv, spec->image, NULL, NULL, ctx, err))
        return error_subject(err, spec->tag.path);
    struct bases bases = bases_of(vm->hv, spec->image);
    int rc = make_on(vm, spec, &bases, ctx, err);
    bases_free(&bases);
    return rc;
}

static int check_spec(const struct machine_spec *spec, struct error *err) {
    if (!spec->disk || spec->disk >= spec->image->virtual_size)
        return 0;
    char wanted[24], least[24];
    size_format(spec->disk, wanted);
    size_format(spec->image->virtual_size, least);
    error_set(err, ERR_SPEC, spec->tag.path, "its disk of %s is smaller than the %s of the template %s", wanted, least,
              spec->image->name);
    return error_mend(err, "give it a disk of at least %s", least);
}

int qemu_create(struct hypervisor *hv, const struct machine_spec *spec, const struct context *ctx, struct error *err) {
    cleanup_vm struct vm vm = VM_NONE;
    if (context_check(ctx, spec->tag.path, "creating it", err) || check_spec(spec, err) ||
        vm_find(hv, &spec->tag, &vm, err))
        return -1;
    if (vm_is_whole(&vm)) {
        if (strcmp(vm.rec.digest, spec->digest) == 0)
            return 0;
        error_set(err, ERR_EXISTS, spec->tag.path, "it exists with another configuration");
        return error_mend(err, "remove it first: its disk would be lost");
    }
    return vm_destroy(&vm, ctx, err) || make(&vm, spec, ctx, err) ? -1 : 0;
}

int qemu_expose(struct hypervisor *hv, const struct machine_spec *spec, bool on, bool *ret_exposed,
                const struct context *ctx, struct error *err) {
    const char *path = spec->tag.path;
    cleanup_vm struct vm vm = VM_NONE;
    enum life life = LIFE_NONE;
    struct accel accel;
    accel_choose(hv->root, hv->accel, hv->cpu, &accel);
    if (context_check(ctx, path, "exposing virtualization", err) || vm_load(hv, &spec->tag, &vm, err) ||
        (on && accel_require_nesting(&accel, path, err)) || vm_look(&vm, &life, NULL, err))
        return -1;
    if (vm.rec.expose != on) {
        if (life == LIFE_RUNS) {
            error_set(err, ERR_NESTING, path, "hardware virtualization can only be switched while it is off");
            error_mend(err, "run 'nestor up': it power-cycles the machine");
            return error_reason(err, "vhv-needs-power-off");
        }
        vm.rec.expose = on;
        /* A QEMU whose guest never ran was made with the old setting. */
        if (vm_end(&vm, 0, ctx, err) || vm_save(&vm, err))
            return -1;
    }
    struct record again = {0};
    if (vm_record_load(vm.fd, &again, path, err))
        return -1;
    *ret_exposed = again.expose;
    vm_record_free(&again);
    return 0;
}

int qemu_remove(struct hypervisor *hv, const struct tag *tag, const struct context *ctx, struct error *err) {
    cleanup_vm struct vm vm = VM_NONE;
    if (context_check(ctx, tag->path, "removing it", err) || vm_find(hv, tag, &vm, err))
        return -1;
    return vm_destroy(&vm, ctx, err);
}
