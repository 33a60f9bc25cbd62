/* Whether the port groups that guest hypervisors are put on let nested machines through. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>

#include "drivers/vsphere/vsphere_priv.h"

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

/* What is looked at: the port group that is named, or the one a template's card is on. */
struct where {
    struct vsphere_examination *x;
    const char *template; /* NULL: it is named */
};

/* Why it is looked at, when the lab file does not name it; the caller frees it. */
static char *whose(const struct where *w) {
    return w->template ? xasprintf("; template %s is on it", w->template) : xstrdup("");
}

static void judge(const struct where *w, const char *name, const struct policy *p, bool distributed) {
    cleanup_free char *subject = xasprintf("port group %s", name), *why = whose(w);
    cleanup_buffer struct buffer rejected = {0};
    put_rejected(&rejected, p);
    cleanup_free char *accept = xasprintf(
        "accept %s in its security settings, or name a switch (inventory.switch) instead of a network: nestor "
        "then makes a port group that is fit",
        buffer_str(&rejected));
    if (memcmp(p, &untold, sizeof untold) == 0)
        vsphere_tell(w->x, FINDING_WARNING, subject, "see its security settings in the vSphere Client",
                     "the server does not tell whether it accepts forged transmits and promiscuous mode%s", why);
    else if (!rejected.len)
        vsphere_tell(w->x, FINDING_FINE, subject, "", "it lets nested machines through%s%s",
                     p->learning == 1 ? " by MAC learning" : "", why);
    else
        vsphere_tell(w->x, FINDING_WARNING, subject,
                     distributed
                         ? "accept forged transmits, and switch on MAC learning (distributed switch 6.6 or later) or "
                           "promiscuous mode"
                         : accept,
                     "it rejects %s: nested machines that are bridged to it get no answer (those behind NAT do)%s",
                     buffer_str(&rejected), why);
}

/* --- a standard switch's --- */

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

static int read_standard(struct vsphere_examination *x, struct standard *s, const struct context *ctx,
                         struct error *err) {
    const struct moref_list *systems;
    return vsphere_network_systems(x->hv, &systems, ctx, err) ||
                   vim_read_these(x->hv->vim, systems->items, systems->n, &info_set, take_info, s, ctx, err)
               ? -1
               : 0;
}

static int look_at_standard(const struct where *w, const char *name, const struct context *ctx, struct error *err) {
    struct standard s = {.name = name, .policy = untold};
    if (read_standard(w->x, &s, ctx, err))
        return -1;
    if (s.found && s.found < s.hosts) {
        cleanup_free char *subject = xasprintf("port group %s", name), *why = whose(w);
        vsphere_tell(w->x, FINDING_WARNING, subject, "add it to the other hosts, or say inventory.host",
                     "only %u of %u hosts have it%s", s.found, s.hosts, why);
    }
    judge(w, name, &s.policy, false);
    return 0;
}

/* --- a distributed switch's --- */

static const char *const group_paths[] = {"key", "name", "config.defaultPortConfig", NULL};
static const struct vim_set group_set = {"DistributedVirtualPortgroup", group_paths};

/* Both are there from 6.6 on, and the newer one counts. */
static void judge_group(const struct where *w, const struct vim_object *group) {
    struct policy p = untold;
    xmlNode *config = vim_property(group, "config.defaultPortConfig");
    xmlNode *old = xml_child(config, "securityPolicy"), *newer = xml_child(config, "macManagementPolicy");
    take_flag(&p.promiscuous, xml_child(xml_child(old, "allowPromiscuous"), "value"));
    take_flag(&p.forged, xml_child(xml_child(old, "forgedTransmits"), "value"));
    take_flag(&p.changes, xml_child(xml_child(old, "macChanges"), "value"));
    take_flag(&p.promiscuous, xml_child(newer, "allowPromiscuous"));
    take_flag(&p.forged, xml_child(newer, "forgedTransmits"));
    take_flag(&p.changes, xml_child(newer, "macChanges"));
    take_flag(&p.learning, xml_child(xml_child(newer, "macLearningPolicy"), "enabled"));
    cleanup_free char *name = xml_text_new(vim_property(group, "name"));
    judge(w, name ? name : "?", &p, true);
}

static int look_at_distributed(const struct where *w, const struct moref *ref, const struct context *ctx,
                               struct error *err) {
    cleanup_vim_object struct vim_object group = {0};
    if (vim_read(w->x->hv->vim, ref, &group_set, &group, ctx, err))
        return -1;
    judge_group(w, &group);
    return 0;
}

/* --- where machines are put, if the lab file says it --- */

/* nestor's own port group will be fit; the switch must be there. */
static int look_at_switch(struct vsphere_examination *x, const struct context *ctx, struct error *err) {
    struct standard s = {.vswitch = x->hv->settings.vswitch};
    char subject[160];
    struct vsphere_switch named;
    snprintf(subject, sizeof subject, "switch %s", s.vswitch);
    if (vsphere_switch(x->hv, &named, ctx, err))
        return -1;
    bool distributed = moref_is_set(&named.ref);
    if (distributed ? vsphere_check_vlan(x->hv, err) : read_standard(x, &s, ctx, err))
        return -1;
    if (distributed || s.found == s.hosts)
        vsphere_tell(x, FINDING_FINE, subject, "",
                     "nestor makes a port group for the lab on it that lets nested machines through");
    else if (s.found)
        vsphere_tell(x, FINDING_UNFIT, subject, "name a switch that is on all of them, or say inventory.host",
                     "only %u of %u hosts have it", s.found, s.hosts);
    else
        vsphere_tell(x, FINDING_UNFIT, subject,
                     "see the names of switches in the networking view of the vSphere Client",
                     x->hv->vcenter ? "there is no distributed switch '%s', and no host has a standard one of that name"
                                    : "the host has no switch '%s'",
                     s.vswitch);
    return 0;
}

static int look_at_named(struct vsphere_examination *x, const struct vsphere_network *n, const struct context *ctx,
                         struct error *err) {
    const struct where w = {x, NULL};
    if (n->key)
        return look_at_distributed(&w, &n->ref, ctx, err);
    return n->name ? look_at_standard(&w, n->name, ctx, err) : 0;
}

/* --- else they stay where the template's card is --- */

/* A card tells its port group's key alone. */
struct keyed {
    struct where w;
    const char *key;
    bool found;
};

static int take_keyed(void *data, struct vim_object *group, struct error *err) {
    (void)err;
    struct keyed *k = data;
    if (!k->found && xml_is(vim_property(group, "key"), k->key)) {
        k->found = true;
        judge_group(&k->w, group);
    }
    return 0;
}

static int look_at_keyed(const struct where *w, const char *key, const struct vim_object *vm, const struct context *ctx,
                         struct error *err) {
    struct keyed k = {.w = *w, .key = key};
    struct hypervisor *hv = w->x->hv;
    struct moref_list groups = {0};
    xmlNode *network = xml_child(vim_property(vm, "network"), "ManagedObjectReference");
    for (struct moref ref; network; network = xml_next(network, "ManagedObjectReference"))
        if (xml_ref(network, &ref) && strcmp(ref.type, group_set.type) == 0)
            moref_list_add(&groups, &ref);
    int failed = vim_read_these(hv->vim, groups.items, groups.n, &group_set, take_keyed, &k, ctx, err);
    free(groups.items);
    if (failed)
        return -1;
    if (!k.found) {
        cleanup_free char *subject = xasprintf("template %s", w->template);
        vsphere_tell(w->x, FINDING_WARNING, subject, "look at its security settings in the vSphere Client",
                     "the server does not show %s the port group its network card is on", hv->settings.username);
    }
    return 0;
}

/* The card that machines have their address on: the first. */
static struct vsphere_network network_of_template(const struct vsphere_source *s) {
    xmlNode *d = vsphere_device_first(s->seen);
    while (d && !vsphere_card_type(d))
        d = vsphere_device_next(d);
    return d ? vsphere_network_of_card(d) : (struct vsphere_network){0};
}

static bool is_same(const char *a, const char *b) { return a && b ? strcmp(a, b) == 0 : a == b; }

static bool was_looked_at(const struct vsphere_network *seen, size_t n, const struct vsphere_network *network) {
    for (size_t i = 0; i < n; i++)
        if (is_same(seen[i].key, network->key) && is_same(seen[i].name, network->name))
            return true;
    return false;
}

/* What templates share is told once, of the first. */
static int look_at_template(struct vsphere_examination *x, struct vsphere_network *seen, size_t i,
                            const struct context *ctx, struct error *err) {
    const struct where w = {x, x->hv->config.templates[i]};
    const struct vsphere_source *s;
    struct error why = {0};
    if (vsphere_source(x->hv, w.template, true, &s, ctx, &why)) {
        if (vsphere_is_missing(&why)) /* which is told elsewhere */
            return 0;
        if (err)
            *err = why;
        return -1;
    }
    seen[i] = network_of_template(s);
    if (was_looked_at(seen, i, &seen[i]))
        return 0;
    if (seen[i].key)
        return look_at_keyed(&w, seen[i].key, s->seen, ctx, err);
    return seen[i].name ? look_at_standard(&w, seen[i].name, ctx, err) : 0;
}

static int look_at_templates(struct vsphere_examination *x, const struct context *ctx, struct error *err) {
    size_t n = x->hv->config.nnesting;
    struct vsphere_network *seen = xcalloc(n + 1, sizeof *seen);
    int failed = 0;
    for (size_t i = 0; i < n && !failed; i++)
        failed = look_at_template(x, seen, i, ctx, err);
    for (size_t i = 0; i < n; i++)
        vsphere_network_free(&seen[i]);
    free(seen);
    return failed;
}

/* Machines that do not nest need nothing of a port group. */
int vsphere_examine_network(struct vsphere_examination *x, const struct context *ctx, struct error *err) {
    const struct hypervisor_config *config = &x->hv->config;
    const struct vsphere_network *n;
    if (x->hv->settings.vswitch)
        return look_at_switch(x, ctx, err);
    if (vsphere_network(x->hv, &n, ctx, err))
        return -1;
    if (config->ntemplates && !config->nnesting)
        return 0;
    return moref_is_set(&n->ref) ? look_at_named(x, n, ctx, err) : look_at_templates(x, ctx, err);
}
