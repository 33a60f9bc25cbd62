#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/vsphere/vsphere_priv.h"

static const char *const host_paths[] = {"name",
                                         "runtime.connectionState",
                                         "runtime.inMaintenanceMode",
                                         "summary.hardware.memorySize",
                                         "summary.hardware.numCpuThreads",
                                         "summary.hardware.cpuModel",
                                         "summary.quickStats.overallMemoryUsage",
                                         "capability.nestedHVSupported",
                                         "capability.deltaDiskBackingsSupported",
                                         NULL};
static const char *const space_paths[] = {"summary.freeSpace", NULL};
static const struct vim_set host_set = {"HostSystem", host_paths}, space_set = {"Datastore", space_paths};

struct sum {
    unsigned hosts, usable, can, cannot; /* of those usable: what they say of nesting */
    uint32_t cpus;                       /* of the largest */
    uint64_t memory;                     /* free, of all */
    uint64_t largest;                    /* memory of the largest, free or not */
    char flag[8];
    bool no_child_disks;
};

static void add_memory(struct sum *s, const struct vim_object *o) {
    int64_t all = xml_number(vim_property(o, "summary.hardware.memorySize"), 0);
    int64_t used = xml_number(vim_property(o, "summary.quickStats.overallMemoryUsage"), 0);
    if (all > 0 && used >= 0 && used < all >> 20)
        s->memory += (uint64_t)(all - (used << 20));
    if (all > 0 && (uint64_t)all > s->largest)
        s->largest = (uint64_t)all;
}

static int take_host(void *data, struct vim_object *o, struct error *err) {
    (void)err;
    struct sum *s = data;
    char model[120] = "";
    s->hosts++;
    if (!vsphere_host_is_usable(o))
        return 0;
    s->usable++;
    add_memory(s, o);
    int64_t cpus = xml_number(vim_property(o, "summary.hardware.numCpuThreads"), 0);
    if (cpus > s->cpus && cpus <= UINT16_MAX)
        s->cpus = (uint32_t)cpus;
    xmlNode *nested = vim_property(o, "capability.nestedHVSupported");
    s->can += xml_flag(nested, false);
    s->cannot += !xml_flag(nested, true);
    s->no_child_disks = s->no_child_disks || !xml_flag(vim_property(o, "capability.deltaDiskBackingsSupported"), true);
    xml_text(vim_property(o, "summary.hardware.cpuModel"), model, sizeof model);
    bool amd = strstr(model, "AMD") || strstr(model, "Hygon");
    snprintf(s->flag, sizeof s->flag, "%s", amd ? "svm" : "vmx");
    return 0;
}

/* "3 of 4 hosts support"; the caller frees it. */
static char *words_for_many(const struct sum *s, bool can_nest) {
    if (!can_nest)
        return xasprintf("none of its %u hosts supports", s->usable);
    return s->can ? xasprintf("%u of %u hosts support", s->can, s->usable)
                  : xasprintf("%u hosts; the server does not tell whether they support", s->usable);
}

static char *words_for_one(const struct sum *s, bool can_nest) {
    return xstrdup(!can_nest ? "its host does not support"
                   : s->can  ? "its host supports"
                             : "the server does not tell whether its host supports");
}

static void judge(const struct hypervisor *hv, const struct sum *s, struct capability *c) {
    c->can_nest = s->usable > s->cannot;
    memcpy(c->flag, c->can_nest ? s->flag : "", c->can_nest ? sizeof c->flag : 1);
    if (!c->can_nest)
        snprintf(c->reason, sizeof c->reason, "host-not-capable");
    if (!s->usable) {
        cleanup_free char *whose =
            s->hosts == 1 ? xstrdup("its host is not") : xasprintf("none of its %u hosts is", s->hosts);
        snprintf(c->detail, sizeof c->detail, "%s connected and out of maintenance mode", whose);
        return;
    }
    cleanup_free char *words = (s->usable == 1 ? words_for_one : words_for_many)(s, c->can_nest);
    snprintf(c->detail, sizeof c->detail, "%.80s: %s nested virtualization", vim_service(hv->vim)->full_name, words);
}

/* --- what is looked at --- */

struct seen {
    struct sum sum;
    uint64_t space;
};

static int look_at_hosts(struct hypervisor *hv, void *data, const struct context *ctx, struct error *err) {
    struct seen *seen = data;
    const struct vsphere_compute *c;
    return vsphere_compute(hv, &c, ctx, err) ||
           vim_read_these(hv->vim, c->hosts.items, c->hosts.n, &host_set, take_host, &seen->sum, ctx, err);
}

/* Where machines go; a vCenter that was named none puts them beside the template. */
static int look_at_space(struct hypervisor *hv, void *data, const struct context *ctx, struct error *err) {
    struct seen *seen = data;
    struct moref datastore;
    cleanup_vim_object struct vim_object object = {0};
    if (vsphere_place(hv, PLACE_DATASTORE, &datastore, ctx, err))
        return -1;
    if (!moref_is_set(&datastore))
        return 0;
    if (vim_read(hv->vim, &datastore, &space_set, &object, ctx, err))
        return -1;
    int64_t bytes = xml_number(vim_property(&object, "summary.freeSpace"), -1);
    if (bytes >= 0)
        seen->space = (uint64_t)bytes;
    return 0;
}

/* Better missed now than by the first machine. */
static int look_at_folder(struct hypervisor *hv, void *data, const struct context *ctx, struct error *err) {
    (void)data;
    struct moref ignored;
    return vsphere_place(hv, PLACE_FOLDER, &ignored, ctx, err);
}

static int look_at_network(struct hypervisor *hv, void *data, const struct context *ctx, struct error *err) {
    (void)data;
    const struct vsphere_network *ignored;
    return hv->settings.vswitch ? 0 : vsphere_network(hv, &ignored, ctx, err);
}

/* What it will be examined for next. */
static int look_at_systems(struct hypervisor *hv, void *data, const struct context *ctx, struct error *err) {
    (void)data;
    const struct moref_list *ignored;
    return vsphere_network_systems(hv, &ignored, ctx, err);
}

int vsphere_check(struct hypervisor *hv, struct capability *ret, const struct context *ctx, struct error *err) {
    static const vsphere_look looks[] = {look_at_hosts,   look_at_space,   look_at_folder,
                                         look_at_network, look_at_systems, NULL};
    struct seen seen = {.space = UINT64_MAX};
    struct capability c = {0};
    if (context_check(ctx, hv->config.subject, "checking it", err) || vsphere_look_at_once(hv, looks, &seen, ctx, err))
        return -1;
    const struct sum *sum = &seen.sum;
    if (sum->no_child_disks)
        atomic_store(&hv->no_child_disks, true);
    judge(hv, sum, &c);
    c.memory_free = sum->memory ? sum->memory : UINT64_MAX;
    c.disk_free = seen.space;
    /* A machine is on one host, and an ESXi powers none on that has more virtual CPUs than it has logical ones
     * (NotEnoughLogicalCpus in the API reference). */
    c.cpus = c.machine_cpus = sum->cpus;
    c.machine_memory = sum->largest;
    c.parallel = VSPHERE_UNITS_PER_HOST * sum->usable;
    *ret = c;
    return 0;
}
