/* Objects whose references are known. */
#include "drivers/vsphere/vim_priv.h"

/* [from, to) of what is wanted. */
struct part {
    const struct vim *v;
    const struct wanted *wanted;
    size_t from, to;
};

static void put_object(struct soap_request *r, const struct moref *ref) {
    soap_open(r, "objectSet");
    soap_ref(r, "obj", ref);
    soap_flag(r, "skip", false);
    soap_close(r);
}

static size_t put_objects(struct soap_request *r, const struct part *p) {
    const struct wanted *w = p->wanted;
    size_t n = 0;
    if (w->lock)
        w->lock(w->data, true);
    for (size_t i = p->from; i < p->to; i++) {
        const struct moref *ref = w->ref(w->data, i);
        if (ref)
            put_object(r, ref);
        n += ref != NULL;
    }
    if (w->lock)
        w->lock(w->data, false);
    return n;
}

static struct soap_request *request(void *data, const struct context *ctx, struct error *err) {
    const struct part *p = data;
    struct soap_request *r = soap_new("RetrievePropertiesEx", &p->v->service.property_collector);
    (void)ctx, (void)err;
    soap_open(r, "specSet");
    put_set(r, p->wanted->set);
    if (p->wanted->other_set)
        put_set(r, p->wanted->other_set);
    size_t n = put_objects(r, p);
    soap_flag(r, "reportMissingObjectsInResults", true); /* one that is gone is left out then, and fails nobody */
    soap_close(r);
    soap_open(r, "options");
    soap_close(r);
    if (n > 0)
        return r;
    soap_free(r);
    return NULL;
}

static int take(void *data, struct vim_object *object, struct error *err) {
    const struct part *p = data;
    return p->wanted->take(p->wanted->data, object, err);
}

static void refuse(void *data, const struct moref *ref, const struct error *why) {
    const struct part *p = data;
    p->wanted->refuse(p->wanted->data, ref, why);
}

/* A server that fails the whole for one that is gone is asked for the halves. */
static int retrieve_part(struct vim *v, struct part p, const struct context *ctx, struct error *err) {
    struct retrieval retrieval = {
        .request = request, .take = take, .refuse = p.wanted->refuse ? refuse : NULL, .data = &p};
    struct error why = {0};
    int rc = retrieve(v, &retrieval, ctx, &why);
    if (rc && !vim_fault_is(&why, VIM_MANAGED_OBJECT_NOT_FOUND)) {
        if (err)
            *err = why;
        return -1;
    }
    if (rc == 0 || p.to - p.from == 1)
        return 0;
    struct part first = p, second = p;
    first.to = second.from = p.from + (p.to - p.from) / 2;
    return retrieve_part(v, first, ctx, err) || retrieve_part(v, second, ctx, err) ? -1 : 0;
}

int retrieve_wanted(struct vim *v, const struct wanted *wanted, const struct context *ctx, struct error *err) {
    return wanted->n ? retrieve_part(v, (struct part){v, wanted, 0, wanted->n}, ctx, err) : 0;
}
