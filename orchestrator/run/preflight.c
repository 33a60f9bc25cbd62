/* Everything that can be known to go wrong before anything is made: can each host nest, is there room. */
#include "nestor/run.h"

#include <stdlib.h>
#include <string.h>

#include "nestor/arena.h"
#include "nestor/image.h"
#include "nestor/parallel.h"

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

/* What is known of one host. It is all looked at beforehand, at the same time as everything about the other hosts. */
struct look {
    const char *host;
    struct capability capability;
    struct arena arena;
    struct finding *findings;
    size_t n;
    struct error failed[2]; /* check and examine */
};

static void keep_finding(void *data, const struct finding *f) {
    struct look *l = data;
    l->findings = xrealloc(l->findings, (l->n + 1) * sizeof *l->findings);
    l->findings[l->n++] =
        (struct finding){f->kind, arena_strdup(&l->arena, f->subject), arena_strdup(&l->arena, f->text),
                         arena_strdup(&l->arena, f->mend), f->template ? arena_strdup(&l->arena, f->template) : NULL};
}

/* A template that is gone keeps nobody from starting what was made from it. */
static bool concerns(const struct finding *f, const struct plan *plan, uint32_t host) {
    for (size_t i = 0; f->template && i < plan->nsteps; i++) {
        const struct step *s = &plan->steps[i];
        if (s->kind == STEP_IMAGE && s->row == LAB_NONE && s->host == host &&
            strcmp(plan->inventory->lab->templates[s->template].name, f->template) == 0)
            return true;
    }
    return !f->template;
}

static void tell_finding(const struct look *l, const struct finding *f, struct event_sink *sink) {
    cleanup_free char *text = xasprintf("%s: %s%s%s", f->subject, f->text, f->mend[0] ? "; " : "", f->mend);
    event_emit(sink, (struct event){.kind = EVENT_WARNING, .path = l->host, .text = text});
}

/* Each is told before the first unfit thing ends it. */
static int judge_findings(const struct plan *plan, uint32_t host, const struct look *l, struct event_sink *sink,
                          struct error *err) {
    const struct finding *unfit = NULL;
    for (size_t i = 0; i < l->n; i++) {
        const struct finding *f = &l->findings[i];
        if (!concerns(f, plan, host))
            continue;
        if (f->kind != FINDING_FINE)
            tell_finding(l, f, sink);
        if (f->kind == FINDING_UNFIT && !unfit)
            unfit = f;
    }
    if (!unfit)
        return 0;
    error_set(err, ERR_UNSUPPORTED, l->host, "%s: %s", unfit->subject, unfit->text);
    return error_mend(err, "%s", unfit->mend);
}

/* --- one host after the other, from what was seen of them --- */

static int judge_host(const struct plan *plan, uint32_t host, const uint64_t *disk_sizes, const struct look *l,
                      struct event_sink *sink, struct error *err) {
    const struct capability *c = &l->capability;
    for (int i = 0; i < 2; i++)
        if (l->failed[i].code != ERR_NONE) {
            if (err)
                *err = l->failed[i];
            return -1;
        }
    if (check_nesting(plan->inventory, host, c, err) || check_room(plan, host, disk_sizes, c, sink, err) ||
        judge_findings(plan, host, l, sink, err))
        return -1;
    if (c->emulated)
        event_emit(sink, (struct event){.kind = EVENT_NOTICE, .path = l->host, .text = c->detail});
    return 0;
}

struct looking {
    struct reach *reach;
    struct look *looks; /* one per host */
    const struct context *ctx;
};

/* Twice per host: check and examine. */
static void look_at(void *data, size_t i) {
    struct looking *all = data;
    struct look *l = &all->looks[i / 2];
    struct error *err = &l->failed[i % 2];
    struct context ctx = context_timeout(all->ctx, HOST_MS);
    struct hypervisor *hv;
    const struct driver *driver;
    int failed = reach_host(all->reach, (uint32_t)(i / 2), &hv, &driver, &ctx, err);
    if (!failed && i % 2 == 0)
        failed = driver->check(hv, &l->capability, &ctx, err);
    else if (!failed && driver->examine)
        failed = driver->examine(hv, keep_finding, l, &ctx, err);
    if (!failed)
        error_clear(err);
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
    const struct inventory *inv = plan->inventory;
    cleanup_free uint64_t *disk_sizes = template_disks(inv->lab);
    struct looking all = {reach, xcalloc(inv->nhosts, sizeof *all.looks), ctx};
    for (size_t h = 0; h < inv->nhosts; h++)
        all.looks[h] = (struct look){.host = inv->hosts[h].name,
                                     .capability = {.memory_free = UINT64_MAX, .disk_free = UINT64_MAX}};
    parallel_each(2 * inv->nhosts, look_at, &all);
    int failed = 0;
    for (uint32_t h = 0; h < inv->nhosts; h++) {
        struct look *l = &all.looks[h];
        failed = failed || judge_host(plan, h, disk_sizes, l, sink, err);
        ret_hosts[h] = l->capability;
        free(l->findings);
        arena_free(&l->arena);
    }
    free(all.looks);
    return failed ? -1 : 0;
}
