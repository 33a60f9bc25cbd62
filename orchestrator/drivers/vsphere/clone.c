/* Making a machine. The tag, the instance UUID and cloud-init's data are in the call that makes it; hardware is set
 * afterwards in one reconfigure, since what a clone's own config says of it is not always kept (kcli#366). Who sets it:
 * `expose` for a machine that is exposed to, for it always comes next, else create itself. The digest, which tells that
 * a machine is whole, goes with whichever of the two calls comes first of those that leave nothing out. */
#include <stdlib.h>
#include <string.h>

#include "drivers/vsphere/vsphere_priv.h"

/* vSphere Web Services API, CloneVM_Task: "maximum length is 80". */
#define NAME_LEN_MAX 80
/* How often it is looked for what an earlier try makes. */
#define BEING_MADE_MS 1000
#define BEING_MADE_MAX_MS 8000
/* How long that may be something of which nothing can be seen, not even a task. */
#define UNSEEN_MS 60000

static void put_option(struct soap_request *r, const char *key, const char *value) {
    soap_open_as(r, "extraConfig", "OptionValue");
    soap_text(r, "key", key);
    soap_any_text(r, "value", value);
    soap_close(r);
}

const char *const vsphere_extra_own[] = {"nestor.", "guestinfo.metadata", "guestinfo.userdata", "vhv.enable", NULL};

static int put_guestinfo(struct soap_request *r, const struct machine_spec *spec, const char *what, const char *text,
                         struct error *err) {
    if (!text)
        return 0;
    struct buffer value = {0};
    const char *encoding;
    cleanup_free char *key = xasprintf("guestinfo.%s", what), *encoding_key = xasprintf("guestinfo.%s.encoding", what);
    int failed = vsphere_guestinfo(what, text, &value, &encoding, spec->tag.path, err);
    if (!failed) {
        put_option(r, key, buffer_str(&value));
        put_option(r, encoding_key, encoding);
    }
    if (value.data)
        explicit_bzero(value.data, value.cap); /* it holds the machine's private host key */
    buffer_free(&value);
    return failed;
}

void vsphere_put_digest(struct soap_request *r, const struct machine_spec *spec) {
    put_option(r, "nestor.digest", spec->digest && spec->digest[0] ? spec->digest : VSPHERE_NO_DIGEST);
}

void vsphere_put_vhv(struct soap_request *r, bool on) { put_option(r, "vhv.enable", on ? "TRUE" : ""); }

int vsphere_put_extra(struct soap_request *r, const struct machine_spec *spec, const char *base, bool digest,
                      struct error *err) {
    put_option(r, "nestor.lab", spec->tag.lab_id);
    put_option(r, "nestor.path", spec->tag.path);
    if (base)
        put_option(r, "nestor.base", base);
    if (digest)
        vsphere_put_digest(r, spec);
    if (put_guestinfo(r, spec, "metadata", spec->meta_data, err) ||
        put_guestinfo(r, spec, "userdata", spec->user_data, err))
        return -1;
    for (size_t i = 0; i < spec->nextra; i++)
        put_option(r, spec->extra[i].key, spec->extra[i].value);
    return 0;
}

char *vsphere_annotation(const struct machine_spec *spec) {
    return xasprintf(
        "nestor lab=%s path=%s\n"
        "A machine of a nestor lab: it may be removed and made anew at any time. 'nestor down' removes it.",
        spec->tag.lab_id, spec->tag.path);
}

/* --- its network cards --- */

static void put_connectable(struct soap_request *r) {
    soap_open(r, "connectable");
    soap_flag(r, "startConnected", true);
    soap_flag(r, "allowGuestControl", true);
    soap_flag(r, "connected", true);
    soap_close(r);
}

static void put_copied_number(struct soap_request *r, xmlNode *device, const char *name) {
    xmlNode *value = xml_child(device, name);
    if (value)
        soap_number(r, name, xml_number(value, 0));
}

/* Its MAC is the server's to give, in its own range: what a clone inherits would be the template's. network NULL: it
 * stays where it is. */
static void put_card(struct soap_request *r, xmlNode *card, const struct vsphere_network *network) {
    char label[120] = "Network adapter 1";
    xml_text(xml_child(xml_child(card, "deviceInfo"), "label"), label, sizeof label);
    soap_open(r, "deviceChange");
    soap_text(r, "operation", card ? "edit" : "add");
    soap_open_as(r, "device", card ? vsphere_card_type(card) : "VirtualVmxnet3");
    soap_number(r, "key", card ? xml_number(xml_child(card, "key"), 0) : -1);
    soap_open_as(r, "deviceInfo", "Description");
    soap_text(r, "label", label);
    soap_text(r, "summary", label);
    soap_close(r);
    if (network)
        vsphere_put_network_backing(r, network);
    put_connectable(r);
    put_copied_number(r, card, "controllerKey");
    put_copied_number(r, card, "unitNumber");
    soap_text(r, "addressType", "generated");
    soap_close(r);
    soap_close(r);
}

static void put_card_in_place(struct soap_request *r, xmlNode *card) {
    struct vsphere_network own = vsphere_network_of_card(card);
    bool known = own.name || own.key || own.opaque_id;
    put_card(r, card, known ? &own : NULL);
    vsphere_network_free(&own);
}

static xmlNode *next_card(xmlNode *device) {
    while (device && !vsphere_card_type(device))
        device = vsphere_device_next(device);
    return device;
}

/* The first goes to the network, if there is one. Of the others those change that would have the template's MAC: one
 * that was given by hand is inherited by all clones. */
static void put_network(struct soap_request *r, const struct vsphere_source *s, const struct vsphere_network *n) {
    xmlNode *card = next_card(vsphere_device_first(s->seen));
    if (moref_is_set(&n->ref)) {
        put_card(r, card, n);
        card = card ? next_card(vsphere_device_next(card)) : NULL;
    }
    for (; card; card = next_card(vsphere_device_next(card)))
        if (xml_is(xml_child(card, "addressType"), "manual"))
            put_card_in_place(r, card);
}

/* --- a vCenter clones --- */

struct where {
    struct moref folder, datastore;
    const struct vsphere_compute *compute;
    const struct vsphere_network *network;
    const struct moref *host; /* NULL: the server chooses */
};

static int find_where(struct hypervisor *hv, struct where *ret, const struct context *ctx, struct error *err) {
    return vsphere_compute(hv, &ret->compute, ctx, err) || vsphere_place(hv, PLACE_FOLDER, &ret->folder, ctx, err) ||
                   vsphere_place(hv, PLACE_DATASTORE, &ret->datastore, ctx, err) ||
                   vsphere_network(hv, &ret->network, ctx, err)
               ? -1
               : 0;
}

static void put_location(struct soap_request *r, const struct vsphere_source *s, const struct where *where) {
    soap_open(r, "location");
    if (moref_is_set(&where->datastore))
        soap_ref(r, "datastore", &where->datastore);
    soap_text(r, "diskMoveType",
              moref_is_set(&s->snapshot) ? "createNewChildDiskBacking" : "moveAllDiskBackingsAndDisallowSharing");
    soap_ref(r, "pool", &where->compute->pool);
    if (where->host)
        soap_ref(r, "host", where->host);
    put_network(r, s, where->network);
    soap_close(r);
}

static int put_clone(struct soap_request *r, const struct machine_spec *spec, const struct vsphere_source *s,
                     const struct where *where, bool digest, struct error *err) {
    cleanup_free char *annotation = vsphere_annotation(spec);
    soap_ref(r, "folder", &where->folder);
    soap_text(r, "name", spec->name);
    soap_open(r, "spec");
    put_location(r, s, where);
    soap_flag(r, "template", false);
    soap_open(r, "config");
    soap_text(r, "instanceUuid", spec->uuid);
    soap_text(r, "annotation", annotation);
    if (vsphere_put_extra(r, spec, NULL, digest, err))
        return -1;
    soap_close(r);
    soap_flag(r, "powerOn", false);
    if (moref_is_set(&s->snapshot))
        soap_ref(r, "snapshot", &s->snapshot);
    soap_close(r);
    return 0;
}

static int clone_vm(struct hypervisor *hv, const struct machine_spec *spec, const struct vsphere_source *s, bool digest,
                    struct moref *ret, const struct context *ctx, struct error *err) {
    struct where where;
    if (find_where(hv, &where, ctx, err))
        return -1;
    where.host = vsphere_host_for_next(hv, where.compute);
    struct soap_request *request = soap_new("CloneVM_Task", &s->vm);
    int failed =
        put_clone(request, spec, s, &where, digest, err) || vsphere_vm_do(hv, &spec->tag, request, ret, ctx, err);
    soap_free(request);
    return failed ? -1 : 0;
}

static int check_name(const struct machine_spec *spec, struct error *err) {
    if (strlen(spec->name) <= NAME_LEN_MAX)
        return 0;
    error_set(err, ERR_UNSUPPORTED, spec->tag.path,
              "its name on vSphere would be %zu characters long, %d are allowed: %s", strlen(spec->name), NAME_LEN_MAX,
              spec->name);
    return error_mend(err, "use shorter names in the lab file");
}

/* --- a name that is taken --- */

static const char *const uuid_paths[] = {"config.instanceUuid", NULL};
static const struct vim_set uuid_set = {"VirtualMachine", uuid_paths};

/* What of that name is in the folder; an unset *ret: nothing that can be seen. */
static int find_namesake(struct hypervisor *hv, const struct machine_spec *spec, struct moref *ret,
                         const struct context *ctx, struct error *err) {
    struct moref folder;
    cleanup_soap_reply struct soap_reply *reply = NULL;
    xmlNode *node;
    *ret = MOREF_NONE;
    if (vsphere_place(hv, PLACE_FOLDER, &folder, ctx, err))
        return -1;
    struct soap_request *request = soap_new("FindChild", &vim_service(hv->vim)->search_index);
    soap_ref(request, "entity", &folder);
    soap_text(request, "name", spec->name);
    int rc = vim_call(hv->vim, request, VIM_SAFE, &reply, NULL, ctx, err);
    soap_free(request);
    if (rc || (rc = soap_next(reply, &node, err)) < 0)
        return -1;
    if (rc > 0)
        xml_ref(node, ret);
    return 0;
}

/* What people call it; NULL for a VM. */
static const char *noun_of_other(const struct moref *ref) {
    if (strcmp(ref->type, uuid_set.type) == 0)
        return NULL;
    return strcmp(ref->type, "Folder") == 0 ? "folder" : strcmp(ref->type, "VirtualApp") == 0 ? "vApp" : "thing";
}

/* What has the name and is not ours, as a noun: a folder, a VM that may not be read, one that is whole and another.
 * NULL: there is none. A VM that is being cloned has no configuration yet, or cannot be seen at all. */
static int find_foreign(struct hypervisor *hv, const struct machine_spec *spec, const char **ret,
                        const struct context *ctx, struct error *err) {
    struct moref found;
    struct error why = {0};
    cleanup_vim_object struct vim_object object = {0};
    char uuid[64] = "";
    *ret = NULL;
    if (find_namesake(hv, spec, &found, ctx, err))
        return -1;
    if (!moref_is_set(&found) || (*ret = noun_of_other(&found)))
        return 0;
    if (vim_read(hv->vim, &found, &uuid_set, &object, ctx, &why) == 0) {
        xml_text(vim_property(&object, uuid_paths[0]), uuid, sizeof uuid);
        *ret = uuid[0] && strcasecmp(uuid, spec->uuid) != 0 ? "VM" : NULL; /* ours: it was made just now */
        return 0;
    }
    *ret = vim_fault_is(&why, VIM_NO_PERMISSION) ? "VM" : NULL;
    if (*ret || vim_fault_is(&why, VIM_MANAGED_OBJECT_NOT_FOUND))
        return 0;
    if (err)
        *err = why;
    return -1;
}

static int foreign_error(const struct machine_spec *spec, const char *noun, struct error *err) {
    error_set(err, ERR_EXISTS, spec->tag.path, "there is a %s named %s in the folder, and it is not nestor's", noun,
              spec->name);
    return error_mend(err, "rename that %s, or use another 'inventory: { folder: }'", noun);
}

static int hidden_error(const struct hypervisor *hv, const struct machine_spec *spec, struct error *err) {
    error_set(err, ERR_EXISTS, spec->tag.path, "the name %s is taken in the folder by something %s may not see",
              spec->name, hv->settings.username);
    return error_mend(err, "rename that, or use another 'inventory: { folder: }'");
}

/* By what a call makes whose answer was lost, perhaps to a nestor that was killed since? Then it is waited for, for
 * long only while something is being made. */
static int explain_duplicate(struct hypervisor *hv, const struct machine_spec *spec, const struct context *ctx,
                             struct error *err) {
    const char *path = spec->tag.path;
    int64_t unseen_until = clock_ms() + (hv->unseen_ms ? hv->unseen_ms : UNSEEN_MS);
    for (int64_t pause = BEING_MADE_MS;; pause = 2 * pause < BEING_MADE_MAX_MS ? 2 * pause : BEING_MADE_MAX_MS) {
        struct vm vm;
        const char *foreign;
        bool making = true;
        if (vsphere_vm_look(hv, &spec->tag, &vm, ctx, err))
            return -1;
        if (vm.there) {
            error_set(err, ERR_EXISTS, path, "%s was made by an earlier try", spec->name);
            return error_retry(err);
        }
        if (find_foreign(hv, spec, &foreign, ctx, err))
            return error_subject(err, path);
        if (foreign)
            return foreign_error(spec, foreign, err);
        if (clock_ms() >= unseen_until && vsphere_is_making(hv, &making, ctx, err))
            return error_subject(err, path);
        if (!making)
            return hidden_error(hv, spec, err);
        if (context_sleep(ctx, pause, path, "waiting until an earlier try has made it", err))
            return -1;
    }
}

/* --- create --- */

static int make(struct hypervisor *hv, const struct machine_spec *spec, const struct vsphere_source *s, struct vm *vm,
                const struct context *ctx, struct error *err) {
    struct error why = {0};
    bool digest = spec->expose && !s->exposed;
    *vm = (struct vm){.there = true, .power = POWER_OFF, .exposed = s->exposed, .fresh = true};
    if (hv->vcenter ? clone_vm(hv, spec, s, digest, &vm->ref, ctx, &why)
                    : vsphere_create_on_esxi(hv, spec, s, vm, ctx, &why)) {
        if (vim_fault_is(&why, VIM_DUPLICATE_NAME) && !moref_is_set(&vm->ref)) /* of the VM, not of a disk's copy */
            return explain_duplicate(hv, spec, ctx, err);
        if (err)
            *err = why;
        return -1;
    }
    if (hv->vcenter && digest)
        vsphere_set_digest(vm, spec);
    vsphere_vm_keep(hv, &spec->tag, vm);
    return 0;
}

/* 0: it has to be made; 1: it is there as wanted. */
static int look_before(struct hypervisor *hv, const struct machine_spec *spec, const struct context *ctx,
                       struct error *err) {
    struct vm vm;
    if (vsphere_vm_find(hv, &spec->tag, &vm, ctx, err))
        return -1;
    if (vm.there && vm.digest[0]) {
        struct vm wanted;
        vsphere_set_digest(&wanted, spec);
        if (strcmp(vm.digest, wanted.digest) == 0)
            return 1;
        error_set(err, ERR_EXISTS, spec->tag.path, "it is there with another configuration");
        return error_mend(err, "run 'nestor up' again: it replaces what has changed");
    }
    return vm.there ? vsphere_remove(hv, &spec->tag, ctx, err) : 0;
}

int vsphere_create(struct hypervisor *hv, const struct machine_spec *spec, const struct context *ctx,
                   struct error *err) {
    const struct vsphere_source *s;
    struct vm vm;
    int before = look_before(hv, spec, ctx, err);
    if (before)
        return before > 0 ? 0 : -1;
    if (check_name(spec, err) || vsphere_source(hv, spec->image->name, spec->full_clone, &s, ctx, err) ||
        vsphere_source_check(s, spec, err) || make(hv, spec, s, &vm, ctx, err))
        return -1;
    return vm.digest[0] ? 0 : vsphere_set_hardware(hv, spec, &vm, spec->expose, NULL, ctx, err);
}
