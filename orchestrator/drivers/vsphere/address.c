/* Where a machine answers: what VMware Tools say of its own network cards. An address counts only when the server gives
 * it for a card of this VM, by its MAC or by the number of the device, so that docker's and other bridges inside never
 * do (govmomi#1262). Tools that know no cards tell just one address, which is then this VM's if it has one card. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/vsphere/vsphere_priv.h"

#define CARDS_MAX 16

static const char *const address_paths[] = {
    "runtime.powerState",       "runtime.question",       "guest.net", "guest.ipAddress",
    "guest.toolsRunningStatus", "config.hardware.device", NULL};
static const struct vim_set address_set = {"VirtualMachine", address_paths};

struct card {
    char mac[32];
    int64_t key;
};

/* How good an address is. Loopback is one a server reports for a real card only when somebody has put it there. */
enum rank { RANK_NONE, RANK_LOOPBACK, RANK_V6, RANK_V4 };

struct looking {
    struct hypervisor *hv;
    const struct machine_spec *spec;
    char found[64];
    enum rank rank;
    bool seen;     /* the server has answered at all */
    bool tools;    /* they run */
    bool anything; /* they reported some address, though none of our cards' */
    bool useless;  /* or of our cards, but none that leads anywhere */
};

static enum rank rank_of(const char *text) {
    struct in_addr v4;
    struct in6_addr v6;
    if (inet_pton(AF_INET, text, &v4) == 1) {
        uint32_t a = ntohl(v4.s_addr);
        if (a >> 24 == 127)
            return RANK_LOOPBACK;
        bool unusable = a >> 24 == 0 || a >> 16 == 0xa9fe /* 169.254/16 */ || a >> 28 >= 0xe;
        return unusable ? RANK_NONE : RANK_V4;
    }
    if (inet_pton(AF_INET6, text, &v6) != 1 || IN6_IS_ADDR_UNSPECIFIED(&v6) || IN6_IS_ADDR_LINKLOCAL(&v6) ||
        IN6_IS_ADDR_MULTICAST(&v6) || IN6_IS_ADDR_V4MAPPED(&v6))
        return RANK_NONE;
    return IN6_IS_ADDR_LOOPBACK(&v6) ? RANK_LOOPBACK : RANK_V6;
}

static void consider(struct looking *l, xmlNode *node) {
    char text[64] = "";
    if (!node || !xml_text(node, text, sizeof text))
        return;
    enum rank rank = rank_of(text);
    if (rank > l->rank) {
        memcpy(l->found, text, sizeof text);
        l->rank = rank;
    }
}

/* --- the VM's cards, and what the guest says of them --- */

static size_t read_cards(const struct vim_object *o, struct card out[CARDS_MAX]) {
    size_t n = 0;
    for (xmlNode *d = vsphere_device_first(o); d && n < CARDS_MAX; d = vsphere_device_next(d)) {
        if (!vsphere_card_type(d))
            continue;
        out[n] = (struct card){.key = xml_number(xml_child(d, "key"), 0)};
        xml_text(xml_child(d, "macAddress"), out[n].mac, sizeof out[n].mac);
        n++;
    }
    return n;
}

static bool is_of_card(xmlNode *nic, const struct card *card) {
    char mac[32] = "";
    xml_text(xml_child(nic, "macAddress"), mac, sizeof mac);
    return (mac[0] && strcasecmp(mac, card->mac) == 0) ||
           (card->key > 0 && xml_number(xml_child(nic, "deviceConfigId"), -1) == card->key);
}

static bool has_address(xmlNode *nic) { return xml_child(nic, "ipAddress") || xml_child(nic, "ipConfig"); }

static void consider_nic(struct looking *l, xmlNode *nic) {
    xmlNode *config = xml_child(nic, "ipConfig");
    for (xmlNode *a = xml_child(config, "ipAddress"); a; a = xml_next(a, "ipAddress"))
        consider(l, xml_child(a, "ipAddress"));
    for (xmlNode *a = xml_child(nic, "ipAddress"); a; a = xml_next(a, "ipAddress"))
        consider(l, a);
}

/* The first card with a usable address goes first. */
static void look_at_guest(struct looking *l, const struct vim_object *o) {
    struct card cards[CARDS_MAX];
    size_t n = read_cards(o, cards);
    xmlNode *first = xml_child(vim_property(o, "guest.net"), "GuestNicInfo");
    l->rank = RANK_NONE;
    l->anything = l->useless = false;
    for (size_t i = 0; i < n && l->rank <= RANK_LOOPBACK; i++)
        for (xmlNode *nic = first; nic; nic = xml_next(nic, "GuestNicInfo"))
            if (is_of_card(nic, &cards[i])) {
                consider_nic(l, nic);
                l->useless = l->useless || xml_child(nic, "ipAddress");
            }
    for (xmlNode *nic = first; nic; nic = xml_next(nic, "GuestNicInfo"))
        l->anything = l->anything || has_address(nic);
    if (!first && n == 1)
        consider(l, vim_property(o, "guest.ipAddress"));
}

/* --- waiting --- */

bool vsphere_asks(xmlNode *question, const char *path, const char *name, struct error *err) {
    if (!xml_child(question, "id"))
        return false;
    cleanup_free char *text = xml_text_new(xml_child(question, "text"));
    error_set(err, ERR_CONFLICT, path, "it stands still until somebody answers: %.390s", text ? text : "a question");
    error_mend(err, "answer it: govc vm.question -vm %s -answer N, or in the vSphere Client", name);
    return true;
}

static int it_is_off(struct looking *l, struct error *err) {
    error_set(err, ERR_DIED, l->spec->tag.path, "it is not running on %s", l->hv->config.subject);
    return error_mend(err, "see why in the VM's events on its vCenter or ESXi, then run 'nestor up'");
}

static int look(void *data, const struct vim_object *o, struct error *err) {
    struct looking *l = data;
    l->seen = true;
    if (!xml_is(vim_property(o, "runtime.powerState"), "poweredOn"))
        return it_is_off(l, err);
    if (vsphere_asks(vim_property(o, "runtime.question"), l->spec->tag.path, l->spec->name, err))
        return -1;
    xmlNode *tools = vim_property(o, "guest.toolsRunningStatus");
    l->tools = xml_is(tools, "guestToolsRunning") || xml_is(tools, "guestToolsExecutingScripts");
    look_at_guest(l, o);
    return l->rank != RANK_NONE;
}

/* Which source of an address is missing. */
static int explain_timeout(const struct looking *l, struct error *err) {
    error_set(err, ERR_TIMEOUT, l->spec->tag.path, "it has no address: %s",
              !l->tools     ? "VMware Tools do not run in it"
              : l->useless  ? "its cards have only such as lead nowhere, link-local ones (no DHCP lease?)"
              : l->anything ? "VMware Tools report addresses, but none for a card of this VM"
                            : "VMware Tools run, but its cards have none (no DHCP lease?)");
    if (!l->tools)
        return error_mend(err, "install open-vm-tools in its template; a slow guest may need a longer "
                               "'timeouts: { boot: }'");
    return error_mend(err, "check that its network has a DHCP server, and that its port group is the right one");
}

int vsphere_address(struct hypervisor *hv, const struct machine_spec *spec, struct endpoint *ret,
                    const struct context *ctx, struct error *err) {
    struct vm vm;
    struct error why = {0};
    struct looking l = {.hv = hv, .spec = spec};
    if (vsphere_vm_need(hv, &spec->tag, &vm, ctx, err))
        return -1;
    if (vim_watch(hv->vim, &vm.ref, &address_set, look, &l, ctx, &why)) {
        if (why.code == ERR_TIMEOUT && l.seen)
            return explain_timeout(&l, err);
        if (vim_fault_is(&why, VIM_MANAGED_OBJECT_NOT_FOUND))
            vsphere_vm_doubt(hv, &spec->tag);
        error_subject(&why, spec->tag.path);
        if (err)
            *err = why;
        return -1;
    }
    struct endpoint at = {.port = spec->ssh_port};
    memcpy(at.host, l.found, sizeof l.found);
    *ret = at;
    return 0;
}
