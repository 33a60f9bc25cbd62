/* Tasks. */
#include "drivers/vsphere/vim_priv.h"

#define AFTER_CANCEL_MS 5000

static const char *const task_paths[] = {"info.state", "info.error", "info.result", "info.progress", NULL};
static const struct vim_set task_set = {"Task", task_paths};

struct follow {
    struct vim *v;
    const struct moref *task;
    struct moref *ret;
    void (*progress)(void *data, int percent);
    void *data;
    int percent; /* that was told last */
    bool ended, failed;
    const struct vim_watched *beside;
    bool stopped; /* by what is beside */
};

static void tell_progress(struct follow *f, const struct vim_object *o) {
    int64_t percent = xml_number(vim_property(o, "info.progress"), -1);
    if (!f->progress || percent < 0 || percent > 100 || percent == f->percent)
        return;
    f->percent = (int)percent;
    f->progress(f->data, f->percent);
}

static int tell_failure(struct follow *f, const struct vim_object *o, struct error *err) {
    xmlNode *info = vim_property(o, "info.error");
    char message[400];
    xml_text(xml_child(info, "localizedMessage"), message, sizeof message);
    f->ended = f->failed = true;
    return vim_fault_error(xml_child(info, "fault"), message, vim_subject(f->v), err);
}

static int look(void *data, const struct vim_object *o, struct error *err) {
    struct follow *f = data;
    xmlNode *state = vim_property(o, "info.state");
    if (xml_is(state, "error"))
        return tell_failure(f, o, err);
    if (!xml_is(state, "success")) {
        tell_progress(f, o);
        return 0;
    }
    struct moref result = MOREF_NONE;
    xml_ref(vim_property(o, "info.result"), &result);
    f->ended = true;
    if (f->ret)
        *f->ret = result;
    return 1;
}

/* Nobody waits for its end any more: it is asked not to go on. What becomes of it goes into the note. */
static void cancel_task(struct follow *f, struct error *err) {
    struct context ctx = context_timeout(NULL, AFTER_CANCEL_MS); /* not the caller's, which has ended */
    struct soap_request *r = soap_new("CancelTask", f->task);
    struct error refused = {0}, end = {0};
    f->progress = NULL;
    f->ret = NULL;
    if (vim_call(f->v, r, VIM_SAFE, NULL, NULL, &ctx, &refused))
        error_note(err, "the task cannot be cancelled: %s", refused.cause);
    soap_free(r);
    if (vim_watch(f->v, f->task, &task_set, look, f, &ctx, &end) == 0)
        error_note(err, "the task had come to its end before");
    else if (f->ended)
        error_note(err, "the task was ended: %s", end.cause);
    else
        error_note(err, "the task may still be running: %s", end.cause);
}

static int look_beside(void *data, const struct vim_object *o, struct error *err) {
    struct follow *f = data;
    f->stopped = f->beside->look(f->beside->data, o, err) != 0;
    return f->stopped ? -1 : 0;
}

static int follow(struct follow *f, const struct context *ctx, struct error *err) {
    struct vim_watched task = {f->task, &task_set, look, f}, beside = {.look = look_beside, .data = f};
    if (f->beside) {
        beside.ref = f->beside->ref;
        beside.set = f->beside->set;
    }
    f->percent = -1;
    if (watch_both(f->v, &task, f->beside ? &beside : NULL, ctx, err) == 0)
        return 0;
    if (!f->ended && (f->stopped || context_has_ended(ctx)))
        cancel_task(f, err);
    return -1;
}

int vim_task(struct vim *v, const struct moref *task, struct moref *ret, void (*progress)(void *data, int percent),
             void *data, const struct context *ctx, struct error *err) {
    struct follow f = {.v = v, .task = task, .ret = ret, .progress = progress, .data = data};
    return follow(&f, ctx, err);
}

int vim_task_beside(struct vim *v, const struct moref *task, const struct vim_watched *beside,
                    const struct context *ctx, struct error *err) {
    struct follow f = {.v = v, .task = task, .beside = beside};
    return follow(&f, ctx, err);
}

/* 1, -1: it has ended, as `look` says; 0: it has to be waited for, or could not be read so. */
static int look_first(struct follow *f, const struct vim_wish *seen, const struct context *ctx, struct error *err) {
    cleanup_vim_object struct vim_object task = {0};
    const struct vim_wish first = {f->task, &task_set, &task};
    struct error ignored = {0};
    if (read_pair(f->v, &first, seen, ctx, &ignored))
        return 0;
    int enough = look(f, &task, err);
    if (enough <= 0)
        vim_object_free(seen->ret);
    return enough;
}

/* seen may be NULL. */
static int call_and_follow(struct follow *f, struct soap_request *request, const struct vim_wish *seen,
                           bool *ret_uncertain, const struct context *ctx, struct error *err) {
    struct moref task;
    int failed = vim_call_ref(f->v, request, VIM_ONCE, &task, ret_uncertain, ctx, err);
    soap_forget(request); /* what follows may take minutes, in a hundred threads */
    if (failed)
        return -1;
    f->task = &task;
    int enough = seen ? look_first(f, seen, ctx, err) : 0;
    if (enough > 0 || (enough == 0 && follow(f, ctx, err) == 0))
        return 0;
    if (ret_uncertain)
        *ret_uncertain = !f->failed; /* its own failure is an answer; anything else is none */
    return -1;
}

int vim_do(struct vim *v, struct soap_request *request, struct moref *ret, bool *ret_uncertain,
           const struct context *ctx, struct error *err) {
    struct follow f = {.v = v, .ret = ret};
    return call_and_follow(&f, request, NULL, ret_uncertain, ctx, err);
}

int vim_do_seeing(struct vim *v, struct soap_request *request, const struct vim_wish *seen, bool *ret_uncertain,
                  const struct context *ctx, struct error *err) {
    struct follow f = {.v = v};
    return call_and_follow(&f, request, seen, ret_uncertain, ctx, err);
}
