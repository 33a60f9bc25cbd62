/* Where machines are put. What the lab file names is found by its inventory path, one call each; a name that is not
 * there, or none at all, costs one read of everything of that kind. Nothing is looked up before somebody needs it: a
 * `down` works when the folder or the network is gone. */
#include <stdlib.h>
#include <string.h>

#include "drivers/vsphere/vsphere_priv.h"
#include "nestor/lab.h"
#include "nestor/parallel.h"

#define NAMES_TOLD 8

static const struct place_kind {
    const char *param, *noun, *folder, *type, *also;
} kinds[PLACE_MAX] = {
#define X(symbol, param, noun, folder, type, also) [symbol] = {param, noun, folder, type, also},
    VSPHERE_PLACES(X)
#undef X
};

/* --- by path --- */

static int find_by_path(struct hypervisor *hv, const char *path, struct moref *ret, const struct context *ctx,
                        struct error *err) {
    struct soap_request *request = soap_new("FindByInventoryPath", &vim_service(hv->vim)->search_index);
    soap_text(request, "inventoryPath", path + strspn(path, "/"));
    cleanup_soap_reply struct soap_reply *reply = NULL;
    xmlNode *found;
    int rc = vim_call(hv->vim, request, VIM_SAFE, &reply, NULL, ctx, err);
    soap_free(request);
    if (rc || (rc = soap_next(reply, &found, err)) < 0)
        return -1;
    *ret = MOREF_NONE;
    if (rc > 0)
        xml_ref(found, ret);
    return 0;
}

static bool is_of_kind(enum vsphere_place place, const struct moref *ref) {
    const struct place_kind *kind = &kinds[place];
    bool opaque = place == PLACE_NETWORK && strcmp(ref->type, "OpaqueNetwork") == 0;
    return opaque || strcmp(ref->type, kind->type) == 0 || strcmp(ref->type, kind->also) == 0;
}

/* --- by name: everything of a kind --- */

struct candidate {
    struct moref ref;
    char *name;
};
struct candidates {
    struct candidate *items;
    size_t n;
};

static void candidates_free(struct candidates *c) {
    for (size_t i = 0; i < c->n; i++)
        free(c->items[i].name);
    free(c->items);
}
#define cleanup_candidates __attribute__((cleanup(candidates_free)))

static int take_candidate(void *data, struct vim_object *object, struct error *err) {
    (void)err;
    struct candidates *c = data;
    char *name = xml_text_new(vim_property(object, "name"));
    if (!name)
        return 0;
    c->items = xrealloc(c->items, (c->n + 1) * sizeof *c->items);
    c->items[c->n++] = (struct candidate){object->ref, name};
    return 0;
}

static int read_candidates(struct hypervisor *hv, enum vsphere_place place, struct candidates *ret,
                           const struct context *ctx, struct error *err) {
    static const char *const paths[] = {"name", NULL};
    const struct vim_set set = {kinds[place].type, paths};
    const struct vsphere_datacenter *dc = NULL;
    if (place != PLACE_DATACENTER && vsphere_datacenter(hv, &dc, ctx, err))
        return -1;
    return vim_read_all(hv->vim, dc ? &dc->ref : &vim_service(hv->vim)->root_folder, &set, take_candidate, ret, ctx,
                        err);
}

/* "there are: A, B, C": the one that was meant, if any, goes first. */
static void list_names(const struct candidates *c, const char *wanted, struct buffer *ret) {
    const char **names = xcalloc(c->n + 1, sizeof *names);
    for (size_t i = 0; i < c->n; i++)
        names[i] = c->items[i].name;
    const char *nearest = wanted ? nearest_word(wanted, names, c->n) : NULL;
    size_t told = 0;
    if (nearest)
        buffer_printf(ret, "%s%s", told++ ? ", " : "", nearest);
    for (size_t i = 0; i < c->n && told < NAMES_TOLD; i++)
        if (names[i] != nearest)
            buffer_printf(ret, "%s%s", told++ ? ", " : "", names[i]);
    if (c->n > told)
        buffer_printf(ret, " and %zu more", c->n - told);
    free(names);
}

static int not_found(struct hypervisor *hv, enum vsphere_place place, const char *name, const struct candidates *c,
                     struct error *err) {
    cleanup_buffer struct buffer names = {0};
    const char *last = strrchr(name, '/');
    list_names(c, last ? last + 1 : name, &names);
    error_set(err, ERR_NOT_FOUND, hv->config.subject, "there is no %s '%s'", kinds[place].noun, name);
    if (!c->n)
        return error_mend(err, "there is none that %s may see", hv->settings.username);
    return error_mend(err, "there are: %s", buffer_str(&names));
}

static int ambiguous(struct hypervisor *hv, enum vsphere_place place, const char *name, size_t n, struct error *err) {
    error_set(err, ERR_CONFLICT, hv->config.subject, "there are %zu %ss '%s'", n, kinds[place].noun, name);
    return error_mend(err, "say which by its inventory path, as 'govc find / -name %s' shows it", name);
}

static int find_by_name(struct hypervisor *hv, enum vsphere_place place, const char *name, struct moref *ret,
                        const struct context *ctx, struct error *err) {
    cleanup_candidates struct candidates all = {0};
    size_t same = 0;
    if (read_candidates(hv, place, &all, ctx, err))
        return -1;
    for (size_t i = 0; i < all.n; i++)
        if (strcmp(all.items[i].name, name) == 0 && same++ == 0)
            *ret = all.items[i].ref;
    if (same > 1)
        return ambiguous(hv, place, name, same, err);
    return same ? 0 : not_found(hv, place, name, &all, err);
}

/* The only one of its kind, as govc has it when nothing is named. ret_name (may be NULL): the caller's to free. */
static int find_only(struct hypervisor *hv, enum vsphere_place place, struct moref *ret, char **ret_name,
                     const struct context *ctx, struct error *err) {
    cleanup_candidates struct candidates all = {0};
    cleanup_buffer struct buffer names = {0};
    if (read_candidates(hv, place, &all, ctx, err))
        return -1;
    if (all.n == 1) {
        *ret = all.items[0].ref;
        if (ret_name)
            *ret_name = steal_ptr(&all.items[0].name);
        return 0;
    }
    if (!all.n) {
        error_set(err, ERR_NOT_FOUND, hv->config.subject, "it has no %s", kinds[place].noun);
        return error_mend(err, "there is none that %s may see", hv->settings.username);
    }
    list_names(&all, NULL, &names);
    error_set(err, ERR_CONFLICT, hv->config.subject, "it has %zu %ss, and the lab file does not say which", all.n,
              kinds[place].noun);
    return error_mend(err, "say %s; there are: %s", kinds[place].param, buffer_str(&names));
}

/* --- any of these --- */

/* What is no path is tried as one below the folder of its kind first: that is where it mostly is. A datacenter that is
 * named need not be looked up for that. */
static int path_of(struct hypervisor *hv, enum vsphere_place place, const char *name, char **ret,
                   const struct context *ctx, struct error *err) {
    const char *datacenter = hv->settings.named[PLACE_DATACENTER];
    const struct vsphere_datacenter *dc;
    if (name[0] == '/' || place == PLACE_DATACENTER) {
        *ret = xstrdup(name);
        return 0;
    }
    if (!datacenter && vsphere_datacenter(hv, &dc, ctx, err))
        return -1;
    *ret = xasprintf("%s/%s/%s", datacenter ? datacenter : dc->name, kinds[place].folder, name);
    return 0;
}

int vsphere_path_find(struct hypervisor *hv, enum vsphere_place place, const char *name, struct moref *ret,
                      const struct context *ctx, struct error *err) {
    cleanup_free char *path = NULL;
    return path_of(hv, place, name, &path, ctx, err) || find_by_path(hv, path, ret, ctx, err) ? -1 : 0;
}

int vsphere_place_find(struct hypervisor *hv, enum vsphere_place place, const char *name, struct moref *ret,
                       const struct context *ctx, struct error *err) {
    struct moref found;
    if (vsphere_path_find(hv, place, name, &found, ctx, err))
        return -1;
    if (moref_is_set(&found) && is_of_kind(place, &found)) {
        *ret = found;
        return 0;
    }
    return find_by_name(hv, place, name, ret, ctx, err);
}

int vsphere_name_of(struct hypervisor *hv, const struct moref *ref, char **ret, const struct context *ctx,
                    struct error *err) {
    static const char *const paths[] = {"name", NULL};
    static const struct vim_set set = {"ManagedEntity", paths};
    cleanup_vim_object struct vim_object object = {0};
    if (vim_read(hv->vim, ref, &set, &object, ctx, err))
        return -1;
    char *name = xml_text_new(vim_property(&object, "name"));
    if (!name)
        return error_set(err, ERR_PROTOCOL, hv->config.subject, "%s %s has no name", ref->type, ref->id);
    *ret = name;
    return 0;
}

/* One in a folder is named by its path. */
static int look_for_datacenter(struct hypervisor *hv, void *data, const struct context *ctx, struct error *err) {
    struct vsphere_datacenter *ret = data;
    const char *name = hv->settings.named[PLACE_DATACENTER];
    if (!name)
        return find_only(hv, PLACE_DATACENTER, &ret->ref, &ret->name, ctx, err);
    if (vsphere_place_find(hv, PLACE_DATACENTER, name, &ret->ref, ctx, err))
        return -1;
    ret->name = xstrdup(name + strspn(name, "/"));
    return 0;
}

int vsphere_datacenter(struct hypervisor *hv, const struct vsphere_datacenter **ret, const struct context *ctx,
                       struct error *err) {
    *ret = &hv->datacenter;
    return once_do(&hv->datacenter_once, hv->config.subject, "finding the datacenter", hv, look_for_datacenter,
                   &hv->datacenter, ctx, err);
}

/* --- what machines run on --- */

/* The property of the set, which has one. */
static int read_ref(struct hypervisor *hv, const struct moref *ref, const struct vim_set *set, struct moref *ret,
                    const struct context *ctx, struct error *err) {
    cleanup_vim_object struct vim_object object = {0};
    if (vim_read(hv->vim, ref, set, &object, ctx, err))
        return -1;
    if (!xml_ref(vim_property(&object, set->paths[0]), ret))
        return error_set(err, ERR_PROTOCOL, hv->config.subject, "%s %s has no %s", ref->type, ref->id, set->paths[0]);
    return 0;
}

static const char *const owner_paths[] = {"owner", NULL}, *const parent_paths[] = {"parent", NULL},
                         *const folder_paths[] = {"vmFolder", NULL},
                         *const compute_paths[] = {"resourcePool", "host", "configurationEx", NULL},
                         *const state_paths[] = {"runtime.connectionState", "runtime.inMaintenanceMode", NULL};
static const struct vim_set owner_set = {"ResourcePool", owner_paths}, parent_set = {"HostSystem", parent_paths},
                            folder_set = {"Datacenter", folder_paths}, compute_set = {"ComputeResource", compute_paths},
                            state_set = {"HostSystem", state_paths};

bool vsphere_host_is_usable(const struct vim_object *host) {
    return xml_is(vim_property(host, "runtime.connectionState"), "connected") &&
           !xml_flag(vim_property(host, "runtime.inMaintenanceMode"), false);
}

static bool is_in(const struct moref_list *list, const struct moref *ref) {
    for (size_t i = 0; i < list->n; i++)
        if (moref_equal(&list->items[i], ref))
            return true;
    return false;
}

static int take_compute(void *data, struct vim_object *o, struct error *err) {
    (void)err;
    struct vsphere_compute *c = data;
    struct moref ref;
    if (!moref_equal(&o->ref, &c->compute)) {
        if (vsphere_host_is_usable(o) && !is_in(&c->usable, &o->ref))
            moref_list_add(&c->usable, &o->ref);
        return 0;
    }
    if (!moref_is_set(&c->pool))
        xml_ref(vim_property(o, "resourcePool"), &c->pool);
    xmlNode *drs = xml_child(vim_property(o, "configurationEx"), "drsConfig");
    c->no_drs = drs && !xml_flag(xml_child(drs, "enabled"), true);
    xmlNode *host = xml_child(vim_property(o, "host"), "ManagedObjectReference");
    for (; host; host = xml_next(host, "ManagedObjectReference"))
        if (xml_ref(host, &ref) && !is_in(&c->hosts, &ref))
            moref_list_add(&c->hosts, &ref);
    return 0;
}

/* Its root pool unless another is named, and its hosts unless it is one of them. */
static int read_compute(struct hypervisor *hv, struct vsphere_compute *c, const struct context *ctx,
                        struct error *err) {
    if (vim_read_along(hv->vim, &c->compute, &compute_set, "host", &state_set, take_compute, c, ctx, err))
        return -1;
    if (!moref_is_set(&c->pool))
        return error_set(err, ERR_PROTOCOL, hv->config.subject, "%s has no resource pool", c->compute.id);
    if (!moref_is_set(&c->host))
        return 0;
    bool usable = is_in(&c->usable, &c->host);
    c->hosts.n = c->usable.n = 0;
    moref_list_add(&c->hosts, &c->host);
    if (usable)
        moref_list_add(&c->usable, &c->host);
    return 0;
}

const struct moref *vsphere_host_for_next(struct hypervisor *hv, const struct vsphere_compute *c) {
    if (moref_is_set(&c->host))
        return &c->host;
    return c->no_drs && c->usable.n ? &c->usable.items[atomic_fetch_add(&hv->placed, 1) % c->usable.n] : NULL;
}

void vsphere_compute_free(struct vsphere_compute *c) {
    free(c->hosts.items);
    free(c->usable.items);
}

static int look_for_compute(struct hypervisor *hv, void *data, const struct context *ctx, struct error *err) {
    struct vsphere_compute *ret = data;
    const char *const *named = hv->settings.named;
    struct vsphere_compute c = {0};
    int failed;
    if (named[PLACE_POOL])
        failed = vsphere_place_find(hv, PLACE_POOL, named[PLACE_POOL], &c.pool, ctx, err) ||
                 read_ref(hv, &c.pool, &owner_set, &c.compute, ctx, err);
    else if (named[PLACE_HOST])
        failed = vsphere_place_find(hv, PLACE_HOST, named[PLACE_HOST], &c.host, ctx, err) ||
                 read_ref(hv, &c.host, &parent_set, &c.compute, ctx, err);
    else if (named[PLACE_CLUSTER])
        failed = vsphere_place_find(hv, PLACE_CLUSTER, named[PLACE_CLUSTER], &c.compute, ctx, err);
    else
        failed = find_only(hv, PLACE_CLUSTER, &c.compute, NULL, ctx, err);
    if (failed || read_compute(hv, &c, ctx, err)) {
        vsphere_compute_free(&c);
        return -1;
    }
    *ret = c;
    return 0;
}

int vsphere_compute(struct hypervisor *hv, const struct vsphere_compute **ret, const struct context *ctx,
                    struct error *err) {
    *ret = &hv->compute;
    return once_do(&hv->compute_once, hv->config.subject, "finding the cluster", hv, look_for_compute, &hv->compute,
                   ctx, err);
}

/* --- the rest --- */

/* A bare ESXi must be told which datastore; a vCenter takes the template's. */
static int look_for_default(struct hypervisor *hv, enum vsphere_place place, struct moref *ret,
                            const struct context *ctx, struct error *err) {
    const struct vsphere_datacenter *dc;
    if (place == PLACE_FOLDER) {
        return vsphere_datacenter(hv, &dc, ctx, err) || read_ref(hv, &dc->ref, &folder_set, ret, ctx, err) ? -1 : 0;
    }
    return place == PLACE_DATASTORE && !hv->vcenter ? find_only(hv, place, ret, NULL, ctx, err) : 0;
}

static int look_for_place(struct hypervisor *hv, void *data, const struct context *ctx, struct error *err) {
    struct moref *ret = data;
    enum vsphere_place place = (enum vsphere_place)(ret - hv->places);
    const char *name = hv->settings.named[place];
    if (name ? vsphere_place_find(hv, place, name, ret, ctx, err) : look_for_default(hv, place, ret, ctx, err))
        return -1;
    /* Files of a bare ESXi are named with it. */
    return place == PLACE_DATASTORE && !hv->vcenter ? vsphere_name_of(hv, ret, &hv->datastore_name, ctx, err) : 0;
}

int vsphere_place(struct hypervisor *hv, enum vsphere_place place, struct moref *ret, const struct context *ctx,
                  struct error *err) {
    if (once_do(&hv->place_once[place], hv->config.subject, "finding where machines go", hv, look_for_place,
                &hv->places[place], ctx, err))
        return -1;
    *ret = hv->places[place];
    return 0;
}

/* --- all of them at once --- */

struct looker {
    vsphere_look look;
    int failed;
    struct error err;
};

struct looking {
    struct hypervisor *hv;
    const struct context *ctx;
    void *data;
    struct looker lookers[VSPHERE_LOOKS_MAX];
};

static void look_one(void *data, size_t i) {
    struct looking *l = data;
    struct looker *one = &l->lookers[i];
    one->failed = one->look(l->hv, l->data, l->ctx, &one->err);
}

int vsphere_look_at_once(struct hypervisor *hv, const vsphere_look *looks, void *data, const struct context *ctx,
                         struct error *err) {
    struct looking l = {.hv = hv, .ctx = ctx, .data = data};
    size_t n = 0, first = 0;
    for (; looks[n] && n < VSPHERE_LOOKS_MAX; n++)
        l.lookers[n].look = looks[n];
    parallel_each(n, look_one, &l);
    while (first < n && !l.lookers[first].failed)
        first++;
    if (first < n && err)
        *err = l.lookers[first].err;
    return first < n ? -1 : 0;
}
