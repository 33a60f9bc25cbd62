#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "qemu_priv.h"

/* /proc/meminfo is some 1.5 KiB. */
#define MEMINFO_BYTES 16384

static uint64_t memory_available(const char *root) {
    cleanup_free char *path = xasprintf("%s/proc/meminfo", root);
    cleanup_buffer struct buffer text = {0};
    unsigned long long kib;
    if (file_read(AT_FDCWD, path, MEMINFO_BYTES, &text, NULL, NULL))
        return UINT64_MAX;
    const char *line = strstr(buffer_str(&text), "MemAvailable:");
    return line && sscanf(line, "MemAvailable: %llu kB", &kib) == 1 ? (uint64_t)kib * 1024 : UINT64_MAX;
}

static uint64_t disk_available(const char *dir) {
    struct statvfs st;
    return statvfs(dir, &st) == 0 ? (uint64_t)st.f_bavail * st.f_frsize : UINT64_MAX;
}

static int require_program(const char *program, const char *package, const char *subject, const struct context *ctx,
                           struct error *err) {
    const char *const argv[] = {program, "--version", NULL};
    cleanup_command_result struct command_result result = {0};
    struct error e = {.code = ERR_NONE};
    if (process_run(argv, &COMMAND(NULL), &result, ctx, &e) == 0)
        return 0;
    if (e.code == ERR_MISSING_PROGRAM)
        error_mend(&e, "apt-get install %s", package);
    error_subject(&e, subject);
    if (err)
        *err = e;
    return -1;
}

int qemu_check(struct hypervisor *hv, struct capability *ret, const struct context *ctx, struct error *err) {
    if (require_program(hv->binary, "qemu-system-x86", hv->subject, ctx, err) ||
        require_program("qemu-img", "qemu-utils", hv->subject, ctx, err))
        return -1;
    struct accel accel;
    accel_choose(hv->root, hv->accel, hv->cpu, &accel);
    struct capability c = {
        .can_nest = !accel.reason[0],
        .emulated = !accel.kvm,
        .memory_free = memory_available(hv->root),
        .disk_free = disk_available(hv->base),
        .cpus = (uint32_t)sysconf(_SC_NPROCESSORS_ONLN),
    };
    snprintf(c.flag, sizeof c.flag, "%s", accel.flag);
    snprintf(c.reason, sizeof c.reason, "%s", accel.reason);
    snprintf(c.detail, sizeof c.detail, "%s", accel.detail);
    *ret = c;
    return 0;
}

static int require_readable(const char *file, const char *subject, struct error *err) {
    if (!file || access(file, R_OK) == 0)
        return 0;
    error_set_errno(err, errno, subject, "cannot read %s", file);
    return error_mend(err, "run 'nestor image build %s', or make the file readable", subject);
}

/* On this machine an image is used where it lies: nothing is copied. */
int qemu_ensure_image(struct hypervisor *hv, const struct image *image, progress_fn progress, void *data,
                      const struct context *ctx, struct error *err) {
    (void)hv;
    if (context_check(ctx, image->name, "looking for the image", err) ||
        require_readable(image->disk, image->name, err))
        return -1;
    if (image->boot == BOOT_KERNEL &&
        (require_readable(image->kernel, image->name, err) || require_readable(image->initrd, image->name, err)))
        return -1;
    if (progress)
        progress(data, image->file_size, image->file_size);
    return 0;
}

/* Directories of labs without machines, which a cut run may leave. rmdir spares the others. */
int qemu_prune(struct hypervisor *hv, const struct context *ctx, struct error *err) {
    if (context_check(ctx, hv->subject, "pruning", err))
        return -1;
    DIR *d = opendir(hv->base);
    if (!d)
        return error_set_errno(err, errno, hv->subject, "cannot read %s", hv->base);
    for (struct dirent *e; (e = readdir(d));)
        if (lab_id_is_safe(e->d_name))
            unlinkat(dirfd(d), e->d_name, AT_REMOVEDIR);
    closedir(d);
    return 0;
}
