/* All guest hypervisors are proved at once: one that does not answer keeps nobody waiting but itself. What is found is
 * told in the order of the lab, and written by the calling thread. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "cli/ask.h"
#include "cli/lab_work.h"
#include "nestor/parallel.h"
#include "ui/text.h"

#define VERIFY_MS 180000
/* It was ready before, so it should answer soon. */
#define REACH_S 30

struct verify_options {
    bool json;
    unsigned timeout;
};
static const struct option_spec options[] = {
    {"json", 0, OPTION_FLAG, offsetof(struct verify_options, json), NULL, "the evidence as JSON"},
    {"timeout", 't', OPTION_NUMBER, offsetof(struct verify_options, timeout), "SECONDS",
     "how long to wait until each answers (default 30)"},
    {0},
};

/* One guest hypervisor: what its proof came to. */
struct proof {
    uint32_t row;
    bool taken;
    struct evidence evidence; /* if taken */
    struct error why;         /* if not */
};

struct verifying {
    struct session *s;
    struct event_sink *sink;
    int64_t wait_ms;
    struct proof *proofs;
    size_t n;
    json_t *json; /* array, NULL: text */
    bool all_good;
};

static bool wants_proof(const struct row *row) {
    return row->nesting == NESTING_REQUIRED || row->nesting == NESTING_PREFERRED;
}

/* --- taking one proof --- */

static int reach_within(const struct verifying *v, uint32_t r, struct error *err) {
    struct context ctx = context_timeout(&v->s->cli->ctx, v->wait_ms);
    struct hypervisor *inside;
    struct access *access;
    return row_is_by_address(&v->s->inv->rows[r]) ? reach_wait_inside(v->s->reach, r, &inside, &ctx, err)
                                                  : reach_wait(v->s->reach, r, &access, &ctx, err);
}

static int prove(const struct verifying *v, struct proof *p) {
    struct session *s = v->s;
    const struct row *row = &s->inv->rows[p->row];
    if (!row->recorded) {
        error_set(&p->why, ERR_NOT_FOUND, row->path, "it has not been created");
        return error_mend(&p->why, "bring the lab up: nestor up");
    }
    struct context ctx = context_timeout(&s->cli->ctx, VERIFY_MS);
    int failed = reach_within(v, p->row, &p->why) ||
                 reach_prove(s->reach, s->inv, p->row, row->seen_exposed, &p->evidence, &ctx, &p->why);
    if (failed && !p->why.subject[0])
        error_subject(&p->why, row->path);
    return failed ? -1 : 0;
}

static void tell_end(const struct verifying *v, const struct proof *p, int64_t began) {
    const char *path = v->s->inv->rows[p->row].path;
    const struct reason *r = p->taken ? reason_find(p->evidence.reason) : NULL;
    struct error unproved = {0};
    bool good = p->taken && p->evidence.verified;
    if (p->taken && !good)
        error_set(&unproved, ERR_NESTING, path, "%s", r ? r->meaning : "nesting could not be proved");
    event_emit(v->sink, (struct event){.kind = good ? EVENT_STEP_DONE : EVENT_STEP_FAILED,
                                       .path = path,
                                       .step = step_name(STEP_VERIFY),
                                       .elapsed_ms = clock_ms() - began,
                                       .error = good       ? NULL
                                                : p->taken ? &unproved
                                                           : &p->why});
}

static void prove_one(void *data, size_t i) {
    struct verifying *v = data;
    struct proof *p = &v->proofs[i];
    int64_t began = clock_ms();
    event_emit(
        v->sink,
        (struct event){.kind = EVENT_STEP_START, .path = v->s->inv->rows[p->row].path, .step = step_name(STEP_VERIFY)});
    p->taken = prove(v, p) == 0;
    tell_end(v, p, began);
}

static void prove_shown(struct verifying *v) {
    struct cli *cli = v->s->cli;
    struct progress *progress = progress_open(stderr, cli->live, cli->live && cli->color, cli->quiet);
    v->sink = progress_sink(progress);
    progress_watch(progress, &cli->cancel);
    asking_board(cli->asking, progress);
    event_emit(v->sink, (struct event){.kind = EVENT_RUN_START, .text = "verify", .total = v->n});
    parallel_each(v->n, prove_one, v);
    asking_board(cli->asking, NULL);
    progress_close(progress);
    v->sink = NULL;
}

/* --- telling what was found --- */

/* An error about one machine becomes its evidence: the others are still told. */
static void tell_failure(const struct verifying *v, const struct row *row, const struct error *why) {
    if (v->json)
        json_array_append_new(v->json, json_pack("{s:s, s:b, s:s, s:o, s:o}", "path", row->path, "verified", 0, "error",
                                                 error_code_name(why->code), "cause", text_json(why->cause), "mend",
                                                 text_json_or_null(why->mend)));
    else
        error_print(why, v->s->cli->color, stdout);
}

/* What another nestor took down meanwhile has no evidence: then p tells so. */
static int keep_evidence(const struct verifying *v, struct proof *p, struct error *err) {
    struct session *s = v->s;
    const char *path = s->inv->rows[p->row].path;
    if (state_evidence_put(s->state, s->lab_id, path, &p->evidence, err) == 0)
        return 0;
    if (err->code != ERR_NOT_FOUND)
        return -1;
    error_clear(err);
    evidence_free(&p->evidence);
    p->taken = false;
    error_set(&p->why, ERR_NOT_FOUND, path, "it was taken down meanwhile");
    return 0;
}

static int tell_proof(struct verifying *v, struct proof *p, struct error *err) {
    struct session *s = v->s;
    const struct row *row = &s->inv->rows[p->row];
    if (!p->taken && p->why.code == ERR_CANCELLED) {
        *err = p->why;
        return -1;
    }
    if (p->taken && keep_evidence(v, p, err))
        return -1;
    v->all_good = v->all_good && p->taken && p->evidence.verified;
    if (!p->taken) {
        tell_failure(v, row, &p->why);
        return 0;
    }
    if (v->json)
        json_array_append_new(v->json, evidence_json(row->path, &p->evidence));
    else
        evidence_print(row->path, &p->evidence, s->cli->color, stdout);
    return 0;
}

static void release(struct verifying *v) {
    for (size_t i = 0; i < v->n; i++)
        if (v->proofs[i].taken)
            evidence_free(&v->proofs[i].evidence);
    free(v->proofs);
    json_decref(v->json);
}

static int verify_lab(struct session *s, const struct verify_options *o, struct error *err) {
    struct verifying v = {.s = s,
                          .wait_ms = (int64_t)(o->timeout ? o->timeout : REACH_S) * 1000,
                          .proofs = xcalloc(s->inv->nrows + 1, sizeof *v.proofs),
                          .json = o->json ? json_array() : NULL,
                          .all_good = true};
    int failed = 0;
    for (uint32_t r = 0; r < s->inv->nrows; r++)
        if (wants_proof(&s->inv->rows[r]))
            v.proofs[v.n++].row = r;
    if (v.n)
        prove_shown(&v);
    for (size_t i = 0; i < v.n && !failed; i++)
        failed = tell_proof(&v, &v.proofs[i], err);
    if (o->json && !failed)
        json_print(json_pack("{s:s, s:b, s:O}", "lab", s->lab_name, "verified", v.all_good, "machines", v.json),
                   stdout);
    else if (!failed && !v.n)
        puts("Nothing to verify: no machine of this lab has 'nesting: required' or 'preferred'.");
    release(&v);
    return failed ? -1 : v.all_good ? NESTOR_DONE : NESTOR_FAILED;
}

/* Guest hypervisors are asked only for what is known of others in them. */
static int observe_ms(const struct inventory *inv) {
    for (size_t r = 0; r < inv->nrows; r++)
        if (inv->rows[r].level > 1 && wants_proof(&inv->rows[r]))
            return GUEST_OBSERVE_MS;
    return 0;
}

static int run(struct cli *cli, const void *opts, int argc, char **argv, struct error *err) {
    (void)argc;
    struct session s;
    int code = -1;
    if (session_from_name(&s, cli, argv[0], NULL, err) == 0 && session_reach(&s, s.lab != NULL, NULL, err) == 0 &&
        reach_observe(s.reach, s.inv, observe_ms(s.inv), &cli->ctx, err) == 0)
        code = verify_lab(&s, opts, err);
    session_close(&s);
    return code;
}

const struct cli_command cmd_verify = {
    .name = "verify",
    .summary = "Prove again, inside each guest hypervisor, that it can nest",
    .arguments = "LAB",
    .completes = ARGUMENT_LAB,
    .options = options,
    .options_size = sizeof(struct verify_options),
    .min_args = 1,
    .max_args = 1,
    .details = "Runs every probe, in all guest hypervisors at once, shows and keeps the evidence. Exits with 1 if one\n"
               "cannot nest, or cannot be asked; the reason codes are explained in docs/verify.md.",
    .examples = "  nestor verify quickstart\n  nestor verify quickstart --json | jq '.machines[].probes'",
    .run = run,
};
