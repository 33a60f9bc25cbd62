#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "qemu_priv.h"

/* Between making the lab's directory and a machine's in it, another thread may remove the lab's as empty. */
#define MAKE_DIR_TRIES 100
#define DELETE_AGAIN_MS 10

bool is_lab_id(const char *name) {
    return strlen(name) == LAB_ID_LEN && strspn(name, "0123456789abcdef") == LAB_ID_LEN;
}

/* The characters of a machine path but '/'. No dots, so that no name is hidden, "." or "..". */
static bool is_name_char(char c) { return isalnum((unsigned char)c) || c == '-' || c == '_'; }

bool dir_name_to_path(const char *name, struct arena *arena, const char **ret) {
    if (!is_name_char(name[0]))
        return false;
    char *path = arena_strdup(arena, name);
    for (char *c = path; *c; c++) {
        if (*c == '.')
            *c = '/';
        else if (!is_name_char(*c))
            return false;
    }
    *ret = path;
    return true;
}

/* NULL when the tag is none that nestor makes. */
static char *dir_of_tag(const struct hypervisor *hv, const struct tag *tag) {
    if (!is_lab_id(tag->lab_id) || !is_name_char(tag->path[0]))
        return NULL;
    char *dir = xasprintf("%s/%s/%s", hv->dir, tag->lab_id, tag->path);
    for (char *c = dir + strlen(dir) - strlen(tag->path); *c; c++) {
        if (*c == '/') {
            *c = '.';
        } else if (!is_name_char(*c)) {
            free(dir);
            return NULL;
        }
    }
    return dir;
}

/* A directory that was copied by hand holds another machine's record, and with it the UUID of a QEMU that is not to
 * be touched. */
static int check_its_own(const struct vm *vm, struct error *err) {
    if (strcmp(vm->rec.lab_id, vm->tag.lab_id) == 0 && strcmp(vm->rec.path, vm->tag.path) == 0)
        return 0;
    return error_set(err, ERR_STATE_CORRUPT, vm->tag.path, "its %s is that of %s", RECORD_FILE, vm->rec.path);
}

/* Only a record that is not there says that the machine was half made, and that its disk may go. */
static int load_record(struct vm *vm, struct error *err) {
    struct error e = {.code = ERR_NONE};
    vm->known = vm_record_load(vm->fd, &vm->rec, vm->tag.path, &e) == 0;
    if (vm->known ? check_its_own(vm, &e) == 0 : e.native == ENOENT)
        return 0;
    error_mend(&e,
               "make %s/%s readable or put it back; or delete it if the machine's disk may go: then 'nestor up' makes "
               "the machine anew",
               vm->dir, RECORD_FILE);
    if (err)
        *err = e;
    return -1;
}

int vm_find(const struct hypervisor *hv, const struct tag *tag, struct vm *ret, struct error *err) {
    char *dir = dir_of_tag(hv, tag);
    if (!dir)
        return error_set(err, ERR_INTERNAL, hv->subject, "'%s' of lab '%s' is no machine path", tag->path, tag->lab_id);
    *ret = (struct vm){.hv = hv, .tag = *tag, .dir = dir};
    ret->fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (ret->fd < 0)
        return errno == ENOENT ? 0 : error_set_errno(err, errno, tag->path, "cannot open %s", dir);
    return load_record(ret, err);
}

/* What cannot be looked for is not missing. */
static bool is_missing(const struct vm *vm, const char *file) {
    return faccessat(vm->fd, file, F_OK, 0) && errno == ENOENT;
}

bool vm_is_whole(const struct vm *vm) { return vm->known && !is_missing(vm, SEED_FILE) && !is_missing(vm, DISK_FILE); }

int vm_load(const struct hypervisor *hv, const struct tag *tag, struct vm *ret, struct error *err) {
    if (vm_find(hv, tag, ret, err))
        return -1;
    if (ret->fd < 0) {
        error_set(err, ERR_NOT_FOUND, tag->path, "there is no such machine on %s", hv->subject);
        return error_mend(err, "run 'nestor up': it makes what is missing");
    }
    if (!vm_is_whole(ret)) {
        error_set(err, ERR_NOT_FOUND, tag->path, "its record, disk or seed is missing in %s: it was only half made",
                  ret->dir);
        return error_mend(err, "run 'nestor up': it makes the machine anew");
    }
    return 0;
}

int vm_make_dir(struct vm *vm, struct error *err) {
    cleanup_free char *lab_dir = xasprintf("%s/%s", vm->hv->dir, vm->tag.lab_id);
    for (int i = 0; vm->fd < 0 && i < MAKE_DIR_TRIES; i++) {
        bool made = (mkdir(lab_dir, 0700) == 0 || errno == EEXIST) && (mkdir(vm->dir, 0700) == 0 || errno == EEXIST);
        if (made)
            vm->fd = open(vm->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (vm->fd < 0 && errno != ENOENT)
            break;
    }
    if (vm->fd < 0)
        return error_set_errno(err, errno, vm->tag.path, "cannot make the directory %s", vm->dir);
    return 0;
}

int vm_save(const struct vm *vm, struct error *err) { return vm_record_save(vm->fd, &vm->rec, vm->tag.path, err); }

/* Everything in the directory but the record. */
static int delete_contents(const struct vm *vm, struct error *err) {
    int fd = openat(vm->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    cleanup_dir DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    if (!d) {
        error_set_errno(err, errno, vm->tag.path, "cannot read %s", vm->dir);
        cleanup_closep(&fd);
        return -1;
    }
    int got;
    for (const char *name; (got = dir_next(d, &name)) > 0;)
        if (strcmp(name, RECORD_FILE) != 0 && unlinkat(vm->fd, name, 0) && errno != ENOENT)
            return error_set_errno(err, errno, vm->tag.path, "cannot delete %s/%s", vm->dir, name);
    return got ? error_set_errno(err, errno, vm->tag.path, "cannot read %s", vm->dir) : 0;
}

static int delete_dir(struct vm *vm, bool *ret_done, struct error *err) {
    if (delete_contents(vm, err))
        return -1;
    if ((unlinkat(vm->fd, RECORD_FILE, 0) == 0 || errno == ENOENT) && (rmdir(vm->dir) == 0 || errno == ENOENT))
        *ret_done = true;
    else if (errno != ENOTEMPTY && errno != EEXIST)
        return error_set_errno(err, errno, vm->tag.path, "cannot delete %s", vm->dir);
    return 0;
}

/* What a killed nestor had just started, a qemu-img or a QEMU not yet to be seen in /proc, may still make a file while
 * we delete: then it is done again. */
static int delete_all(struct vm *vm, const struct context *ctx, struct error *err) {
    for (bool done = vm->fd < 0;;) {
        if (!done && delete_dir(vm, &done, err))
            return -1;
        if (done)
            break;
        if (context_sleep(ctx, DELETE_AGAIN_MS, vm->tag.path, "deleting its directory, which something fills", err))
            return -1;
    }
    cleanup_closep(&vm->fd);
    vm_record_free(&vm->rec);
    vm->known = false;
    /* The lab's directory goes with its last machine; until then this fails, as it should. */
    cleanup_free char *lab_dir = xasprintf("%s/%s", vm->hv->dir, vm->tag.lab_id);
    rmdir(lab_dir);
    return 0;
}

int vm_destroy(struct vm *vm, const struct context *ctx, struct error *err) {
    /* Nothing on its disk is worth a goodbye. The second look is for a process that came to be during the first;
     * without the directory there will be no third. */
    return vm_end(vm, 0, ctx, err) || delete_all(vm, ctx, err) || vm_end(vm, 0, ctx, err) ? -1 : 0;
}

void vm_release(struct vm *vm) {
    cleanup_closep(&vm->fd);
    free(vm->dir);
    vm_record_free(&vm->rec);
    *vm = VM_NONE;
}
