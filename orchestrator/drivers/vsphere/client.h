/* A session with a vCenter or a bare ESXi: calls, bulk reads, and waiting. All of it may be used by many threads.
 *
 *   call     one method. Login is silent: at open, and again when the server says NotAuthenticated.
 *   read     properties of objects. Reads that many threads ask for at the same time share one round trip.
 *   watch    waiting for an object to become so. One property collector with one filter over one ListView serves all
 *            tasks and machines of the session (WaitForUpdatesEx, on a thread and a connection of its own): nothing is
 *            polled per object. What is true already is seen by the shared read that a watch begins with.
 */
#ifndef DRIVERS_VSPHERE_CLIENT_H
#define DRIVERS_VSPHERE_CLIENT_H

#include "drivers/vsphere/fault.h"
#include "drivers/vsphere/soap.h"
#include "nestor/context.h"
#include "nestor/http.h"

struct vim;

struct vim_config {
    struct http_config http; /* borrowed, as all of this, until vim_close */
    const char *username;
    /* Gives the password when a login needs it, into *ret (wiped and freed by the client). Called on the caller's
     * thread, at most once at a time. */
    int (*password)(void *data, struct buffer *ret, struct error *err);
    void *data;
};

/* What the server says of itself (ServiceContent, AboutInfo). */
struct vim_service {
    bool vcenter;     /* apiType VirtualCenter; else HostAgent: a bare ESXi */
    char version[32]; /* "7.0.3" */
    char build[32];
    char full_name[120]; /* "VMware ESXi 7.0.3 build-20328353" */
    char instance_uuid[48];
    struct moref root_folder, property_collector, view_manager, session_manager, search_index, task_manager,
        file_manager, virtual_disk_manager, license_manager, dvs_manager;
};

/* Connects and logs in. ERR_AUTH (InvalidLogin: never repeated, accounts get locked), and http_perform's. */
int vim_open(const struct vim_config *config, struct vim **ret, const struct context *ctx,
             struct error *err) NESTOR_CHECKED;
/* Ends the watching thread, logs out (at most 5 s), closes. NULL-safe. No call may be under way. */
void vim_close(struct vim *v);
const struct vim_service *vim_service(const struct vim *v); /* valid until vim_close */
const char *vim_subject(const struct vim *v);
unsigned long vim_round_trips(const struct vim *v);
/* How many callers at once are of use, as the server answers now: those who wait for a task need no connection, and of
 * the others about half wait for a read that is shared. */
uint32_t vim_at_once(struct vim *v);

/* How a call that got no answer may be treated. */
enum vim_repeat {
    VIM_ONCE, /* it changes something: an error after the request was sent has `*uncertain` set and is not repeated */
    VIM_SAFE, /* asking twice is the same as asking once: HTTP 503, a reset, a cut reply and none within 90 s are
               * repeated, with growing pauses, a few times and as long as ctx lasts */
};

/* One method. *ret_uncertain (may be NULL): the server may have carried it out although this failed. In both modes a
 * request that certainly did not arrive is repeated as VIM_SAFE is, and NotAuthenticated leads to one new login and one
 * repetition (the server acts on nothing from a session it does not know). ret may be NULL. */
int vim_call(struct vim *v, struct soap_request *request, enum vim_repeat repeat, struct soap_reply **ret,
             bool *ret_uncertain, const struct context *ctx, struct error *err) NESTOR_CHECKED;
/* For methods that return one reference (X_Task): calls, and reads it. */
int vim_call_ref(struct vim *v, struct soap_request *request, enum vim_repeat repeat, struct moref *ret,
                 bool *ret_uncertain, const struct context *ctx, struct error *err) NESTOR_CHECKED;

/* --- properties --- */

/* Which properties of which type. One static table entry per purpose: reads with the same set are merged. */
struct vim_set {
    const char *type;         /* "VirtualMachine" */
    const char *const *paths; /* "config.nestedHVEnabled" ..., ends with NULL */
};

/* An object and the properties that were asked for and are set. What this server does not know is unset; what this user
 * may not read fails the reading (VIM_NO_PERMISSION, its context names the property). */
struct vim_object {
    struct moref ref;
    xmlDoc *doc; /* root's children are <p name="PATH"> with the value's attributes and content */
};
void vim_object_free(struct vim_object *o); /* empties it; NULL-safe */
#define cleanup_vim_object __attribute__((cleanup(vim_object_free)))
/* The value's element, or NULL: unset, or not asked for. Borrowed from the object. */
xmlNode *vim_property(const struct vim_object *o, const char *path);

/* One object, in a round trip shared with others' reads. VIM_MANAGED_OBJECT_NOT_FOUND when it is gone. An object
 * another thread asked for that is gone does not fail this one. */
int vim_read(struct vim *v, const struct moref *ref, const struct vim_set *set, struct vim_object *ret,
             const struct context *ctx, struct error *err) NESTOR_CHECKED;

/* An object, with set, and those its property `path` refers to, with others: in one round trip. fn is called for each,
 * in any order, and again for some should the answer break. Others that may not be read are left out. */
int vim_read_along(struct vim *v, const struct moref *ref, const struct vim_set *set, const char *path,
                   const struct vim_set *others, int (*fn)(void *data, struct vim_object *object, struct error *err),
                   void *data, const struct context *ctx, struct error *err) NESTOR_CHECKED;
/* Every object of set->type below root (a folder, a pool, a compute resource), through a ContainerView that the session
 * keeps, by pages; calls fn for each as it is read, so only one is in memory. fn returns non-zero (with err) to end it.
 */
int vim_read_all(struct vim *v, const struct moref *root, const struct vim_set *set,
                 int (*fn)(void *data, struct vim_object *object, struct error *err), void *data,
                 const struct context *ctx, struct error *err) NESTOR_CHECKED;
/* The same for objects that are known: one round trip per page. Those that are gone are left out. */
int vim_read_these(struct vim *v, const struct moref *refs, size_t n, const struct vim_set *set,
                   int (*fn)(void *data, struct vim_object *object, struct error *err), void *data,
                   const struct context *ctx, struct error *err) NESTOR_CHECKED;

/* --- waiting --- */

/* Waits until `look` says that it is enough: 1; or that it cannot come: -1 with err. 0 waits on. look sees the object
 * at once, and then at each change, on the caller's thread. ERR_NOT_FOUND (VIM_MANAGED_OBJECT_NOT_FOUND) when it goes.
 * Loss of the connection is repaired while ctx lasts. */
int vim_watch(struct vim *v, const struct moref *ref, const struct vim_set *set,
              int (*look)(void *data, const struct vim_object *object, struct error *err), void *data,
              const struct context *ctx, struct error *err) NESTOR_CHECKED;

struct vim_watched {
    const struct moref *ref;
    const struct vim_set *set;
    int (*look)(void *data, const struct vim_object *object, struct error *err);
    void *data;
};

/* Waits for the end of a task; its result, if that is a reference, to *ret (may be NULL). -1: the task's own fault as
 * an error, or the context's end: then the task is asked to cancel (CancelTask) and its end is awaited for at most five
 * seconds more, so that little goes on behind our back. progress (may be NULL): percent, on the caller's thread. */
int vim_task(struct vim *v, const struct moref *task, struct moref *ret, void (*progress)(void *data, int percent),
             void *data, const struct context *ctx, struct error *err) NESTOR_CHECKED;
/* The same, and beside the task another object is watched: its look says 0, or ends the wait with -1 and err, and the
 * task is asked to cancel. It is read only when the task has not ended at once, and not waited for any more when it
 * cannot be read. */
int vim_task_beside(struct vim *v, const struct moref *task, const struct vim_watched *beside,
                    const struct context *ctx, struct error *err) NESTOR_CHECKED;
/* An object to be read, and where it goes. */
struct vim_wish {
    const struct moref *ref;
    const struct vim_set *set;
    struct vim_object *ret;
};

/* vim_call_ref with VIM_ONCE, then soap_forget, then vim_task. *ret_uncertain: also when the task's end was not seen,
 * or came as a success after the context's end; not when the task itself failed. */
int vim_do(struct vim *v, struct soap_request *request, struct moref *ret, bool *ret_uncertain,
           const struct context *ctx, struct error *err) NESTOR_CHECKED;
/* The same, and if the task has ended when it is looked at first, the object is as that answer shows it; else it is
 * left empty. What it shows of the task's work is so; what it does not show may have been read too early. seen NULL:
 * vim_do. */
int vim_do_seeing(struct vim *v, struct soap_request *request, const struct vim_wish *seen, bool *ret_uncertain,
                  const struct context *ctx, struct error *err) NESTOR_CHECKED;

#endif
