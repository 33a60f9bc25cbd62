/* The hypervisor as a whole. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/fake/operations.h"
#include "drivers/fake/world.h"

int fake_begin(const struct hypervisor *hv, const char *subject, const char *what, const struct context *ctx,
               struct error *err) {
    if (context_check(ctx, subject, what, err) || fake_world_note(&hv->settings, what, subject, err))
        return -1;
    if (access_alive(hv->access) && (!hv->on || fake_mark_is_set(hv->on)))
        return 0;
    error_set(err, ERR_UNREACHABLE, hv->subject, "the connection into it is lost");
    error_mend(err, "connect again once the machine runs");
    return error_retry(err);
}

int fake_take_time(const struct hypervisor *hv, const char *subject, const char *what, const struct context *ctx,
                   struct error *err) {
    return hv->settings.delay_ms ? context_sleep(ctx, hv->settings.delay_ms, subject, what, err) : 0;
}

void fake_close(struct hypervisor *hv) {
    if (!hv)
        return;
    fake_settings_free(&hv->settings);
    free(hv->on);
    free(hv);
}

int fake_open(const struct hypervisor_config *config, struct hypervisor **ret, const struct context *ctx,
              struct error *err) {
    struct settings settings;
    if (context_check(ctx, config->subject, "opening the hypervisor", err) ||
        fake_settings_load(config, &settings, ctx, err))
        return -1;
    if (fake_world_make(&settings, fake_is_outermost(config), config->subject, err) ||
        fake_world_note(&settings, "opening the hypervisor", config->subject, err)) {
        fake_settings_free(&settings);
        return -1;
    }
    struct hypervisor *hv = xcalloc(1, sizeof *hv);
    *hv = (struct hypervisor){.subject = config->subject, .access = config->access, .settings = settings};
    *ret = hv;
    return 0;
}

uint64_t fake_left(uint64_t capacity, uint64_t used) {
    if (capacity == UINT64_MAX)
        return UINT64_MAX;
    return used > capacity ? 0 : capacity - used;
}

int fake_check(struct hypervisor *hv, struct capability *ret, const struct context *ctx, struct error *err) {
    struct usage used;
    const struct settings *s = &hv->settings;
    if (fake_begin(hv, hv->subject, "checking the hypervisor", ctx, err) ||
        fake_record_usage(s, &used, hv->subject, err))
        return -1;
    struct capability c = {.can_nest = s->flag[0] != '\0',
                           .emulated = s->emulated,
                           .memory_free = fake_left(s->memory, used.memory),
                           .disk_free = fake_left(s->disk, used.disk),
                           .cpus = 64,
                           .parallel = hv->units};
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

int fake_observe(struct hypervisor *hv, const char *lab_id, struct observation **ret, const struct context *ctx,
                 struct error *err) {
    if (fake_begin(hv, hv->subject, "listing its machines", ctx, err))
        return -1;
    struct observing to = {.o = xcalloc(1, sizeof *to.o)};
    if (fake_record_each(&hv->settings, lab_id, add_observed, &to, hv->subject, err)) {
        observation_free(to.o);
        return -1;
    }
    *ret = to.o;
    return 0;
}
