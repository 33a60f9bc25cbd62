#include <stdlib.h>
#include <string.h>

#include "drivers/vsphere/vsphere_priv.h"

#define MIB ((uint64_t)1 << 20)
#define HARDWARE_VHV 9 /* the first hardware version with nested hardware virtualization */

static const char *const hardware_paths[] = {"config.nestedHVEnabled",
                                             "config.hardware.numCPU",
                                             "config.hardware.memoryMB",
                                             "config.version",
                                             "capability.nestedHVSupported",
                                             "runtime.powerState",
                                             NULL};
static const char *const device_paths[] = {"config.hardware.device", NULL};
static const struct vim_set hardware_set = {"VirtualMachine", hardware_paths},
                            device_set = {"VirtualMachine", device_paths};

/* ESXi takes memory in steps of 4 MiB. */
uint64_t vsphere_memory_of(const struct machine_spec *spec) {
    return (spec->memory + 4 * MIB - 1) / (4 * MIB) * (4 * MIB);
}

/* A machine that left the lab file has no sizes any more. */
static bool has_wanted_size(const struct vm *vm, const struct machine_spec *spec) {
    return (!spec->cpus || vm->cpus == spec->cpus) && (!spec->memory || vm->memory == vsphere_memory_of(spec));
}

/* --- the disk --- */

static void put_disk(struct soap_request *r, xmlNode *disk, const char *file, uint64_t size) {
    char mode[40] = "persistent";
    xml_text(xml_child(xml_child(disk, "backing"), "diskMode"), mode, sizeof mode);
    soap_open(r, "deviceChange");
    soap_text(r, "operation", "edit");
    soap_open_as(r, "device", "VirtualDisk");
    soap_number(r, "key", xml_number(xml_child(disk, "key"), 0));
    soap_open_as(r, "backing", "VirtualDiskFlatVer2BackingInfo");
    soap_text(r, "fileName", file);
    soap_text(r, "diskMode", mode);
    soap_close(r);
    soap_number(r, "controllerKey", xml_number(xml_child(disk, "controllerKey"), 0));
    soap_number(r, "unitNumber", xml_number(xml_child(disk, "unitNumber"), 0));
    soap_number(r, "capacityInKB", (int64_t)((size + 1023) / 1024));
    soap_close(r);
    soap_close(r);
}

/* Only asked for when the lab file has a size; a linked clone's is known to fit (vsphere_source_check). */
static int put_grown_disk(struct hypervisor *hv, struct soap_request *r, const struct machine_spec *spec,
                          const struct vm *vm, const struct context *ctx, struct error *err) {
    cleanup_vim_object struct vim_object object = {0};
    if (!spec->disk)
        return 0;
    if (vim_read(hv->vim, &vm->ref, &device_set, &object, ctx, err))
        return error_subject(err, spec->tag.path);
    xmlNode *disk = vsphere_device_first(&object);
    while (disk && !vsphere_is_disk(disk))
        disk = vsphere_device_next(disk);
    cleanup_free char *file = disk ? vsphere_disk_file(disk) : NULL;
    if (file && (uint64_t)vsphere_disk_size(disk) < spec->disk)
        put_disk(r, disk, file, spec->disk);
    return 0;
}

/* --- one reconfigure --- */

static int put_hardware(struct hypervisor *hv, struct soap_request *r, const struct machine_spec *spec,
                        const struct vm *vm, bool nested, const struct context *ctx, struct error *err) {
    soap_open(r, "spec");
    if (spec->cpus) {
        soap_number(r, "numCPUs", spec->cpus);
        soap_number(r, "numCoresPerSocket", 1); /* the template's may not divide them */
    }
    if (spec->memory)
        soap_number(r, "memoryMB", (int64_t)(vsphere_memory_of(spec) / MIB));
    if (put_grown_disk(hv, r, spec, vm, ctx, err))
        return -1;
    if (nested || vm->exposed)
        vsphere_put_vhv(r, nested);
    if (!vm->digest[0])
        vsphere_put_digest(r, spec);
    if (nested || vm->exposed) /* old hardware need not know the setting */
        soap_flag(r, "nestedHVEnabled", nested);
    soap_close(r);
    return 0;
}

static int reconfigure(struct hypervisor *hv, const struct machine_spec *spec, const struct vm *vm, bool nested,
                       struct vim_object *seen, const struct context *ctx, struct error *err) {
    const struct vim_wish wish = {&vm->ref, &hardware_set, seen};
    struct soap_request *request = soap_new("ReconfigVM_Task", &vm->ref);
    struct error why = {0};
    bool uncertain = false;
    int failed = put_hardware(hv, request, spec, vm, nested, ctx, err);
    if (!failed && vim_do_seeing(hv->vim, request, seen ? &wish : NULL, &uncertain, ctx, &why))
        failed = vsphere_vm_failed(hv, &spec->tag, uncertain, &why, err);
    soap_free(request);
    return failed ? error_context(err, "setting its hardware") : 0;
}

int vsphere_set_hardware(struct hypervisor *hv, const struct machine_spec *spec, struct vm *vm, bool nested,
                         struct vim_object *seen, const struct context *ctx, struct error *err) {
    if (reconfigure(hv, spec, vm, nested, seen, ctx, err))
        return -1;
    vm->cpus = spec->cpus ? spec->cpus : vm->cpus;
    vm->memory = spec->memory ? vsphere_memory_of(spec) : vm->memory;
    vm->exposed = nested;
    vm->fresh = false;
    if (!vm->digest[0])
        vsphere_set_digest(vm, spec);
    vsphere_vm_keep(hv, &spec->tag, vm);
    return 0;
}

/* --- expose --- */

static int refuse_running(const struct machine_spec *spec, bool on, struct error *err) {
    error_set(err, ERR_NESTING, spec->tag.path, "it runs, and nesting can be switched %s only while it is off",
              on ? "on" : "off");
    error_reason(err, "vhv-needs-power-off");
    return error_mend(err, "run 'nestor up': it power-cycles the machine");
}

static int refuse_unfit(const struct machine_spec *spec, const char *reason, const char *cause, const char *mend,
                        struct error *err) {
    error_set(err, ERR_NESTING, spec->tag.path, "%s", cause);
    error_reason(err, reason);
    return error_mend(err, "%s", mend);
}

static int check_able(const struct machine_spec *spec, const struct vim_object *seen, struct error *err) {
    int hardware = vsphere_hardware_version(vim_property(seen, "config.version"));
    if (hardware && hardware < HARDWARE_VHV)
        return refuse_unfit(spec, "hardware-version",
                            "its hardware version is below 9, too old to expose virtualization",
                            "upgrade the hardware version of its template, then run 'nestor up' again", err);
    if (!xml_flag(vim_property(seen, "capability.nestedHVSupported"), true))
        return refuse_unfit(spec, "host-not-capable", "the server says that it cannot have nested virtualization",
                            "use hosts with VT-x and EPT, or AMD-V and RVI", err);
    return 0;
}

static void take_hardware(struct hypervisor *hv, const struct machine_spec *spec, struct vm *vm,
                          const struct vim_object *seen) {
    xmlNode *power = vim_property(seen, "runtime.powerState");
    vm->power = xml_is(power, "poweredOn") ? POWER_ON : POWER_OFF;
    vm->suspended = xml_is(power, "suspended");
    vm->exposed = xml_flag(vim_property(seen, "config.nestedHVEnabled"), false);
    vm->cpus = (uint32_t)xml_number(vim_property(seen, "config.hardware.numCPU"), 0);
    vm->memory = (uint64_t)xml_number(vim_property(seen, "config.hardware.memoryMB"), 0) * MIB;
    vsphere_vm_keep(hv, &spec->tag, vm);
}

static int read_hardware(struct hypervisor *hv, const struct machine_spec *spec, struct vm *vm, struct vim_object *seen,
                         const struct context *ctx, struct error *err) {
    if (vim_read(hv->vim, &vm->ref, &hardware_set, seen, ctx, err)) {
        if (vim_fault_is(err, VIM_MANAGED_OBJECT_NOT_FOUND))
            vsphere_vm_doubt(hv, &spec->tag);
        return error_subject(err, spec->tag.path);
    }
    take_hardware(hv, spec, vm, seen);
    return 0;
}

/* What the end of the reconfigure's task came with counts if it shows the setting; else it may be from before, and is
 * read once more. */
static int read_back(struct hypervisor *hv, const struct machine_spec *spec, struct vm *vm, bool on,
                     struct vim_object *seen, const struct context *ctx, struct error *err) {
    if (seen->doc) {
        take_hardware(hv, spec, vm, seen);
        if (vm->exposed == on && has_wanted_size(vm, spec))
            return 0;
    }
    vim_object_free(seen);
    return read_hardware(hv, spec, vm, seen, ctx, err);
}

/* 1: nothing to do; 0: set it. */
static int look_before(struct hypervisor *hv, const struct machine_spec *spec, struct vm *vm, bool on,
                       const struct context *ctx, struct error *err) {
    cleanup_vim_object struct vim_object seen = {0};
    if (vm->fresh)
        return 0; /* create has checked what it is made from */
    if (read_hardware(hv, spec, vm, &seen, ctx, err))
        return -1;
    if (vm->power == POWER_ON || vm->suspended)
        return vm->exposed == on ? 1 : refuse_running(spec, on, err);
    if (vm->exposed == on && has_wanted_size(vm, spec))
        return 1;
    return on ? check_able(spec, &seen, err) : 0;
}

int vsphere_expose(struct hypervisor *hv, const struct machine_spec *spec, bool on, bool *ret_exposed,
                   const struct context *ctx, struct error *err) {
    struct vm vm;
    struct error why = {0};
    cleanup_vim_object struct vim_object seen = {0};
    if (vsphere_vm_need(hv, &spec->tag, &vm, ctx, err))
        return -1;
    int before = look_before(hv, spec, &vm, on, ctx, err);
    if (before < 0)
        return -1;
    if (!before) {
        if (vsphere_set_hardware(hv, spec, &vm, on, &seen, ctx, &why)) {
            if (vim_fault_is(&why, VIM_INVALID_POWER_STATE))
                return refuse_running(spec, on, err);
            if (err)
                *err = why;
            return -1;
        }
        if (read_back(hv, spec, &vm, on, &seen, ctx, err))
            return -1;
    }
    *ret_exposed = vm.exposed;
    return 0;
}
