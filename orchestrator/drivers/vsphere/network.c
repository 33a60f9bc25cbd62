/* The network of the machines: one that is there (inventory.network), one that nestor makes for the lab on a switch
 * (inventory.switch), or where the template's cards are. What runs inside a guest hypervisor sends with MACs of its
 * own: a port group must let those out (forged transmits) and their answers in (promiscuous mode, or MAC learning on a
 * distributed switch from 6.6 on). */
#include <stdlib.h>
#include <string.h>

#include "drivers/vsphere/vsphere_priv.h"

static const char *const group_paths[] = {"key", "name", "config.distributedVirtualSwitch", NULL};
static const char *const dvs_paths[] = {"uuid", NULL};
static const char *const opaque_paths[] = {"summary", NULL};
static const char *const system_paths[] = {"configManager.networkSystem", NULL};
static const struct vim_set group_set = {"DistributedVirtualPortgroup", group_paths},
                            dvs_set = {"DistributedVirtualSwitch", dvs_paths},
                            opaque_set = {"OpaqueNetwork", opaque_paths};
const struct vim_set vsphere_system_set = {"HostSystem", system_paths};

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
    cleanup_free char *own = vsphere_own_network(hv);
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

/* --- the hosts' side of it --- */

int vsphere_take_system(void *data, struct vim_object *host, struct error *err) {
    (void)err;
    struct moref ref;
    if (xml_ref(vim_property(host, "configManager.networkSystem"), &ref))
        moref_list_add(data, &ref);
    return 0;
}

static int look_for_systems(struct hypervisor *hv, void *data, const struct context *ctx, struct error *err) {
    struct moref_list *ret = data;
    const struct vsphere_compute *c;
    if (vsphere_compute(hv, &c, ctx, err))
        return -1;
    struct moref_list s = {0};
    if (vim_read_these(hv->vim, c->hosts.items, c->hosts.n, &vsphere_system_set, vsphere_take_system, &s, ctx, err)) {
        free(s.items);
        return -1;
    }
    *ret = s;
    return 0;
}

int vsphere_network_systems(struct hypervisor *hv, const struct moref_list **ret, const struct context *ctx,
                            struct error *err) {
    *ret = &hv->systems;
    return once_do(&hv->systems_once, hv->config.subject, "finding its hosts' networks", hv, look_for_systems,
                   &hv->systems, ctx, err);
}

/* --- before the machines --- */

static int ensure_network(struct hypervisor *hv, void *data, const struct context *ctx, struct error *err) {
    (void)data;
    const struct vsphere_network *ignored;
    if (vsphere_own_network_make(hv, ctx, err))
        return -1;
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
