/* Labs, hosts and machines: what was written is read, also by the next process. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "state/state_priv.h"
#include "state_fixture.h"

/* --- labs --- */

static struct lab_record *find(struct state *s, const char *name) {
    struct lab_record *r = NULL;
    struct error err = {0};
    if (state_lab_find(s, name, &r, &err))
        fail_msg("%s: %s", err.subject, err.cause);
    return r;
}

static void lab_is_found_again_with_its_spec_byte_for_byte(void **state) {
    struct state_fixture *f = *state;
    static const char spec[] = "name: quick\n# \xc3\xa4 'quoted' \"\n";
    char id[LAB_ID_LEN + 1];
    struct error err = {0};
    int64_t before = clock_unix();
    assert_int_equal(state_lab_put(f->state, "quick", "/labs/quick.yaml", spec, strlen(spec), NULL, id, &err), 0);
    state_fixture_reopen(f);
    struct lab_record *r = find(f->state, "quick");
    assert_string_equal(r->id, id);
    assert_string_equal(r->name, "quick");
    assert_string_equal(r->file, "/labs/quick.yaml");
    assert_int_equal(r->spec_len, strlen(spec));
    assert_memory_equal(r->spec, spec, strlen(spec) + 1);
    assert_true(r->created_at >= before && r->created_at <= clock_unix());
    assert_int_equal(r->updated_at, r->created_at);
    assert_false(r->removing);
    lab_record_free(r);
}

static void put_of_a_known_name_keeps_the_id_and_takes_removing_back(void **state) {
    struct state_fixture *f = *state;
    char first[LAB_ID_LEN + 1], second[LAB_ID_LEN + 1];
    struct error err = {0};
    state_fixture_lab(f->state, "quick", first);
    state_fixture_exec(f->database, "UPDATE labs SET created_at = 1, updated_at = 1");
    assert_int_equal(state_lab_set_removing(f->state, first, &err), 0);
    struct lab_record *r = find(f->state, "quick");
    assert_true(r->removing);
    lab_record_free(r);

    assert_int_equal(state_lab_put(f->state, "quick", NULL, "new", 3, NULL, second, &err), 0);
    assert_string_equal(second, first);
    r = find(f->state, "quick");
    assert_string_equal(r->id, first);
    assert_string_equal(r->spec, "new");
    assert_string_equal(r->file, "");
    assert_int_equal(r->created_at, 1);
    assert_true(r->updated_at > 1);
    assert_false(r->removing);
    lab_record_free(r);
}

static void an_adopted_lab_keeps_the_id_of_its_machines(void **state) {
    struct state_fixture *f = *state;
    struct error err = {0};
    char id[LAB_ID_LEN + 1];
    assert_int_equal(state_lab_adopt(f->state, "00112233aabbccdd", "lost", "/l.yaml", "text", 4, &err), 0);
    struct lab_record *r = find(f->state, "lost");
    assert_string_equal(r->id, "00112233aabbccdd");
    assert_string_equal(r->spec, "text");
    lab_record_free(r);
    assert_int_equal(state_lab_adopt(f->state, "00112233aabbccdd", "lost", "", "", 0, &err), 0); /* it is there */
    assert_int_equal(state_lab_put(f->state, "lost", "/l.yaml", "new", 3, NULL, id, &err), 0);
    assert_string_equal(id, "00112233aabbccdd");
    assert_int_equal(state_lab_adopt(f->state, "ffffffffffffffff", "lost", "", "", 0, &err), -1);
    assert_int_equal(err.code, ERR_EXISTS);
    assert_string_equal(err.subject, "lost");
    r = find(f->state, "lost");
    assert_string_equal(r->spec, "new");
    lab_record_free(r);
}

static void unknown_lab_is_told_with_those_there_are(void **state) {
    struct state_fixture *f = *state;
    struct lab_record *r = NULL;
    struct error err = {0};
    char id[LAB_ID_LEN + 1];
    assert_int_equal(state_lab_find(f->state, "quik", &r, &err), -1);
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_string_equal(err.subject, "quik");
    assert_string_equal(err.cause, "no lab 'quik'; there are no labs");
    assert_string_equal(err.mend, "'nestor up FILE' brings one up; 'nestor init' writes a first lab file");

    error_clear(&err);
    state_fixture_lab(f->state, "quick", id);
    state_fixture_lab(f->state, "course", id);
    assert_int_equal(state_lab_find(f->state, "quik", &r, &err), -1);
    assert_string_equal(err.cause, "no lab 'quik'; labs: course, quick");
    assert_string_equal(err.mend, "did you mean 'quick'?");
    assert_null(r);

    error_clear(&err);
    for (int i = 0; i < 10; i++) {
        char name[16];
        snprintf(name, sizeof name, "a%d", i);
        state_fixture_lab(f->state, name, id);
    }
    assert_int_equal(state_lab_find(f->state, "quik", &r, &err), -1);
    assert_string_equal(err.cause, "no lab 'quik'; labs: a0, a1, a2, a3, a4, a5, a6, a7, a8, a9 and 2 more");
    assert_string_equal(err.mend, "did you mean 'quick'?"); /* one that is not shown */

    error_clear(&err);
    assert_int_equal(state_lab_find(f->state, "course/kvm1/web1", &r, &err), -1);
    assert_string_equal(err.mend, "did you mean 'course'?");

    error_clear(&err);
    assert_int_equal(state_lab_find(f->state, "nothing-like-it", &r, &err), -1);
    assert_string_equal(err.mend, "'nestor status' lists the labs");
}

struct seen_labs {
    struct state *state;
    char names[64];
};

/* Writes while it reads: what it is handed must not hang on an open statement. */
static void note_lab(void *data, const struct lab_record *r) {
    struct seen_labs *seen = data;
    struct error err = {0};
    strcat(strcat(seen->names, r->name), " ");
    assert_int_equal(state_lab_delete(seen->state, r->id, &err), 0);
}

static void each_lab_by_name_and_may_be_deleted_meanwhile(void **state) {
    struct state_fixture *f = *state;
    struct error err = {0};
    char id[LAB_ID_LEN + 1];
    state_fixture_lab(f->state, "c", id);
    state_fixture_lab(f->state, "a", id);
    state_fixture_lab(f->state, "b", id);
    struct seen_labs seen = {.state = f->state};
    assert_int_equal(state_lab_each(f->state, note_lab, &seen, &err), 0);
    assert_string_equal(seen.names, "a b c ");
    assert_int_equal(state_fixture_count(f, "SELECT count(*) FROM labs"), 0);
}

static void removing_an_unknown_lab_is_our_own_mistake(void **state) {
    struct state_fixture *f = *state;
    struct error err = {0};
    assert_int_equal(state_lab_set_removing(f->state, "0123456789abcdef", &err), -1);
    assert_int_equal(err.code, ERR_INTERNAL);
    assert_string_equal(err.subject, "0123456789abcdef");
    assert_non_null(strstr(err.cause, "0 rows were changed where one is expected"));
}

/* --- hosts and machines --- */

static struct lab_contents *load(struct state *s, const char *id) {
    struct lab_contents *c = NULL;
    struct error err = {0};
    if (state_lab_load(s, id, &c, &err))
        fail_msg("%s: %s", err.subject, err.cause);
    return c;
}

static void a_host_is_forgotten_once_no_machine_is_on_it(void **state) {
    struct state_fixture *f = *state;
    struct error err = {0};
    char id[LAB_ID_LEN + 1], other[LAB_ID_LEN + 1];
    struct machine_record m = state_fixture_machine("lab/a", 0);
    state_fixture_lab(f->state, "lab", id);
    state_fixture_lab(f->state, "other", other);
    const struct host_record host = {.name = m.host, .driver = "fake"}, spare = {.name = "spare", .driver = "fake"};
    assert_int_equal(state_host_put(f->state, id, &host, &err), 0);
    assert_int_equal(state_host_put(f->state, id, &spare, &err), 0);
    assert_int_equal(state_host_put(f->state, other, &host, &err), 0);
    assert_int_equal(state_machine_put(f->state, id, &m, &err), 0);

    assert_int_equal(state_host_forget(f->state, id, m.host, &err), 0);
    assert_int_equal(state_fixture_count(f, "SELECT count(*) FROM hosts"), 3);
    assert_int_equal(state_machine_delete(f->state, id, "lab/a", &err), 0);
    assert_int_equal(state_host_forget(f->state, id, m.host, &err), 0);
    assert_int_equal(state_host_forget(f->state, id, m.host, &err), 0); /* as often as one likes */
    assert_int_equal(state_fixture_count(f, "SELECT count(*) FROM hosts WHERE name = 'spare'"), 1);
    assert_int_equal(state_fixture_count(f, "SELECT count(*) FROM hosts"), 2); /* and that of the other lab */
}

static void hosts_come_back_in_their_order_with_their_parameters(void **state) {
    struct state_fixture *f = *state;
    struct error err = {0};
    char id[LAB_ID_LEN + 1];
    state_fixture_lab(f->state, "lab", id);
    const struct param params[] = {{.key = "uri", .value = "qemu+ssh://root@h/system"},
                                   {.key = "tls.ca", .value = "/etc/\"ca\".pem"},
                                   {.key = "a", .value = ""}};
    struct host_record hosts[] = {{.name = "z", .driver = "libvirt", .params = params, .nparams = 3, .parallel = 4},
                                  {.name = "a", .driver = "qemu"}};
    assert_int_equal(state_host_put(f->state, id, &hosts[0], &err), 0);
    assert_int_equal(state_host_put(f->state, id, &hosts[1], &err), 0);
    hosts[0].parallel = 5; /* again: in place */
    assert_int_equal(state_host_put(f->state, id, &hosts[0], &err), 0);

    state_fixture_reopen(f);
    struct lab_contents *c = load(f->state, id);
    assert_int_equal(c->nhosts, 2);
    assert_string_equal(c->hosts[0].name, "z");
    assert_string_equal(c->hosts[0].driver, "libvirt");
    assert_int_equal(c->hosts[0].parallel, 5);
    assert_int_equal(c->hosts[0].nparams, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_string_equal(c->hosts[0].params[i].key, params[i].key);
        assert_string_equal(c->hosts[0].params[i].value, params[i].value);
    }
    assert_string_equal(c->hosts[1].name, "a");
    assert_int_equal(c->hosts[1].nparams, 0);
    assert_int_equal(c->nmachines, 0);
    lab_contents_free(c);
}

static void damaged_host_parameters_are_told_as_damage(void **state) {
    struct state_fixture *f = *state;
    static const char *const damage[] = {"{\"uri\":", "[]", "{\"uri\": 3}", "null", ""};
    struct error err = {0};
    char id[LAB_ID_LEN + 1];
    state_fixture_lab(f->state, "lab", id);
    struct host_record host = {.name = "h", .driver = "qemu"};
    assert_int_equal(state_host_put(f->state, id, &host, &err), 0);
    for (size_t i = 0; i < sizeof damage / sizeof *damage; i++) {
        char sql[64];
        snprintf(sql, sizeof sql, "UPDATE hosts SET params = '%s'", damage[i]);
        state_fixture_exec(f->database, sql);
        struct lab_contents *c = NULL;
        assert_int_equal(state_lab_load(f->state, id, &c, &err), -1);
        assert_int_equal(err.code, ERR_STATE_CORRUPT);
        assert_string_equal(err.subject, f->database);
        assert_non_null(strstr(err.cause, "parameters of a host"));
        assert_non_null(strstr(err.mend, "nestor adopt HOST --file FILE"));
        assert_null(c);
        error_clear(&err);
    }
}

static void host_parameter_that_is_no_text_is_refused(void **state) {
    struct state_fixture *f = *state;
    struct error err = {0};
    char id[LAB_ID_LEN + 1];
    state_fixture_lab(f->state, "lab", id);
    const struct param param = {.key = "uri", .value = "\xff\xfe"};
    struct host_record host = {.name = "h", .driver = "qemu", .params = &param, .nparams = 1};
    assert_int_equal(state_host_put(f->state, id, &host, &err), -1);
    assert_int_equal(err.code, ERR_INTERNAL);
    assert_string_equal(err.subject, "h");
    assert_non_null(strstr(err.cause, "not UTF-8"));
}

static void assert_same_machine(const struct machine_record *a, const struct machine_record *b) {
    assert_string_equal(a->path, b->path);
    assert_string_equal(a->name, b->name);
    assert_string_equal(a->parent, b->parent);
    assert_string_equal(a->host, b->host);
    assert_int_equal(a->level, b->level);
    assert_string_equal(a->hypervisor, b->hypervisor);
    assert_string_equal(a->template, b->template);
    assert_string_equal(a->native_name, b->native_name);
    assert_string_equal(a->uuid, b->uuid);
    assert_string_equal(a->mac, b->mac);
    assert_string_equal(a->digest, b->digest);
    assert_string_equal(a->ssh_user, b->ssh_user);
    assert_int_equal(a->ssh_port, b->ssh_port);
    assert_string_equal(a->nesting, b->nesting);
    assert_string_equal(a->ready, b->ready);
    assert_string_equal(a->status, b->status);
    assert_string_equal(a->address, b->address);
    assert_int_equal(a->is_ready, b->is_ready);
    assert_string_equal(a->failure, b->failure);
    assert_int_equal(a->ordinal, b->ordinal);
}

static void machine_comes_back_with_every_field(void **state) {
    struct state_fixture *f = *state;
    struct error err = {0};
    char id[LAB_ID_LEN + 1];
    state_fixture_lab(f->state, "lab", id);
    struct machine_record m = state_fixture_machine("lab/outer/kvm1", 7);
    assert_int_equal(state_machine_put(f->state, id, &m, &err), 0);
    state_fixture_reopen(f);
    struct lab_contents *c = load(f->state, id);
    assert_int_equal(c->nmachines, 1);
    assert_same_machine(&c->machines[0], &m);
    lab_contents_free(c);

    /* Again, all different: replaced, not added. */
    struct machine_record other = {.path = m.path, .level = 1, .status = "creating", .ordinal = 1};
    assert_int_equal(state_machine_put(f->state, id, &other, &err), 0);
    c = load(f->state, id);
    assert_int_equal(c->nmachines, 1);
    const struct machine_record blank = {.path = m.path,
                                         .name = "",
                                         .parent = "",
                                         .host = "",
                                         .level = 1,
                                         .hypervisor = "",
                                         .template = "",
                                         .native_name = "",
                                         .uuid = "",
                                         .mac = "",
                                         .digest = "",
                                         .ssh_user = "",
                                         .nesting = "",
                                         .ready = "",
                                         .status = "creating",
                                         .address = "",
                                         .failure = "",
                                         .ordinal = 1};
    assert_same_machine(&c->machines[0], &blank);
    lab_contents_free(c);
}

static void machines_come_by_ordinal_and_only_of_the_lab(void **state) {
    struct state_fixture *f = *state;
    struct error err = {0};
    char id[LAB_ID_LEN + 1], other[LAB_ID_LEN + 1];
    state_fixture_lab(f->state, "lab", id);
    state_fixture_lab(f->state, "other", other);
    static const struct {
        const char *path;
        uint32_t ordinal;
    } rows[] = {{"lab/a", 2}, {"lab/b", 0}, {"lab/c", 1}};
    for (size_t i = 0; i < 3; i++) {
        struct machine_record m = state_fixture_machine(rows[i].path, rows[i].ordinal);
        assert_int_equal(state_machine_put(f->state, id, &m, &err), 0);
        assert_int_equal(state_machine_put(f->state, other, &m, &err), 0);
    }
    assert_int_equal(state_machine_delete(f->state, other, "lab/a", &err), 0);
    assert_int_equal(state_machine_delete(f->state, other, "lab/a", &err), 0); /* already so */
    struct lab_contents *c = load(f->state, id);
    assert_int_equal(c->nmachines, 3);
    assert_string_equal(c->machines[0].path, "lab/b");
    assert_string_equal(c->machines[1].path, "lab/c");
    assert_string_equal(c->machines[2].path, "lab/a");
    lab_contents_free(c);
    c = load(f->state, other);
    assert_int_equal(c->nmachines, 2);
    lab_contents_free(c);
}

static void seen_changes_only_what_it_names(void **state) {
    struct state_fixture *f = *state;
    struct error err = {0};
    char id[LAB_ID_LEN + 1];
    state_fixture_lab(f->state, "lab", id);
    struct machine_record m = state_fixture_machine("lab/a", 0), bystander = state_fixture_machine("lab/b", 1);
    assert_int_equal(state_machine_put(f->state, id, &m, &err), 0);
    assert_int_equal(state_machine_put(f->state, id, &bystander, &err), 0);

    assert_int_equal(state_machine_seen(f->state, id, "lab/a", NULL, NULL, -1, NULL, &err), 0);
    struct lab_contents *c = load(f->state, id);
    assert_same_machine(&c->machines[0], &m);
    lab_contents_free(c);

    assert_int_equal(state_machine_seen(f->state, id, "lab/a", "stopped", NULL, 0, "", &err), 0);
    m.status = "stopped";
    m.is_ready = false;
    m.failure = "";
    c = load(f->state, id);
    assert_same_machine(&c->machines[0], &m);
    lab_contents_free(c);

    assert_int_equal(state_machine_seen(f->state, id, "lab/a", NULL, "10.0.0.5:22", 1, NULL, &err), 0);
    m.address = "10.0.0.5:22";
    m.is_ready = true;
    c = load(f->state, id);
    assert_same_machine(&c->machines[0], &m);
    assert_same_machine(&c->machines[1], &bystander);
    lab_contents_free(c);
}

static void seen_of_a_machine_without_a_row_is_our_own_mistake(void **state) {
    struct state_fixture *f = *state;
    struct error err = {0};
    char id[LAB_ID_LEN + 1];
    state_fixture_lab(f->state, "lab", id);
    assert_int_equal(state_machine_seen(f->state, id, "lab/a", "running", NULL, -1, NULL, &err), -1);
    assert_int_equal(err.code, ERR_INTERNAL);
    assert_string_equal(err.subject, "lab/a");
    assert_non_null(strstr(err.cause, "cannot record what was seen of a machine: 0 rows"));
}

static void values_out_of_the_agreed_set_are_refused_without_being_shown(void **state) {
    struct state_fixture *f = *state;
    struct error err = {0};
    char id[LAB_ID_LEN + 1];
    state_fixture_lab(f->state, "lab", id);
    struct machine_record m = state_fixture_machine("lab/a", 0);
    m.status = "hunter2";
    assert_int_equal(state_machine_put(f->state, id, &m, &err), -1);
    assert_int_equal(err.code, ERR_INTERNAL);
    assert_non_null(strstr(err.cause, "cannot record a machine: CHECK constraint failed"));
    assert_null(strstr(err.cause, "hunter2"));

    error_clear(&err);
    m.status = "running";
    assert_int_equal(state_machine_put(f->state, "0123456789abcdef", &m, &err), -1);
    assert_int_equal(err.code, ERR_INTERNAL);
    assert_non_null(strstr(err.cause, "FOREIGN KEY constraint failed"));
}

/* --- forgetting --- */

static void deleted_lab_leaves_no_row_but_its_history(void **state) {
    struct state_fixture *f = *state;
    struct error err = {0};
    char id[LAB_ID_LEN + 1], other[LAB_ID_LEN + 1];
    int64_t run, entry;
    state_fixture_lab(f->state, "lab", id);
    state_fixture_lab(f->state, "other", other);
    struct host_record host = {.name = "h", .driver = "qemu"};
    struct machine_record m = state_fixture_machine("lab/a", 0);
    struct evidence e = {.checked_at = 1, .verified = true, .flag = "svm"};
    const char *const ids[] = {id, other};
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(state_host_put(f->state, ids[i], &host, &err), 0);
        assert_int_equal(state_machine_put(f->state, ids[i], &m, &err), 0);
        assert_int_equal(state_evidence_put(f->state, ids[i], "lab/a", &e, &err), 0);
        assert_int_equal(state_run_start(f->state, ids[i], "down", &run, &err), 0);
        assert_int_equal(state_journal_intent(f->state, run, ids[i], "lab/a", "remove", "", &entry, &err), 0);
        assert_int_equal(state_journal_outcome(f->state, entry, "done", NULL, &err), 0);
        assert_int_equal(state_run_end(f->state, run, "done", &err), 0);
    }
    assert_int_equal(state_lab_delete(f->state, id, &err), 0);
    assert_int_equal(state_lab_delete(f->state, id, &err), 0); /* already so */
    static const char *const tables[] = {"labs", "hosts", "machines", "evidence"};
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        char sql[64];
        snprintf(sql, sizeof sql, "SELECT count(*) FROM %s", tables[i]);
        assert_int_equal(state_fixture_count(f, sql), 1);
    }
    assert_int_equal(state_fixture_count(f, "SELECT count(*) FROM runs WHERE lab = 'lab'"), 1);
    assert_int_equal(state_fixture_count(f, "SELECT count(*) FROM journal"), 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        STATE_TEST(lab_is_found_again_with_its_spec_byte_for_byte),
        STATE_TEST(put_of_a_known_name_keeps_the_id_and_takes_removing_back),
        STATE_TEST(an_adopted_lab_keeps_the_id_of_its_machines),
        STATE_TEST(unknown_lab_is_told_with_those_there_are),
        STATE_TEST(each_lab_by_name_and_may_be_deleted_meanwhile),
        STATE_TEST(removing_an_unknown_lab_is_our_own_mistake),
        STATE_TEST(hosts_come_back_in_their_order_with_their_parameters),
        STATE_TEST(a_host_is_forgotten_once_no_machine_is_on_it),
        STATE_TEST(damaged_host_parameters_are_told_as_damage),
        STATE_TEST(host_parameter_that_is_no_text_is_refused),
        STATE_TEST(machine_comes_back_with_every_field),
        STATE_TEST(machines_come_by_ordinal_and_only_of_the_lab),
        STATE_TEST(seen_changes_only_what_it_names),
        STATE_TEST(seen_of_a_machine_without_a_row_is_our_own_mistake),
        STATE_TEST(values_out_of_the_agreed_set_are_refused_without_being_shown),
        STATE_TEST(deleted_lab_leaves_no_row_but_its_history),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
