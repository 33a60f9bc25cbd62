/* What machines are clones of: home/qemu/base/SHA256.FORMAT, SHA256.kernel and SHA256.initrd.
 *
 * A base never changes, unlike the path of an image, which leads to other bytes after a rebuild: an overlay on a
 * changed file is a damaged disk. Where the image's file is only ever replaced by a new one, a base is a second name
 * (a hard link) of the same bytes. A user's own file may be edited in place, so of that it is a copy, which shares the
 * blocks where the file system can.
 *
 * Locks, both on open descriptions, so that they end with the process:
 *   home/qemu         shared by who needs bases not yet on record, exclusive for who removes them
 *   the part file     of who copies; the others wait for it and find the base
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "qemu_priv.h"

#define BASE_DIR "base"
#define LOCK_AGAIN_MS 20
/* Longer than this pruning waits for nobody: whoever copies a large image now prunes later. */
#define PRUNE_WAIT_MS 10000
/* Between two looks at the context. */
#define COPY_CHUNK ((size_t)8 << 20)

static int lock(int fd, int how, const char *subject, const char *what, const struct context *ctx, struct error *err) {
    while (flock(fd, how | LOCK_NB)) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return error_set_errno(err, errno, subject, "cannot lock its files");
        if (context_sleep(ctx, LOCK_AGAIN_MS, subject, what, err))
            return -1;
    }
    return 0;
}

static int lock_home(const struct hypervisor *hv, int how, int *ret_fd, const char *what, const struct context *ctx,
                     struct error *err) {
    cleanup_close int fd = open(hv->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(err, errno, hv->subject, "cannot open %s", hv->dir);
    if (lock(fd, how, hv->subject, what, ctx, err))
        return -1;
    *ret_fd = steal_fd(&fd);
    return 0;
}

int base_hold(const struct hypervisor *hv, int *ret_fd, const struct context *ctx, struct error *err) {
    return lock_home(hv, LOCK_SH, ret_fd, "waiting until unused images are removed", ctx, err);
}

char *base_path(const struct hypervisor *hv, const char *file, const char *sha256, const char *suffix) {
    return file ? xasprintf("%s/" BASE_DIR "/%s.%s", hv->dir, sha256, suffix) : NULL;
}

/* --- making --- */

/* One file of an image on its way to be a base. */
struct part {
    const struct image *image;
    const char *from, *to;
    progress_fn progress; /* may be NULL */
    void *data;
};

static int unreadable(const struct part *p, struct error *err) {
    error_set_errno(err, errno, p->image->name, "cannot read %s", p->from);
    return error_mend(err, "run 'nestor image build %s', or make the file readable", p->image->name);
}

static int copy_bytes(const struct part *p, int from, int to, off_t size, const struct context *ctx,
                      struct error *err) {
    if (ioctl(to, FICLONE, from) == 0)
        return 0;
    for (off_t done = 0; done < size;) {
        if (context_check(ctx, p->image->name, "copying it", err))
            return -1;
        ssize_t n = sendfile(to, from, NULL, COPY_CHUNK);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return error_set_errno(err, n ? errno : EIO, p->image->name, "cannot copy %s to %s", p->from, p->to);
        done += n;
        if (p->progress)
            p->progress(p->data, (uint64_t)done, (uint64_t)size);
    }
    return 0;
}

static bool same_stamp(const struct stat *a, const struct stat *b) {
    return a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
           a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static int copy_file(const struct part *p, int to, const struct context *ctx, struct error *err) {
    struct stat before, after;
    cleanup_close int from = open(p->from, O_RDONLY | O_CLOEXEC);
    if (from < 0 || fstat(from, &before))
        return unreadable(p, err);
    if (copy_bytes(p, from, to, before.st_size, ctx, err))
        return -1;
    if (fstat(from, &after) || !same_stamp(&before, &after)) {
        error_set(err, ERR_CONFLICT, p->image->name, "%s was changed while it was being copied", p->from);
        return error_mend(err, "run the same command again once nobody writes to it");
    }
    return 0;
}

/* The part file keeps its name until it is a base, also when copying fails: who waits for its lock goes on with it. */
static int make_copy(const struct part *p, const struct context *ctx, struct error *err) {
    cleanup_free char *name = xasprintf("%s.part", p->to);
    cleanup_close int to = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (to < 0)
        return error_set_errno(err, errno, p->image->name, "cannot make %s", name);
    if (lock(to, LOCK_EX, p->image->name, "waiting for another nestor that copies it", ctx, err))
        return -1;
    if (access(p->to, F_OK) == 0)
        return 0;
    if (ftruncate(to, 0))
        return error_set_errno(err, errno, p->image->name, "cannot write %s", name);
    if (copy_file(p, to, ctx, err)) {
        if (ftruncate(to, 0))
            error_note(err, "%s stays as large as it is until 'nestor gc'", name);
        return -1;
    }
    if (fchmod(to, 0400) || fsync(to) || rename(name, p->to))
        return error_set_errno(err, errno, p->image->name, "cannot keep it as %s", p->to);
    return 0;
}

/* A link fails between file systems, on some of them always, and for other users' files (proc_sys_fs(5),
 * protected_hardlinks): then it is copied as well. */
static int make_base(const struct part *p, const struct context *ctx, struct error *err) {
    if (access(p->to, F_OK) == 0)
        return 0;
    if (access(p->from, R_OK))
        return unreadable(p, err);
    if (!p->image->in_place && (link(p->from, p->to) == 0 || errno == EEXIST))
        return 0;
    return make_copy(p, ctx, err);
}

static int ensure(const struct hypervisor *hv, const struct image *image, const char *from, const char *sha256,
                  const char *suffix, progress_fn progress, void *data, const struct context *ctx, struct error *err) {
    if (!from)
        return 0;
    cleanup_free char *to = base_path(hv, from, sha256, suffix);
    const struct part p = {.image = image, .from = from, .to = to, .progress = progress, .data = data};
    return make_base(&p, ctx, err);
}

int base_ensure(const struct hypervisor *hv, const struct image *image, progress_fn progress, void *data,
                const struct context *ctx, struct error *err) {
    cleanup_free char *dir = xasprintf("%s/" BASE_DIR, hv->dir);
    if (context_check(ctx, image->name, "looking for the image", err))
        return -1;
    if (mkdir(dir, 0700) && errno != EEXIST)
        return error_set_errno(err, errno, hv->subject, "cannot make the directory %s", dir);
    bool kernel = image->boot == BOOT_KERNEL;
    if (ensure(hv, image, image->disk, image->sha256, image->format, progress, data, ctx, err) ||
        ensure(hv, image, kernel ? image->kernel : NULL, image->kernel_sha256, "kernel", NULL, NULL, ctx, err) ||
        ensure(hv, image, kernel ? image->initrd : NULL, image->initrd_sha256, "initrd", NULL, NULL, ctx, err))
        return -1;
    if (progress)
        progress(data, image->file_size, image->file_size);
    return 0;
}

/* --- pruning --- */

struct pruning {
    const struct hypervisor *hv;
    const char *lab_id; /* the one that is looked through */
    struct arena arena;
    struct buffer used; /* paths, a line each */
    bool unknown;       /* some machine's record cannot be read: nobody knows what it uses */
};

static int note_machine(void *data, const char *name, struct error *err) {
    (void)err;
    struct pruning *p = data;
    cleanup_vm struct vm vm = VM_NONE;
    const char *path;
    if (!dir_name_to_path(name, &p->arena, &path))
        return 0;
    struct tag tag = {.lab_id = p->lab_id, .path = path};
    if (vm_find(p->hv, &tag, &vm, NULL))
        p->unknown = true;
    else if (vm.known)
        buffer_printf(&p->used, "%s\n%s\n%s\n", vm.rec.image, vm.rec.kernel, vm.rec.initrd);
    return 0;
}

static int note_lab(void *data, const char *name, struct error *err) {
    struct pruning *p = data;
    if (!is_lab_id(name))
        return 0;
    cleanup_free char *dir = xasprintf("%s/%s", p->hv->dir, name);
    p->lab_id = name;
    return dir_each(dir, p->hv->subject, note_machine, p, err);
}

/* By the end of the path: the home may have been moved since. */
static bool is_used(const struct pruning *p, const char *name) {
    cleanup_free char *end = xasprintf("/" BASE_DIR "/%s\n", name);
    return strstr(buffer_str(&p->used), end);
}

static int remove_unused(void *data, const char *name, struct error *err) {
    struct pruning *p = data;
    cleanup_free char *path = xasprintf("%s/" BASE_DIR "/%s", p->hv->dir, name);
    if (!is_used(p, name) && unlink(path) && errno != ENOENT)
        return error_set_errno(err, errno, p->hv->subject, "cannot delete %s", path);
    return 0;
}

static int prune_locked(struct pruning *p, struct error *err) {
    cleanup_free char *dir = xasprintf("%s/" BASE_DIR, p->hv->dir);
    if (dir_each(p->hv->dir, p->hv->subject, note_lab, p, err))
        return -1;
    if (p->unknown)
        return 0;
    if (dir_each(dir, p->hv->subject, remove_unused, p, err))
        return -1;
    rmdir(dir); /* spares one that is not empty */
    return 0;
}

int base_prune(const struct hypervisor *hv, const struct context *ctx, struct error *err) {
    struct context soon = context_timeout(ctx, PRUNE_WAIT_MS);
    cleanup_close int fd = -1;
    struct error e = {0};
    if (lock_home(hv, LOCK_EX, &fd, "waiting until no image is being prepared", &soon, &e)) {
        if (e.code == ERR_TIMEOUT && context_left(ctx) > 0)
            return 0;
        if (err)
            *err = e;
        return -1;
    }
    struct pruning p = {.hv = hv};
    int rc = prune_locked(&p, err);
    arena_free(&p.arena);
    buffer_free(&p.used);
    return rc;
}
