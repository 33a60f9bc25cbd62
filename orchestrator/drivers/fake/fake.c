/* The operations. Each refuses what a real hypervisor refuses, waits as long as it is told to, changes the world in
 * one or two calls, and writes one line to the world's log if it changed anything. */
#include "drivers/fake/fake.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "drivers/fake/world.h"

/* --- common to all operations --- */

/* Is there time, and does the machine this hypervisor runs in (if any) still run? */
static int begin(const struct hypervisor *hv, const char *subject, const char *what, const struct context *ctx,
                 struct error *err) {
    if (context_check(ctx, subject, what, err))
        return -1;
    if (access_alive(hv->access))
        return 0;
    error_set(err, ERR_UNREACHABLE, hv->subject, "the connection into it is lost");
    return error_retry(err);
}

static int take_time(const struct hypervisor *hv, const char *subject, const char *what, const struct context *ctx,
                     struct error *err) {
    return hv->settings.delay_ms ? context_sleep(ctx, hv->settings.delay_ms, subject, what, err) : 0;
}

/* begin, and the machine must be there and whole. */
static int begin_machine(const struct hypervisor *hv, const struct tag *tag, const char *what, struct record *ret,
                         const struct context *ctx, struct error *err) {
    if (begin(hv, tag->path, what, ctx, err))
        return -1;
    record_load(&hv->settings, tag, ret);
    if (ret->power == POWER_ABSENT)
        return error_set(err, ERR_NOT_FOUND, tag->path, "there is no such machine on %s", hv->subject);
    if (ret->power == POWER_BROKEN) {
        error_set(err, ERR_CONFLICT, tag->path, "the machine on %s is half-made", hv->subject);
        return error_mend(err, "create it again, or remove it");
    }
    return 0;
}

/* --- the hypervisor --- */

static void fake_close(struct hypervisor *hv) {
    if (!hv)
        return;
    settings_free(&hv->settings);
    free(hv);
}

static int fake_open(const struct hypervisor_config *config, struct hypervisor **ret, const struct context *ctx,
                     struct error *err) {
    struct settings settings;
    if (context_check(ctx, config->subject, "opening the hypervisor", err) ||
        settings_load(config, &settings, ctx, err))
        return -1;
    if (world_make(&settings, config->subject, err)) {
        settings_free(&settings);
        return -1;
    }
    struct hypervisor *hv = xcalloc(1, sizeof *hv);
    *hv = (struct hypervisor){.subject = config->subject, .access = config->access, .settings = settings};
    *ret = hv;
    return 0;
}

static uint64_t what_is_left(uint64_t capacity, uint64_t used) {
    if (capacity == UINT64_MAX)
        return UINT64_MAX;
    return used > capacity ? 0 : capacity - used;
}

static int fake_check(struct hypervisor *hv, struct capability *ret, const struct context *ctx, struct error *err) {
    struct usage used;
    const struct settings *s = &hv->settings;
    if (begin(hv, hv->subject, "checking the hypervisor", ctx, err) || world_usage(s, &used, hv->subject, err))
        return -1;
    struct capability c = {.can_nest = s->flag[0] != '\0',
                           .memory_free = what_is_left(s->memory, used.memory),
                           .disk_free = what_is_left(s->disk, used.disk),
                           .cpus = 64};
    memcpy(c.flag, s->flag, sizeof c.flag);
    snprintf(c.reason, sizeof c.reason, "%s", c.can_nest ? "" : "host-not-capable");
    snprintf(c.detail, sizeof c.detail, "a fake hypervisor whose machines see %s",
             c.can_nest ? s->flag : "no hardware virtualization");
    *ret = c;
    return 0;
}

struct observing {
    struct observation *o;
    size_t cap;
};

static void add_observed(void *data, const struct tag *tag, const struct record *record) {
    struct observing *to = data;
    struct observation *o = to->o;
    if (o->n == to->cap) { /* what the array outgrew stays in the arena until the observation is freed */
        struct observed *old = o->items;
        to->cap = to->cap ? to->cap * 2 : 16;
        o->items = arena_alloc(&o->arena, to->cap * sizeof *o->items);
        if (old)
            memcpy(o->items, old, o->n * sizeof *old);
    }
    const char *name = record->field[RECORD_NAME], *digest = record->field[RECORD_DIGEST];
    o->items[o->n++] = (struct observed){.lab_id = arena_strdup(&o->arena, tag->lab_id),
                                         .path = arena_strdup(&o->arena, tag->path),
                                         .name = arena_strdup(&o->arena, name ? name : ""),
                                         .digest = arena_strdup(&o->arena, digest ? digest : ""),
                                         .power = record->power,
                                         .exposed = record->exposed};
}

static int fake_observe(struct hypervisor *hv, const char *lab_id, struct observation **ret, const struct context *ctx,
                        struct error *err) {
    if (begin(hv, hv->subject, "listing its machines", ctx, err))
        return -1;
    struct observing to = {.o = xcalloc(1, sizeof *to.o)};
    if (world_each(&hv->settings, lab_id, add_observed, &to, hv->subject, err)) {
        observation_free(to.o);
        return -1;
    }
    *ret = to.o;
    return 0;
}

static char *image_path(const struct hypervisor *hv, const char *sha256) {
    return xasprintf("%s/images/%s", hv->settings.world, sha256);
}

static int fake_ensure_image(struct hypervisor *hv, const struct image *image, progress_fn progress, void *data,
                             const struct context *ctx, struct error *err) {
    cleanup_free char *path = image_path(hv, image->sha256);
    cleanup_close int lock = -1;
    if (begin(hv, hv->subject, "copying the image", ctx, err))
        return -1;
    if (mark_is_set(path))
        return 0;
    if (access(image->disk, R_OK) != 0)
        return error_set_errno(err, errno, image->name, "cannot read %s", image->disk);
    /* Held while copying: who comes second waits, and finds it done. */
    if (world_lock(&hv->settings, &lock, hv->subject, ctx, err))
        return -1;
    if (mark_is_set(path))
        return 0;
    if (take_time(hv, hv->subject, "copying the image", ctx, err) || mark_set(path, hv->subject, err))
        return -1;
    if (progress)
        progress(data, image->file_size, image->file_size);
    return world_log(&hv->settings, "image", hv->subject, err);
}

static int fake_ensure_network(struct hypervisor *hv, const struct context *ctx, struct error *err) {
    cleanup_free char *path = world_path(&hv->settings, "network");
    cleanup_close int lock = -1;
    if (begin(hv, hv->subject, "making the network", ctx, err))
        return -1;
    if (mark_is_set(path))
        return 0;
    if (world_lock(&hv->settings, &lock, hv->subject, ctx, err))
        return -1;
    if (mark_is_set(path))
        return 0;
    if (take_time(hv, hv->subject, "making the network", ctx, err) || mark_set(path, hv->subject, err))
        return -1;
    return world_log(&hv->settings, "network", hv->subject, err);
}

/* --- a machine comes --- */

static int check_needs(const struct hypervisor *hv, const struct machine_spec *spec, struct error *err) {
    cleanup_free char *image = image_path(hv, spec->image->sha256);
    cleanup_free char *network = world_path(&hv->settings, "network");
    if (!mark_is_set(image))
        return error_set(err, ERR_NOT_FOUND, spec->tag.path, "image %s is not on %s", spec->image->name, hv->subject);
    if (!mark_is_set(network))
        return error_set(err, ERR_NOT_FOUND, spec->tag.path, "%s has no network", hv->subject);
    return 0;
}

static int check_disk(const struct hypervisor *hv, const struct machine_spec *spec, struct error *err) {
    struct usage used;
    if (hv->settings.disk == UINT64_MAX)
        return 0;
    if (world_usage(&hv->settings, &used, hv->subject, err))
        return -1;
    uint64_t need = spec->disk ? spec->disk : spec->image->virtual_size;
    if (need <= what_is_left(hv->settings.disk, used.disk))
        return 0;
    error_set(err, ERR_DISK_FULL, spec->tag.path, "its disk does not fit on %s", hv->subject);
    return error_mend(err, "free some space on the host, or make the machine's disk smaller");
}

static int make_machine(const struct hypervisor *hv, const struct machine_spec *spec, const struct context *ctx,
                        struct error *err) {
    cleanup_free char *dir = machine_path(&hv->settings, &spec->tag, NULL);
    bool torn = hv->settings.torn;
    if (world_tree_remove(dir, spec->tag.path, err) || (!torn && take_time(hv, spec->tag.path, "cloning", ctx, err)))
        return -1;
    cleanup_close int lock = -1;
    if (hv->settings.disk != UINT64_MAX && world_lock(&hv->settings, &lock, hv->subject, ctx, err))
        return -1;
    if (check_disk(hv, spec, err))
        return -1;
    if (mkdir(dir, 0700) != 0)
        return error_set_errno(err, errno, spec->tag.path, "cannot make %s", dir);
    if (torn && take_time(hv, spec->tag.path, "cloning", ctx, err))
        return -1;
    return record_write(&hv->settings, spec, err);
}

static int fake_create(struct hypervisor *hv, const struct machine_spec *spec, const struct context *ctx,
                       struct error *err) {
    struct record r;
    if (begin(hv, spec->tag.path, "cloning", ctx, err))
        return -1;
    record_load(&hv->settings, &spec->tag, &r);
    if (r.field[RECORD_DIGEST]) {
        if (strcmp(r.field[RECORD_DIGEST], spec->digest) == 0)
            return 0;
        error_set(err, ERR_EXISTS, spec->tag.path, "it is on %s with another configuration", hv->subject);
        return error_mend(err, "remove it first");
    }
    if (check_needs(hv, spec, err) || make_machine(hv, spec, ctx, err))
        return -1;
    return world_log(&hv->settings, "create", spec->tag.path, err);
}

static int fake_expose(struct hypervisor *hv, const struct machine_spec *spec, bool on, bool *ret_exposed,
                       const struct context *ctx, struct error *err) {
    static const char what[] = "switching hardware virtualization";
    struct record r;
    if (begin_machine(hv, &spec->tag, what, &r, ctx, err))
        return -1;
    if (r.exposed != on) {
        cleanup_free char *path = machine_path(&hv->settings, &spec->tag, "exposed");
        if (r.power == POWER_ON) {
            error_set(err, ERR_NESTING, spec->tag.path, "hardware virtualization cannot be switched while it runs");
            error_reason(err, "vhv-needs-power-off");
            return error_mend(err, "stop the machine first");
        }
        if (take_time(hv, spec->tag.path, what, ctx, err) || (on ? mark_set : mark_clear)(path, spec->tag.path, err) ||
            world_log(&hv->settings, "expose", spec->tag.path, err))
            return -1;
        record_load(&hv->settings, &spec->tag, &r);
    }
    *ret_exposed = r.exposed;
    return 0;
}

/* --- power --- */

static int check_memory(const struct hypervisor *hv, const struct tag *tag, const struct record *r, struct error *err) {
    struct usage used;
    if (hv->settings.memory == UINT64_MAX)
        return 0;
    if (world_usage(&hv->settings, &used, hv->subject, err))
        return -1;
    if (record_number(r, RECORD_MEMORY) <= what_is_left(hv->settings.memory, used.memory))
        return 0;
    error_set(err, ERR_CAPACITY, tag->path, "%s has not enough free memory to start it", hv->subject);
    return error_mend(err, "stop other machines on the host, or give this one less memory");
}

static void power_off_inside(void *data, const struct tag *tag, const struct record *record) {
    cleanup_free char *on = machine_path(data, tag, "on");
    if (record->power == POWER_ON)
        mark_clear(on, tag->path, NULL);
}

/* What ran inside a machine does not run when the machine boots again. */
static int boot_inside(const struct hypervisor *hv, const struct tag *tag, struct error *err) {
    cleanup_free char *inside = machine_path(&hv->settings, tag, "inside");
    if (access(inside, F_OK) != 0)
        return 0;
    struct settings within = {.world = inside};
    return world_each(&within, NULL, power_off_inside, &within, tag->path, err);
}

static int fake_start(struct hypervisor *hv, const struct machine_spec *spec, const struct context *ctx,
                      struct error *err) {
    const struct tag *tag = &spec->tag;
    cleanup_close int lock = -1;
    struct record r;
    if (begin_machine(hv, tag, "starting", &r, ctx, err))
        return -1;
    if (r.power == POWER_ON)
        return 0;
    if (take_time(hv, tag->path, "starting", ctx, err))
        return -1;
    if (hv->settings.memory != UINT64_MAX && world_lock(&hv->settings, &lock, hv->subject, ctx, err))
        return -1;
    cleanup_free char *on = machine_path(&hv->settings, tag, "on");
    if (check_memory(hv, tag, &r, err) || boot_inside(hv, tag, err) || mark_set(on, tag->path, err))
        return -1;
    return world_log(&hv->settings, "start", tag->path, err);
}

static int power_off(struct hypervisor *hv, const struct tag *tag, const char *op, const struct context *ctx,
                     struct error *err) {
    struct record r;
    if (begin_machine(hv, tag, "powering off", &r, ctx, err))
        return -1;
    if (r.power == POWER_OFF)
        return 0;
    cleanup_free char *on = machine_path(&hv->settings, tag, "on");
    if (take_time(hv, tag->path, "powering off", ctx, err) || mark_clear(on, tag->path, err))
        return -1;
    return world_log(&hv->settings, op, tag->path, err);
}

static int fake_stop(struct hypervisor *hv, const struct tag *tag, const struct context *ctx, struct error *err) {
    return power_off(hv, tag, "stop", ctx, err);
}

static int fake_power_cut(struct hypervisor *hv, const struct tag *tag, const struct context *ctx, struct error *err) {
    return power_off(hv, tag, "power-cut", ctx, err);
}

/* --- looking at a machine --- */

static int fake_address(struct hypervisor *hv, const struct machine_spec *spec, struct endpoint *ret,
                        const struct context *ctx, struct error *err) {
    struct record r;
    if (begin_machine(hv, &spec->tag, "waiting for its address", &r, ctx, err))
        return -1;
    if (r.power != POWER_ON) {
        error_set(err, ERR_DIED, spec->tag.path, "it is not running; its console ends with: reboot: Power down");
        return error_mend(err, "start it again, and see its console if it stops again");
    }
    /* TEST-NET-1 (RFC 5737): nothing can answer there by accident. */
    *ret = (struct endpoint){.host = "192.0.2.1", .port = spec->ssh_port};
    return 0;
}

static int fake_console(struct hypervisor *hv, const struct tag *tag, struct buffer *ret, const struct context *ctx,
                        struct error *err) {
    struct record r;
    if (begin_machine(hv, tag, "reading its console", &r, ctx, err))
        return -1;
    buffer_printf(ret, "%s login:\n", r.field[RECORD_NAME]);
    if (r.power != POWER_ON)
        buffer_puts(ret, "reboot: Power down\n");
    return 0;
}

static int fake_connect(struct hypervisor *hv, const struct machine_spec *spec, struct access **ret,
                        const struct context *ctx, struct error *err) {
    struct record r;
    if (begin_machine(hv, &spec->tag, "connecting", &r, ctx, err))
        return -1;
    return guest_open(hv, &spec->tag, &r, ret, err);
}

/* --- and goes --- */

static int fake_remove(struct hypervisor *hv, const struct tag *tag, const struct context *ctx, struct error *err) {
    struct record r;
    if (begin(hv, tag->path, "removing", ctx, err))
        return -1;
    record_load(&hv->settings, tag, &r);
    if (r.power == POWER_ABSENT)
        return 0;
    cleanup_free char *on = machine_path(&hv->settings, tag, "on");
    cleanup_free char *spec = machine_path(&hv->settings, tag, "spec");
    cleanup_free char *dir = machine_path(&hv->settings, tag, NULL);
    if (take_time(hv, tag->path, "removing", ctx, err))
        return -1;
    /* First it stops running, then it stops being whole: cut short, it is a half-made machine that carries its tag. */
    if (mark_clear(on, tag->path, err) || mark_clear(spec, tag->path, err) || world_tree_remove(dir, tag->path, err))
        return -1;
    return world_log(&hv->settings, "remove", tag->path, err);
}

struct lookup {
    const char *image; /* NULL: any */
    bool found;
};

static void look_at(void *data, const struct tag *tag, const struct record *record) {
    (void)tag;
    struct lookup *l = data;
    const char *image = record->field[RECORD_IMAGE];
    l->found |= !l->image || (image && strcmp(image, l->image) == 0);
}

/* Removes what is at path unless a machine uses the image (NULL: unless there is any machine). */
static int prune_one(struct hypervisor *hv, const char *path, const char *image, struct error *err) {
    struct lookup l = {.image = image};
    if (world_each(&hv->settings, NULL, look_at, &l, hv->subject, err))
        return -1;
    if (l.found || !mark_is_set(path))
        return 0;
    return mark_clear(path, hv->subject, err) || world_log(&hv->settings, "prune", hv->subject, err) ? -1 : 0;
}

static int prune_images(struct hypervisor *hv, struct error *err) {
    cleanup_free char *images = world_path(&hv->settings, "images");
    struct dirent **entries;
    int n = scandir(images, &entries, NULL, alphasort);
    if (n < 0)
        return error_set_errno(err, errno, hv->subject, "cannot list %s", images);
    int failed = 0;
    for (int i = 0; i < n; i++) {
        cleanup_free char *path = image_path(hv, entries[i]->d_name);
        if (entries[i]->d_name[0] != '.' && !failed)
            failed = prune_one(hv, path, entries[i]->d_name, err);
        free(entries[i]);
    }
    free(entries);
    return failed;
}

static int fake_prune(struct hypervisor *hv, const struct context *ctx, struct error *err) {
    cleanup_free char *network = world_path(&hv->settings, "network");
    cleanup_close int lock = -1;
    if (begin(hv, hv->subject, "removing what is not used", ctx, err) ||
        world_lock(&hv->settings, &lock, hv->subject, ctx, err) ||
        take_time(hv, hv->subject, "removing what is not used", ctx, err))
        return -1;
    return prune_images(hv, err) || prune_one(hv, network, NULL, err) ? -1 : 0;
}

static const struct driver_param params[] = {
    {"world", "directory that is the host; default: fake/NAME in nestor's state directory", false},
    {"delay", "milliseconds each change takes; default 0", false},
    {"flag", "svm, vmx or none: what machines see when it is exposed to them; default svm", false},
    {"blind", "glob of machine paths that see no flag even when it is exposed to them", false},
    {"memory", "memory of the host, for machines that run; default: no limit", false},
    {"disk", "disk space of the host, for all machines; default: no limit", false},
    {"torn", "true: cloning takes its time while the machine is half-made; default false", false},
    {NULL, NULL, false},
};

const struct driver fake_driver = {
    .size = sizeof(struct driver),
    .api = DRIVER_API,
    .name = "fake",
    .summary = "for tests and rehearsing the tool itself: machines are directories",
    .features = DRIVER_LINKED_CLONE | DRIVER_HOST | DRIVER_GUEST,
    .params = params,
    .parallel = 8,
    .boot_timeout_s = 30,
    .boot_timeout_emulated_s = 30,
    .open = fake_open,
    .close = fake_close,
    .check = fake_check,
    .observe = fake_observe,
    .ensure_image = fake_ensure_image,
    .ensure_network = fake_ensure_network,
    .create = fake_create,
    .expose = fake_expose,
    .start = fake_start,
    .stop = fake_stop,
    .power_cut = fake_power_cut,
    .address = fake_address,
    .console = fake_console,
    .remove = fake_remove,
    .prune = fake_prune,
    .connect = fake_connect,
};
