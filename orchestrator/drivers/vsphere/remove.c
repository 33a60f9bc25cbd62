/* Taking a machine away, with nothing but its tag.
 *
 * On a bare ESXi its disk is a child of a disk that is not its own. Destroy_Task may take the parent along
 * (vagrant-vsphere#211, esxi-linked-clone#1), so there the VM is unregistered and its folder deleted, which can only
 * hold what is its own; TopoMojo does the same. The folder is deleted also when the VM is gone already: nestor may have
 * been killed in between. A vCenter knows who owns which disk of the chains it made itself. */
#include <stdlib.h>
#include <string.h>

#include "drivers/vsphere/vsphere_priv.h"

static const char *const file_paths[] = {"config.files.vmPathName", NULL};
static const struct vim_set file_set = {"VirtualMachine", file_paths};

/* "[ds] NAME/NAME.vmx" to "[ds] NAME"; NULL when it lies in no folder of its own. */
static char *folder_of(const char *vmx) {
    const char *path = strstr(vmx, "] "), *slash = strrchr(vmx, '/');
    if (vmx[0] != '[' || !path || !slash || slash <= path + 2)
        return NULL;
    return xstrndup(vmx, (size_t)(slash - vmx));
}

int vsphere_folder_of(struct hypervisor *hv, const struct tag *tag, const struct moref *vm, char **ret,
                      const struct context *ctx, struct error *err) {
    cleanup_vim_object struct vim_object object = {0};
    if (vim_read(hv->vim, vm, &file_set, &object, ctx, err))
        return -1;
    cleanup_free char *vmx = xml_text_new(vim_property(&object, "config.files.vmPathName"));
    cleanup_free char *folder = vmx ? folder_of(vmx) : NULL;
    if (!folder || !vsphere_is_own_folder(tag, folder)) {
        error_set(err, ERR_CONFLICT, tag->path, "its files are in %s, which nestor did not make for it",
                  folder ? folder : "no folder of their own");
        return error_mend(err, "remove this VM by hand, but not the disk its own is a child of");
    }
    *ret = steal_ptr(&folder);
    return 0;
}

static int unregister(struct hypervisor *hv, const struct tag *tag, const struct moref *vm, const struct context *ctx,
                      struct error *err) {
    struct soap_request *request = soap_new("UnregisterVM", vm);
    bool uncertain = false;
    int failed = vim_call(hv->vim, request, VIM_ONCE, NULL, &uncertain, ctx, err);
    soap_free(request);
    if (failed && uncertain) {
        vsphere_vm_doubt(hv, tag);
        if (err && err->code != ERR_TIMEOUT && err->code != ERR_CANCELLED)
            error_retry(err);
    }
    return failed ? error_subject(err, tag->path) : 0;
}

static int destroy(struct hypervisor *hv, const struct tag *tag, const struct moref *vm, const struct context *ctx,
                   struct error *err) {
    struct soap_request *request = soap_new("Destroy_Task", vm);
    int failed = vsphere_vm_do(hv, tag, request, NULL, ctx, err);
    soap_free(request);
    return failed;
}

/* 1: its folder had another name than its own, so an earlier one was still there when it was made. */
static int unregister_and_delete(struct hypervisor *hv, const struct tag *tag, const struct moref *vm,
                                 const struct context *ctx, struct error *err) {
    cleanup_free char *folder = NULL, *native = machine_native_name(tag->lab_id, tag->path);
    if (vsphere_folder_of(hv, tag, vm, &folder, ctx, err) || unregister(hv, tag, vm, ctx, err) ||
        vsphere_delete_folder(hv, tag, folder, ctx, err))
        return -1;
    return strcmp(strstr(folder, "] ") + 2, native) != 0;
}

/* off: known to be; else its power is cut first. 1: folders of it may be left: it was gone, or there were several. */
static int remove_vm(struct hypervisor *hv, const struct tag *tag, const struct moref *vm, bool off, bool keeps_disks,
                     const struct context *ctx, struct error *err) {
    struct error why = {0};
    for (int turn = 0; turn < 2; turn++) {
        error_clear(&why);
        if (!off && vsphere_power_off(hv, tag, vm, ctx, &why))
            break;
        int rc = keeps_disks ? unregister_and_delete(hv, tag, vm, ctx, &why) : destroy(hv, tag, vm, ctx, &why);
        if (rc >= 0)
            return rc;
        if (!off || !vim_fault_is(&why, VIM_INVALID_POWER_STATE))
            break;
        off = false; /* somebody has started it */
    }
    if (vim_fault_is(&why, VIM_MANAGED_OBJECT_NOT_FOUND))
        return 1;
    error_subject(&why, tag->path);
    if (err)
        *err = why;
    return -1;
}

int vsphere_remove(struct hypervisor *hv, const struct tag *tag, const struct context *ctx, struct error *err) {
    struct vm vm;
    cleanup_free struct moref *all = NULL;
    size_t n = 0;
    if (vsphere_vm_find(hv, tag, &vm, ctx, err) || (!vm.there && vsphere_await_making(hv, tag, ctx, err)) ||
        vsphere_vm_all(hv, tag, &all, &n, ctx, err) || vsphere_vm_find(hv, tag, &vm, ctx, err))
        return -1;
    bool off = vm.power == POWER_OFF && !vm.suspended, leftovers = n == 0;
    for (size_t i = 0; i < n; i++) {
        int rc = remove_vm(hv, tag, &all[i], off && i == 0, !hv->vcenter || vm.detached, ctx, err);
        if (rc < 0)
            return -1;
        leftovers = leftovers || rc > 0;
    }
    if (leftovers && !hv->vcenter && vsphere_delete_leftovers(hv, tag, ctx, err))
        return -1;
    vsphere_vm_keep(hv, tag, &(struct vm){0});
    return 0;
}
