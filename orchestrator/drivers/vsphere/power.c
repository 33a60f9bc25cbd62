#include <stdlib.h>
#include <string.h>

#include "drivers/vsphere/vsphere_priv.h"

static const char *const power_paths[] = {"runtime.powerState", NULL};
static const char *const question_paths[] = {"name", "runtime.question", NULL};
static const struct vim_set power_set = {"VirtualMachine", power_paths},
                            question_set = {"VirtualMachine", question_paths};

static void keep_power(struct hypervisor *hv, const struct tag *tag, struct vm *vm, enum power power) {
    vm->power = power;
    vm->suspended = false;
    vsphere_vm_keep(hv, tag, vm);
}

static int read_power(struct hypervisor *hv, const struct tag *tag, const struct moref *vm, bool *ret_on,
                      const struct context *ctx, struct error *err) {
    cleanup_vim_object struct vim_object object = {0};
    if (vim_read(hv->vim, vm, &power_set, &object, ctx, err))
        return error_subject(err, tag->path);
    *ret_on = xml_is(vim_property(&object, "runtime.powerState"), "poweredOn");
    return 0;
}

/* --- a task that may stand still because the machine asks something --- */

static int look_for_question(void *data, const struct vim_object *vm, struct error *err) {
    const struct tag *const *tag = data;
    cleanup_free char *name = xml_text_new(vim_property(vm, "name"));
    return vsphere_asks(vim_property(vm, "runtime.question"), (*tag)->path, name ? name : vm->ref.id, err) ? -1 : 0;
}

static int do_power(struct hypervisor *hv, const struct tag *tag, const struct moref *vm, const char *method,
                    const struct context *ctx, struct error *err) {
    const struct vim_watched asking = {vm, &question_set, look_for_question, &tag};
    struct moref task;
    struct error why = {0};
    bool uncertain = false;
    struct soap_request *request = soap_new(method, vm);
    int failed = vim_call_ref(hv->vim, request, VIM_ONCE, &task, &uncertain, ctx, &why);
    soap_free(request);
    if (!failed) {
        failed = vim_task_beside(hv->vim, &task, &asking, ctx, &why);
        /* No fault of the task's: it may go on. One that asks something was ended; again it would ask the same. */
        uncertain = failed && !vim_fault_any(&why) && why.code != ERR_CONFLICT;
    }
    return failed ? vsphere_vm_failed(hv, tag, uncertain, &why, err) : 0;
}

/* InvalidPowerState says that it is not as the call wants it; whether it is as we want it is another question. */
static int power_call(struct hypervisor *hv, const struct tag *tag, const struct moref *vm, const char *method, bool on,
                      const struct context *ctx, struct error *err) {
    struct error why = {0};
    bool is_on = !on;
    if (do_power(hv, tag, vm, method, ctx, &why) == 0)
        return 0;
    if (vim_fault_is(&why, VIM_INVALID_POWER_STATE) && read_power(hv, tag, vm, &is_on, ctx, NULL) == 0 && is_on == on)
        return 0;
    if (err)
        *err = why;
    return -1;
}

int vsphere_start(struct hypervisor *hv, const struct machine_spec *spec, const struct context *ctx,
                  struct error *err) {
    struct vm vm;
    if (vsphere_vm_need(hv, &spec->tag, &vm, ctx, err) ||
        power_call(hv, &spec->tag, &vm.ref, "PowerOnVM_Task", true, ctx, err))
        return -1;
    keep_power(hv, &spec->tag, &vm, POWER_ON);
    return 0;
}

int vsphere_power_off(struct hypervisor *hv, const struct tag *tag, const struct moref *vm, const struct context *ctx,
                      struct error *err) {
    return power_call(hv, tag, vm, "PowerOffVM_Task", false, ctx, err);
}

/* Somebody has removed it meanwhile: it is as good as off. -1 with `why`, if it was not for that. */
static int gone_or_failed(struct hypervisor *hv, const struct tag *tag, struct error *why, const struct context *ctx,
                          struct error *err) {
    struct vm vm;
    if (vim_fault_is(why, VIM_MANAGED_OBJECT_NOT_FOUND) && vsphere_vm_look(hv, tag, &vm, ctx, NULL) == 0 && !vm.there)
        return 0;
    error_subject(why, tag->path);
    if (err)
        *err = *why;
    return -1;
}

int vsphere_power_cut(struct hypervisor *hv, const struct tag *tag, const struct context *ctx, struct error *err) {
    struct vm vm;
    struct error why = {0};
    if (vsphere_vm_find(hv, tag, &vm, ctx, err))
        return -1;
    if (!vm.there)
        return 0;
    if (vsphere_power_off(hv, tag, &vm.ref, ctx, &why))
        return gone_or_failed(hv, tag, &why, ctx, err);
    keep_power(hv, tag, &vm, POWER_OFF);
    return 0;
}

/* --- stop --- */

static int look_for_off(void *data, const struct vim_object *object, struct error *err) {
    (void)data, (void)err;
    return xml_is(vim_property(object, "runtime.powerState"), "poweredOff");
}

/* 1: it is off already. */
static int shut_down_guest(struct hypervisor *hv, const struct tag *tag, const struct moref *vm,
                           const struct context *ctx, struct error *err) {
    struct error why = {0};
    bool on = true;
    struct soap_request *request = soap_new("ShutdownGuest", vm);
    int failed = vim_call(hv->vim, request, VIM_SAFE, NULL, NULL, ctx, &why);
    soap_free(request);
    if (!failed)
        return 0;
    if (vim_fault_is(&why, VIM_INVALID_POWER_STATE) && read_power(hv, tag, vm, &on, ctx, NULL) == 0 && !on)
        return 1;
    if (vim_fault_is(&why, VIM_TOOLS_UNAVAILABLE)) {
        /* Nobody in it hears us, however long we wait. */
        error_set(err, ERR_TIMEOUT, tag->path, "it cannot be asked to power off: VMware Tools do not run in it");
        return error_mend(err, "install open-vm-tools in its template");
    }
    if (err)
        *err = why;
    return -1;
}

int vsphere_stop(struct hypervisor *hv, const struct tag *tag, const struct context *ctx, struct error *err) {
    struct vm vm;
    struct error why = {0};
    if (vsphere_vm_find(hv, tag, &vm, ctx, err))
        return -1;
    if (!vm.there)
        return 0;
    if (vm.suspended)
        return vsphere_power_cut(hv, tag, ctx, err);
    int rc = shut_down_guest(hv, tag, &vm.ref, ctx, &why);
    if (rc < 0 || (!rc && vim_watch(hv->vim, &vm.ref, &power_set, look_for_off, NULL, ctx, &why)))
        return gone_or_failed(hv, tag, &why, ctx, err);
    keep_power(hv, tag, &vm, POWER_OFF);
    return 0;
}
