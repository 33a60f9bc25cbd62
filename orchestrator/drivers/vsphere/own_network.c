/* A network of the lab's own, on inventory.switch: one port group on a distributed switch, or one of the same name on
 * the standard switch of each host. Its name tells that nestor made it, and for which lab; a distributed one has a
 * description besides. So those of all labs can be found, too, when nothing else is left of a lab. */
#include <string.h>

#include "drivers/vsphere/vsphere_priv.h"

/* How long a port group may still be in use after its machines are gone, and how often that is looked at. */
#define RELEASE_MS 30000
#define RELEASE_LOOK_MS 1000
#define DVS_VLAN_MAX 4094

#define PREFIX "nestor-"
#define LAB_MAX 40 /* bytes of the lab's name */
#define DIGITS 8   /* of its id */
#define DESCRIPTION "Network of a nestor lab; 'nestor down' removes it."

static const char *const network_paths[] = {"name", NULL};
static const char *const group_paths[] = {"name", "config.description", NULL};
static const char *const system_paths[] = {"networkInfo.portgroup", NULL};
static const struct vim_set network_set = {"Network", network_paths},
                            group_set = {"DistributedVirtualPortgroup", group_paths},
                            system_set = {"HostNetworkSystem", system_paths};

static char *name_for_lab(const struct hypervisor *hv) {
    if (!hv->config.lab_id)
        return NULL;
    return xasprintf(PREFIX "%.*s-%.*s", LAB_MAX, hv->config.lab_name ? hv->config.lab_name : "lab", DIGITS,
                     hv->config.lab_id);
}

char *vsphere_own_network(const struct hypervisor *hv) { return hv->settings.vswitch ? name_for_lab(hv) : NULL; }

static bool is_group(const struct moref *ref) { return strcmp(ref->type, "DistributedVirtualPortgroup") == 0; }

/* --- making it --- */

static bool is_there_already(const struct error *err) {
    return vim_fault_is(err, VIM_ALREADY_EXISTS) || vim_fault_is(err, VIM_DUPLICATE_NAME);
}

static void put_bool_policy(struct soap_request *r, const char *name, bool value) {
    soap_open(r, name);
    soap_flag(r, "inherited", false);
    soap_flag(r, "value", value);
    soap_close(r);
}

static void put_learning(struct soap_request *r) {
    soap_open(r, "macManagementPolicy");
    soap_flag(r, "inherited", false);
    soap_flag(r, "allowPromiscuous", false);
    soap_flag(r, "macChanges", true);
    soap_flag(r, "forgedTransmits", true);
    soap_open(r, "macLearningPolicy");
    soap_flag(r, "inherited", false);
    soap_flag(r, "enabled", true);
    soap_flag(r, "allowUnicastFlooding", true);
    soap_number(r, "limit", 4096);
    soap_text(r, "limitPolicy", "DROP");
    soap_close(r);
    soap_close(r);
}

static void put_open_policy(struct soap_request *r) {
    soap_open(r, "securityPolicy");
    soap_flag(r, "inherited", false);
    put_bool_policy(r, "allowPromiscuous", true);
    put_bool_policy(r, "macChanges", true);
    put_bool_policy(r, "forgedTransmits", true);
    soap_close(r);
}

/* VmwareDistributedVirtualSwitchVlanIdSpec.vlanId: "0 to 4094"; a trunk would be another type. */
int vsphere_check_vlan(const struct hypervisor *hv, struct error *err) {
    if (hv->settings.vlan <= DVS_VLAN_MAX)
        return 0;
    error_set(err, ERR_SPEC, hv->config.subject,
              "inventory.vlan %d is for standard switches, and '%s' is a distributed one", hv->settings.vlan,
              hv->settings.vswitch);
    return error_mend(err, "give a VLAN from 1 to %d, or leave it out", DVS_VLAN_MAX);
}

static int add_group(struct hypervisor *hv, const struct vsphere_switch *s, const char *name, const struct context *ctx,
                     struct error *err) {
    struct soap_request *r = soap_new("AddDVPortgroup_Task", &s->ref);
    soap_open(r, "spec");
    soap_text(r, "name", name);
    soap_number(r, "numPorts", 8);
    soap_open_as(r, "defaultPortConfig", "VMwareDVSPortSetting");
    if (hv->settings.vlan) {
        soap_open_as(r, "vlan", "VmwareDistributedVirtualSwitchVlanIdSpec");
        soap_flag(r, "inherited", false);
        soap_number(r, "vlanId", hv->settings.vlan);
        soap_close(r);
    }
    if (s->learns)
        put_learning(r);
    else
        put_open_policy(r);
    soap_close(r);
    soap_text(r, "description", DESCRIPTION);
    soap_text(r, "type", "earlyBinding");
    soap_flag(r, "autoExpand", true);
    soap_close(r);
    struct error why = {0};
    int failed = vim_do(hv->vim, r, NULL, NULL, ctx, &why);
    soap_free(r);
    if (!failed || is_there_already(&why))
        return 0;
    if (err)
        *err = why;
    return -1;
}

static int call_for_nothing(struct hypervisor *hv, struct soap_request *r, bool (*fine)(const struct error *),
                            const struct context *ctx, struct error *err) {
    struct error why = {0};
    int failed = vim_call(hv->vim, r, VIM_ONCE, NULL, NULL, ctx, &why);
    soap_free(r);
    if (!failed || fine(&why))
        return 0;
    if (err)
        *err = why;
    return -1;
}

static int add_to_host(struct hypervisor *hv, const struct moref *system, const char *name, const struct context *ctx,
                       struct error *err) {
    struct soap_request *r = soap_new("AddPortGroup", system);
    soap_open(r, "portgrp");
    soap_text(r, "name", name);
    soap_number(r, "vlanId", hv->settings.vlan);
    soap_text(r, "vswitchName", hv->settings.vswitch);
    soap_open(r, "policy");
    soap_open(r, "security");
    soap_flag(r, "allowPromiscuous", true);
    soap_flag(r, "macChanges", true);
    soap_flag(r, "forgedTransmits", true);
    soap_close(r);
    soap_close(r);
    soap_close(r);
    if (call_for_nothing(hv, r, is_there_already, ctx, err) == 0)
        return 0;
    if (err && vim_fault_is(err, VIM_NOT_FOUND))
        return error_mend(err, "there is no switch '%s' on every host; see inventory.switch", hv->settings.vswitch);
    return -1;
}

static int make_named(struct hypervisor *hv, const char *name, const struct context *ctx, struct error *err) {
    struct vsphere_switch s;
    const struct moref_list *systems;
    if (vsphere_switch(hv, &s, ctx, err))
        return -1;
    if (moref_is_set(&s.ref))
        return vsphere_check_vlan(hv, err) ? -1 : add_group(hv, &s, name, ctx, err);
    int failed = vsphere_network_systems(hv, &systems, ctx, err);
    for (size_t i = 0; !failed && i < systems->n; i++)
        failed = add_to_host(hv, &systems->items[i], name, ctx, err);
    return failed ? -1 : 0;
}

int vsphere_own_network_make(struct hypervisor *hv, const struct context *ctx, struct error *err) {
    cleanup_free char *name = vsphere_own_network(hv);
    return name && make_named(hv, name, ctx, err) ? error_context(err, "network %s", name) : 0;
}

/* --- and its end --- */

/* Another run of the same lab is faster. */
static bool is_gone(const struct error *err) {
    return vim_fault_is(err, VIM_NOT_FOUND) || vim_fault_is(err, VIM_MANAGED_OBJECT_NOT_FOUND);
}

static int remove_group(struct hypervisor *hv, const struct moref *ref, const struct context *ctx, struct error *err) {
    struct error why = {0};
    struct soap_request *r = soap_new("Destroy_Task", ref);
    int failed = vim_do(hv->vim, r, NULL, NULL, ctx, &why);
    soap_free(r);
    if (!failed || is_gone(&why))
        return 0;
    if (err)
        *err = why;
    return -1;
}

static int remove_from_host(struct hypervisor *hv, const struct moref *system, const char *name,
                            const struct context *ctx, struct error *err) {
    struct soap_request *r = soap_new("RemovePortGroup", system);
    soap_text(r, "pgName", name);
    return call_for_nothing(hv, r, is_gone, ctx, err);
}

/* A switch may learn late that the machines on it are gone. Who is on it for longer is somebody else's. */
static int remove_part(struct hypervisor *hv, const struct moref *ref, const char *name, const struct context *ctx,
                       struct error *err) {
    int64_t patience = hv->release_ms ? hv->release_ms : RELEASE_MS;
    struct context release = context_timeout(ctx, patience);
    for (;;) {
        struct error why = {0};
        if ((is_group(ref) ? remove_group(hv, ref, ctx, &why) : remove_from_host(hv, ref, name, ctx, &why)) == 0)
            return 0;
        bool used = vim_fault_is(&why, VIM_RESOURCE_IN_USE);
        if (used && !context_sleep(&release, RELEASE_LOOK_MS, hv->config.subject, "its release", NULL))
            continue;
        if (used && context_check(ctx, hv->config.subject, "waiting until nothing is on it", err))
            return -1;
        why.retry = why.retry && !used; /* it was waited for */
        if (err)
            *err = why;
        return used ? error_mend(err, "put what is still connected to it elsewhere, then run the same command again")
                    : -1;
    }
}

static int remove_parts(struct hypervisor *hv, const struct moref *parts, size_t n, const char *name,
                        const struct context *ctx, struct error *err) {
    for (size_t i = 0; i < n; i++)
        if (remove_part(hv, &parts[i], name, ctx, err))
            return error_context(err, "removing the network %s", name);
    return 0;
}

/* Where this lab makes it: on a distributed switch, or on each host of its own. */
static int find_made(struct hypervisor *hv, const char *name, struct moref *group, const struct moref_list **ret,
                     const struct context *ctx, struct error *err) {
    static const struct moref_list nowhere;
    struct error why = {0};
    *ret = &nowhere;
    if (vsphere_place_find(hv, PLACE_NETWORK, name, group, ctx, &why) == 0)
        return is_group(group) ? 0 : vsphere_network_systems(hv, ret, ctx, err);
    if (why.code == ERR_NOT_FOUND)
        return 0;
    if (err)
        *err = why;
    return -1;
}

int vsphere_look_for_old_network(struct hypervisor *hv, void *data, const struct context *ctx, struct error *err) {
    cleanup_free char *name = hv->settings.vswitch ? NULL : name_for_lab(hv);
    struct moref found = MOREF_NONE;
    struct error ignored = {0};
    (void)data;
    if (name && vsphere_path_find(hv, PLACE_NETWORK, name, &found, ctx, &ignored))
        return context_check(ctx, hv->config.subject, "looking for its network", err);
    atomic_store(&hv->has_old_network, moref_is_set(&found));
    return 0;
}

/* Only what nestor has made for this lab, known by its name. The snapshots of templates stay: see template.c. */
int vsphere_prune(struct hypervisor *hv, const struct context *ctx, struct error *err) {
    cleanup_free char *name = hv->settings.vswitch || atomic_load(&hv->has_old_network) ? name_for_lab(hv) : NULL;
    const struct moref_list *systems;
    struct moref group = MOREF_NONE;
    if (context_check(ctx, hv->config.subject, "removing its network", err))
        return -1;
    if (!name)
        return 0;
    if (find_made(hv, name, &group, &systems, ctx, err) ||
        remove_parts(hv, is_group(&group) ? &group : systems->items, is_group(&group) ? 1 : systems->n, name, ctx, err))
        return -1;
    /* A later `up` through this handle makes it anew. */
    vsphere_network_free(&hv->network);
    once_end(&hv->network_once, false); /* last: from now on another thread may fill it */
    return 0;
}

/* --- those of all labs --- */

/* A port group, or the network system of a host that has one of that name: a network has several such parts. */
struct part {
    char *name;
    struct moref ref;
};
struct parts {
    const char *name; /* of the ones that are looked for; NULL: any */
    struct part *items;
    size_t n;
    struct moref_list groups; /* distributed ones whose name is as ours are */
    bool standard;            /* there is a standard one whose name is */
};

static void parts_free(struct parts *p) {
    for (size_t i = 0; i < p->n; i++)
        free(p->items[i].name);
    free(p->items);
    free(p->groups.items);
}
#define cleanup_parts __attribute__((cleanup(parts_free)))

/* "nestor-LAB-1a2b3c4d", as vsphere_own_network makes it: the digits in it, or NULL. */
static const char *digits_of(const char *name) {
    size_t len = strlen(name), prefix = strlen(PREFIX), rest = 1 + DIGITS;
    if (len <= prefix + rest || len > prefix + LAB_MAX + rest || strncmp(name, PREFIX, prefix) != 0)
        return NULL;
    const char *lab = name + prefix, *digits = name + len - DIGITS;
    bool ours = lab[0] != '-' && strspn(lab, "abcdefghijklmnopqrstuvwxyz0123456789-") == len - prefix &&
                digits[-1] == '-' && strspn(digits, "0123456789abcdef") == DIGITS;
    return ours ? digits : NULL;
}

/* The name, if it is one that is looked for; the caller frees it. */
static char *name_looked_for(const struct parts *p, xmlNode *node) {
    char *name = xml_text_new(node);
    if (name && digits_of(name) && (!p->name || strcmp(p->name, name) == 0))
        return name;
    free(name);
    return NULL;
}

static void add_part(struct parts *p, char *name, const struct moref *ref) {
    p->items = xrealloc(p->items, (p->n + 1) * sizeof *p->items);
    p->items[p->n++] = (struct part){name, *ref};
}

static int take_network(void *data, struct vim_object *o, struct error *err) {
    (void)err;
    struct parts *p = data;
    cleanup_free char *name = name_looked_for(p, vim_property(o, "name"));
    if (!name)
        return 0;
    if (is_group(&o->ref))
        moref_list_add(&p->groups, &o->ref);
    else
        p->standard = true;
    return 0;
}

static int take_group(void *data, struct vim_object *o, struct error *err) {
    (void)err;
    struct parts *p = data;
    if (!xml_is(vim_property(o, "config.description"), DESCRIPTION))
        return 0;
    char *name = name_looked_for(p, vim_property(o, "name"));
    if (name)
        add_part(p, name, &o->ref);
    return 0;
}

static int take_groups_of_host(void *data, struct vim_object *o, struct error *err) {
    (void)err;
    struct parts *p = data;
    xmlNode *groups = vim_property(o, "networkInfo.portgroup");
    for (xmlNode *g = xml_child(groups, "HostPortGroup"); g; g = xml_next(g, "HostPortGroup")) {
        char *name = name_looked_for(p, xml_child(xml_child(g, "spec"), "name"));
        if (name)
            add_part(p, name, &o->ref);
    }
    return 0;
}

/* Any host of the server may have it, whichever machines of the asking lab's may run on. */
static int find_on_hosts(struct hypervisor *hv, struct parts *p, const struct context *ctx, struct error *err) {
    struct moref_list all = {0};
    int failed = vim_read_all(hv->vim, &vim_service(hv->vim)->root_folder, &vsphere_system_set, vsphere_take_system,
                              &all, ctx, err) ||
                 vim_read_these(hv->vim, all.items, all.n, &system_set, take_groups_of_host, p, ctx, err);
    free(all.items);
    return failed ? -1 : 0;
}

/* By name first, in all datacenters: mostly there is none, and no host need be asked. */
static int find_parts(struct hypervisor *hv, struct parts *p, const struct context *ctx, struct error *err) {
    if (vim_read_all(hv->vim, &vim_service(hv->vim)->root_folder, &network_set, take_network, p, ctx, err) ||
        vim_read_these(hv->vim, p->groups.items, p->groups.n, &group_set, take_group, p, ctx, err) ||
        (p->standard && find_on_hosts(hv, p, ctx, err)))
        return error_context(err, "looking for networks of labs");
    return 0;
}

static bool is_first_of_its_name(const struct parts *p, size_t i) {
    for (size_t k = 0; k < i; k++)
        if (strcmp(p->items[k].name, p->items[i].name) == 0)
            return false;
    return true;
}

int vsphere_networks(struct hypervisor *hv, network_fn fn, void *data, const struct context *ctx, struct error *err) {
    cleanup_parts struct parts all = {0};
    if (context_check(ctx, hv->config.subject, "looking for networks of labs", err) || find_parts(hv, &all, ctx, err))
        return -1;
    for (size_t i = 0; i < all.n; i++)
        if (is_first_of_its_name(&all, i))
            fn(data, all.items[i].name, digits_of(all.items[i].name));
    return 0;
}

int vsphere_remove_network(struct hypervisor *hv, const char *name, const struct context *ctx, struct error *err) {
    cleanup_parts struct parts found = {.name = name};
    if (context_check(ctx, hv->config.subject, "removing a network", err) || find_parts(hv, &found, ctx, err))
        return -1;
    for (size_t i = 0; i < found.n; i++)
        if (remove_parts(hv, &found.items[i].ref, 1, name, ctx, err))
            return -1;
    return 0;
}
