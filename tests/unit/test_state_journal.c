/* Runs, their journal and the evidence. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>
#include <jansson.h>

#include "state/state_priv.h"
#include "state_fixture.h"

static int64_t start_run(struct state *s, const char *id, const char *verb) {
    int64_t run = 0;
    struct error err = {0};
    if (state_run_start(s, id, verb, &run, &err))
        fail_msg("%s: %s", err.subject, err.cause);
    return run;
}

static int64_t intend(struct state *s, int64_t run, const char *id, const char *path) {
    int64_t entry = 0;
    struct error err = {0};
    if (state_journal_intent(s, run, id, path, "create", "not there yet", &entry, &err))
        fail_msg("%s: %s", err.subject, err.cause);
    return entry;
}

/* Paths of the entries, in the order told, each with a mark of how it ended: "lab/a:done lab/b:intent ". */
struct told {
    char text[512];
    size_t n;
    int64_t last_id;
};

static void tell(void *data, const struct journal_record *r) {
    struct told *told = data;
    size_t len = strlen(told->text);
    snprintf(told->text + len, sizeof told->text - len, "%s:%s ", r->path, r->outcome);
    told->n++;
    told->last_id = r->id;
}

static struct told journal(struct state *s, const char *id, int64_t after, size_t limit) {
    struct told told = {{0}, 0, 0};
    struct error err = {0};
    if (state_journal_each(s, id, after, limit, tell, &told, &err))
        fail_msg("%s: %s", err.subject, err.cause);
    return told;
}

struct one {
    struct journal_record record;
    char lab[32], verb[32], step[32], reason[32], error[128];
    size_t n;
};

static void take_one(void *data, const struct journal_record *r) {
    struct one *one = data;
    one->record = *r;
    snprintf(one->lab, sizeof one->lab, "%s", r->lab);
    snprintf(one->verb, sizeof one->verb, "%s", r->verb);
    snprintf(one->step, sizeof one->step, "%s", r->step);
    snprintf(one->reason, sizeof one->reason, "%s", r->reason);
    snprintf(one->error, sizeof one->error, "%s", r->error);
    one->n++;
}

static void entry_tells_its_run_its_times_and_its_error(void **state) {
    struct state_fixture *f = *state;
    char id[LAB_ID_LEN + 1];
    struct error err = {0}, why = {0};
    state_fixture_lab(f->state, "lab", id);
    int64_t before = (int64_t)time(NULL) * 1000;
    int64_t run = start_run(f->state, id, "up");
    int64_t entry = intend(f->state, run, id, "lab/a");

    struct one one = {.n = 0};
    assert_int_equal(state_journal_each(f->state, id, 0, 0, take_one, &one, &err), 0);
    assert_int_equal(one.n, 1);
    assert_int_equal(one.record.id, entry);
    assert_int_equal(one.record.run, run);
    assert_true(one.record.started_at >= before && one.record.started_at < before + 60000);
    assert_int_equal(one.record.ended_at, 0);
    assert_string_equal(one.lab, "lab");
    assert_string_equal(one.verb, "up");
    assert_string_equal(one.step, "create");
    assert_string_equal(one.reason, "not there yet");
    assert_string_equal(one.error, "");

    error_set(&why, ERR_TIMEOUT, "lab/a", "no address after %d s", 30);
    assert_int_equal(state_journal_outcome(f->state, entry, "failed", &why, &err), 0);
    assert_int_equal(state_run_end(f->state, run, "failed", &err), 0);
    state_fixture_reopen(f);
    assert_int_equal(state_journal_each(f->state, id, 0, 0, take_one, &one, &err), 0);
    assert_true(one.record.ended_at >= one.record.started_at);
    assert_string_equal(one.error, "lab/a: no address after 30 s");
}

static void unfinished_entries_are_seen_as_intents_by_the_next_process(void **state) {
    struct state_fixture *f = *state;
    char id[LAB_ID_LEN + 1];
    struct error err = {0};
    state_fixture_lab(f->state, "lab", id);
    int64_t run = start_run(f->state, id, "up");
    int64_t a = intend(f->state, run, id, "lab/a");
    intend(f->state, run, id, "lab/b");
    int64_t c = intend(f->state, run, id, "lab/c");
    assert_int_equal(state_journal_outcome(f->state, a, "done", NULL, &err), 0);
    assert_int_equal(state_journal_outcome(f->state, c, "cancelled", NULL, &err), 0);
    state_fixture_reopen(f);
    assert_string_equal(journal(f->state, id, 0, 0).text, "lab/a:done lab/b:intent lab/c:cancelled ");
}

static void next_run_of_the_lab_closes_the_interrupted_one(void **state) {
    struct state_fixture *f = *state;
    char id[LAB_ID_LEN + 1], other[LAB_ID_LEN + 1];
    state_fixture_lab(f->state, "lab", id);
    state_fixture_lab(f->state, "other", other);
    start_run(f->state, id, "up");
    start_run(f->state, other, "up");
    start_run(f->state, id, "up");
    assert_int_equal(
        state_fixture_count(f, "SELECT count(*) FROM runs WHERE outcome = 'interrupted' AND ended_at > 0 AND id = 1"),
        1);
    assert_int_equal(state_fixture_count(f, "SELECT count(*) FROM runs WHERE ended_at = 0"), 2);
}

static void journal_can_be_read_by_lab_from_an_id_and_in_pieces(void **state) {
    struct state_fixture *f = *state;
    char id[LAB_ID_LEN + 1], other[LAB_ID_LEN + 1];
    state_fixture_lab(f->state, "lab", id);
    state_fixture_lab(f->state, "other", other);
    int64_t run = start_run(f->state, id, "up"), other_run = start_run(f->state, other, "up");
    intend(f->state, run, id, "lab/a");
    intend(f->state, other_run, other, "other/a");
    int64_t b = intend(f->state, run, id, "lab/b");
    intend(f->state, run, id, "lab/c");

    assert_string_equal(journal(f->state, NULL, 0, 0).text, "lab/a:intent other/a:intent lab/b:intent lab/c:intent ");
    assert_string_equal(journal(f->state, id, 0, 0).text, "lab/a:intent lab/b:intent lab/c:intent ");
    assert_string_equal(journal(f->state, id, b, 0).text, "lab/c:intent ");
    struct told piece = journal(f->state, id, 0, 2);
    assert_string_equal(piece.text, "lab/a:intent lab/b:intent ");
    assert_string_equal(journal(f->state, id, piece.last_id, 2).text, "lab/c:intent ");
    assert_int_equal(journal(f->state, "0123456789abcdef", 0, 0).n, 0);
}

static void history_of_a_removed_lab_stays_and_its_down_ends_after_it(void **state) {
    struct state_fixture *f = *state;
    char id[LAB_ID_LEN + 1];
    struct error err = {0};
    state_fixture_lab(f->state, "lab", id);
    int64_t run = start_run(f->state, id, "down");
    int64_t entry = intend(f->state, run, id, "lab/a");
    assert_int_equal(state_lab_delete(f->state, id, &err), 0);
    assert_int_equal(state_journal_outcome(f->state, entry, "done", NULL, &err), 0);
    assert_int_equal(state_run_end(f->state, run, "done", &err), 0);
    struct one one = {.n = 0};
    assert_int_equal(state_journal_each(f->state, NULL, 0, 0, take_one, &one, &err), 0);
    assert_int_equal(one.n, 1);
    assert_string_equal(one.lab, "lab");
}

static void what_is_not_there_cannot_be_ended_or_intended(void **state) {
    struct state_fixture *f = *state;
    char id[LAB_ID_LEN + 1], other[LAB_ID_LEN + 1];
    struct error err = {0};
    int64_t ignored = 42;
    state_fixture_lab(f->state, "lab", id);
    state_fixture_lab(f->state, "other", other);
    int64_t run = start_run(f->state, id, "up");
    int64_t entry = intend(f->state, run, id, "lab/a");
    assert_int_equal(state_journal_outcome(f->state, entry, "done", NULL, &err), 0);

    assert_int_equal(state_journal_outcome(f->state, entry, "failed", NULL, &err), -1); /* ended already */
    assert_int_equal(err.code, ERR_INTERNAL);
    assert_string_equal(err.subject, "journal entry");
    assert_non_null(strstr(err.cause, "cannot journal an outcome: 0 rows"));
    assert_string_equal(journal(f->state, id, 0, 0).text, "lab/a:done ");

    error_clear(&err);
    assert_int_equal(state_run_end(f->state, run + 100, "done", &err), -1);
    assert_int_equal(err.code, ERR_INTERNAL);
    assert_non_null(strstr(err.cause, "cannot record the end of a run: 0 rows"));

    error_clear(&err);
    assert_int_equal(state_journal_intent(f->state, run, other, "other/a", "create", "", &ignored, &err), -1);
    assert_int_equal(err.code, ERR_INTERNAL);
    assert_non_null(strstr(err.cause, "cannot journal an intent: NOT NULL constraint failed: journal.run"));

    error_clear(&err);
    assert_int_equal(state_run_start(f->state, "0123456789abcdef", "up", &ignored, &err), -1);
    assert_int_equal(err.code, ERR_INTERNAL);
    assert_string_equal(err.subject, "0123456789abcdef");
    assert_non_null(strstr(err.cause, "no lab has this id"));
    assert_int_equal(ignored, 42);
}

/* --- trimming --- */

#define MAKE_ENTRIES                                                                                                   \
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10005)"                                  \
    " INSERT INTO journal (run, path, step, reason, started_at) SELECT 1, 'lab/a', 'create', '', 1 FROM n"

static void history_is_cut_to_the_newest_ten_thousand(void **state) {
    struct state_fixture *f = *state;
    char id[LAB_ID_LEN + 1];
    struct error err = {0};
    state_fixture_lab(f->state, "lab", id);
    int64_t run = start_run(f->state, id, "up");
    state_fixture_exec(f->database, MAKE_ENTRIES);
    assert_int_equal(state_run_end(f->state, run, "done", &err), 0);
    assert_int_equal(state_fixture_count(f, "SELECT count(*) FROM journal"), 10000);
    assert_int_equal(state_fixture_count(f, "SELECT min(id) FROM journal"), 6);

    run = start_run(f->state, id, "up"); /* numbers go on, and older ones go at the next end */
    assert_int_equal(intend(f->state, run, id, "lab/a"), 10006);
    assert_int_equal(state_lab_delete(f->state, id, &err), 0);
    assert_int_equal(state_fixture_count(f, "SELECT count(*) FROM journal"), 10000);
}

/* Its outcomes are still to be written. */
static void entries_of_a_run_that_goes_on_are_not_cut(void **state) {
    struct state_fixture *f = *state;
    char id[LAB_ID_LEN + 1], other[LAB_ID_LEN + 1];
    struct error err = {0};
    state_fixture_lab(f->state, "lab", id);
    state_fixture_lab(f->state, "other", other);
    start_run(f->state, id, "up");
    state_fixture_exec(f->database, MAKE_ENTRIES);
    assert_int_equal(state_run_end(f->state, start_run(f->state, other, "up"), "done", &err), 0);
    assert_int_equal(state_fixture_count(f, "SELECT count(*) FROM journal"), 10005);
    assert_int_equal(state_journal_outcome(f->state, 1, "done", NULL, &err), 0);

    /* One that was killed and never followed by another stops counting as going on after 30 days. */
    state_fixture_exec(f->database, "UPDATE runs SET started_at = started_at - 31 * 86400000 WHERE id = 1");
    assert_int_equal(state_run_end(f->state, start_run(f->state, other, "up"), "done", &err), 0);
    assert_int_equal(state_fixture_count(f, "SELECT count(*) FROM journal"), 10000);
}

static void runs_without_entries_are_cut_too(void **state) {
    struct state_fixture *f = *state;
    char id[LAB_ID_LEN + 1];
    struct error err = {0};
    state_fixture_lab(f->state, "lab", id);
    int64_t first = start_run(f->state, id, "up"); /* it has an entry, which keeps it */
    intend(f->state, first, id, "lab/a");
    state_fixture_exec(
        f->database, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10005)"
                     " INSERT INTO runs (lab_id, lab, verb, started_at, ended_at) SELECT 'x', 'x', 'up', 1, 1 FROM n");
    assert_int_equal(state_run_end(f->state, start_run(f->state, id, "up"), "done", &err), 0);
    assert_int_equal(state_fixture_count(f, "SELECT count(*) FROM runs"), 10001);
    assert_int_equal(state_fixture_count(f, "SELECT count(*) FROM runs WHERE id = 1"), 1);
}

/* --- evidence --- */

static void put_machine(struct state *s, const char *id, const char *path) {
    struct machine_record m = state_fixture_machine(path, 0);
    struct error err = {0};
    assert_int_equal(state_machine_put(s, id, &m, &err), 0);
}

struct found_evidence {
    char text[256], json[2048];
    int64_t checked_at;
};

static void take_evidence(void *data, const struct evidence_record *r) {
    struct found_evidence *found = data;
    size_t len = strlen(found->text);
    snprintf(found->text + len, sizeof found->text - len, "%s:%d:%s:%s ", r->path, r->verified, r->flag, r->reason);
    snprintf(found->json, sizeof found->json, "%s", r->probes_json);
    found->checked_at = r->checked_at;
}

static struct found_evidence evidence(struct state *s, const char *id) {
    struct found_evidence found = {{0}, {0}, 0};
    struct error err = {0};
    if (state_evidence_each(s, id, take_evidence, &found, &err))
        fail_msg("%s: %s", err.subject, err.cause);
    return found;
}

static void evidence_comes_back_with_its_probes_as_json(void **state) {
    struct state_fixture *f = *state;
    char id[LAB_ID_LEN + 1];
    struct error err = {0};
    state_fixture_lab(f->state, "lab", id);
    put_machine(f->state, id, "lab/a");
    struct evidence e = {
        .checked_at = 1700000000,
        .flag = "svm",
        .reason = "dev-kvm-missing",
        .nprobes = 2,
        .probes = {{.name = "cpu-flag", .command = "grep", .output = (char *)"svm \"q\"", .ran = true, .ok = true},
                   {.name = "dev-kvm", .command = "test", .ran = true, .reason = "dev-kvm-missing"}}};
    assert_int_equal(state_evidence_put(f->state, id, "lab/a", &e, &err), 0);
    state_fixture_reopen(f);
    struct found_evidence found = evidence(f->state, id);
    assert_string_equal(found.text, "lab/a:0:svm:dev-kvm-missing ");
    assert_int_equal(found.checked_at, 1700000000);
    json_t *probes = json_loads(found.json, 0, NULL);
    assert_int_equal(json_array_size(probes), 2);
    static const char want[] = "{\"name\":\"cpu-flag\",\"command\":\"grep\",\"output\":\"svm \\\"q\\\"\",\"ran\":true,"
                               "\"ok\":true,\"reason\":\"\"}";
    char *first = json_dumps(json_array_get(probes, 0), JSON_COMPACT);
    assert_string_equal(first, want);
    json_t *second = json_array_get(probes, 1);
    assert_string_equal(json_string_value(json_object_get(second, "reason")), "dev-kvm-missing");
    assert_string_equal(json_string_value(json_object_get(second, "output")), "");
    assert_true(json_is_false(json_object_get(second, "ok")));
    free(first);
    json_decref(probes);
}

static void output_that_is_no_utf8_is_kept_as_what_can_be_read(void **state) {
    struct state_fixture *f = *state;
    char id[LAB_ID_LEN + 1];
    struct error err = {0};
    state_fixture_lab(f->state, "lab", id);
    put_machine(f->state, id, "lab/a");
    struct evidence e = {.nprobes = 1, .probes = {{.name = "n", .command = "c", .output = (char *)"a\xff\xc3z"}}};
    assert_int_equal(state_evidence_put(f->state, id, "lab/a", &e, &err), 0);
    assert_non_null(strstr(evidence(f->state, id).json, "\"output\":\"a??z\""));
}

static void newest_of_each_machine_is_told_and_ten_are_kept(void **state) {
    struct state_fixture *f = *state;
    char id[LAB_ID_LEN + 1], other[LAB_ID_LEN + 1];
    struct error err = {0};
    state_fixture_lab(f->state, "lab", id);
    state_fixture_lab(f->state, "other", other);
    put_machine(f->state, id, "lab/a");
    put_machine(f->state, id, "lab/b");
    put_machine(f->state, other, "lab/a");
    struct evidence bad = {.reason = "vhv-not-set"}, good = {.verified = true, .flag = "vmx"};
    assert_int_equal(state_evidence_put(f->state, other, "lab/a", &bad, &err), 0);
    assert_int_equal(state_evidence_put(f->state, id, "lab/b", &bad, &err), 0);
    for (int i = 0; i < 12; i++)
        assert_int_equal(state_evidence_put(f->state, id, "lab/a", &bad, &err), 0);
    assert_int_equal(state_evidence_put(f->state, id, "lab/a", &good, &err), 0);
    assert_string_equal(evidence(f->state, id).text, "lab/a:1:vmx: lab/b:0::vhv-not-set ");
    assert_int_equal(state_fixture_count(f, "SELECT count(*) FROM evidence WHERE path = 'lab/a'"), 11);

    assert_int_equal(state_machine_delete(f->state, id, "lab/a", &err), 0);
    assert_string_equal(evidence(f->state, id).text, "lab/b:0::vhv-not-set ");
}

/* Recording the machine again, as each `up` does, is not forgetting it. */
static void evidence_survives_the_machine_being_recorded_again(void **state) {
    struct state_fixture *f = *state;
    char id[LAB_ID_LEN + 1];
    struct error err = {0};
    state_fixture_lab(f->state, "lab", id);
    put_machine(f->state, id, "lab/a");
    struct evidence good = {.verified = true, .flag = "vmx"};
    assert_int_equal(state_evidence_put(f->state, id, "lab/a", &good, &err), 0);
    put_machine(f->state, id, "lab/a");
    state_fixture_lab(f->state, "lab", id);
    assert_string_equal(evidence(f->state, id).text, "lab/a:1:vmx: ");
}

static void evidence_of_a_machine_that_is_gone_is_refused(void **state) {
    struct state_fixture *f = *state;
    char id[LAB_ID_LEN + 1];
    struct error err = {0};
    state_fixture_lab(f->state, "lab", id);
    struct evidence e = {.verified = true};
    assert_int_equal(state_evidence_put(f->state, id, "lab/a", &e, &err), -1);
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_string_equal(err.subject, "lab/a");
    assert_string_equal(err.cause, "cannot record evidence: there is no record of it any more");
    error_clear(&err);
    put_machine(f->state, id, "lab/a");
    assert_int_equal(state_lab_delete(f->state, id, &err), 0);
    assert_int_equal(state_evidence_put(f->state, id, "lab/a", &e, &err), -1);
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_int_equal(state_fixture_count(f, "SELECT count(*) FROM evidence"), 0);
}

static void one_line_has_the_subject_if_there_is_one(void **state) {
    (void)state;
    struct error with = {0}, without = {0};
    struct buffer b = {0};
    error_set(&with, ERR_IO, "lab/a", "no luck");
    error_set(&without, ERR_IO, NULL, "none either");
    error_one_line(&with, &b);
    assert_string_equal(buffer_str(&b), "lab/a: no luck");
    buffer_clear(&b);
    error_one_line(&without, &b);
    assert_string_equal(buffer_str(&b), "none either");
    buffer_free(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        STATE_TEST(entry_tells_its_run_its_times_and_its_error),
        STATE_TEST(unfinished_entries_are_seen_as_intents_by_the_next_process),
        STATE_TEST(next_run_of_the_lab_closes_the_interrupted_one),
        STATE_TEST(journal_can_be_read_by_lab_from_an_id_and_in_pieces),
        STATE_TEST(history_of_a_removed_lab_stays_and_its_down_ends_after_it),
        STATE_TEST(what_is_not_there_cannot_be_ended_or_intended),
        STATE_TEST(history_is_cut_to_the_newest_ten_thousand),
        STATE_TEST(entries_of_a_run_that_goes_on_are_not_cut),
        STATE_TEST(runs_without_entries_are_cut_too),
        STATE_TEST(evidence_comes_back_with_its_probes_as_json),
        STATE_TEST(output_that_is_no_utf8_is_kept_as_what_can_be_read),
        STATE_TEST(newest_of_each_machine_is_told_and_ten_are_kept),
        STATE_TEST(evidence_survives_the_machine_being_recorded_again),
        STATE_TEST(evidence_of_a_machine_that_is_gone_is_refused),
        cmocka_unit_test(one_line_has_the_subject_if_there_is_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
