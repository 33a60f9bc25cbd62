/* Waiting until a machine can be reached: trying again while there is something to wait for. */
#include "run/reach_priv.h"

#define PAUSE_MS 200

static int pass_on(const struct error *why, struct error *err) {
    if (err)
        *err = *why;
    return -1;
}

/* Is there still something to wait for? The driver's address call tells, in the words of its hypervisor. Outermost
 * first: a machine inside one that does not run cannot even be asked for. */
static int still_running(struct reach *r, uint32_t row, const struct context *ctx, struct error *err) {
    uint32_t around = reach_row(r, row)->parent;
    struct error why = {0};
    struct endpoint at;
    if (around != LAB_NONE && still_running(r, around, ctx, err))
        return -1;
    return reach_ask_address(r, row, &at, ctx, &why) && why.code == ERR_DIED ? pass_on(&why, err) : 0;
}

/* What is waited for: a way in, or the hypervisor that a machine has become. */
struct goal {
    int (*attempt)(struct reach *r, uint32_t row, void *ret, const struct context *ctx, struct error *err);
    void *ret;
    const char *over; /* "over SSH" */
};

/* A driver that tries again by itself until time runs out notes what it met with. */
static const char *last_word(const struct error *last) {
    return last->code == ERR_TIMEOUT && last->note[0] ? last->note : last->cause;
}

static int gave_up(const struct goal *goal, const char *path, const struct error *last, struct error *err) {
    error_set(err, ERR_TIMEOUT, path, "it did not answer %s in time; the last try said: %s", goal->over,
              last_word(last));
    error_retry(err);
    if (last->code == ERR_TIMEOUT && last->mend[0]) /* what has waited itself knows what did not come */
        return error_mend(err, "%s", last->mend);
    return error_mend(err, "see 'nestor console %s'; a slow host may need a longer 'timeouts: { boot: }'", path);
}

static int wait_for(struct reach *r, uint32_t row, const struct goal *goal, const struct context *ctx,
                    struct error *err) {
    const char *path = reach_row(r, row)->path;
    cleanup_free char *what = xasprintf("waiting until it answers %s", goal->over);
    struct error last = {0};
    for (;;) {
        struct error now = {0}, over = {0};
        if (goal->attempt(r, row, goal->ret, ctx, &now) == 0)
            return 0;
        if (now.code != ERR_TIMEOUT && !now.retry)
            return pass_on(&now, err);
        if (now.code != ERR_TIMEOUT || last.code == ERR_NONE)
            last = now;
        if (still_running(r, row, ctx, err))
            return -1;
        if (context_sleep(ctx, PAUSE_MS, path, what, &over))
            return over.code == ERR_CANCELLED ? pass_on(&over, err) : gave_up(goal, path, &last, err);
    }
}

static int attempt_access(struct reach *r, uint32_t row, void *ret, const struct context *ctx, struct error *err) {
    return reach_try(r, row, true, ret, ctx, err);
}

int reach_wait(struct reach *r, uint32_t row, struct access **ret, const struct context *ctx, struct error *err) {
    const struct goal goal = {attempt_access, ret, "over SSH"};
    return wait_for(r, row, &goal, ctx, err);
}

static int attempt_inside(struct reach *r, uint32_t row, void *ret, const struct context *ctx, struct error *err) {
    const struct driver *driver;
    struct context attempt = context_timeout(ctx, ATTEMPT_MS);
    return reach_inside(r, row, ret, &driver, &attempt, err);
}

int reach_wait_inside(struct reach *r, uint32_t row, struct hypervisor **ret, const struct context *ctx,
                      struct error *err) {
    const struct goal goal = {attempt_inside, ret, "at its address"};
    return wait_for(r, row, &goal, ctx, err);
}
