/* One machine's life. Each operation refuses what a real hypervisor refuses, takes as long as it is told to, changes
 * the world in one or two calls, and writes one line to the log if it changed anything. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "drivers/fake/operations.h"
#include "drivers/fake/remote.h"
#include "drivers/fake/world.h"
#include "nestor/file.h"

#define CONSOLE_BYTES 4096

/* fake_begin, and the machine must be there and whole. */
static int begin_machine(const struct hypervisor *hv, const struct tag *tag, const char *what, struct record *ret,
                         const struct context *ctx, struct error *err) {
    if (fake_begin(hv, tag->path, what, ctx, err))
        return -1;
    fake_record_load(&hv->settings, tag, ret);
    if (ret->power == POWER_ABSENT) {
        error_set(err, ERR_NOT_FOUND, tag->path, "there is no such machine on %s", hv->subject);
        return error_mend(err, "create it first");
    }
    if (ret->power == POWER_BROKEN) {
        error_set(err, ERR_CONFLICT, tag->path, "the machine on %s is half-made", hv->subject);
        return error_mend(err, "create it again, or remove it");
    }
    return 0;
}

/* --- it comes --- */

static int check_disk(const struct hypervisor *hv, const struct machine_spec *spec, struct error *err) {
    struct usage used;
    if (hv->settings.disk == UINT64_MAX)
        return 0;
    if (fake_record_usage(&hv->settings, &used, hv->subject, err))
        return -1;
    uint64_t need = spec->disk ? spec->disk : spec->image->virtual_size;
    if (need <= fake_left(hv->settings.disk, used.disk))
        return 0;
    error_set(err, ERR_DISK_FULL, spec->tag.path, "its disk does not fit on %s", hv->subject);
    return error_mend(err, "free some space on the host, or make the machine's disk smaller");
}

static int make_machine(const struct hypervisor *hv, const struct machine_spec *spec, const struct context *ctx,
                        struct error *err) {
    cleanup_free char *dir = fake_machine_path(&hv->settings, &spec->tag, NULL);
    bool torn = hv->settings.torn;
    if (tree_remove(dir, spec->tag.path, err) || (!torn && fake_take_time(hv, spec->tag.path, "cloning", ctx, err)))
        return -1;
    cleanup_close int lock = -1;
    if (hv->settings.disk != UINT64_MAX && fake_world_lock(&hv->settings, "machines", &lock, hv->subject, ctx, err))
        return -1;
    if (check_disk(hv, spec, err))
        return -1;
    if (mkdir(dir, 0700) != 0)
        return error_set_errno(err, errno, spec->tag.path, "cannot make %s", dir);
    if (torn && fake_take_time(hv, spec->tag.path, "cloning", ctx, err))
        return -1;
    if (hv->remote && fake_remote_choices(hv, spec, err))
        return -1;
    return fake_record_write(&hv->settings, spec, err);
}

int fake_create(struct hypervisor *hv, const struct machine_spec *spec, const struct context *ctx, struct error *err) {
    struct record r;
    if (fake_begin(hv, spec->tag.path, "cloning", ctx, err))
        return -1;
    fake_record_load(&hv->settings, &spec->tag, &r);
    if (r.field[RECORD_DIGEST]) {
        if (strcmp(r.field[RECORD_DIGEST], spec->digest) == 0)
            return 0;
        error_set(err, ERR_EXISTS, spec->tag.path, "it is on %s with another configuration", hv->subject);
        return error_mend(err, "remove it first");
    }
    if (fake_check_stock(hv, spec, err) || make_machine(hv, spec, ctx, err))
        return -1;
    return fake_world_log(&hv->settings, "create", spec->tag.path, err);
}

int fake_expose(struct hypervisor *hv, const struct machine_spec *spec, bool on, bool *ret_exposed,
                const struct context *ctx, struct error *err) {
    static const char what[] = "switching hardware virtualization";
    struct record r;
    if (begin_machine(hv, &spec->tag, what, &r, ctx, err))
        return -1;
    if (r.exposed != on) {
        cleanup_free char *path = fake_machine_path(&hv->settings, &spec->tag, "exposed");
        if (r.power == POWER_ON) {
            error_set(err, ERR_NESTING, spec->tag.path, "hardware virtualization cannot be switched while it runs");
            error_reason(err, "vhv-needs-power-off");
            return error_mend(err, "stop the machine first");
        }
        if (fake_take_time(hv, spec->tag.path, what, ctx, err) ||
            (on ? fake_mark_set : fake_mark_clear)(path, spec->tag.path, err) ||
            fake_world_log(&hv->settings, "expose", spec->tag.path, err))
            return -1;
        fake_record_load(&hv->settings, &spec->tag, &r);
    }
    *ret_exposed = r.exposed;
    return 0;
}

/* --- power --- */

static int check_memory(const struct hypervisor *hv, const struct tag *tag, const struct record *r, struct error *err) {
    struct usage used;
    if (hv->settings.memory == UINT64_MAX)
        return 0;
    if (fake_record_usage(&hv->settings, &used, hv->subject, err))
        return -1;
    if (fake_record_number(r, RECORD_MEMORY) <= fake_left(hv->settings.memory, used.memory))
        return 0;
    error_set(err, ERR_CAPACITY, tag->path, "%s has not enough free memory to start it", hv->subject);
    return error_mend(err, "stop other machines on the host, or give this one less memory");
}

static void power_off_inside(void *data, const struct tag *tag, const struct record *record) {
    cleanup_free char *on = fake_machine_path(data, tag, "on");
    if (record->power == POWER_ON)
        fake_mark_clear(on, tag->path, NULL);
}

/* What ran inside a machine does not run when the machine boots again. */
static int boot_inside(const struct hypervisor *hv, const struct tag *tag, struct error *err) {
    cleanup_free char *inside = fake_machine_path(&hv->settings, tag, "inside");
    if (access(inside, F_OK) != 0)
        return 0;
    struct settings within = {.world = inside};
    return fake_record_each(&within, NULL, power_off_inside, &within, tag->path, err);
}

/* The mark's time tells one boot from the next. It is set here because the kernel's own stamps are only as fine as its
 * tick: two boots within one tick would look like one. */
static int power_on(const struct hypervisor *hv, const struct tag *tag, struct error *err) {
    cleanup_free char *on = fake_machine_path(&hv->settings, tag, "on");
    struct timespec now[2];
    if (fake_mark_set(on, tag->path, err))
        return -1;
    clock_gettime(CLOCK_REALTIME, &now[0]);
    now[1] = now[0];
    if (utimensat(AT_FDCWD, on, now, 0) == 0)
        return 0;
    return error_set_errno(err, errno, tag->path, "cannot power it on");
}

int fake_start(struct hypervisor *hv, const struct machine_spec *spec, const struct context *ctx, struct error *err) {
    const struct tag *tag = &spec->tag;
    cleanup_close int lock = -1;
    struct record r;
    if (begin_machine(hv, tag, "starting", &r, ctx, err))
        return -1;
    if (r.power == POWER_ON)
        return 0;
    if (fake_take_time(hv, tag->path, "starting", ctx, err))
        return -1;
    if (hv->settings.memory != UINT64_MAX && fake_world_lock(&hv->settings, "machines", &lock, hv->subject, ctx, err))
        return -1;
    if (check_memory(hv, tag, &r, err) || boot_inside(hv, tag, err) || power_on(hv, tag, err))
        return -1;
    return fake_world_log(&hv->settings, "start", tag->path, err);
}

static int power_off(struct hypervisor *hv, const struct tag *tag, const char *op, const struct context *ctx,
                     struct error *err) {
    struct record r;
    if (begin_machine(hv, tag, "powering off", &r, ctx, err))
        return -1;
    if (r.power == POWER_OFF)
        return 0;
    cleanup_free char *on = fake_machine_path(&hv->settings, tag, "on");
    if (fake_take_time(hv, tag->path, "powering off", ctx, err) || fake_mark_clear(on, tag->path, err))
        return -1;
    return fake_world_log(&hv->settings, op, tag->path, err);
}

int fake_stop(struct hypervisor *hv, const struct tag *tag, const struct context *ctx, struct error *err) {
    return power_off(hv, tag, "stop", ctx, err);
}

int fake_power_cut(struct hypervisor *hv, const struct tag *tag, const struct context *ctx, struct error *err) {
    return power_off(hv, tag, "power-cut", ctx, err);
}

/* --- looking at a machine --- */

int fake_address(struct hypervisor *hv, const struct machine_spec *spec, struct endpoint *ret,
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
    return r.exposed ? fake_remote_register(hv, &spec->tag, ret, err) : 0;
}

int fake_console(struct hypervisor *hv, const struct tag *tag, struct buffer *ret, const struct context *ctx,
                 struct error *err) {
    struct record r;
    if (begin_machine(hv, tag, "reading its console", &r, ctx, err))
        return -1;
    cleanup_free char *said = fake_machine_path(&hv->settings, tag, "console");
    if (file_read(AT_FDCWD, said, CONSOLE_BYTES, ret, NULL, NULL) == 0)
        return 0;
    buffer_printf(ret, "%s login:\n", r.field[RECORD_NAME]);
    if (r.power != POWER_ON)
        buffer_puts(ret, "reboot: Power down\n");
    return 0;
}

int fake_connect(struct hypervisor *hv, const struct machine_spec *spec, struct access **ret, const struct context *ctx,
                 struct error *err) {
    struct record r;
    if (begin_machine(hv, &spec->tag, "connecting", &r, ctx, err))
        return -1;
    return fake_guest_open(hv, &spec->tag, &r, ret, err);
}

/* --- and goes --- */

int fake_remove(struct hypervisor *hv, const struct tag *tag, const struct context *ctx, struct error *err) {
    struct record r;
    if (fake_begin(hv, tag->path, "removing", ctx, err))
        return -1;
    fake_record_load(&hv->settings, tag, &r);
    if (r.power == POWER_ABSENT)
        return 0;
    cleanup_free char *on = fake_machine_path(&hv->settings, tag, "on");
    cleanup_free char *spec = fake_machine_path(&hv->settings, tag, "spec");
    cleanup_free char *dir = fake_machine_path(&hv->settings, tag, NULL);
    if (fake_take_time(hv, tag->path, "removing", ctx, err))
        return -1;
    fake_remote_forget(hv, tag);
    /* First it stops running, then it stops being whole: cut short, it is a half-made machine that carries its tag. */
    if (fake_mark_clear(on, tag->path, err) || fake_mark_clear(spec, tag->path, err) ||
        tree_remove(dir, tag->path, err))
        return -1;
    return fake_world_log(&hv->settings, "remove", tag->path, err);
}
