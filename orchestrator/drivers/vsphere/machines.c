/* What is there of ours. One bulk read finds it: the names, UUIDs and annotations of all VMs, then the settings of
 * those that may be ours. From then on the handle knows its machines, and its own operations keep that up to date, so
 * that none of them begins with looking one up. What a call with an uncertain end was about is looked up again. */
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/vsphere/vsphere_priv.h"

/* One machine of ours, in hv->vms. */
struct known {
    char uuid[37]; /* the key */
    char lab_id[LAB_ID_LEN + 1];
    char *path, *name;
    struct vm vm;
    struct moref *others; /* more VMs with its tag: it was made twice */
    size_t nothers;
    bool doubted;
    int64_t at;   /* hv->vms_clock when it was last kept or doubted */
    int64_t read; /* the bulk read that saw it last */
};

/* --- what cannot be told --- */

static bool is_silent_machine(const struct vsphere_record *r, const struct tag *tag) {
    char derived[37];
    cleanup_free char *native = machine_native_name(tag->lab_id, tag->path);
    machine_uuid(tag->lab_id, tag->path, derived);
    return strcmp(r->name, native) == 0 || strcasecmp(r->uuid, derived) == 0;
}

/* By its name. One that was renamed may be any lab's. */
static bool is_silent_of_lab(const struct vsphere_record *r, const char *lab_id) {
    return !lab_id || !vsphere_looks_native(r->name) || strncmp(r->name + strlen(r->name) - 8, lab_id, 8) == 0;
}

static int say_silent(const struct vsphere_record *r, const char *subject, struct error *err) {
    error_set(err, ERR_CONFLICT, subject, "the server cannot tell what VM %s is: it is %s", r->name, r->state);
    return error_mend(err, "bring its datastore and its host back; if its files are lost, remove it from the server's "
                           "inventory by hand");
}

/* With the lock held. */
static void silent_clear(struct hypervisor *hv) {
    for (size_t i = 0; i < hv->nsilent; i++)
        vsphere_record_free(&hv->silent[i]);
    free(hv->silent);
    hv->silent = NULL;
    hv->nsilent = 0;
}

/* --- what is known, by UUID --- */

static int compare(const void *a, const void *b) {
    return strcmp(((const struct known *)a)->uuid, ((const struct known *)b)->uuid);
}

static struct known *known_find(struct hypervisor *hv, const char *lab_id, const char *path) {
    struct known key;
    machine_uuid(lab_id, path, key.uuid);
    void *node = tfind(&key, &hv->vms, compare);
    return node ? *(struct known **)node : NULL;
}

static struct known *known_get(struct hypervisor *hv, const char *lab_id, const char *path) {
    struct known *k = known_find(hv, lab_id, path);
    if (k)
        return k;
    k = xcalloc(1, sizeof *k);
    machine_uuid(lab_id, path, k->uuid);
    memcpy(k->lab_id, lab_id, LAB_ID_LEN);
    k->path = xstrdup(path);
    if (!tsearch(k, &hv->vms, compare))
        abort(); /* out of memory: as xmalloc */
    return k;
}

static void known_free(void *data) {
    struct known *k = data;
    free(k->path);
    free(k->name);
    free(k->others);
    free(k);
}

void vsphere_vms_free(struct hypervisor *hv) {
    tdestroy(hv->vms, known_free);
    hv->vms = NULL;
    silent_clear(hv);
}

static void known_set(struct known *k, const struct vm *vm, const char *name) {
    if (name && (!k->name || strcmp(k->name, name) != 0)) {
        free(k->name);
        k->name = xstrdup(name);
    }
    k->vm = *vm;
    k->doubted = false;
}

void vsphere_vm_keep(struct hypervisor *hv, const struct tag *tag, const struct vm *vm) {
    pthread_mutex_lock(&hv->lock);
    struct known *k = known_get(hv, tag->lab_id, tag->path);
    known_set(k, vm, NULL);
    if (!vm->there)
        k->nothers = 0;
    k->at = ++hv->vms_clock;
    pthread_mutex_unlock(&hv->lock);
}

void vsphere_vm_doubt(struct hypervisor *hv, const struct tag *tag) {
    pthread_mutex_lock(&hv->lock);
    struct known *k = known_get(hv, tag->lab_id, tag->path);
    k->doubted = true;
    k->at = ++hv->vms_clock;
    pthread_mutex_unlock(&hv->lock);
}

/* --- the bulk read --- */

struct reading {
    struct hypervisor *hv;
    int64_t begun; /* what was kept or doubted after that is newer than what is read */
    int64_t number;
    struct moref *refs; /* of what may be ours */
    size_t n, cap;
    struct vsphere_record *later; /* what is ours if it lies in the folder of ours, and what cannot be told */
    size_t nlater;
};

static int take_any(void *data, struct vim_object *o, struct error *err) {
    (void)err;
    struct reading *r = data;
    char name[256] = "", uuid[64] = "", annotation[2048] = "";
    xml_text(vim_property(o, "name"), name, sizeof name);
    xml_text(vim_property(o, "summary.config.instanceUuid"), uuid, sizeof uuid);
    xml_text(vim_property(o, "summary.config.annotation"), annotation, sizeof annotation);
    if (!vsphere_looks_native(vsphere_plain_name(name)) && !vsphere_looks_derived(uuid) &&
        !strstr(annotation, "nestor lab="))
        return 0;
    if (r->n == r->cap) {
        r->cap = r->cap ? r->cap * 2 : 64;
        r->refs = xrealloc(r->refs, r->cap * sizeof *r->refs);
    }
    r->refs[r->n++] = o->ref;
    return 0;
}

static void keep_record(struct reading *reading, const struct vsphere_record *r) {
    pthread_mutex_lock(&reading->hv->lock);
    struct known *k = known_get(reading->hv, r->lab_id, r->path);
    if (k->read == reading->number && !moref_equal(&k->vm.ref, &r->vm.ref)) {
        k->others = xrealloc(k->others, (k->nothers + 1) * sizeof *k->others);
        k->others[k->nothers++] = r->vm.ref;
    } else if (k->at <= reading->begun) {
        known_set(k, &r->vm, r->name);
        k->nothers = 0;
    }
    k->read = reading->number;
    pthread_mutex_unlock(&reading->hv->lock);
}

static int take_record(void *data, struct vim_object *o, struct error *err) {
    (void)err;
    struct reading *reading = data;
    struct vsphere_record r = {0};
    enum vsphere_whose whose = vsphere_record_read(o, &r);
    if (whose == VSPHERE_OURS)
        keep_record(reading, &r);
    if (whose == VSPHERE_OURS_BY_NAME || (r.name && r.state[0])) {
        reading->later = xrealloc(reading->later, (reading->nlater + 1) * sizeof *reading->later);
        reading->later[reading->nlater++] = r;
    } else {
        vsphere_record_free(&r);
    }
    return 0;
}

/* Unset when it is not there: then nothing lies in it. */
static int find_folder(struct hypervisor *hv, struct moref *ret, const struct context *ctx, struct error *err) {
    struct error why = {0};
    *ret = MOREF_NONE;
    if (vsphere_place(hv, PLACE_FOLDER, ret, ctx, &why) == 0 || why.code == ERR_NOT_FOUND || why.code == ERR_CONFLICT ||
        vim_fault_any(&why))
        return 0;
    if (err)
        *err = why;
    return -1;
}

static void keep_silent(struct hypervisor *hv, struct vsphere_record *r) {
    pthread_mutex_lock(&hv->lock);
    hv->silent = xrealloc(hv->silent, (hv->nsilent + 1) * sizeof *hv->silent);
    hv->silent[hv->nsilent++] = *r;
    pthread_mutex_unlock(&hv->lock);
    *r = (struct vsphere_record){0};
}

/* Only now, for there is seldom something, and without need the folder is not asked for. */
static int sort_later(struct reading *reading, const struct context *ctx, struct error *err) {
    struct moref folder = MOREF_NONE;
    if (reading->nlater && find_folder(reading->hv, &folder, ctx, err))
        return -1;
    pthread_mutex_lock(&reading->hv->lock);
    silent_clear(reading->hv);
    pthread_mutex_unlock(&reading->hv->lock);
    for (size_t i = 0; i < reading->nlater; i++) {
        struct vsphere_record *r = &reading->later[i];
        bool inside = moref_is_set(&folder) && moref_equal(&r->parent, &folder);
        if (!r->state[0] && inside)
            keep_record(reading, r);
        else if (r->state[0] && (vsphere_looks_derived(r->uuid) || (inside && vsphere_looks_native(r->name))))
            keep_silent(reading->hv, r);
    }
    return 0;
}

/* What was known and is not there any more. */
static void forget_unread(const void *node, VISIT which, void *data) {
    const struct reading *reading = data;
    struct known *k = *(struct known *const *)node;
    if ((which == postorder || which == leaf) && k->read != reading->number && k->at <= reading->begun) {
        k->vm = (struct vm){0};
        k->nothers = 0;
        k->doubted = false;
    }
}

static int read_ours(struct hypervisor *hv, const struct context *ctx, struct error *err) {
    static const char *const paths[] = {"name", "summary.config.instanceUuid", "summary.config.annotation", NULL};
    static const struct vim_set set = {"VirtualMachine", paths};
    struct reading reading = {.hv = hv};
    pthread_mutex_lock(&hv->lock);
    reading.begun = hv->vms_clock;
    reading.number = ++hv->vms_clock;
    pthread_mutex_unlock(&hv->lock);
    int failed = vim_read_all(hv->vim, &vim_service(hv->vim)->root_folder, &set, take_any, &reading, ctx, err);
    if (!failed && reading.n)
        failed = vim_read_these(hv->vim, reading.refs, reading.n, &vsphere_record_set, take_record, &reading, ctx, err);
    if (!failed)
        failed = sort_later(&reading, ctx, err);
    if (!failed) {
        pthread_mutex_lock(&hv->lock);
        twalk_r(hv->vms, forget_unread, &reading);
        pthread_mutex_unlock(&hv->lock);
    }
    for (size_t i = 0; i < reading.nlater; i++)
        vsphere_record_free(&reading.later[i]);
    free(reading.later);
    free(reading.refs);
    return failed ? -1 : 0;
}

/* again: also when it was read before. */
static int load(struct hypervisor *hv, bool again, const struct context *ctx, struct error *err) {
    int mine = once_begin(&hv->vms_once, hv->config.subject, "looking at its machines", ctx, err);
    if (mine < 0)
        return -1;
    int failed = mine || again ? read_ours(hv, ctx, err) : 0;
    if (mine)
        once_end(&hv->vms_once, !failed);
    return failed ? error_context(err, "looking at its machines") : 0;
}

/* --- one machine --- */

static int find_by_uuid(struct hypervisor *hv, const struct tag *tag, struct moref *ret, const struct context *ctx,
                        struct error *err) {
    char uuid[37];
    machine_uuid(tag->lab_id, tag->path, uuid);
    struct soap_request *request = soap_new("FindByUuid", &vim_service(hv->vim)->search_index);
    soap_text(request, "uuid", uuid);
    soap_flag(request, "vmSearch", true);
    soap_flag(request, "instanceUuid", true);
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

/* The VMs that were last known to be this machine; the caller frees it. */
static struct moref *known_refs(struct hypervisor *hv, const struct tag *tag, size_t *ret_n) {
    pthread_mutex_lock(&hv->lock);
    const struct known *k = known_find(hv, tag->lab_id, tag->path);
    size_t n = k && k->vm.there ? 1 + k->nothers : 0;
    struct moref *refs = xcalloc(n + 1, sizeof *refs);
    for (size_t i = 0; i < n; i++)
        refs[i] = i ? k->others[i - 1] : k->vm.ref;
    pthread_mutex_unlock(&hv->lock);
    *ret_n = n;
    return refs;
}

/* One that is gone or somebody else's is not there. known: it was ours, if only by its name. */
static int look_at_vm(struct hypervisor *hv, const struct tag *tag, const struct moref *ref, bool known, struct vm *ret,
                      const struct context *ctx, struct error *err) {
    cleanup_vsphere_record struct vsphere_record r = {0};
    cleanup_vim_object struct vim_object object = {0};
    struct error why = {0};
    if (vim_read(hv->vim, ref, &vsphere_record_set, &object, ctx, &why)) {
        if (vim_fault_is(&why, VIM_MANAGED_OBJECT_NOT_FOUND))
            return 0;
        if (err)
            *err = why;
        return error_subject(err, tag->path);
    }
    enum vsphere_whose whose = vsphere_record_read(&object, &r);
    if (r.name && r.state[0])
        return say_silent(&r, tag->path, err);
    bool ours = whose == VSPHERE_OURS || (known && whose == VSPHERE_OURS_BY_NAME);
    if (ours && strcmp(r.lab_id, tag->lab_id) == 0 && strcmp(r.path, tag->path) == 0)
        *ret = r.vm;
    return 0;
}

/* What was known is asked itself: a server may have given it another UUID (vim25, VmInstanceUuidChangedEvent), and a
 * search for its own would end with nothing, which a removal takes for its end. */
int vsphere_vm_look(struct hypervisor *hv, const struct tag *tag, struct vm *ret, const struct context *ctx,
                    struct error *err) {
    struct moref found = MOREF_NONE;
    struct vm vm = {0};
    size_t n = 0;
    cleanup_free struct moref *refs = known_refs(hv, tag, &n);
    for (size_t i = 0; i < n && !vm.there; i++)
        if (look_at_vm(hv, tag, &refs[i], true, &vm, ctx, err))
            return -1;
    if (!vm.there && find_by_uuid(hv, tag, &found, ctx, err))
        return error_subject(err, tag->path);
    if (moref_is_set(&found) && look_at_vm(hv, tag, &found, false, &vm, ctx, err))
        return -1;
    vsphere_vm_keep(hv, tag, &vm);
    *ret = vm;
    return 0;
}

int vsphere_vm_find(struct hypervisor *hv, const struct tag *tag, struct vm *ret, const struct context *ctx,
                    struct error *err) {
    if (context_check(ctx, tag->path, "looking for it", err) || load(hv, false, ctx, err))
        return -1;
    pthread_mutex_lock(&hv->lock);
    const struct known *k = known_find(hv, tag->lab_id, tag->path);
    bool doubted = k && k->doubted;
    if (k && k->nothers) /* made twice: neither counts */
        *ret = (struct vm){.there = true, .ref = k->vm.ref, .power = k->vm.power};
    else
        *ret = k ? k->vm : (struct vm){0};
    int failed = 0;
    for (size_t i = 0; i < hv->nsilent && !failed && !ret->there; i++)
        if (is_silent_machine(&hv->silent[i], tag))
            failed = say_silent(&hv->silent[i], tag->path, err);
    pthread_mutex_unlock(&hv->lock);
    if (failed)
        return -1;
    return doubted ? vsphere_vm_look(hv, tag, ret, ctx, err) : 0;
}

int vsphere_vm_need(struct hypervisor *hv, const struct tag *tag, struct vm *ret, const struct context *ctx,
                    struct error *err) {
    struct vm vm;
    if (vsphere_vm_find(hv, tag, &vm, ctx, err))
        return -1;
    if (!vm.there || !vm.digest[0]) {
        error_set(err, ERR_NOT_FOUND, tag->path,
                  vm.there ? "it was only half made on %s" : "there is no such machine on %s", hv->config.subject);
        return error_mend(err, "run 'nestor up': it makes what is missing");
    }
    *ret = vm;
    return 0;
}

int vsphere_vm_all(struct hypervisor *hv, const struct tag *tag, struct moref **ret, size_t *ret_n,
                   const struct context *ctx, struct error *err) {
    struct vm vm;
    if (vsphere_vm_find(hv, tag, &vm, ctx, err) || (!vm.there && vsphere_vm_look(hv, tag, &vm, ctx, err)))
        return -1;
    *ret = known_refs(hv, tag, ret_n);
    return 0;
}

int vsphere_vm_failed(struct hypervisor *hv, const struct tag *tag, bool uncertain, struct error *why,
                      struct error *err) {
    bool over = why->code == ERR_TIMEOUT || why->code == ERR_CANCELLED;
    if (uncertain || over || vim_fault_is(why, VIM_MANAGED_OBJECT_NOT_FOUND))
        vsphere_vm_doubt(hv, tag);
    if (uncertain && !over)
        error_retry(why); /* the next try looks first */
    error_subject(why, tag->path);
    if (err)
        *err = *why;
    return -1;
}

int vsphere_vm_do(struct hypervisor *hv, const struct tag *tag, struct soap_request *request, struct moref *ret,
                  const struct context *ctx, struct error *err) {
    struct error why = {0};
    bool uncertain = false;
    if (vim_do(hv->vim, request, ret, &uncertain, ctx, &why) == 0)
        return 0;
    return vsphere_vm_failed(hv, tag, uncertain, &why, err);
}

void vsphere_set_digest(struct vm *vm, const struct machine_spec *spec) {
    const char *digest = spec->digest && spec->digest[0] ? spec->digest : VSPHERE_NO_DIGEST;
    memccpy(vm->digest, digest, '\0', sizeof vm->digest - 1);
    vm->digest[sizeof vm->digest - 1] = '\0';
}

/* --- observe --- */

struct telling {
    const char *lab_id;
    struct observation *observation;
};

static void tell(const void *node, VISIT which, void *data) {
    const struct telling *t = data;
    const struct known *k = *(struct known *const *)node;
    if ((which != postorder && which != leaf) || !k->vm.there || (t->lab_id && strcmp(t->lab_id, k->lab_id) != 0))
        return;
    struct arena *arena = &t->observation->arena;
    bool whole = k->vm.digest[0] && !k->nothers;
    cleanup_free char *native = machine_native_name(k->lab_id, k->path);
    struct observed *o = observation_add(t->observation);
    *o = (struct observed){.lab_id = arena_strdup(arena, k->lab_id),
                           .path = arena_strdup(arena, k->path),
                           .name = arena_strdup(arena, k->name ? k->name : native),
                           .digest = strcmp(k->vm.digest, VSPHERE_NO_DIGEST) ? arena_strdup(arena, k->vm.digest) : "",
                           .power = whole ? k->vm.power : POWER_BROKEN,
                           .exposed = k->vm.exposed};
}

static int look_at_machines(struct hypervisor *hv, void *data, const struct context *ctx, struct error *err) {
    (void)data;
    return load(hv, true, ctx, err);
}

/* A cluster that is gone keeps nobody from taking down what was on it. */
static int look_at_units(struct hypervisor *hv, void *data, const struct context *ctx, struct error *err) {
    const struct vsphere_compute *c;
    struct error ignored = {0};
    if (vsphere_compute(hv, &c, ctx, &ignored) == 0) {
        *(uint32_t *)data = VSPHERE_UNITS_PER_HOST * (uint32_t)c->usable.n;
        return 0;
    }
    return context_check(ctx, hv->config.subject, "looking at its hosts", err);
}

int vsphere_observe(struct hypervisor *hv, const char *lab_id, struct observation **ret, const struct context *ctx,
                    struct error *err) {
    static const vsphere_look looks[] = {look_at_machines, look_at_units, vsphere_look_for_old_network, NULL};
    uint32_t units = 0;
    if (context_check(ctx, hv->config.subject, "looking at its machines", err) ||
        vsphere_look_at_once(hv, looks, &units, ctx, err))
        return -1;
    struct telling t = {lab_id, xcalloc(1, sizeof *t.observation)};
    t.observation->parallel = units;
    pthread_mutex_lock(&hv->lock);
    int failed = 0;
    for (size_t i = 0; i < hv->nsilent && !failed; i++)
        if (is_silent_of_lab(&hv->silent[i], lab_id))
            failed = say_silent(&hv->silent[i], hv->config.subject, err);
    twalk_r(hv->vms, tell, &t);
    pthread_mutex_unlock(&hv->lock);
    if (failed) {
        observation_free(t.observation);
        return -1;
    }
    *ret = t.observation;
    return 0;
}
