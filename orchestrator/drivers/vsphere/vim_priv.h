/* Inside the vsphere driver's session (client.h):
 *
 *   exchange.c   one request and its reply over HTTP: what came of it
 *   client.c     calls: repetition, and a new login when the session is over; open and close
 *   session.c    login and logout
 *   share.c      what many threads ask for at once, done by one of them
 *   object.c     an object's properties as a small document
 *   retrieve.c   one RetrievePropertiesEx to its end: pages, repetition; wanted.c: of known objects
 *   read.c       single reads and pairs, shared; bulk.c: many objects
 *   watch.c      waiting for an object: watch_priv.h
 *   task.c       tasks
 */
#ifndef DRIVERS_VSPHERE_VIM_PRIV_H
#define DRIVERS_VSPHERE_VIM_PRIV_H

#include <stdatomic.h>

#include "drivers/vsphere/client.h"
#include "drivers/vsphere/share.h"

#define TRIES_MAX 6 /* of one call; the pauses between them come to about six seconds */

struct watch; /* watch.c */
struct view;  /* bulk.c */

/* Batches of single reads that may be under way at once. The next are on their way while one is being read: with fewer,
 * a read waits for a batch to come back before its own leaves; with more, there are more round trips. */
#define READ_ROUNDS 4

/* The reads of one set, or of two. */
struct reader {
    struct reader *next;
    struct vim *v;
    const struct vim_set *sets[2]; /* the second: NULL, or of another type */
    struct share share;
};

struct vim {
    struct vim_config config;
    struct http *http;
    struct vim_service service;
    char action[40];           /* "SOAPAction: \"urn:vim25/6.5\"" */
    atomic_uint generation;    /* how often a login succeeded: which session a call belongs to */
    _Atomic int64_t called_at; /* clock_ms() of the last exchange that tells the server of our being there */
    int64_t try_ms;            /* how long one try of a call that may be repeated waits for its answer */
    struct wakes wakes;
    struct share login;
    struct error refused; /* by the server, for good: not asked again, accounts get locked. Written by login alone */
    pthread_mutex_t readers_lock;
    struct reader *readers;
    pthread_mutex_t views_lock;
    struct view *views;
    struct watch *watch;
};

/* --- exchange.c --- */

enum outcome {
    OUTCOME_ANSWER,   /* the reply, or the server's fault in err */
    OUTCOME_UNSENT,   /* the server has seen nothing of it; it may be asked again */
    OUTCOME_UNKNOWN,  /* it may have acted, its answer is lost; it may be asked again */
    OUTCOME_HOPELESS, /* asking again would not help, and it did not act */
    OUTCOME_ENDED,    /* asking again would not help, and it may have acted: the context's end */
};
enum outcome exchange(struct vim *v, struct soap_request *request, struct soap_reply **ret, const struct context *ctx,
                      struct error *err);

/* --- client.c --- */

/* Growing pauses, with jitter so that many do not come back at once. */
int client_pause(struct vim *v, unsigned *pauses, const struct context *ctx, struct error *err) NESTOR_CHECKED;
/* Whatever the session: no login. */
int client_send(struct vim *v, struct soap_request *request, enum vim_repeat repeat, struct soap_reply **ret,
                bool *ret_uncertain, const struct context *ctx, struct error *err) NESTOR_CHECKED;
/* vim_call and vim_call_ref, which also tell in which session (generation) it was made. */
int client_call(struct vim *v, struct soap_request *request, enum vim_repeat repeat, struct soap_reply **ret,
                bool *ret_uncertain, unsigned *ret_generation, const struct context *ctx,
                struct error *err) NESTOR_CHECKED;
int client_call_ref(struct vim *v, struct soap_request *request, enum vim_repeat repeat, struct moref *ret,
                    bool *ret_uncertain, unsigned *ret_generation, const struct context *ctx,
                    struct error *err) NESTOR_CHECKED;

/* --- session.c --- */

void session_init(struct vim *v);
void session_destroy(struct vim *v);
/* A new session unless there is already a later one than `generation`. One thread logs in, the others wait for it. */
int session_renew(struct vim *v, unsigned generation, const struct context *ctx, struct error *err) NESTOR_CHECKED;
void session_end(struct vim *v);

/* --- object.c --- */

/* An object without properties. */
struct vim_object object_new(const struct moref *ref);
struct vim_object object_copy(const struct vim_object *o);
/* Sets, replaces; val NULL: removes it and leaves a mark that it was removed, for object_merge. */
void object_put(struct vim_object *o, const char *path, const xmlNode *val);
/* Takes what is in `changes` over into o, and empties changes. */
void object_merge(struct vim_object *o, struct vim_object *changes);
/* From an ObjectContent. -1: not one, or a property may not be read (VIM_NO_PERMISSION, VIM_NOT_AUTHENTICATED); then
 * ret->ref tells of which object, if that is known. */
int object_read(xmlNode *content, const char *subject, struct vim_object *ret, struct error *err) NESTOR_CHECKED;

/* --- retrieve.c --- */

/* A retrieval that may be broken off anywhere and goes on with what is still missing. */
struct retrieval {
    /* For what is still missing; NULL: nothing, or -- with err set -- it cannot be asked for. */
    struct soap_request *(*request)(void *data, const struct context *ctx, struct error *err);
    /* An object, which may be taken over (its doc set to NULL then). Non-zero ends the retrieval with err. */
    int (*take)(void *data, struct vim_object *object, struct error *err);
    /* An object that may not be read; NULL: that ends the retrieval. */
    void (*refuse)(void *data, const struct moref *ref, const struct error *why);
    void *data;
};
int retrieve(struct vim *v, const struct retrieval *retrieval, const struct context *ctx,
             struct error *err) NESTOR_CHECKED;

/* Known objects, [0, n). */
struct wanted {
    const struct vim_set *set, *other_set; /* the second: NULL, or for those that are of another type */
    size_t n;
    /* The i-th one, or NULL once it needs not be asked for any more. Called between lock(true) and lock(false). */
    const struct moref *(*ref)(void *data, size_t i);
    void (*lock)(void *data, bool on); /* may be NULL */
    int (*take)(void *data, struct vim_object *object, struct error *err);
    void (*refuse)(void *data, const struct moref *ref, const struct error *why); /* may be NULL */
    void *data;
};
/* Those that are gone are left out. */
int retrieve_wanted(struct vim *v, const struct wanted *wanted, const struct context *ctx,
                    struct error *err) NESTOR_CHECKED;

/* <propSet> of a set. */
void put_set(struct soap_request *r, const struct vim_set *set);
/* <selectSet> from an object of that type to those its property refers to. */
void put_traversal(struct soap_request *r, const char *type, const char *path);

/* --- read.c --- */

void readers_init(struct vim *v);
void readers_destroy(struct vim *v);
/* vim_read of two objects of different types in one round trip, in this order. */
int read_pair(struct vim *v, const struct vim_wish *first, const struct vim_wish *second, const struct context *ctx,
              struct error *err) NESTOR_CHECKED;

/* --- bulk.c --- */

void views_init(struct vim *v);
void views_destroy(struct vim *v);

/* --- watch.c, collector.c, updates.c: watch_priv.h --- */

void watch_init(struct vim *v);
void watch_destroy(struct vim *v);
/* vim_watch of two objects at once: what either look says ends the wait. `beside` (may be NULL) is not read while the
 * first is enough, and left out when it cannot be read. */
int watch_both(struct vim *v, const struct vim_watched *one, const struct vim_watched *beside,
               const struct context *ctx, struct error *err) NESTOR_CHECKED;
uint32_t watch_waiting(struct vim *v); /* callers */
/* There is a new session: what the old one had is gone. */
void watch_session_changed(struct vim *v);

#endif
