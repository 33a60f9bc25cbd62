/* The network of the machines: one that is there (inventory.network), one that nestor makes for the lab on a switch
 * (inventory.switch), or where the template's cards are. What runs inside a guest hypervisor sends with MACs of its
 * own: a port group must let those out (forged transmits) and their answers in (promiscuous mode, or MAC learning on a
 * distributed switch from 6.6 on). */
#include <stdlib.h>
#include <string.h>

#include "drivers/vsphere/vsphere_priv.h"

/* How long a port group may still be in use after its machines are gone, and how often that is looked at. */
#define RELEASE_MS 30000
#define RELEASE_LOOK_MS 1000
#define DVS_VLAN_MAX 4094

static const char *const group_paths[] = {"key", "name", "config.distributedVirtualSwitch", NULL};
static const char *const dvs_paths[] = {"uuid", "name", "summary.productInfo.version", NULL};
static const char *const opaque_paths[] = {"summary", NULL};
static const char *const system_paths[] = {"configManager.networkSystem", NULL};
static const struct vim_set group_set = {"DistributedVirtualPortgroup", group_paths},
                            dvs_set = {"DistributedVirtualSwitch", dvs_paths},
                            opaque_set = {"OpaqueNetwork", opaque_paths}, system_set = {"HostSystem", system_paths};

/* --- what a card is connected to --- */

void vsphere_network_free(struct vsphere_network *n) {
    free(n->name);
    free(n->key);
    free(n->dvs);
    free(n->opaque_id);
    free(n->opaque_type);
    *n = (struct vsphere_network){0};
}

struct vsphere_network vsphere_network_of_card(xmlNode *card) {
    struct vsphere_network n = {0};
    xmlNode *backing = xml_child(card, "backing"), *port = xml_child(backing, "port");
    if (xml_type_is(backing, "VirtualEthernetCardNetworkBackingInfo")) {
        n.name = xml_text_new(xml_child(backing, "deviceName"));
    } else if (xml_type_is(backing, "VirtualEthernetCardDistributedVirtualPortBackingInfo")) {
        n.key = xml_text_new(xml_child(port, "portgroupKey"));
        n.dvs = xml_text_new(xml_child(port, "switchUuid"));
    } else if (xml_type_is(backing, "VirtualEthernetCardOpaqueNetworkBackingInfo")) {
        n.opaque_id = xml_text_new(xml_child(backing, "opaqueNetworkId"));
        n.opaque_type = xml_text_new(xml_child(backing, "opaqueNetworkType"));
    }
    if ((n.key != NULL) != (n.dvs != NULL) || (n.opaque_id != NULL) != (n.opaque_type != NULL))
        vsphere_network_free(&n);
    return n;
}

void vsphere_put_network_backing(struct soap_request *r, const struct vsphere_network *n) {
    if (n->key) {
        soap_open_as(r, "backing", "VirtualEthernetCardDistributedVirtualPortBackingInfo");
        soap_open(r, "port");
        soap_text(r, "switchUuid", n->dvs);
        soap_text(r, "portgroupKey", n->key);
        soap_close(r);
    } else if (n->opaque_id) {
        soap_open_as(r, "backing", "VirtualEthernetCardOpaqueNetworkBackingInfo");
        soap_text(r, "opaqueNetworkId", n->opaque_id);
        soap_text(r, "opaqueNetworkType", n->opaque_type);
    } else {
        soap_open_as(r, "backing", "VirtualEthernetCardNetworkBackingInfo");
        soap_text(r, "deviceName", n->name);
    }
    soap_close(r);
}

static int no_network(struct hypervisor *hv, const char *what, struct error *err) {
    return error_set(err, ERR_PROTOCOL, hv->config.subject, "the server does not tell the %s of its network", what);
}

static int read_group(struct hypervisor *hv, struct vsphere_network *n, const struct context *ctx, struct error *err) {
    struct moref dvs;
    cleanup_vim_object struct vim_object group = {0}, its_switch = {0};
    if (vim_read(hv->vim, &n->ref, &group_set, &group, ctx, err))
        return -1;
    n->name = xml_text_new(vim_property(&group, "name"));
    if (!xml_ref(vim_property(&group, "config.distributedVirtualSwitch"), &dvs))
        return no_network(hv, "switch", err);
    if (vim_read(hv->vim, &dvs, &dvs_set, &its_switch, ctx, err))
        return -1;
    n->key = xml_text_new(vim_property(&group, "key"));
    n->dvs = xml_text_new(vim_property(&its_switch, "uuid"));
    return n->key && n->dvs ? 0 : no_network(hv, "key", err);
}

static int read_opaque(struct hypervisor *hv, struct vsphere_network *n, const struct context *ctx, struct error *err) {
    cleanup_vim_object struct vim_object object = {0};
    if (vim_read(hv->vim, &n->ref, &opaque_set, &object, ctx, err))
        return -1;
    xmlNode *summary = vim_property(&object, "summary");
    n->opaque_id = xml_text_new(xml_child(summary, "opaqueNetworkId"));
    n->opaque_type = xml_text_new(xml_child(summary, "opaqueNetworkType"));
    return n->opaque_id && n->opaque_type ? 0 : no_network(hv, "id", err);
}

/* The name of the network nestor makes for the lab; NULL when it makes none. Caller frees. */
static char *own_name(const struct hypervisor *hv) {
    if (!hv->settings.vswitch || !hv->config.lab_id)
        return NULL;
    return xasprintf("nestor-%.40s-%.8s", hv->config.lab_name ? hv->config.lab_name : "lab", hv->config.lab_id);
}

static int read_network(struct hypervisor *hv, const char *name, struct vsphere_network *n, const struct context *ctx,
                        struct error *err) {
    if (strcmp(n->ref.type, "DistributedVirtualPortgroup") == 0)
        return read_group(hv, n, ctx, err);
    if (strcmp(n->ref.type, "OpaqueNetwork") == 0)
        return read_opaque(hv, n, ctx, err);
    if (strchr(name, '/')) /* a path, or a name with a slash in it, which the server writes in another way */
        return vsphere_name_of(hv, &n->ref, &n->name, ctx, err);
    n->name = xstrdup(name);
    return 0;
}

static int look_for_network(struct hypervisor *hv, void *data, const struct context *ctx, struct error *err) {
    struct vsphere_network *ret = data, n = {0};
    cleanup_free char *own = own_name(hv);
    const char *name = own ? own : hv->settings.named[PLACE_NETWORK];
    if (!name)
        return 0;
    int failed = vsphere_place_find(hv, PLACE_NETWORK, name, &n.ref, ctx, err);
    if (!failed)
        failed = read_network(hv, name, &n, ctx, err);
    if (failed)
        vsphere_network_free(&n);
    else
        *ret = n;
    return failed ? -1 : 0;
}

int vsphere_network(struct hypervisor *hv, const struct vsphere_network **ret, const struct context *ctx,
                    struct error *err) {
    *ret = &hv->network;
    return once_do(&hv->network_once, hv->config.subject, "finding the network", hv, look_for_network, &hv->network,
                   ctx, err);
}

/* --- a network of the lab's own --- */

static bool is_there_already(const struct error *err) {
    return vim_fault_is(err, VIM_ALREADY_EXISTS) || vim_fault_is(err, VIM_DUPLICATE_NAME);
}

struct switch_search {
    const char *name; /* NULL: whatever is seen is meant */
    struct moref ref; /* of a distributed switch of that name */
    size_t n;         /* how many there are */
    bool learns;      /* it can learn MACs */
};

/* "6.6.0" and later. */
static bool can_learn(xmlNode *version) {
    char text[32] = "";
    int major = 0, minor = 0;
    xml_text(version, text, sizeof text);
    char *end;
    major = (int)strtol(text, &end, 10);
    if (*end == '.')
        minor = (int)strtol(end + 1, NULL, 10);
    return major > 6 || (major == 6 && minor >= 6);
}

static int take_switch(void *data, struct vim_object *o, struct error *err) {
    (void)err;
    struct switch_search *s = data;
    if (!s->name || xml_is(vim_property(o, "name"), s->name)) {
        s->n++;
        s->ref = o->ref;
        s->learns = can_learn(vim_property(o, "summary.productInfo.version"));
    }
    return 0;
}

static int find_dvs_by_path(struct hypervisor *hv, const char *path, struct switch_search *s, const struct context *ctx,
                            struct error *err) {
    struct moref found;
    cleanup_vim_object struct vim_object object = {0};
    if (vsphere_path_find(hv, PLACE_NETWORK, path, &found, ctx, err))
        return -1;
    size_t len = strlen(found.type), suffix = strlen(dvs_set.type); /* VmwareDistributedVirtualSwitch is one of them */
    if (!moref_is_set(&found) || len < suffix || strcmp(found.type + len - suffix, dvs_set.type) != 0)
        return 0;
    return vim_read(hv->vim, &found, &dvs_set, &object, ctx, err) || take_switch(s, &object, err) ? -1 : 0;
}

/* A name with a slash in it is a path. Unset s->ref: it is no distributed switch. */
static int find_dvs(struct hypervisor *hv, struct switch_search *s, const struct context *ctx, struct error *err) {
    const struct vsphere_datacenter *dc;
    const char *name = hv->settings.vswitch;
    *s = (struct switch_search){0};
    if (!hv->vcenter)
        return 0;
    if (strchr(name, '/'))
        return find_dvs_by_path(hv, name, s, ctx, err);
    s->name = name;
    if (vsphere_datacenter(hv, &dc, ctx, err) || vim_read_all(hv->vim, &dc->ref, &dvs_set, take_switch, s, ctx, err))
        return -1;
    if (s->n < 2)
        return 0;
    error_set(err, ERR_CONFLICT, hv->config.subject, "there are %zu distributed switches '%s'", s->n, name);
    return error_mend(err, "say which by its inventory path, as 'govc find / -name %s' shows it", name);
}

int vsphere_is_distributed(struct hypervisor *hv, bool *ret, const struct context *ctx, struct error *err) {
    struct switch_search s;
    if (find_dvs(hv, &s, ctx, err))
        return -1;
    *ret = moref_is_set(&s.ref);
    return 0;
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
static int check_vlan(const struct hypervisor *hv, struct error *err) {
    if (hv->settings.vlan <= DVS_VLAN_MAX)
        return 0;
    error_set(err, ERR_SPEC, hv->config.subject,
              "inventory.vlan %d is for standard switches, and '%s' is a distributed one", hv->settings.vlan,
              hv->settings.vswitch);
    return error_mend(err, "give a VLAN from 1 to %d, or leave it out", DVS_VLAN_MAX);
}

static int add_group(struct hypervisor *hv, const struct switch_search *s, const char *name, const struct context *ctx,
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
    soap_text(r, "description", "Network of a nestor lab; 'nestor down' removes it.");
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

static int take_system(void *data, struct vim_object *o, struct error *err) {
    (void)err;
    struct vsphere_systems *s = data;
    if (xml_ref(vim_property(o, "configManager.networkSystem"), &s->items[s->n]))
        s->n++;
    return 0;
}

static int look_for_systems(struct hypervisor *hv, void *data, const struct context *ctx, struct error *err) {
    struct vsphere_systems *ret = data;
    const struct vsphere_compute *c;
    if (vsphere_compute(hv, &c, ctx, err))
        return -1;
    struct vsphere_systems s = {.items = xcalloc(c->nhosts + 1, sizeof *s.items)};
    if (vim_read_these(hv->vim, c->hosts, c->nhosts, &system_set, take_system, &s, ctx, err)) {
        free(s.items);
        return -1;
    }
    *ret = s;
    return 0;
}

int vsphere_network_systems(struct hypervisor *hv, const struct vsphere_systems **ret, const struct context *ctx,
                            struct error *err) {
    *ret = &hv->systems;
    return once_do(&hv->systems_once, hv->config.subject, "finding its hosts' networks", hv, look_for_systems,
                   &hv->systems, ctx, err);
}

static int make_own(struct hypervisor *hv, const char *name, const struct context *ctx, struct error *err) {
    struct switch_search s;
    const struct vsphere_systems *systems;
    if (find_dvs(hv, &s, ctx, err))
        return -1;
    if (moref_is_set(&s.ref))
        return check_vlan(hv, err) ? -1 : add_group(hv, &s, name, ctx, err);
    int failed = vsphere_network_systems(hv, &systems, ctx, err);
    for (size_t i = 0; !failed && i < systems->n; i++)
        failed = add_to_host(hv, &systems->items[i], name, ctx, err);
    return failed ? -1 : 0;
}

static int ensure_network(struct hypervisor *hv, void *data, const struct context *ctx, struct error *err) {
    (void)data;
    cleanup_free char *own = own_name(hv);
    const struct vsphere_network *ignored;
    if (own && make_own(hv, own, ctx, err))
        return error_context(err, "network %s", own);
    return vsphere_network(hv, &ignored, ctx, err);
}

static int find_compute(struct hypervisor *hv, void *data, const struct context *ctx, struct error *err) {
    (void)data;
    const struct vsphere_compute *ignored;
    return vsphere_compute(hv, &ignored, ctx, err);
}

static int find_folder(struct hypervisor *hv, void *data, const struct context *ctx, struct error *err) {
    (void)data;
    struct moref ignored;
    return vsphere_place(hv, PLACE_FOLDER, &ignored, ctx, err);
}

static int find_datastore(struct hypervisor *hv, void *data, const struct context *ctx, struct error *err) {
    (void)data;
    struct moref ignored;
    return vsphere_place(hv, PLACE_DATASTORE, &ignored, ctx, err);
}

/* And the other places machines need: each machine would have to wait for one after the other. */
int vsphere_ensure_network(struct hypervisor *hv, const struct context *ctx, struct error *err) {
    static const vsphere_look looks[] = {ensure_network, find_compute, find_folder, find_datastore, NULL};
    return context_check(ctx, hv->config.subject, "preparing the network", err) ||
                   vsphere_look_at_once(hv, looks, NULL, ctx, err)
               ? -1
               : 0;
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

static int remove_from_hosts(struct hypervisor *hv, const char *name, const struct context *ctx, struct error *err) {
    const struct vsphere_systems *systems;
    int failed = vsphere_network_systems(hv, &systems, ctx, err);
    for (size_t i = 0; !failed && i < systems->n; i++) {
        struct soap_request *r = soap_new("RemovePortGroup", &systems->items[i]);
        soap_text(r, "pgName", name);
        failed = call_for_nothing(hv, r, is_gone, ctx, err);
    }
    return failed ? -1 : 0;
}

/* A distributed switch may learn late that the machines on it are gone. Who is on it for longer is somebody else's. */
static int remove_own(struct hypervisor *hv, const struct moref *ref, const char *name, const struct context *ctx,
                      struct error *err) {
    bool distributed = strcmp(ref->type, "DistributedVirtualPortgroup") == 0;
    int64_t patience = hv->release_ms ? hv->release_ms : RELEASE_MS;
    struct context release = context_timeout(ctx, patience);
    for (;;) {
        struct error why = {0};
        if ((distributed ? remove_group(hv, ref, ctx, &why) : remove_from_hosts(hv, name, ctx, &why)) == 0)
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

/* Only what nestor has made for this lab, known by its name. The snapshots of templates stay: see template.c. */
int vsphere_prune(struct hypervisor *hv, const struct context *ctx, struct error *err) {
    cleanup_free char *own = own_name(hv);
    struct moref ref;
    struct error why = {0};
    if (context_check(ctx, hv->config.subject, "removing its network", err))
        return -1;
    if (!own)
        return 0;
    if (vsphere_place_find(hv, PLACE_NETWORK, own, &ref, ctx, &why)) {
        if (why.code == ERR_NOT_FOUND)
            return 0;
        if (err)
            *err = why;
        return -1;
    }
    int failed = remove_own(hv, &ref, own, ctx, err);
    if (!failed) { /* a later `up` through this handle makes it anew */
        vsphere_network_free(&hv->network);
        once_end(&hv->network_once, false); /* last: from now on another thread may fill it */
    }
    return failed ? error_context(err, "removing the network %s", own) : 0;
}
