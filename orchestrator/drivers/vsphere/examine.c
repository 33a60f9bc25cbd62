/* What a lab needs of a vCenter or ESXi, looked at before anything is made, and for `nestor doctor`. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>

#include "drivers/vsphere/vsphere_priv.h"

/* One of the looks, and what it found. They are taken at the same time and told in order. */
struct examination {
    struct hypervisor *hv;
    struct arena arena;
    struct finding *items;
    size_t n;
};

static void tell(struct examination *x, enum finding_kind kind, const char *subject, const char *mend, const char *fmt,
                 ...) NESTOR_PRINTF(5, 6);
static void tell(struct examination *x, enum finding_kind kind, const char *subject, const char *mend, const char *fmt,
                 ...) {
    cleanup_buffer struct buffer text = {0};
    va_list ap;
    va_start(ap, fmt);
    buffer_vprintf(&text, fmt, ap);
    va_end(ap);
    x->items = xrealloc(x->items, (x->n + 1) * sizeof *x->items);
    x->items[x->n++] = (struct finding){kind, arena_strdup(&x->arena, subject),
                                        arena_strdup(&x->arena, buffer_str(&text)), arena_strdup(&x->arena, mend)};
}

/* --- the licence --- */

static const char *const licence_paths[] = {"licenses", NULL};
static const struct vim_set licence_set = {"LicenseManager", licence_paths};

/* A free ESXi answers every change with RestrictedVersion. vCenter has its hosts' licences elsewhere, and none of those
 * can be free. */
static int look_at_licence(struct examination *x, const struct context *ctx, struct error *err) {
    cleanup_vim_object struct vim_object object = {0};
    struct hypervisor *hv = x->hv;
    if (hv->vcenter)
        return 0;
    struct error why = {0};
    if (vim_read(hv->vim, &vim_service(hv->vim)->license_manager, &licence_set, &object, ctx, &why)) {
        if (vim_fault_is(&why, VIM_NO_PERMISSION)) {
            tell(x, FINDING_WARNING, "licence", "give the user Global.Licenses, or look at it in the host's client",
                 "%s may not see it: with the free one the API of this ESXi is read-only", hv->settings.username);
            return 0;
        }
        if (err)
            *err = why;
        return -1;
    }
    xmlNode *licence = xml_child(vim_property(&object, "licenses"), "LicenseManagerLicenseInfo");
    char name[80] = "";
    xml_text(xml_child(licence, "name"), name, sizeof name);
    if (xml_is(xml_child(licence, "editionKey"), "esxBasic"))
        tell(x, FINDING_UNFIT, "licence", "assign a licence with API write access, or evaluate it for 60 days",
             "'%s' is the free one: the API of this ESXi is read-only", name);
    else if (xml_is(xml_child(licence, "editionKey"), "eval"))
        tell(x, FINDING_FINE, "licence", "", "evaluation: it ends after 60 days");
    else if (licence)
        tell(x, FINDING_FINE, "licence", "", "'%s'", name);
    return 0;
}

/* --- the hosts --- */

static const char *const host_paths[] = {"name", "config.product.version", "capability.nestedHVSupported",
                                         "runtime.connectionState", NULL};
static const struct vim_set host_set = {"HostSystem", host_paths};

static int look_at_host(void *data, struct vim_object *o, struct error *err) {
    (void)err;
    struct examination *x = data;
    char name[120] = "", version[32] = "", subject[140];
    int major = 0, minor = 0;
    xml_text(vim_property(o, "name"), name, sizeof name);
    xml_text(vim_property(o, "config.product.version"), version, sizeof version);
    snprintf(subject, sizeof subject, "host %s", name);
    bool known = sscanf(version, "%4d.%4d", &major, &minor) == 2;
    if (!xml_is(vim_property(o, "runtime.connectionState"), "connected"))
        tell(x, FINDING_WARNING, subject, "reconnect it in vCenter", "it is not connected");
    else if (!xml_flag(vim_property(o, "capability.nestedHVSupported"), true))
        tell(x, FINDING_WARNING, subject, "it needs VT-x with EPT or AMD-V with RVI, and ESXi 5.1 or later",
             "it does not support nested virtualization");
    else if (known && major * 100 + minor < 501)
        tell(x, FINDING_WARNING, subject, "run 'nestor prepare'",
             "ESXi %s exposes virtualization only with vhv.allow in /etc/vmware/config", version);
    else
        tell(x, FINDING_FINE, subject, "", "ESXi %s: virtualization is exposed per machine, vhv.allow is not needed",
             version);
    return 0;
}

static int look_at_hosts(struct examination *x, const struct context *ctx, struct error *err) {
    const struct vsphere_compute *c;
    return vsphere_compute(x->hv, &c, ctx, err) ||
                   vim_read_these(x->hv->vim, c->hosts, c->nhosts, &host_set, look_at_host, x, ctx, err)
               ? -1
               : 0;
}

/* --- the network --- */

/* 1, 0, or -1 when the server does not tell. */
struct policy {
    int promiscuous, forged, changes, learning;
};
static const struct policy untold = {-1, -1, -1, -1};

static void take_flag(int *slot, xmlNode *value) {
    if (value)
        *slot = xml_flag(value, false);
}

/* What is not accepted, in words for people: "forged transmits and promiscuous mode". Empty when it is fit. */
static void put_rejected(struct buffer *text, const struct policy *p) {
    const char *words[3];
    size_t n = 0;
    if (p->forged == 0)
        words[n++] = "forged transmits";
    if (p->changes == 0)
        words[n++] = "MAC changes";
    if (p->promiscuous != 1 && p->learning != 1)
        words[n++] = "promiscuous mode";
    for (size_t i = 0; i < n; i++)
        buffer_printf(text, "%s%s", i == 0 ? "" : i + 1 < n ? ", " : " and ", words[i]);
}

static void judge(struct examination *x, const char *name, const struct policy *p, bool distributed) {
    char subject[160];
    snprintf(subject, sizeof subject, "port group %s", name);
    cleanup_buffer struct buffer rejected = {0};
    put_rejected(&rejected, p);
    if (memcmp(p, &untold, sizeof untold) == 0)
        tell(x, FINDING_WARNING, subject, "see its security settings in the vSphere Client",
             "the server does not tell whether it accepts forged transmits and promiscuous mode");
    else if (!rejected.len)
        tell(x, FINDING_FINE, subject, "", "it lets nested machines through%s",
             p->learning == 1 ? " by MAC learning" : "");
    else
        tell(x, FINDING_WARNING, subject,
             distributed ? "accept forged transmits, and switch on MAC learning (distributed switch 6.6 or later) or "
                           "promiscuous mode"
                         : "set both to accept in its security settings, or name a switch instead of a network: nestor "
                           "then makes a port group that is fit",
             "it rejects %s: nested machines that are bridged to it get no answer (those behind NAT do)",
             buffer_str(&rejected));
}

static const char *const info_paths[] = {"networkInfo.portgroup", "networkInfo.vswitch", NULL};
static const struct vim_set info_set = {"HostNetworkSystem", info_paths};

struct standard {
    const char *name;    /* of the port group */
    const char *vswitch; /* or of the switch one is made on */
    struct policy policy;
    unsigned hosts, found;
};

static void take_security(struct policy *p, xmlNode *policy) {
    xmlNode *security = xml_child(policy, "security");
    take_flag(&p->promiscuous, xml_child(security, "allowPromiscuous"));
    take_flag(&p->forged, xml_child(security, "forgedTransmits"));
    take_flag(&p->changes, xml_child(security, "macChanges"));
}

/* What a port group does not say holds as its switch has it; computedPolicy is the outcome, where a server tells it. */
static void take_group(struct standard *s, xmlNode *group, xmlNode *switches) {
    struct policy p = untold;
    xmlNode *spec = xml_child(group, "spec");
    for (xmlNode *w = xml_child(switches, "HostVirtualSwitch"); w; w = xml_next(w, "HostVirtualSwitch")) {
        char name[120] = "";
        if (xml_text(xml_child(w, "name"), name, sizeof name) && xml_is(xml_child(spec, "vswitchName"), name))
            take_security(&p, xml_child(xml_child(w, "spec"), "policy"));
    }
    take_security(&p, xml_child(spec, "policy"));
    take_security(&p, xml_child(group, "computedPolicy"));
    if (s->found) { /* the worst of all hosts counts */
        p.promiscuous = MIN(p.promiscuous, s->policy.promiscuous);
        p.forged = MIN(p.forged, s->policy.forged);
        p.changes = MIN(p.changes, s->policy.changes);
    }
    s->policy = p;
    s->found++;
}

static int take_info(void *data, struct vim_object *o, struct error *err) {
    (void)err;
    struct standard *s = data;
    xmlNode *switches = vim_property(o, "networkInfo.vswitch");
    s->hosts++;
    if (s->vswitch) {
        for (xmlNode *w = xml_child(switches, "HostVirtualSwitch"); w; w = xml_next(w, "HostVirtualSwitch"))
            s->found += xml_is(xml_child(w, "name"), s->vswitch);
        return 0;
    }
    xmlNode *groups = vim_property(o, "networkInfo.portgroup");
    for (xmlNode *g = xml_child(groups, "HostPortGroup"); g; g = xml_next(g, "HostPortGroup"))
        if (xml_is(xml_child(xml_child(g, "spec"), "name"), s->name)) {
            take_group(s, g, switches);
            break;
        }
    return 0;
}

static int read_standard(struct examination *x, struct standard *s, const struct context *ctx, struct error *err) {
    const struct vsphere_systems *systems;
    return vsphere_network_systems(x->hv, &systems, ctx, err) ||
                   vim_read_these(x->hv->vim, systems->items, systems->n, &info_set, take_info, s, ctx, err)
               ? -1
               : 0;
}

static int look_at_standard(struct examination *x, const char *name, const struct context *ctx, struct error *err) {
    struct standard s = {.name = name, .policy = untold};
    if (read_standard(x, &s, ctx, err))
        return -1;
    if (s.found && s.found < s.hosts) {
        char subject[160];
        snprintf(subject, sizeof subject, "port group %s", name);
        tell(x, FINDING_WARNING, subject, "add it to the other hosts, or say inventory.host",
             "only %u of %u hosts have it", s.found, s.hosts);
    }
    judge(x, name, &s.policy, false);
    return 0;
}

static const char *const group_paths[] = {"config.defaultPortConfig", NULL};
static const struct vim_set group_set = {"DistributedVirtualPortgroup", group_paths};

/* Both are there from 6.6 on, and the newer one counts. */
static int look_at_distributed(struct examination *x, const struct vsphere_network *n, const struct context *ctx,
                               struct error *err) {
    cleanup_vim_object struct vim_object object = {0};
    struct policy p = untold;
    if (vim_read(x->hv->vim, &n->ref, &group_set, &object, ctx, err))
        return -1;
    xmlNode *config = vim_property(&object, "config.defaultPortConfig");
    xmlNode *old = xml_child(config, "securityPolicy"), *newer = xml_child(config, "macManagementPolicy");
    take_flag(&p.promiscuous, xml_child(xml_child(old, "allowPromiscuous"), "value"));
    take_flag(&p.forged, xml_child(xml_child(old, "forgedTransmits"), "value"));
    take_flag(&p.changes, xml_child(xml_child(old, "macChanges"), "value"));
    take_flag(&p.promiscuous, xml_child(newer, "allowPromiscuous"));
    take_flag(&p.forged, xml_child(newer, "forgedTransmits"));
    take_flag(&p.changes, xml_child(newer, "macChanges"));
    take_flag(&p.learning, xml_child(xml_child(newer, "macLearningPolicy"), "enabled"));
    judge(x, n->name ? n->name : "?", &p, true);
    return 0;
}

/* nestor's own port group will be fit; the switch must be there. */
static int look_at_switch(struct examination *x, const struct context *ctx, struct error *err) {
    struct standard s = {.vswitch = x->hv->settings.vswitch};
    char subject[160];
    struct vsphere_switch named;
    snprintf(subject, sizeof subject, "switch %s", s.vswitch);
    if (vsphere_switch(x->hv, &named, ctx, err))
        return -1;
    bool distributed = moref_is_set(&named.ref);
    if (!distributed && read_standard(x, &s, ctx, err))
        return -1;
    if (distributed || s.found == s.hosts)
        tell(x, FINDING_FINE, subject, "",
             "nestor makes a port group for the lab on it that lets nested machines through");
    else
        tell(x, FINDING_UNFIT, subject, "name a switch that is on all of them, or say inventory.host",
             "only %u of %u hosts have it", s.found, s.hosts);
    return 0;
}

static int look_at_network(struct examination *x, const struct context *ctx, struct error *err) {
    const struct vsphere_network *n;
    if (x->hv->settings.vswitch)
        return look_at_switch(x, ctx, err);
    if (vsphere_network(x->hv, &n, ctx, err))
        return -1;
    if (!moref_is_set(&n->ref))
        return 0; /* the template's cards stay where they are */
    if (n->key)
        return look_at_distributed(x, n, ctx, err);
    return n->name ? look_at_standard(x, n->name, ctx, err) : 0;
}

/* --- all of it --- */

enum look { LOOK_LICENCE, LOOK_HOSTS, LOOK_NETWORK, LOOK_MAX };

static int take_licence(struct hypervisor *hv, void *data, const struct context *ctx, struct error *err) {
    (void)hv;
    return look_at_licence((struct examination *)data + LOOK_LICENCE, ctx, err);
}
static int take_hosts(struct hypervisor *hv, void *data, const struct context *ctx, struct error *err) {
    (void)hv;
    return look_at_hosts((struct examination *)data + LOOK_HOSTS, ctx, err);
}
static int take_network(struct hypervisor *hv, void *data, const struct context *ctx, struct error *err) {
    (void)hv;
    return look_at_network((struct examination *)data + LOOK_NETWORK, ctx, err);
}

int vsphere_examine(struct hypervisor *hv, finding_fn fn, void *data, const struct context *ctx, struct error *err) {
    static const vsphere_look looks[] = {take_licence, take_hosts, take_network, NULL};
    struct examination all[LOOK_MAX];
    if (context_check(ctx, hv->config.subject, "examining it", err))
        return -1;
    for (int i = 0; i < LOOK_MAX; i++)
        all[i] = (struct examination){.hv = hv};
    int failed = vsphere_look_at_once(hv, looks, all, ctx, err);
    for (int i = 0; i < LOOK_MAX; i++) {
        for (size_t k = 0; !failed && k < all[i].n; k++)
            fn(data, &all[i].items[k]);
        free(all[i].items);
        arena_free(&all[i].arena);
    }
    return failed;
}
