/* Asking every hypervisor that can be asked, level by level: hosts first, then the guest hypervisors whose machines
 * are on. Each level is asked in parallel. */
#include <stdlib.h>
#include <string.h>

#include "nestor/parallel.h"
#include "nestor/reach.h"

/* A host that does not answer at all; with time to type a password. */
#define HOST_MS 300000

/* One hypervisor to ask. */
struct inquiry {
    uint32_t on; /* row of the guest hypervisor, LAB_NONE for a host */
    uint32_t host;
    struct observation *answer;
    struct error error;
};

struct round {
    struct reach *reach;
    struct inventory *inv;
    struct inquiry *items;
    size_t n;
    int guest_ms;
    const struct context *ctx;
};

static void ask(void *data, size_t i) {
    struct round *round = data;
    struct inquiry *q = &round->items[i];
    struct context ctx = context_timeout(round->ctx, q->on == LAB_NONE ? HOST_MS : round->guest_ms);
    struct hypervisor *hv;
    const struct driver *driver;
    int failed = q->on == LAB_NONE ? reach_host(round->reach, q->host, &hv, &driver, &ctx, &q->error)
                                   : reach_inside(round->reach, q->on, &hv, &driver, &ctx, &q->error);
    if (!failed && driver->observe(hv, round->inv->lab_id, &q->answer, &ctx, &q->error))
        q->answer = NULL;
}

/* The guest hypervisors of one level that are on and of which something is known or wanted inside. */
static size_t next_level(struct round *round, uint32_t level) {
    size_t n = 0;
    for (uint32_t r = 0; r < round->inv->nrows; r++) {
        const struct row *row = &round->inv->rows[r];
        if (row->level == level && row->opens_as && row->nchildren && row->seen == SEEN_ON)
            round->items[n++] = (struct inquiry){.on = r, .host = row->host};
    }
    return n;
}

/* Whether the state knows of it, so that taking it out of the lab file is not enough. Without a file all are recorded.
 */
static bool is_recorded(const struct inventory *inv, uint32_t host) {
    for (size_t r = 0; r < inv->nrows; r++)
        if (inv->rows[r].recorded && strcmp(inv->rows[r].recorded->host, inv->hosts[host].name) == 0)
            return true;
    return inv->hosts[host].left || !inv->lab;
}

/* Nothing is known of the lab before its hosts have answered: one that left the spec may still have machines of it. */
static int no_answer(const struct inquiry *q, const struct inventory *inv, struct error *err) {
    const struct inventory_host *host = &inv->hosts[q->host];
    if (!err)
        return -1;
    *err = q->error;
    if (host->left)
        error_context(err, "looking for what the lab has on a host that left the lab file");
    if (err->code == ERR_CANCELLED || err->code == ERR_USAGE || !is_recorded(inv, q->host))
        return -1;
    cleanup_free char *mend = xstrdup(err->mend[0] ? err->mend : "make the host reachable once more");
    return error_mend(err, "%s; if it is gone for good: nestor forget %s %s", mend, inv->lab_name, host->name);
}

static void take_answers(struct round *round) {
    for (size_t i = 0; i < round->n; i++) {
        struct inquiry *q = &round->items[i];
        if (q->answer)
            inventory_apply(round->inv, q->on, q->host, q->answer);
        else if (q->on != LAB_NONE)
            inventory_unasked(round->inv, q->on, &q->error);
        observation_free(q->answer);
        q->answer = NULL;
    }
}

int reach_observe(struct reach *reach, struct inventory *inv, int guest_ms, const struct context *ctx,
                  struct error *err) {
    size_t most = inv->nrows > inv->nhosts ? inv->nrows : inv->nhosts;
    struct round round = {
        .reach = reach, .inv = inv, .guest_ms = guest_ms, .ctx = ctx, .items = xcalloc(most, sizeof *round.items)};
    int failed = 0;
    for (uint32_t h = 0; h < inv->nhosts; h++)
        round.items[round.n++] = (struct inquiry){.on = LAB_NONE, .host = h};
    for (uint32_t level = 1; round.n; level++) {
        parallel_each(round.n, ask, &round);
        for (size_t i = 0; i < round.n && level == 1; i++) /* hosts must answer */
            if (!round.items[i].answer && !failed)
                failed = no_answer(&round.items[i], inv, err);
        take_answers(&round);
        /* A guest hypervisor that was not asked for a Ctrl-C is not one that could not be asked. */
        if (failed || (failed = context_check(ctx, inv->lab_name, "asking its hypervisors", err)))
            break;
        round.n = guest_ms > 0 ? next_level(&round, level) : 0;
    }
    free(round.items);
    return failed;
}
