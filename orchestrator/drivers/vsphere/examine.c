/* What a lab needs of a vCenter or ESXi, looked at before anything is made, and for `nestor doctor`. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/vsphere/vsphere_priv.h"
#include "nestor/parallel.h"

void vsphere_tell(struct vsphere_examination *x, enum finding_kind kind, const char *subject, const char *mend,
                  const char *fmt, ...) {
    cleanup_buffer struct buffer text = {0};
    va_list ap;
    va_start(ap, fmt);
    buffer_vprintf(&text, fmt, ap);
    va_end(ap);
    x->items = xrealloc(x->items, (x->n + 1) * sizeof *x->items);
    x->items[x->n++] =
        (struct finding){kind, arena_strdup(&x->arena, subject), arena_strdup(&x->arena, buffer_str(&text)),
                         arena_strdup(&x->arena, mend), NULL};
}

/* --- the licence --- */

static const char *const licence_paths[] = {"licenses", NULL};
static const struct vim_set licence_set = {"LicenseManager", licence_paths};

/* A free ESXi answers every change with RestrictedVersion. vCenter has its hosts' licences elsewhere, and none of those
 * can be free. */
static int look_at_licence(struct vsphere_examination *x, const struct context *ctx, struct error *err) {
    cleanup_vim_object struct vim_object object = {0};
    struct hypervisor *hv = x->hv;
    if (hv->vcenter)
        return 0;
    struct error why = {0};
    if (vim_read(hv->vim, &vim_service(hv->vim)->license_manager, &licence_set, &object, ctx, &why)) {
        if (vim_fault_is(&why, VIM_NO_PERMISSION)) {
            vsphere_tell(
                x, FINDING_WARNING, "licence", "give the user Global.Licenses, or look at it in the host's client",
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
        vsphere_tell(x, FINDING_UNFIT, "licence", "assign a licence with API write access, or evaluate it for 60 days",
                     "'%s' is the free one: the API of this ESXi is read-only", name);
    else if (xml_is(xml_child(licence, "editionKey"), "eval"))
        vsphere_tell(x, FINDING_FINE, "licence", "", "evaluation: it ends after 60 days");
    else if (licence)
        vsphere_tell(x, FINDING_FINE, "licence", "", "'%s'", name);
    return 0;
}

/* --- the hosts --- */

static const char *const host_paths[] = {"name", "config.product.version", "capability.nestedHVSupported",
                                         "runtime.connectionState", NULL};
static const struct vim_set host_set = {"HostSystem", host_paths};

static int look_at_host(void *data, struct vim_object *o, struct error *err) {
    (void)err;
    struct vsphere_examination *x = data;
    char name[120] = "", version[32] = "", subject[140];
    int major = 0, minor = 0;
    xml_text(vim_property(o, "name"), name, sizeof name);
    xml_text(vim_property(o, "config.product.version"), version, sizeof version);
    snprintf(subject, sizeof subject, "host %s", name);
    bool known = sscanf(version, "%4d.%4d", &major, &minor) == 2;
    if (!xml_is(vim_property(o, "runtime.connectionState"), "connected"))
        vsphere_tell(x, FINDING_WARNING, subject, "reconnect it in vCenter", "it is not connected");
    else if (!xml_flag(vim_property(o, "capability.nestedHVSupported"), true))
        vsphere_tell(x, FINDING_WARNING, subject, "it needs VT-x with EPT or AMD-V with RVI, and ESXi 5.1 or later",
                     "it does not support nested virtualization");
    else if (known && major * 100 + minor < 501)
        vsphere_tell(x, FINDING_WARNING, subject, "run 'nestor prepare'",
                     "ESXi %s exposes virtualization only with vhv.allow in /etc/vmware/config", version);
    else
        vsphere_tell(x, FINDING_FINE, subject, "",
                     "ESXi %s: virtualization is exposed per machine, vhv.allow is not needed", version);
    return 0;
}

static int look_at_hosts(struct vsphere_examination *x, const struct context *ctx, struct error *err) {
    const struct vsphere_compute *c;
    return vsphere_compute(x->hv, &c, ctx, err) ||
                   vim_read_these(x->hv->vim, c->hosts.items, c->hosts.n, &host_set, look_at_host, x, ctx, err)
               ? -1
               : 0;
}

/* --- the templates --- */

bool vsphere_is_missing(const struct error *why) {
    return (why->code == ERR_NOT_FOUND || why->code == ERR_CONFLICT) && !vim_fault_any(why);
}

struct finding_templates {
    struct hypervisor *hv;
    const struct context *ctx;
    struct error *failed; /* one per template */
};

static void find_template(void *data, size_t i) {
    struct finding_templates *f = data;
    const struct vsphere_source *ignored;
    if (vsphere_source(f->hv, f->hv->config.templates[i], true, &ignored, f->ctx, &f->failed[i]))
        return;
    error_clear(&f->failed[i]);
}

static void tell_missing(struct vsphere_examination *x, const char *template, const struct error *why) {
    vsphere_tell(x, FINDING_UNFIT, "templates", why->mend, "%s", why->cause);
    x->items[x->n - 1].template = template;
}

/* All at the same time: better missed now than when the first machine is made. */
static int look_at_templates(struct vsphere_examination *x, const struct context *ctx, struct error *err) {
    const struct hypervisor_config *config = &x->hv->config;
    struct finding_templates f = {x->hv, ctx, xcalloc(config->ntemplates + 1, sizeof *f.failed)};
    const struct error *failed = NULL;
    parallel_each(config->ntemplates, find_template, &f);
    for (size_t i = 0; i < config->ntemplates && !failed; i++) {
        if (f.failed[i].code == ERR_NONE)
            continue;
        if (vsphere_is_missing(&f.failed[i]))
            tell_missing(x, config->templates[i], &f.failed[i]);
        else
            failed = &f.failed[i];
    }
    int rc = failed ? -1 : 0;
    if (failed && err)
        *err = *failed;
    free(f.failed);
    return rc;
}

/* --- all of it --- */

enum look { LOOK_LICENCE, LOOK_HOSTS, LOOK_NETWORK, LOOK_TEMPLATES, LOOK_MAX };

static int take_licence(struct hypervisor *hv, void *data, const struct context *ctx, struct error *err) {
    (void)hv;
    return look_at_licence((struct vsphere_examination *)data + LOOK_LICENCE, ctx, err);
}
static int take_hosts(struct hypervisor *hv, void *data, const struct context *ctx, struct error *err) {
    (void)hv;
    return look_at_hosts((struct vsphere_examination *)data + LOOK_HOSTS, ctx, err);
}
static int take_network(struct hypervisor *hv, void *data, const struct context *ctx, struct error *err) {
    (void)hv;
    return vsphere_examine_network((struct vsphere_examination *)data + LOOK_NETWORK, ctx, err);
}

static int take_templates(struct hypervisor *hv, void *data, const struct context *ctx, struct error *err) {
    (void)hv;
    return look_at_templates((struct vsphere_examination *)data + LOOK_TEMPLATES, ctx, err);
}

int vsphere_examine(struct hypervisor *hv, finding_fn fn, void *data, const struct context *ctx, struct error *err) {
    static const vsphere_look looks[] = {take_licence, take_hosts, take_network, take_templates, NULL};
    struct vsphere_examination all[LOOK_MAX];
    if (context_check(ctx, hv->config.subject, "examining it", err))
        return -1;
    for (int i = 0; i < LOOK_MAX; i++)
        all[i] = (struct vsphere_examination){.hv = hv};
    int failed = vsphere_look_at_once(hv, looks, all, ctx, err);
    for (int i = 0; i < LOOK_MAX; i++) {
        for (size_t k = 0; k < all[i].n; k++) /* what was seen is told, also when something else was not */
            fn(data, &all[i].items[k]);
        free(all[i].items);
        arena_free(&all[i].arena);
    }
    return failed;
}
