/* Which switch the lab file means: inventory.switch. */
#include <stdlib.h>
#include <string.h>

#include "drivers/vsphere/vsphere_priv.h"

static const char *const switch_paths[] = {"name", "summary.productInfo.version", NULL};
static const struct vim_set switch_set = {"DistributedVirtualSwitch", switch_paths};

struct search {
    const char *name; /* NULL: whatever is seen is meant */
    struct vsphere_switch found;
    size_t n; /* how many there are */
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
    struct search *s = data;
    if (!s->name || xml_is(vim_property(o, "name"), s->name)) {
        s->n++;
        s->found = (struct vsphere_switch){o->ref, can_learn(vim_property(o, "summary.productInfo.version"))};
    }
    return 0;
}

static int find_by_path(struct hypervisor *hv, const char *path, struct search *s, const struct context *ctx,
                        struct error *err) {
    struct moref found;
    cleanup_vim_object struct vim_object object = {0};
    if (vsphere_path_find(hv, PLACE_NETWORK, path, &found, ctx, err))
        return -1;
    /* VmwareDistributedVirtualSwitch is one of them. */
    size_t len = strlen(found.type), suffix = strlen(switch_set.type);
    if (!moref_is_set(&found) || len < suffix || strcmp(found.type + len - suffix, switch_set.type) != 0)
        return 0;
    return vim_read(hv->vim, &found, &switch_set, &object, ctx, err) || take_switch(s, &object, err) ? -1 : 0;
}

static int find_by_name(struct hypervisor *hv, const char *name, struct search *s, const struct context *ctx,
                        struct error *err) {
    const struct vsphere_datacenter *dc;
    s->name = name;
    if (vsphere_datacenter(hv, &dc, ctx, err) || vim_read_all(hv->vim, &dc->ref, &switch_set, take_switch, s, ctx, err))
        return -1;
    if (s->n < 2)
        return 0;
    error_set(err, ERR_CONFLICT, hv->config.subject, "there are %zu distributed switches '%s'", s->n, name);
    return error_mend(err, "say which by its inventory path, as 'govc find / -name %s' shows it", name);
}

/* A name with a slash in it is a path. */
int vsphere_switch(struct hypervisor *hv, struct vsphere_switch *ret, const struct context *ctx, struct error *err) {
    const char *name = hv->settings.vswitch;
    struct search s = {0};
    if (hv->vcenter && (strchr(name, '/') ? find_by_path : find_by_name)(hv, name, &s, ctx, err))
        return -1;
    *ret = s.found;
    return 0;
}
