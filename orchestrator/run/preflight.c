/* Everything that can be known to go wrong before anything is made: can each host nest, is there room. */
#include "nestor/run.h"

#include <stdlib.h>
#include <string.h>

#include "nestor/image.h"

/* Of what a hypervisor has free, this much is left for itself. */
#define MEMORY_SPARE ((uint64_t)64 << 20)

/* Where the hypervisor has no bound of its own: more virtual CPUs of one machine on one of the host's are no use. */
#define CPUS_SHARED_BY 16

/* For all that is looked at on one host. */
#define HOST_MS 300000

static bool wants_nesting(const struct inventory *inv, uint32_t host) {
    for (size_t i = 0; i < inv->nrows; i++)
        if (inv->rows[i].host == host && inv->rows[i].wanted && inv->rows[i].nesting == NESTING_REQUIRED)
            return true;
    return false;
}

static int check_nesting(const struct inventory *inv, uint32_t host, const struct capability *c, struct error *err) {
    if (c->can_nest || !wants_nesting(inv, host))
        return 0;
    const struct reason *r = reason_find(c->reason);
    error_set(err, ERR_NESTING, inv->hosts[host].name, "%s (%s)",
              c->detail[0] ? c->detail
              : r          ? r->meaning
                           : "it cannot nest",
              c->reason);
    error_reason(err, c->reason);
    return error_mend(err, "%s", r ? r->mend : "use another host");
}

/* Disks begin as thin as they can be, and few are ever filled: what nobody asked for is told, not refused. */
static void warn_of_disks(const char *host, const struct demand *d, const struct capability *c,
                          struct event_sink *sink) {
    char most[24], have[24];
    if (c->disk_free == UINT64_MAX || d->disk_most <= c->disk_free)
        return;
    size_format(d->disk_most, most);
    size_format(c->disk_free, have);
    cleanup_free char *text =
        xasprintf("the lab's disks, with the sizes of their templates, may grow to %s, but only %s are free; free some "
                  "space before they do",
                  most, have);
    event_emit(sink, (struct event){.kind = EVENT_WARNING, .path = host, .text = text});
}

/* Together there may be room, and yet not for one machine: it runs on one host of a cluster. */
static int check_largest(const char *host, const struct demand *d, const struct capability *c, struct error *err) {
    uint64_t cpus = c->machine_cpus ? c->machine_cpus : (uint64_t)c->cpus * CPUS_SHARED_BY;
    char need[24], have[24];
    if (cpus && d->cpus > cpus) {
        error_set(err, ERR_CAPACITY, host, "a machine asks for %u CPUs, and gets %llu at most", d->cpus,
                  (unsigned long long)cpus);
        return error_mend(err, "lower 'cpus:' in the lab file");
    }
    if (c->machine_memory && d->machine_memory > c->machine_memory) {
        size_format(d->machine_memory, need);
        size_format(c->machine_memory, have);
        error_set(err, ERR_CAPACITY, host, "a machine asks for %s memory, and no host has more than %s", need, have);
        return error_mend(err, "lower 'memory:' in the lab file");
    }
    return 0;
}

static int check_room(const struct plan *plan, uint32_t host, const uint64_t *disk_sizes, const struct capability *c,
                      struct event_sink *sink, struct error *err) {
    const char *name = plan->inventory->hosts[host].name;
    struct demand d;
    char need[24], have[24];
    plan_demand(plan, host, disk_sizes, &d);
    if (c->memory_free != UINT64_MAX && d.memory && d.memory + MEMORY_SPARE > c->memory_free) {
        size_format(d.memory, need);
        size_format(c->memory_free, have);
        error_set(err, ERR_CAPACITY, name, "the lab needs %s more memory, but only %s are free", need, have);
        return error_mend(err, "lower 'memory:' or 'count:' in the lab file, or take another lab down");
    }
    if (c->disk_free != UINT64_MAX && d.disk > c->disk_free) {
        size_format(d.disk, need);
        size_format(c->disk_free, have);
        error_set(err, ERR_CAPACITY, name, "the lab's disks may grow to %s, but only %s are free", need, have);
        return error_mend(err, "lower 'disk:' in the lab file, or free some space");
    }
    if (check_largest(name, &d, c, err))
        return -1;
    warn_of_disks(name, &d, c, sink);
    return 0;
}

/* --- what the driver looks at itself --- */

struct examination {
    const char *host;
    struct event_sink *sink;
    size_t nunfit;
    struct error first; /* of the unfit */
};

static void tell_finding(const struct examination *x, const struct finding *f) {
    cleanup_free char *text = xasprintf("%s: %s%s%s", f->subject, f->text, f->mend[0] ? "; " : "", f->mend);
    event_emit(x->sink, (struct event){.kind = EVENT_WARNING, .path = x->host, .text = text});
}

static void take_finding(void *data, const struct finding *f) {
    struct examination *x = data;
    if (f->kind == FINDING_WARNING)
        tell_finding(x, f);
    if (f->kind != FINDING_UNFIT)
        return;
    if (x->nunfit++ == 0) {
        error_set(&x->first, ERR_UNSUPPORTED, x->host, "%s: %s", f->subject, f->text);
        error_mend(&x->first, "%s", f->mend);
    }
    tell_finding(x, f);
}

/* Everything is looked at before the first unfit thing ends it: each is told, the error is about the first. */
static int check_fitness(const struct inventory *inv, uint32_t host, struct hypervisor *hv, const struct driver *driver,
                         struct event_sink *sink, const struct context *ctx, struct error *err) {
    struct examination x = {.host = inv->hosts[host].name, .sink = sink};
    if (!driver->examine)
        return 0;
    if (driver->examine(hv, take_finding, &x, ctx, err))
        return -1;
    if (x.nunfit && err)
        *err = x.first;
    return x.nunfit ? -1 : 0;
}

static int check_host(const struct plan *plan, uint32_t host, const uint64_t *disk_sizes, struct reach *reach,
                      struct capability *ret, struct event_sink *sink, const struct context *ctx, struct error *err) {
    const struct inventory *inv = plan->inventory;
    struct hypervisor *hv;
    const struct driver *driver;
    *ret = (struct capability){.memory_free = UINT64_MAX, .disk_free = UINT64_MAX};
    if (reach_host(reach, host, &hv, &driver, ctx, err) || driver->check(hv, ret, ctx, err) ||
        check_nesting(inv, host, ret, err) || check_room(plan, host, disk_sizes, ret, sink, err) ||
        check_fitness(inv, host, hv, driver, sink, ctx, err))
        return -1;
    if (ret->emulated)
        event_emit(sink, (struct event){.kind = EVENT_NOTICE, .path = inv->hosts[host].name, .text = ret->detail});
    return 0;
}

/* Per template of the lab; 0 for one that is still to be made or downloaded, or lives on a hypervisor. */
static uint64_t *template_disks(const struct lab *lab) {
    uint64_t *sizes = xcalloc(lab ? lab->ntemplates + 1 : 1, sizeof *sizes);
    for (size_t t = 0; lab && t < lab->ntemplates; t++) {
        struct image *image = NULL;
        if (lab->templates[t].on_host || image_find(&lab->templates[t], &image, NULL))
            continue;
        sizes[t] = image->virtual_size;
        image_free(image);
    }
    return sizes;
}

int run_preflight(const struct plan *plan, struct reach *reach, struct capability *ret_hosts, struct event_sink *sink,
                  const struct context *ctx, struct error *err) {
    cleanup_free uint64_t *disk_sizes = template_disks(plan->inventory->lab);
    for (uint32_t h = 0; h < plan->inventory->nhosts; h++) {
        struct context host = context_timeout(ctx, HOST_MS);
        if (check_host(plan, h, disk_sizes, reach, &ret_hosts[h], sink, &host, err))
            return -1;
    }
    return 0;
}
