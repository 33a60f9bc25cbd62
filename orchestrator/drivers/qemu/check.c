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

/* Looked for, not run: the lab file names it, and may not have been agreed to yet. */
static int require_program(const char *program, const char *package, const char *subject, struct error *err) {
    if (program_exists(program))
        return 0;
    if (strchr(program, '/')) {
        error_set(err, ERR_MISSING_PROGRAM, subject, "there is no program %s", program);
        return error_mend(err, "correct the host's 'binary'");
    }
    error_set(err, ERR_MISSING_PROGRAM, subject, "the program %s is not installed or not in PATH", program);
    return error_mend(err, "apt-get install %s", package);
}

int qemu_check(struct hypervisor *hv, struct capability *ret, const struct context *ctx, struct error *err) {
    if (context_check(ctx, hv->subject, "checking it", err) ||
        require_program(hv->binary, "qemu-system-x86", hv->subject, err) ||
        require_program("qemu-img", "qemu-utils", hv->subject, err))
        return -1;
    struct accel accel;
    accel_choose(hv->root, hv->accel, hv->cpu, &accel);
    struct capability c = {
        .can_nest = !accel.reason[0],
        .emulated = !accel.kvm,
        .memory_free = memory_available(hv->root),
        .disk_free = disk_available(hv->dir),
        .cpus = (uint32_t)sysconf(_SC_NPROCESSORS_ONLN),
    };
    snprintf(c.flag, sizeof c.flag, "%s", accel.flag);
    snprintf(c.reason, sizeof c.reason, "%s", accel.reason);
    snprintf(c.detail, sizeof c.detail, "%s", accel.detail);
    *ret = c;
    return 0;
}

int qemu_ensure_image(struct hypervisor *hv, const struct image *image, progress_fn progress, void *data,
                      const struct context *ctx, struct error *err) {
    cleanup_close int hold = -1;
    return base_hold(hv, &hold, ctx, err) || base_ensure(hv, image, progress, data, ctx, err) ? -1 : 0;
}

/* The directory of a lab without machines, which a cut run may leave. rmdir spares the others. */
static int remove_empty_lab(void *data, const char *name, struct error *err) {
    const struct hypervisor *hv = data;
    (void)err;
    if (is_lab_id(name)) {
        cleanup_free char *dir = xasprintf("%s/%s", hv->dir, name);
        rmdir(dir);
    }
    return 0;
}

int qemu_prune(struct hypervisor *hv, const struct context *ctx, struct error *err) {
    if (context_check(ctx, hv->subject, "pruning", err) || dir_each(hv->dir, hv->subject, remove_empty_lab, hv, err))
        return -1;
    return base_prune(hv, ctx, err);
}
