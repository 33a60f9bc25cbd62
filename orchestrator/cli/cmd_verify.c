#include <stddef.h>
#include <string.h>

#include "cli/lab_work.h"

#define VERIFY_MS 180000

struct verify_options {
    bool json;
};
static const struct option_spec options[] = {
    {"json", 0, OPTION_FLAG, offsetof(struct verify_options, json), NULL, "the evidence as JSON"},
    {0},
};

struct verifying {
    struct session *s;
    json_t *json; /* array, NULL: text */
    bool all_good;
};

static bool wants_proof(const struct row *row) {
    return row->nesting == NESTING_REQUIRED || row->nesting == NESTING_PREFERRED;
}

/* An error about one machine becomes its evidence: the others are still asked. */
static void tell_failure(struct verifying *v, const struct row *row, const struct error *why) {
    v->all_good = false;
    if (v->json)
        json_array_append_new(v->json, json_pack("{s:s, s:b, s:s, s:s, s:s}", "path", row->path, "verified", 0, "error",
                                                 error_code_name(why->code), "cause", why->cause, "mend", why->mend));
    else
        error_print(why, v->s->cli->color, stdout);
}

static int verify_row(struct verifying *v, uint32_t r, struct error *err) {
    struct session *s = v->s;
    const struct row *row = &s->inv->rows[r];
    struct context ctx = context_timeout(&s->cli->ctx, VERIFY_MS);
    struct evidence e;
    struct error why = {0};
    if (!row->recorded) {
        error_set(&why, ERR_NOT_FOUND, row->path, "it has not been created");
        error_mend(&why, "bring the lab up: nestor up");
        tell_failure(v, row, &why);
        return 0;
    }
    if (reach_prove(s->reach, s->inv, r, row->seen_exposed, &e, &ctx, &why)) {
        if (!why.subject[0])
            error_subject(&why, row->path);
        tell_failure(v, row, &why);
        return 0;
    }
    v->all_good = v->all_good && e.verified;
    int failed = state_evidence_put(s->state, s->lab_id, row->path, &e, err);
    if (v->json)
        json_array_append_new(v->json, evidence_json(row->path, &e));
    else
        evidence_print(row->path, &e, s->cli->color, stdout);
    evidence_free(&e);
    return failed;
}

static int verify_lab(struct session *s, bool as_json, struct error *err) {
    struct verifying v = {.s = s, .json = as_json ? json_array() : NULL, .all_good = true};
    int failed = 0, n = 0;
    for (uint32_t r = 0; r < s->inv->nrows && !failed; r++)
        if (wants_proof(&s->inv->rows[r])) {
            failed = verify_row(&v, r, err);
            n++;
        }
    if (as_json && !failed)
        json_print(json_pack("{s:s, s:b, s:O}", "lab", s->lab_name, "verified", v.all_good, "machines", v.json),
                   stdout);
    else if (!failed && !n)
        puts("This lab has no guest hypervisor to verify.");
    json_decref(v.json);
    return failed ? -1 : v.all_good ? NESTOR_DONE : NESTOR_FAILED;
}

static int run(struct cli *cli, const void *opts, int argc, char **argv, struct error *err) {
    (void)argc;
    const struct verify_options *o = opts;
    struct session s;
    int code = -1;
    if (session_from_name(&s, cli, argv[0], NULL, err) == 0 && session_reach(&s, s.lab != NULL, NULL, err) == 0 &&
        reach_observe(s.reach, s.inv, GUEST_OBSERVE_MS, &cli->ctx, err) == 0)
        code = verify_lab(&s, o->json, err);
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
    .details = "Runs every probe, shows and keeps the evidence. Exits with 1 if one guest hypervisor cannot nest;\n"
               "the reason codes are explained in docs/verify.md.",
    .examples = "  nestor verify quickstart\n  nestor verify quickstart --json | jq '.machines[].probes'",
    .run = run,
};
