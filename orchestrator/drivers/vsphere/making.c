/* What is being made on the server just now. A nestor that was killed may have asked for it: its task goes on, the VM
 * is found by nothing before the task's end, and a task does not tell what it will make. So who is to remove a machine
 * that is not there waits until every VM that this user's tasks were making has been made; those that begin later do
 * not count. */
#include <stdlib.h>
#include <string.h>

#include "drivers/vsphere/vsphere_priv.h"

struct tasks {
    struct moref *items;
    size_t n, cap;
    char user[120]; /* whose tasks count; "": everybody's */
};

static void tasks_add(struct tasks *t, const struct moref *task) {
    if (t->n == t->cap) {
        t->cap = t->cap ? 2 * t->cap : 16;
        t->items = xrealloc(t->items, t->cap * sizeof *t->items);
    }
    t->items[t->n++] = *task;
}

/* --- which tasks there are --- */

static int read_recent(struct hypervisor *hv, struct tasks *ret, const struct context *ctx, struct error *err) {
    static const char *const paths[] = {"recentTask", NULL};
    static const struct vim_set set = {"TaskManager", paths};
    cleanup_vim_object struct vim_object object = {0};
    if (vim_read(hv->vim, &vim_service(hv->vim)->task_manager, &set, &object, ctx, err))
        return -1;
    xmlNode *n = xml_child(vim_property(&object, "recentTask"), "ManagedObjectReference");
    for (struct moref task; n; n = xml_next(n, "ManagedObjectReference"))
        if (xml_ref(n, &task))
            tasks_add(ret, &task);
    return 0;
}

static bool is_over(const struct vim_object *task) {
    xmlNode *state = vim_property(task, "info.state");
    return xml_is(state, "success") || xml_is(state, "error");
}

/* As the server writes it in a task's reason, "VSPHERE.LOCAL\\Administrator", which is not how it was given. */
static int read_user(struct hypervisor *hv, struct tasks *ret, const struct context *ctx, struct error *err) {
    static const char *const paths[] = {"currentSession", NULL};
    static const struct vim_set set = {"SessionManager", paths};
    cleanup_vim_object struct vim_object object = {0};
    if (vim_read(hv->vim, &vim_service(hv->vim)->session_manager, &set, &object, ctx, err))
        return -1;
    xml_text(xml_child(vim_property(&object, "currentSession"), "userName"), ret->user, sizeof ret->user);
    return 0;
}

/* Who is known to be somebody else. Names are told in full, and compared as they are told to people. */
static bool is_others(const struct tasks *t, const struct vim_object *task) {
    char user[sizeof t->user] = "";
    xmlNode *reason = vim_property(task, "info.reason");
    return t->user[0] && xml_type_is(reason, "TaskReasonUser") &&
           xml_text(xml_child(reason, "userName"), user, sizeof user) && user[0] && strcasecmp(user, t->user) != 0;
}

static int take_if_it_makes(void *data, struct vim_object *task, struct error *err) {
    (void)err;
    xmlNode *name = vim_property(task, "info.name");
    if (!is_over(task) && !is_others(data, task) && (xml_is(name, "CloneVM_Task") || xml_is(name, "CreateVM_Task")))
        tasks_add(data, &task->ref);
    return 0;
}

static int find_making(struct hypervisor *hv, struct tasks *ret, const struct context *ctx, struct error *err) {
    static const char *const paths[] = {"info.name", "info.state", "info.reason", NULL};
    static const struct vim_set set = {"Task", paths};
    struct tasks recent = {0};
    struct error why = {0};
    if (!moref_is_set(&vim_service(hv->vim)->task_manager))
        return 0;
    int failed = read_recent(hv, &recent, ctx, &why) || (recent.n && read_user(hv, ret, ctx, &why)) ||
                 (recent.n && vim_read_these(hv->vim, recent.items, recent.n, &set, take_if_it_makes, ret, ctx, &why));
    free(recent.items);
    if (!failed || vim_fault_any(&why)) /* a user who may not see tasks can do without */
        return 0;
    if (err)
        *err = why;
    return -1;
}

/* --- waiting for them --- */

static int look_for_end(void *data, const struct vim_object *task, struct error *err) {
    (void)data, (void)err;
    return is_over(task);
}

static int await_end(struct hypervisor *hv, const struct tag *tag, const struct moref *task, const struct context *ctx,
                     struct error *err) {
    static const char *const paths[] = {"info.state", NULL};
    static const struct vim_set set = {"Task", paths};
    struct error why = {0};
    if (vim_watch(hv->vim, task, &set, look_for_end, NULL, ctx, &why) == 0 ||
        vim_fault_is(&why, VIM_MANAGED_OBJECT_NOT_FOUND))
        return 0;
    error_context(&why, "%s still makes a VM, which may be this one", task->id);
    error_subject(&why, tag->path);
    if (err)
        *err = why;
    return error_mend(err, "try again when the server's recent tasks show no more VMs being made");
}

static int await_all(struct hypervisor *hv, void *data, const struct context *ctx, struct error *err) {
    const struct tag *tag = data;
    struct tasks tasks = {0};
    int failed = find_making(hv, &tasks, ctx, err);
    for (size_t i = 0; i < tasks.n && !failed; i++)
        failed = await_end(hv, tag, &tasks.items[i], ctx, err);
    free(tasks.items);
    return failed ? -1 : 0;
}

int vsphere_await_making(struct hypervisor *hv, const struct tag *tag, const struct context *ctx, struct error *err) {
    struct tag whose = *tag;
    return once_do(&hv->making_once, tag->path, "waiting for what is being made", hv, await_all, &whose, ctx, err);
}

int vsphere_is_making(struct hypervisor *hv, bool *ret, const struct context *ctx, struct error *err) {
    struct tasks tasks = {0};
    int failed = find_making(hv, &tasks, ctx, err);
    free(tasks.items);
    *ret = tasks.n > 0;
    return failed ? -1 : 0;
}
