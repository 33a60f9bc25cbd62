/* Folders on an ESXi's datastore that a removal which was cut left behind: the VM was unregistered, its folder not yet
 * deleted. Made anew meanwhile, the machine got a folder of another name, its own with a number. */
#include <stdlib.h>
#include <string.h>

#include "drivers/vsphere/vsphere_priv.h"

/* "NAME", or what a server makes of it when that is taken: "NAME_1"; the simulator "NAME (1)". */
bool vsphere_is_own_folder(const struct tag *tag, const char *folder) {
    cleanup_free char *native = machine_native_name(tag->lab_id, tag->path);
    const char *name = strstr(folder, "] ");
    size_t len = strlen(native);
    return name && strncmp(name + 2, native, len) == 0 &&
           strspn(name + 2 + len, "_ ()0123456789") == strlen(name + 2 + len);
}

int vsphere_delete_folder(struct hypervisor *hv, const struct tag *tag, const char *folder, const struct context *ctx,
                          struct error *err) {
    const struct vsphere_datacenter *dc;
    struct error why = {0};
    if (vsphere_datacenter(hv, &dc, ctx, err))
        return -1;
    struct soap_request *request = soap_new("DeleteDatastoreFile_Task", &vim_service(hv->vim)->file_manager);
    soap_text(request, "name", folder);
    soap_ref(request, "datacenter", &dc->ref);
    int failed = vsphere_vm_do(hv, tag, request, NULL, ctx, &why);
    soap_free(request);
    if (!failed || vim_fault_is(&why, VIM_FILE_NOT_FOUND))
        return 0;
    error_context(&why, "deleting %s", folder);
    if (err)
        *err = why;
    return -1;
}

/* --- which there are --- */

static struct soap_request *search_request(struct hypervisor *hv, const struct moref *browser, const char *name) {
    cleanup_free char *where = xasprintf("[%s]", hv->datastore_name), *pattern = xasprintf("%s*", name);
    struct soap_request *r = soap_new("SearchDatastore_Task", browser);
    soap_text(r, "datastorePath", where);
    soap_open(r, "searchSpec");
    soap_open_as(r, "query", "FolderFileQuery");
    soap_close(r);
    soap_text(r, "matchPattern", pattern);
    soap_close(r);
    return r;
}

/* *ret: a Task's info.result, HostDatastoreBrowserSearchResults. */
static int search(struct hypervisor *hv, const struct moref *datastore, const char *name, struct vim_object *ret,
                  const struct context *ctx, struct error *err) {
    static const char *const browser_paths[] = {"browser", NULL}, *const result_paths[] = {"info.result", NULL};
    static const struct vim_set browser_set = {"Datastore", browser_paths}, result_set = {"Task", result_paths};
    cleanup_vim_object struct vim_object object = {0};
    struct moref browser, task;
    if (vim_read(hv->vim, datastore, &browser_set, &object, ctx, err))
        return -1;
    if (!xml_ref(vim_property(&object, "browser"), &browser))
        return error_set(err, ERR_PROTOCOL, hv->config.subject, "the server does not tell how to browse its datastore");
    struct soap_request *request = search_request(hv, &browser, name);
    int failed = vim_call_ref(hv->vim, request, VIM_SAFE, &task, NULL, ctx, err) ||
                 vim_task(hv->vim, &task, NULL, NULL, NULL, ctx, err) ||
                 vim_read(hv->vim, &task, &result_set, ret, ctx, err);
    soap_free(request);
    return failed ? -1 : 0;
}

/* No datastore, no folder. */
int vsphere_delete_leftovers(struct hypervisor *hv, const struct tag *tag, const struct context *ctx,
                             struct error *err) {
    struct moref datastore;
    struct error ignored = {0};
    cleanup_vim_object struct vim_object found = {0};
    cleanup_free char *native = machine_native_name(tag->lab_id, tag->path);
    if (vsphere_place(hv, PLACE_DATASTORE, &datastore, ctx, &ignored))
        return context_check(ctx, tag->path, "removing it", err);
    if (search(hv, &datastore, native, &found, ctx, err))
        return error_subject(err, tag->path);
    xmlNode *file = xml_child(vim_property(&found, "info.result"), "file");
    for (; file; file = xml_next(file, "file")) {
        cleanup_free char *name = xml_text_new(xml_child(file, "path"));
        cleanup_free char *folder = xasprintf("[%s] %s", hv->datastore_name, name ? name : "");
        if (vsphere_is_own_folder(tag, folder) && vsphere_delete_folder(hv, tag, folder, ctx, err))
            return -1;
    }
    return 0;
}
