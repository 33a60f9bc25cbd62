/* What is cloned: a VM or template of the vCenter or ESXi. A linked clone hangs on a snapshot of it, "nestor-base",
 * which is made once and stays: the clones of other labs may hang on it as well. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "drivers/vsphere/vsphere_priv.h"
#include "nestor/file.h"

#define LOCK_AGAIN_MS 50
/* Nested hardware virtualization came with hardware version 9, ESXi 5.1. */
#define HARDWARE_VHV 9

struct vsphere_template {
    struct vsphere_template *next;
    char *name; /* as the lab file has it */
    struct once live_once, base_once;
    bool marked; /* as a template: it cannot be changed, not even by a snapshot */
    struct vsphere_source live, base;
    struct vim_object live_seen, base_seen;
};

#define CONFIG_PATHS                                                                                                   \
    "config.version", "config.guestId", "config.firmware", "config.nestedHVEnabled", "config.hardware.device"

static const char *const live_paths[] = {CONFIG_PATHS, "config.template", "capability.nestedHVSupported",
                                         "snapshot",   "network",         NULL};
static const char *const base_paths[] = {CONFIG_PATHS, NULL};
static const char *const snapshot_paths[] = {"snapshot", NULL};
static const struct vim_set live_set = {"VirtualMachine", live_paths},
                            base_set = {"VirtualMachineSnapshot", base_paths},
                            snapshot_set = {"VirtualMachine", snapshot_paths};

static struct vsphere_template *template_get(struct hypervisor *hv, const char *name) {
    pthread_mutex_lock(&hv->lock);
    struct vsphere_template *t = hv->templates;
    while (t && strcmp(t->name, name) != 0)
        t = t->next;
    if (!t) {
        t = xcalloc(1, sizeof *t);
        t->name = xstrdup(name);
        once_init(&t->live_once);
        once_init(&t->base_once);
        t->next = hv->templates;
        hv->templates = t;
    }
    pthread_mutex_unlock(&hv->lock);
    return t;
}

void vsphere_templates_free(struct hypervisor *hv) {
    for (struct vsphere_template *t = hv->templates, *next; t; t = next) {
        next = t->next;
        vim_object_free(&t->live_seen);
        vim_object_free(&t->base_seen);
        once_destroy(&t->live_once);
        once_destroy(&t->base_once);
        free(t->name);
        free(t);
    }
    hv->templates = NULL;
}

static void read_config(struct vsphere_source *s, const struct vim_object *seen) {
    s->seen = seen;
    s->hardware = vsphere_hardware_version(vim_property(seen, "config.version"));
    s->exposed = xml_flag(vim_property(seen, "config.nestedHVEnabled"), false);
}

/* --- as it is now --- */

static int look_at_live(struct hypervisor *hv, void *data, const struct context *ctx, struct error *err) {
    struct vsphere_template *t = data;
    struct vsphere_source *live = &t->live;
    if (vsphere_place_find(hv, PLACE_TEMPLATE, t->name, &live->vm, ctx, err))
        return -1;
    vim_object_free(&t->live_seen);
    if (vim_read(hv->vim, &live->vm, &live_set, &t->live_seen, ctx, err))
        return error_context(err, "template %s", t->name);
    read_config(live, &t->live_seen);
    live->no_vhv = !xml_flag(vim_property(&t->live_seen, "capability.nestedHVSupported"), true);
    t->marked = xml_flag(vim_property(&t->live_seen, "config.template"), false);
    return 0;
}

/* --- its snapshot --- */

static bool find_in_tree(xmlNode *tree, const char *next_name, struct moref *ret) {
    for (; tree; tree = xml_next(tree, next_name)) {
        if (xml_is(xml_child(tree, "name"), VSPHERE_BASE) && xml_ref(xml_child(tree, "snapshot"), ret))
            return true;
        if (find_in_tree(xml_child(tree, "childSnapshotList"), "childSnapshotList", ret))
            return true;
    }
    return false;
}

/* The oldest of that name: two nestors on two machines may have made one each. */
static bool find_base(const struct vim_object *vm, struct moref *ret) {
    return find_in_tree(xml_child(vim_property(vm, "snapshot"), "rootSnapshotList"), "rootSnapshotList", ret);
}

/* A template cannot be changed, so whatever snapshot it was marked with will do; without one there is no linked clone
 * of it. (pyvmomi-community-samples#555: take the snapshot while it is a VM, then mark it.) */
static int base_of_marked(struct hypervisor *hv, struct vsphere_template *t, struct moref *ret, struct error *err) {
    if (find_base(&t->live_seen, ret) ||
        xml_ref(xml_child(vim_property(&t->live_seen, "snapshot"), "currentSnapshot"), ret))
        return 0;
    error_set(err, ERR_UNSUPPORTED, hv->config.subject,
              "template '%s' has no snapshot, and of a template none can be made: no linked clone can hang on it",
              t->name);
    return error_mend(err, "convert it to a VM (nestor then makes the snapshot " VSPHERE_BASE
                           "; it may be a template again afterwards), or say clone: full");
}

static int create_base(struct hypervisor *hv, struct vsphere_template *t, struct moref *ret, const struct context *ctx,
                       struct error *err) {
    struct soap_request *request = soap_new("CreateSnapshot_Task", &t->live.vm);
    soap_text(request, "name", VSPHERE_BASE);
    soap_text(request, "description", "Linked clones of nestor's labs hang on this. Made by nestor.");
    soap_flag(request, "memory", false);
    soap_flag(request, "quiesce", false);
    bool uncertain = false;
    int failed = vim_do(hv->vim, request, ret, &uncertain, ctx, err);
    soap_free(request);
    if (failed && uncertain && err && err->code != ERR_TIMEOUT && err->code != ERR_CANCELLED)
        error_retry(err); /* the next try looks first */
    return failed ? error_context(err, "making the snapshot " VSPHERE_BASE) : 0;
}

static int read_base(struct hypervisor *hv, const struct moref *vm, struct moref *ret, const struct context *ctx,
                     struct error *err) {
    cleanup_vim_object struct vim_object object = {0};
    *ret = MOREF_NONE;
    if (vim_read(hv->vim, vm, &snapshot_set, &object, ctx, err))
        return -1;
    find_base(&object, ret);
    return 0;
}

/* One nestor of this user at a time. */
static int lock_snapshots(struct hypervisor *hv, int *ret_fd, const struct context *ctx, struct error *err) {
    const char *subject = hv->config.subject;
    cleanup_free char *dir = xasprintf("%s/vsphere", hv->config.home);
    cleanup_free char *path = xasprintf("%s/snapshot.lock", dir);
    if (dir_make(dir, 0700, subject, err))
        return -1;
    cleanup_close int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_set_errno(err, errno, subject, "cannot open %s", path);
    while (flock(fd, LOCK_EX | LOCK_NB)) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return error_set_errno(err, errno, subject, "cannot lock %s", path);
        if (context_sleep(ctx, LOCK_AGAIN_MS, subject, "waiting for another nestor that makes a snapshot", err))
            return -1;
    }
    *ret_fd = steal_fd(&fd);
    return 0;
}

/* *ret_new: it was made just now, so it is as what was seen of the VM before. */
static int make_base(struct hypervisor *hv, struct vsphere_template *t, struct moref *ret, bool *ret_new,
                     const struct context *ctx, struct error *err) {
    cleanup_close int lock = -1;
    if (lock_snapshots(hv, &lock, ctx, err) || read_base(hv, &t->live.vm, ret, ctx, err))
        return -1;
    *ret_new = !moref_is_set(ret);
    if (!*ret_new)
        return 0;
    if (create_base(hv, t, ret, ctx, err))
        return -1;
    return moref_is_set(ret) ? 0
                             : error_set(err, ERR_PROTOCOL, hv->config.subject,
                                         "the server does not tell which snapshot it made of '%s'", t->name);
}

static int look_at_base(struct hypervisor *hv, void *data, const struct context *ctx, struct error *err) {
    struct vsphere_template *t = data;
    struct vsphere_source *base = &t->base;
    struct moref snapshot = MOREF_NONE;
    bool new = false;
    if (t->marked ? base_of_marked(hv, t, &snapshot, err)
                  : !find_base(&t->live_seen, &snapshot) && make_base(hv, t, &snapshot, &new, ctx, err))
        return -1;
    vim_object_free(&t->base_seen);
    if (!new &&vim_read(hv->vim, &snapshot, &base_set, &t->base_seen, ctx, err))
        return -1;
    base->vm = t->live.vm;
    base->snapshot = snapshot;
    base->no_vhv = t->live.no_vhv;
    read_config(base, new ? &t->live_seen : &t->base_seen);
    return 0;
}

int vsphere_source(struct hypervisor *hv, const char *name, bool full, const struct vsphere_source **ret,
                   const struct context *ctx, struct error *err) {
    struct vsphere_template *t = template_get(hv, name);
    if (once_do(&t->live_once, name, "finding the template", hv, look_at_live, t, ctx, err))
        return -1;
    *ret = full ? &t->live : &t->base;
    if (!full && once_do(&t->base_once, name, "making its snapshot", hv, look_at_base, t, ctx, err))
        return error_context(err, "template %s", name);
    return 0;
}

/* --- can a clone of it be what is wanted? --- */

static int check_nesting(const struct vsphere_source *s, const struct machine_spec *spec, struct error *err) {
    if (s->hardware && s->hardware < HARDWARE_VHV) {
        error_set(err, ERR_NESTING, spec->tag.path,
                  "its template %s has hardware version %d, and virtualization can be exposed from %d on",
                  spec->image->name, s->hardware, HARDWARE_VHV);
        error_reason(err, "hardware-version");
        return error_mend(err,
                          "upgrade the template once, while it is off: govc vm.upgrade -vm %s; then remove its "
                          "snapshot " VSPHERE_BASE
                          ", which has the old version (on an ESXi only when no clone is left)",
                          spec->image->name);
    }
    if (s->no_vhv) {
        error_set(err, ERR_NESTING, spec->tag.path,
                  "the server says that a VM like its template %s cannot have nested virtualization",
                  spec->image->name);
        error_reason(err, "host-not-capable");
        return error_mend(err,
                          "use hosts with VT-x and EPT, or AMD-V and RVI, and ESXi 5.1 or later; see 'nestor doctor'");
    }
    return 0;
}

static int check_disk(const struct vsphere_source *s, const struct machine_spec *spec, struct error *err) {
    xmlNode *d = vsphere_device_first(s->seen);
    while (d && !vsphere_is_disk(d))
        d = vsphere_device_next(d);
    if (!spec->disk || spec->full_clone || !d || spec->disk <= (uint64_t)vsphere_disk_size(d))
        return 0;
    char have[24];
    size_format((uint64_t)vsphere_disk_size(d), have);
    error_set(err, ERR_UNSUPPORTED, spec->tag.path,
              "a linked clone's disk is as large as that of its template, %s: it cannot grow", have);
    return error_mend(err, "say clone: full, leave 'disk:' out, or make the template's disk larger");
}

int vsphere_source_check(const struct vsphere_source *s, const struct machine_spec *spec, struct error *err) {
    return (spec->expose && check_nesting(s, spec, err)) || check_disk(s, spec, err) ? -1 : 0;
}

/* It is on the server already. The snapshot is made by the first machine that needs it: full clones need none. */
int vsphere_ensure_image(struct hypervisor *hv, const struct image *image, progress_fn progress, void *data,
                         const struct context *ctx, struct error *err) {
    (void)progress, (void)data;
    const struct vsphere_source *ignored;
    if (context_check(ctx, hv->config.subject, "finding the template", err))
        return -1;
    return vsphere_source(hv, image->name, true, &ignored, ctx, err);
}
