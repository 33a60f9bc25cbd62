/* Making a machine on a bare ESXi, which cannot clone (CloneVM_Task is vCenter's: govmomi#1469). A VM like the template
 * is created around disks that are children of the template's, those of its snapshot nestor-base: they do not change
 * any more, whatever the template does. Where a host has no such disks or refuses them, or the lab file says clone:
 * full, they are copied. */
#include <stdlib.h>
#include <string.h>

#include "drivers/vsphere/vsphere_priv.h"

#define MIB ((uint64_t)1 << 20)

enum disks { DISKS_CHILD, DISKS_NONE /* they come later */ };

struct creation {
    struct hypervisor *hv;
    const struct machine_spec *spec;
    const struct vsphere_source *source;
    const struct vsphere_network *network;
    struct moref folder, datastore;
    const struct vsphere_compute *compute;
    enum disks disks;
};

static void put_add(struct soap_request *r, const char *file_operation, const char *type) {
    soap_open(r, "deviceChange");
    soap_text(r, "operation", "add");
    if (file_operation)
        soap_text(r, "fileOperation", file_operation);
    soap_open_as(r, "device", type);
}

static void put_end(struct soap_request *r) {
    soap_close(r);
    soap_close(r);
}

/* New devices have negative keys; the server gives others. */
static int64_t new_key(xmlNode *key) { return -xml_number(key, 0) - 1; }

/* The template's, if it is one that has to be added; NULL: one that every VM has, under the same key, as IDE. */
static xmlNode *controller_of(const struct vsphere_source *s, xmlNode *disk) {
    xmlNode *wanted = xml_child(disk, "controllerKey");
    for (xmlNode *d = vsphere_device_first(s->seen); d; d = vsphere_device_next(d))
        if (vsphere_controller_type(d) && xml_number(xml_child(d, "key"), -1) == xml_number(wanted, -2))
            return d;
    return NULL;
}

/* In the call that adds the controller. */
static int64_t new_controller_key(const struct vsphere_source *s, xmlNode *disk) {
    xmlNode *controller = controller_of(s, disk);
    return controller ? new_key(xml_child(controller, "key")) : xml_number(xml_child(disk, "controllerKey"), 0);
}

static void put_controller(struct soap_request *r, xmlNode *device) {
    const char *type = vsphere_controller_type(device);
    put_add(r, NULL, type);
    soap_number(r, "key", new_key(xml_child(device, "key")));
    soap_number(r, "busNumber", xml_number(xml_child(device, "busNumber"), 0));
    if (strstr(type, "SCSI") || strstr(type, "Logic"))
        soap_text(r, "sharedBus", "noSharing");
    put_end(r);
}

static void put_card(struct soap_request *r, const struct creation *c, xmlNode *device, bool first) {
    char name[120] = "";
    struct vsphere_network own = {.name = name};
    xml_text(xml_child(xml_child(device, "backing"), "deviceName"), name, sizeof name);
    put_add(r, NULL, vsphere_card_type(device));
    soap_number(r, "key", new_key(xml_child(device, "key")));
    vsphere_put_network_backing(r, first && moref_is_set(&c->network->ref) ? c->network : &own);
    soap_text(r, "addressType", "generated");
    put_end(r);
}

/* parent: a child of that one is made, as large as it; else the file is there. The capacity is 0 as govc's, which was
 * tried on an ESXi (govc/test/vm.bats, "vm.create linked scsi disk"). */
static void put_disk(struct soap_request *r, const struct creation *c, xmlNode *device, int64_t controller,
                     const char *file, const char *parent) {
    put_add(r, parent ? "create" : NULL, "VirtualDisk");
    soap_number(r, "key", new_key(xml_child(device, "key")));
    soap_open_as(r, "backing", "VirtualDiskFlatVer2BackingInfo");
    soap_text(r, "fileName", file);
    soap_ref(r, "datastore", &c->datastore);
    soap_text(r, "diskMode", "persistent");
    if (parent) {
        soap_flag(r, "thinProvisioned", true);
        soap_open(r, "parent");
        soap_text(r, "fileName", parent);
        soap_text(r, "diskMode", "persistent");
        soap_close(r);
    }
    soap_close(r);
    soap_number(r, "controllerKey", controller);
    soap_number(r, "unitNumber", xml_number(xml_child(device, "unitNumber"), 0));
    soap_number(r, "capacityInKB", 0);
    put_end(r);
}

static int disk_file(const struct creation *c, xmlNode *device, char **ret, struct error *err) {
    *ret = vsphere_disk_file(device);
    if (*ret)
        return 0;
    error_set(err, ERR_UNSUPPORTED, c->spec->tag.path, "a disk of its template %s is not a plain virtual disk file",
              c->spec->image->name);
    return error_mend(err, "copy the template with 'vmkfstools -i', or use a vCenter");
}

static int put_devices(struct soap_request *r, const struct creation *c, struct error *err) {
    cleanup_free char *file = xasprintf("[%s]", c->hv->datastore_name);
    bool first = true;
    for (xmlNode *d = vsphere_device_first(c->source->seen); d; d = vsphere_device_next(d)) {
        if (vsphere_controller_type(d))
            put_controller(r, d);
        if (vsphere_card_type(d)) {
            put_card(r, c, d, first);
            first = false;
        }
        if (!vsphere_is_disk(d) || c->disks == DISKS_NONE)
            continue;
        cleanup_free char *parent = NULL;
        if (disk_file(c, d, &parent, err))
            return -1;
        put_disk(r, c, d, new_controller_key(c->source, d), file, parent);
    }
    return 0;
}

static void put_copied(struct soap_request *r, const struct creation *c, const char *path, const char *name) {
    char text[120] = "";
    if (xml_text(vim_property(c->source->seen, path), text, sizeof text) && text[0])
        soap_text(r, name, text);
}

/* The first disk of the template is what tells later that the machine's own is a child. */
static char *parent_of_disks(const struct creation *c) {
    char *file = NULL;
    for (xmlNode *d = vsphere_device_first(c->source->seen); d && !file; d = vsphere_device_next(d))
        if (vsphere_is_disk(d) && c->disks == DISKS_CHILD)
            file = vsphere_disk_file(d);
    return file;
}

static int put_creation(struct soap_request *r, const struct creation *c, struct error *err) {
    const struct machine_spec *spec = c->spec;
    cleanup_free char *annotation = vsphere_annotation(spec), *base = parent_of_disks(c);
    cleanup_free char *folder = xasprintf("[%s] %s", c->hv->datastore_name, spec->name);
    soap_open(r, "config");
    soap_text(r, "name", spec->name);
    put_copied(r, c, "config.version", "version");
    soap_text(r, "instanceUuid", spec->uuid);
    put_copied(r, c, "config.guestId", "guestId");
    soap_text(r, "annotation", annotation);
    soap_open(r, "files");
    soap_text(r, "vmPathName", folder);
    soap_close(r);
    soap_number(r, "numCPUs", spec->cpus);
    soap_number(r, "memoryMB", (int64_t)(vsphere_memory_of(spec) / MIB));
    if (put_devices(r, c, err) || vsphere_put_extra(r, spec, base, c->disks == DISKS_CHILD, err))
        return -1;
    put_copied(r, c, "config.firmware", "firmware");
    soap_close(r);
    soap_ref(r, "pool", &c->compute->pool);
    if (moref_is_set(&c->compute->host))
        soap_ref(r, "host", &c->compute->host);
    return 0;
}

static int try_create(const struct creation *c, struct moref *ret, const struct context *ctx, struct error *err) {
    struct soap_request *request = soap_new("CreateVM_Task", &c->folder);
    int failed = put_creation(request, c, err) || vsphere_vm_do(c->hv, &c->spec->tag, request, ret, ctx, err);
    soap_free(request);
    return failed ? -1 : 0;
}

/* A removal that was cut may have left its folder. It is deleted when no VM can be in it: there is none, nor is one
 * being made. */
static int create_vm(const struct creation *c, struct moref *ret, const struct context *ctx, struct error *err) {
    const struct tag *tag = &c->spec->tag;
    struct error why = {0};
    struct vm there = {0};
    if (try_create(c, ret, ctx, &why) == 0)
        return 0;
    if (vim_fault_is(&why, VIM_FILE_ALREADY_EXISTS)) {
        if (vsphere_await_making(c->hv, tag, ctx, err) || vsphere_vm_look(c->hv, tag, &there, ctx, err))
            return -1;
        if (!there.there)
            return vsphere_delete_leftovers(c->hv, tag, ctx, err) || try_create(c, ret, ctx, err) ? -1 : 0;
        error_retry(&why);
    }
    if (err)
        *err = why;
    return -1;
}

/* --- a host that refuses child disks --- */

/* Faults that may mean it, as the vSphere Web Services API describes them. */
static bool may_refuse_child_disks(const struct error *why) {
    static const enum vim_fault faults[] = {
        VIM_NOT_SUPPORTED,                /* HostCapability: what it lacks makes "an API [...] throw a NotSupported" */
        VIM_DELTA_DISK_FORMAT,            /* "an attempt to use an unsupported delta disk format" */
        VIM_INVALID_DEVICE_BACKING,       /* "a device with an incompatible device backing is added" */
        VIM_DEVICE_BACKING_NOT_SUPPORTED, /* "a backing type which is not supported for this particular device" */
        VIM_DISK_NOT_SUPPORTED,           /* "The host does not support the backings for the disks" */
    };
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        if (vim_fault_is(why, faults[i]))
            return true;
    return false;
}

static void warn_of_copies(const struct hypervisor *hv, const struct error *why) {
    const struct asker *asker = hv->config.asker;
    cleanup_free char *text = xasprintf("it refuses disks that are children of a template's (%s): each machine gets a "
                                        "copy of them, which takes longer and more space",
                                        vim_fault_name((enum vim_fault)why->native));
    if (asker && asker->warn)
        asker->warn(asker->data, hv->config.subject, text);
}

/* Not all that cannot have child disks says so before. That the same machine can be made without disks shows that they
 * were what it was refused for; then none is asked for any more. */
static int create_as_can_be(struct creation *c, struct moref *ret, const struct context *ctx, struct error *err) {
    struct error why = {0};
    if (create_vm(c, ret, ctx, &why) == 0)
        return 0;
    if (c->disks == DISKS_NONE || !may_refuse_child_disks(&why)) {
        if (err)
            *err = why;
        return -1;
    }
    c->disks = DISKS_NONE;
    if (create_vm(c, ret, ctx, err))
        return -1;
    atomic_store(&c->hv->no_child_disks, true);
    warn_of_copies(c->hv, &why);
    return 0;
}

/* --- copies of the disks --- */

static int copy_disk(const struct creation *c, const char *from, const char *to, const struct context *ctx,
                     struct error *err) {
    const struct vsphere_datacenter *dc;
    if (vsphere_datacenter(c->hv, &dc, ctx, err))
        return -1;
    struct soap_request *r = soap_new("CopyVirtualDisk_Task", &vim_service(c->hv->vim)->virtual_disk_manager);
    soap_text(r, "sourceName", from);
    soap_ref(r, "sourceDatacenter", &dc->ref);
    soap_text(r, "destName", to);
    soap_ref(r, "destDatacenter", &dc->ref);
    soap_flag(r, "force", false);
    int failed = vsphere_vm_do(c->hv, &c->spec->tag, r, NULL, ctx, err);
    soap_free(r);
    return failed ? error_context(err, "copying %s", from) : 0;
}

/* The machine's own, which the server has given another key than the call that added it had. */
static int find_controller(const struct creation *c, const struct vim_object *vm, xmlNode *disk, int64_t *ret,
                           struct error *err) {
    xmlNode *wanted = controller_of(c->source, disk);
    *ret = xml_number(xml_child(disk, "controllerKey"), 0);
    if (!wanted)
        return 0;
    const char *type = vsphere_controller_type(wanted);
    int64_t bus = xml_number(xml_child(wanted, "busNumber"), 0);
    for (xmlNode *d = vsphere_device_first(vm); d; d = vsphere_device_next(d))
        if (xml_type_is(d, type) && xml_number(xml_child(d, "busNumber"), 0) == bus) {
            *ret = xml_number(xml_child(d, "key"), 0);
            return 0;
        }
    return error_set(err, ERR_PROTOCOL, c->spec->tag.path, "the server made it without its %s of bus %lld", type,
                     (long long)bus);
}

static int copy_disks(const struct creation *c, const struct moref *vm, const struct context *ctx, struct error *err) {
    static const char *const device_paths[] = {"config.hardware.device", NULL};
    static const struct vim_set device_set = {"VirtualMachine", device_paths};
    cleanup_vim_object struct vim_object made = {0};
    cleanup_free char *folder = NULL;
    int n = 0;
    if (vsphere_folder_of(c->hv, &c->spec->tag, vm, &folder, ctx, err) ||
        vim_read(c->hv->vim, vm, &device_set, &made, ctx, err))
        return -1;
    struct soap_request *request = soap_new("ReconfigVM_Task", vm);
    soap_open(request, "spec");
    int failed = 0;
    for (xmlNode *d = vsphere_device_first(c->source->seen); d && !failed; d = vsphere_device_next(d)) {
        if (!vsphere_is_disk(d))
            continue;
        cleanup_free char *from = NULL, *to = xasprintf("%s/disk-%d.vmdk", folder, n++);
        int64_t controller = 0;
        failed = find_controller(c, &made, d, &controller, err) || disk_file(c, d, &from, err) ||
                 copy_disk(c, from, to, ctx, err);
        if (!failed)
            put_disk(request, c, d, controller, to, NULL);
    }
    soap_close(request);
    if (!failed && n)
        failed = vsphere_vm_do(c->hv, &c->spec->tag, request, NULL, ctx, err);
    soap_free(request);
    return failed ? -1 : 0;
}

/* --- */

static int prepare(struct creation *c, const struct context *ctx, struct error *err) {
    return vsphere_compute(c->hv, &c->compute, ctx, err) || vsphere_place(c->hv, PLACE_FOLDER, &c->folder, ctx, err) ||
                   vsphere_place(c->hv, PLACE_DATASTORE, &c->datastore, ctx, err) ||
                   vsphere_network(c->hv, &c->network, ctx, err)
               ? -1
               : 0;
}

int vsphere_create_on_esxi(struct hypervisor *hv, const struct machine_spec *spec, const struct vsphere_source *s,
                           struct vm *vm, const struct context *ctx, struct error *err) {
    struct creation c = {.hv = hv, .spec = spec, .source = s};
    c.disks = moref_is_set(&s->snapshot) && !hv->no_child_disks ? DISKS_CHILD : DISKS_NONE;
    if (prepare(&c, ctx, err) || create_as_can_be(&c, &vm->ref, ctx, err))
        return -1;
    vm->exposed = false;
    vm->cpus = spec->cpus;
    vm->memory = vsphere_memory_of(spec);
    if (c.disks == DISKS_CHILD) {
        vm->detached = true;
        vm->fresh = spec->expose;
        vsphere_set_digest(vm, spec);
        return 0;
    }
    vsphere_vm_keep(hv, &spec->tag, vm); /* half-made, should the copies fail */
    return copy_disks(&c, &vm->ref, ctx, err);
}
