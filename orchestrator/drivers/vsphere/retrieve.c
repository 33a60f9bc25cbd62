/* RetrievePropertiesEx to its end, whatever happens on the way. A reply that breaks in the middle, a session that ends
 * between two pages and a page that is lost all lead to one more request, for what is still missing. */
#include "drivers/vsphere/vim_priv.h"

#include <stdlib.h>
#include <string.h>

/* What became of one attempt. */
enum progress {
    DONE,
    FAILED,    /* err tells why; it is final */
    AGAIN,     /* err tells why */
    AGAIN_NOW, /* in a new session */
};

struct attempt {
    struct vim *v;
    const struct retrieval *retrieval;
    const struct context *ctx;
    unsigned generation;
    struct error why;
};

void put_set(struct soap_request *r, const struct vim_set *set) {
    soap_open(r, "propSet");
    soap_text(r, "type", set->type);
    soap_flag(r, "all", false);
    for (const char *const *path = set->paths; *path; path++)
        soap_text(r, "pathSet", *path);
    soap_close(r);
}

void put_traversal(struct soap_request *r, const char *type, const char *path) {
    soap_open_as(r, "selectSet", "TraversalSpec");
    soap_text(r, "name", path);
    soap_text(r, "type", type);
    soap_text(r, "path", path);
    soap_flag(r, "skip", false);
    soap_close(r);
}

static enum progress take(struct attempt *a, xmlNode *content) {
    const struct retrieval *r = a->retrieval;
    cleanup_vim_object struct vim_object object = {.doc = NULL};
    if (object_read(content, vim_subject(a->v), &object, &a->why) == 0)
        return r->take(r->data, &object, &a->why) ? FAILED : DONE;
    if (vim_fault_is(&a->why, VIM_NOT_AUTHENTICATED))
        return AGAIN_NOW;
    if (!r->refuse || !moref_is_set(&object.ref))
        return FAILED;
    r->refuse(r->data, &object.ref, &a->why);
    error_clear(&a->why);
    return DONE;
}

/* One page; *ret_token is set if there are more. */
static enum progress take_page(struct attempt *a, struct soap_reply *reply, char **ret_token) {
    xmlNode *item = NULL;
    int rc = soap_enter(reply, &a->why);
    while (rc == 1 && (rc = soap_next(reply, &item, &a->why)) == 1) {
        enum progress progress = DONE;
        if (xmlStrEqual(item->name, (const xmlChar *)"objects"))
            progress = take(a, item);
        else if (xmlStrEqual(item->name, (const xmlChar *)"token") && !*ret_token)
            *ret_token = xml_text_new(item);
        if (progress != DONE)
            return progress;
    }
    return rc == 0 ? DONE : AGAIN;
}

/* A token is good for one use, so a page that was lost is not asked for again: the whole is. */
static enum progress take_next_page(struct attempt *a, char **token) {
    struct soap_request *request = soap_new("ContinueRetrievePropertiesEx", &a->v->service.property_collector);
    cleanup_soap_reply struct soap_reply *reply = NULL;
    soap_text(request, "token", *token);
    int rc = client_call(a->v, request, VIM_ONCE, &reply, NULL, NULL, a->ctx, &a->why);
    soap_free(request);
    free(steal_ptr(token));
    if (rc)
        return context_has_ended(a->ctx) ? FAILED : AGAIN;
    return take_page(a, reply, token);
}

static enum progress try(struct attempt *a, struct soap_request *request) {
    cleanup_soap_reply struct soap_reply *reply = NULL;
    cleanup_free char *token = NULL;
    if (client_call(a->v, request, VIM_SAFE, &reply, NULL, &a->generation, a->ctx, &a->why))
        return FAILED; /* that was tried often enough */
    enum progress progress = take_page(a, reply, &token);
    while (progress == DONE && token)
        progress = take_next_page(a, &token);
    return progress;
}

static int prepare_next(struct attempt *a, enum progress progress, unsigned *pauses, struct error *err) {
    if (progress == AGAIN_NOW)
        return session_renew(a->v, a->generation, a->ctx, err);
    if (client_pause(a->v, pauses, a->ctx, err) == 0)
        return 0;
    error_note(err, "%s", a->why.cause);
    return -1;
}

int retrieve(struct vim *v, const struct retrieval *retrieval, const struct context *ctx, struct error *err) {
    unsigned pauses = 0;
    for (unsigned tries = 1;; tries++) {
        struct attempt a = {.v = v, .retrieval = retrieval, .ctx = ctx};
        struct soap_request *request = retrieval->request(retrieval->data, ctx, &a.why);
        enum progress progress = request ? try(&a, request) : a.why.code == ERR_NONE ? DONE : FAILED;
        soap_free(request);
        if (progress == DONE)
            return 0;
        if (progress == FAILED || tries == TRIES_MAX) {
            if (err)
                *err = a.why;
            return -1;
        }
        if (prepare_next(&a, progress, &pauses, err))
            return -1;
    }
}
