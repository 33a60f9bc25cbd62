/* Reads over a vSphere session: shared round trips, pages, and what breaks on the way. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "drivers/vsphere/vim_priv.h"
#include "transport_check.h"
#include "transport_server.h"
#include "vim_server.h"

static const char *const paths[] = {"name", "config.extraConfig", NULL};
static const struct vim_set set = {"VirtualMachine", paths};

static void add_machines(struct vim_client *c, int from, int to) {
    for (int i = from; i <= to; i++) {
        char id[24], name[24];
        snprintf(id, sizeof id, "vm-%d", i);
        snprintf(name, sizeof name, "name of %d", i);
        vim_server_add(c->s, "VirtualMachine", id);
        vim_server_set(c->s, id, "name", "xsd:string", name);
        vim_server_set(c->s, id, "config.extraConfig", "ArrayOfOptionValue",
                       "<OptionValue xsi:type=\"OptionValue\"><key>k</key><value xsi:type=\"xsd:string\">v</value>"
                       "</OptionValue>");
    }
}

static int setup(void **state) {
    struct vim_client *c = xcalloc(1, sizeof *c);
    vim_client_open(c);
    add_machines(c, 1, 60);
    *state = c;
    return 0;
}

static int teardown(void **state) {
    vim_client_close(*state);
    free(*state);
    return 0;
}

static int reads(struct vim_client *c) { return vim_server_count(c->s, "RetrievePropertiesEx"); }

/* --- one object --- */

struct reading {
    struct vim_client *c;
    struct moref ref;
    struct context ctx;
    struct vim_object object;
    struct error err;
    int rc;
    int64_t took;
    pthread_t thread;
};

static void *read_one(void *data) {
    struct reading *r = data;
    int64_t begin = clock_ms();
    r->rc = vim_read(r->c->v, &r->ref, &set, &r->object, &r->ctx, &r->err);
    r->took = clock_ms() - begin;
    return NULL;
}

static void start(struct reading *r, struct vim_client *c, int vm, struct context ctx) {
    *r = (struct reading){.c = c, .ctx = ctx, .ref = {.type = "VirtualMachine"}};
    snprintf(r->ref.id, sizeof r->ref.id, "vm-%d", vm);
    assert_int_equal(pthread_create(&r->thread, NULL, read_one, r), 0);
}

static void join(struct reading *r) { pthread_join(r->thread, NULL); }

static void has_name(struct reading *r, int vm) {
    cleanup_free char *name = xasprintf("name of %d", vm);
    if (r->rc)
        fail_msg("vm-%d: %s", vm, r->err.cause);
    assert_true(moref_equal(&r->object.ref, &r->ref));
    assert_true(xml_is(vim_property(&r->object, "name"), name));
    vim_object_free(&r->object);
}

static void is_gone(struct reading *r) {
    cleanup_free char *cause = xasprintf("VirtualMachine %s does not exist (any more)", r->ref.id);
    assert_int_equal(r->rc, -1);
    assert_int_equal(r->err.code, ERR_NOT_FOUND);
    assert_true(vim_fault_is(&r->err, VIM_MANAGED_OBJECT_NOT_FOUND));
    assert_string_equal(r->err.cause, cause);
    assert_null(r->object.doc);
}

static void object_has_its_properties(void **state) {
    struct vim_client *c = *state;
    struct reading r;
    start(&r, c, 7, test_within(10000));
    join(&r);
    xmlNode *extra = vim_property(&r.object, "config.extraConfig");
    assert_string_equal((const char *)extra->name, "p");
    assert_true(xml_type_is(extra, "ArrayOfOptionValue"));
    xmlNode *option = xml_child(extra, "OptionValue");
    assert_true(xml_is(xml_child(option, "key"), "k"));
    assert_true(xml_type_is(xml_child(option, "value"), "string"));
    assert_null(vim_property(&r.object, "config"));
    assert_null(vim_property(&r.object, "guest.net"));
    has_name(&r, 7);
    assert_int_equal(reads(c), 1);
}

/* All rounds are under way and do not come back: what is asked for now waits for one of them. */
static void start_behind(struct vim_client *c, struct reading *first, struct context ctx) {
    vim_server_rule(c->s,
                    (struct vim_rule){.method = "RetrievePropertiesEx", .times = READ_ROUNDS, .trouble = IS_SILENT});
    for (int i = 0; i < READ_ROUNDS; i++) {
        start(&first[i], c, 50 + i, ctx);
        vim_server_await(c->s, "RetrievePropertiesEx", i + 1);
    }
}

static int count_queued(struct vim_client *c) {
    struct share *share = &c->v->readers->share;
    int n = 0;
    pthread_mutex_lock(&share->lock);
    for (const struct share_item *item = share->head; item; item = item->next)
        n++;
    pthread_mutex_unlock(&share->lock);
    return n;
}

static void await_queued(struct vim_client *c, int n) {
    for (int i = 0; i < 10000 && count_queued(c) < n; i++)
        usleep(1000);
    assert_int_equal(count_queued(c), n);
}

/* The i-th for vm-(3 + i % objects), each on a thread of its own, and all of them asked for before a round is free. */
static void read_together(struct vim_client *c, int threads, int objects) {
    struct reading first[READ_ROUNDS], all[50];
    struct cancel cancel;
    assert_int_equal(cancel_init(&cancel, NULL), 0);
    start_behind(c, first, (struct context){DEADLINE_NEVER, &cancel});
    for (int i = 0; i < threads; i++)
        start(&all[i], c, 3 + i % objects, test_within(10000));
    await_queued(c, threads);
    cancel_fire(&cancel);
    for (int i = 0; i < threads; i++) {
        join(&all[i]);
        has_name(&all[i], 3 + i % objects);
    }
    for (int i = 0; i < READ_ROUNDS; i++)
        join(&first[i]);
    cancel_destroy(&cancel);
    assert_in_range(reads(c), READ_ROUNDS + 1, 2 * READ_ROUNDS);
}

static void reads_of_many_threads_share_round_trips(void **state) { read_together(*state, 50, 50); }

static void same_object_is_read_for_all_who_ask(void **state) { read_together(*state, 10, 2); }

static void object_that_is_gone_fails_nobody_else(void **state) {
    struct vim_client *c = *state;
    for (int old = 0; old < 2; old++) {
        struct reading first[READ_ROUNDS], all[20];
        struct cancel cancel;
        c->s->old_missing = old; /* such a server fails the whole */
        if (!old)
            vim_server_remove(c->s, "vm-13");
        int before = reads(c);
        assert_int_equal(cancel_init(&cancel, NULL), 0);
        vim_server_clear_rules(c->s);
        vim_server_rule(
            c->s, (struct vim_rule){.method = "RetrievePropertiesEx", .times = READ_ROUNDS, .trouble = IS_SILENT});
        for (int i = 0; i < READ_ROUNDS; i++) {
            start(&first[i], c, 50 + i, (struct context){DEADLINE_NEVER, &cancel});
            vim_server_await(c->s, "RetrievePropertiesEx", before + i + 1);
        }
        for (int i = 0; i < 20; i++)
            start(&all[i], c, i + 1, test_within(10000));
        await_queued(c, 20);
        cancel_fire(&cancel);
        for (int i = 0; i < 20; i++) {
            join(&all[i]);
            if (i + 1 == 13)
                is_gone(&all[i]);
            else
                has_name(&all[i], i + 1);
        }
        for (int i = 0; i < READ_ROUNDS; i++)
            join(&first[i]);
        cancel_destroy(&cancel);
        assert_true(reads(c) - before <= READ_ROUNDS + (old ? 14 : 2));
    }
}

static void object_that_may_not_be_read_fails_nobody_else(void **state) {
    struct vim_client *c = *state;
    struct reading all[20];
    vim_server_forbid(c->s, "vm-4");
    c->s->delay_ms = 50;
    for (int i = 0; i < 20; i++)
        start(&all[i], c, i + 1, test_within(10000));
    for (int i = 0; i < 20; i++) {
        join(&all[i]);
        if (i + 1 != 4) {
            has_name(&all[i], i + 1);
            continue;
        }
        assert_int_equal(all[i].err.code, ERR_AUTH);
        assert_true(vim_fault_is(&all[i].err, VIM_NO_PERMISSION));
        assert_string_equal(all[i].err.cause,
                            "NoPermission for want of the privilege System.Read on VirtualMachine vm-4: no");
        assert_string_equal(all[i].err.context, "reading name of VirtualMachine vm-4");
        assert_string_equal(all[i].err.mend, "give the user the privileges listed in docs/hosts/vsphere.md");
    }
}

static void cancelled_leader_does_not_fail_the_others(void **state) {
    struct vim_client *c = *state;
    struct reading first[READ_ROUNDS], all[5], leader;
    struct cancel cancels[READ_ROUNDS + 1];
    for (int i = 0; i <= READ_ROUNDS; i++)
        assert_int_equal(cancel_init(&cancels[i], NULL), 0);
    vim_server_rule(
        c->s, (struct vim_rule){.method = "RetrievePropertiesEx", .times = READ_ROUNDS + 1, .trouble = IS_SILENT});
    for (int i = 0; i < READ_ROUNDS; i++) { /* all are taken */
        start(&first[i], c, 50 + i, (struct context){DEADLINE_NEVER, &cancels[i]});
        vim_server_await(c->s, "RetrievePropertiesEx", i + 1);
    }
    start(&leader, c, 9, (struct context){DEADLINE_NEVER, &cancels[READ_ROUNDS]});
    await_queued(c, 1);
    for (int i = 0; i < 5; i++)
        start(&all[i], c, i + 1, test_within(10000));
    await_queued(c, 6);
    cancel_fire(&cancels[0]); /* the leader takes the five others along, and waits with them */
    vim_server_await(c->s, "RetrievePropertiesEx", READ_ROUNDS + 1);
    cancel_fire(&cancels[READ_ROUNDS]);
    join(&leader);
    assert_int_equal(leader.err.code, ERR_CANCELLED);
    assert_true(leader.took < 5000);
    for (int i = 0; i < 5; i++) {
        join(&all[i]);
        has_name(&all[i], i + 1);
    }
    assert_int_equal(reads(c), READ_ROUNDS + 2);
    for (int i = 1; i < READ_ROUNDS; i++)
        cancel_fire(&cancels[i]);
    for (int i = 0; i < READ_ROUNDS; i++) {
        join(&first[i]);
        assert_int_equal(first[i].err.code, ERR_CANCELLED);
    }
    for (int i = 0; i <= READ_ROUNDS; i++)
        cancel_destroy(&cancels[i]);
}

static void follower_leaves_when_its_own_time_is_over(void **state) {
    struct vim_client *c = *state;
    struct reading first[READ_ROUNDS], follower, second;
    struct cancel cancel, other;
    assert_int_equal(cancel_init(&cancel, NULL), 0);
    assert_int_equal(cancel_init(&other, NULL), 0);
    start_behind(c, first, (struct context){DEADLINE_NEVER, &cancel});
    start(&follower, c, 1, test_within(300));
    start(&second, c, 2, (struct context){DEADLINE_NEVER, &other});
    join(&follower);
    assert_int_equal(follower.err.code, ERR_TIMEOUT);
    assert_string_equal(follower.err.cause, "time ran out while reading from the server");
    assert_true(follower.took < 1500);
    cancel_fire(&other);
    join(&second);
    assert_int_equal(second.err.code, ERR_CANCELLED);
    cancel_fire(&cancel);
    for (int i = 0; i < READ_ROUNDS; i++)
        join(&first[i]);
    cancel_destroy(&cancel);
    cancel_destroy(&other);
    assert_int_equal(reads(c), READ_ROUNDS); /* nobody asked for those two */
    start(&second, c, 2, test_within(10000));
    join(&second);
    has_name(&second, 2);
}

static void broken_answers_are_asked_for_again(void **state) {
    struct vim_client *c = *state;
    static const enum vim_trouble troubles[] = {CUTS_XML, BREAKS_XML, CUTS_HTTP, EXPIRES};
    for (size_t t = 0; t < sizeof troubles / sizeof *troubles; t++)
        for (int sloppy = 0; sloppy < 2; sloppy++) {
            struct reading r;
            c->s->sloppy_unauthenticated = sloppy;
            vim_server_rule(c->s,
                            (struct vim_rule){.method = "RetrievePropertiesEx", .times = 1, .trouble = troubles[t]});
            start(&r, c, 5, test_within(10000));
            join(&r);
            has_name(&r, 5);
            vim_server_clear_rules(c->s);
        }
}

static void read_that_ended_before_it_began_asks_nothing(void **state) {
    struct vim_client *c = *state;
    struct reading r;
    start(&r, c, 1, (struct context){.deadline = 0});
    join(&r);
    assert_int_equal(r.err.code, ERR_TIMEOUT);
    assert_int_equal(reads(c), 0);
}

/* --- many objects --- */

struct seen {
    int times[VIM_OBJECTS];
    int n, stop_at;
};

static int see(void *data, struct vim_object *object, struct error *err) {
    struct seen *seen = data;
    int vm = atoi(object->ref.id + 3);
    cleanup_free char *name = xasprintf("name of %d", vm);
    assert_true(xml_is(vim_property(object, "name"), name));
    seen->times[vm]++;
    if (++seen->n == seen->stop_at)
        return error_set(err, ERR_CONFLICT, NULL, "enough");
    return 0;
}

static void saw_each_once(const struct seen *seen, int n) {
    assert_int_equal(seen->n, n);
    for (int i = 1; i <= n; i++)
        assert_int_equal(seen->times[i], 1);
}

static int read_all(struct vim_client *c, struct seen *seen, struct error *err) {
    struct context ctx = test_within(20000);
    return vim_read_all(c->v, &vim_service(c->v)->root_folder, &set, see, seen, &ctx, err);
}

static void all_below_an_object_are_read_by_pages(void **state) {
    struct vim_client *c = *state;
    static const int pages[] = {0, 1000, 60, 25, 7};
    static const int trips[] = {1, 1, 1, 3, 9};
    for (size_t i = 0; i < sizeof pages / sizeof *pages; i++) {
        struct seen seen = {.n = 0};
        struct error err = {0};
        c->s->page = pages[i];
        unsigned long before = vim_round_trips(c->v);
        assert_int_equal(read_all(c, &seen, &err), 0);
        saw_each_once(&seen, 60);
        assert_int_equal(vim_round_trips(c->v) - before, trips[i] + (i == 0)); /* the first makes the view */
        assert_int_equal(vim_server_things(c->s, "ContainerView"), 1);
    }
}

static void number_of_round_trips_does_not_grow_with_the_objects(void **state) {
    struct vim_client *c = *state;
    struct seen *seen = xcalloc(1, sizeof *seen);
    struct error err = {0};
    add_machines(c, 61, 1000);
    unsigned long before = vim_round_trips(c->v);
    assert_int_equal(read_all(c, seen, &err), 0);
    saw_each_once(seen, 1000);
    assert_true(vim_round_trips(c->v) - before <= 4);
    free(seen);
}

static void each_is_told_once_whatever_breaks(void **state) {
    struct vim_client *c = *state;
    static const char *const methods[] = {"CreateContainerView", "RetrievePropertiesEx",
                                          "ContinueRetrievePropertiesEx"};
    static const enum vim_trouble troubles[] = {CUTS_XML, BREAKS_XML, CUTS_HTTP, LOSES_ANSWER, CLOSES, EXPIRES};
    for (int sloppy = 0; sloppy < 2; sloppy++)
        for (size_t m = 0; m < 3; m++)
            for (size_t t = 0; t < sizeof troubles / sizeof *troubles; t++) {
                struct seen seen = {.n = 0};
                struct error err = {0};
                c->s->page = 25;
                c->s->sloppy_unauthenticated = sloppy;
                vim_server_rule(c->s, (struct vim_rule){.method = methods[m], .times = 1, .trouble = troubles[t]});
                if (read_all(c, &seen, &err))
                    fail_msg("%s, trouble %zu: %s", methods[m], t, err.cause);
                saw_each_once(&seen, 60);
                vim_server_clear_rules(c->s);
            }
}

static void reader_may_end_it(void **state) {
    struct vim_client *c = *state;
    struct seen seen = {.stop_at = 3};
    struct error err = {0};
    assert_int_equal(read_all(c, &seen, &err), -1);
    assert_string_equal(err.cause, "enough");
    assert_int_equal(seen.n, 3);
    assert_int_equal(reads(c), 1);
    assert_int_equal(vim_server_things(c->s, "ContainerView"), 1);
}

/* --- an object and what it refers to --- */

static const char *const host_path[] = {"host", NULL}, *const state_path[] = {"state", NULL};
static const struct vim_set cluster_set = {"ComputeResource", host_path}, host_set = {"HostSystem", state_path};
static const struct moref cluster = {"ComputeResource", "domain-1"};

static void add_cluster(struct vim_client *c) {
    vim_server_add(c->s, "ComputeResource", cluster.id);
    vim_server_set(c->s, cluster.id, "host", "ArrayOfManagedObjectReference",
                   "<ManagedObjectReference type=\"HostSystem\">host-1</ManagedObjectReference>"
                   "<ManagedObjectReference type=\"HostSystem\">host-2</ManagedObjectReference>");
    for (int i = 1; i <= 3; i++) {
        char id[24];
        snprintf(id, sizeof id, "host-%d", i);
        vim_server_add(c->s, "HostSystem", id);
        vim_server_set(c->s, id, "state", "xsd:string", id);
    }
}

static int note_seen(void *data, struct vim_object *o, struct error *err) {
    (void)err;
    char text[40] = "refers";
    if (vim_property(o, "state"))
        xml_text(vim_property(o, "state"), text, sizeof text);
    buffer_printf(data, "%s: %s\n", o->ref.id, text);
    return 0;
}

static int read_along(struct vim_client *c, struct buffer *seen, struct error *err) {
    struct context ctx = test_within(20000);
    return vim_read_along(c->v, &cluster, &cluster_set, "host", &host_set, note_seen, seen, &ctx, err);
}

static void an_object_and_what_it_refers_to_are_one_round_trip(void **state) {
    struct vim_client *c = *state;
    cleanup_buffer struct buffer seen = {0};
    struct error err = {0};
    add_cluster(c);
    unsigned long before = vim_round_trips(c->v);
    assert_int_equal(read_along(c, &seen, &err), 0);
    assert_int_equal(vim_round_trips(c->v) - before, 1);
    assert_string_equal(buffer_str(&seen), "domain-1: refers\nhost-1: host-1\nhost-2: host-2\n");
}

static void what_is_referred_to_and_may_not_be_read_is_left_out(void **state) {
    struct vim_client *c = *state;
    cleanup_buffer struct buffer seen = {0};
    struct error err = {0};
    add_cluster(c);
    vim_server_forbid(c->s, "host-1");
    assert_int_equal(read_along(c, &seen, &err), 0);
    assert_string_equal(buffer_str(&seen), "domain-1: refers\nhost-2: host-2\n");
    vim_server_forbid(c->s, cluster.id);
    assert_int_equal(read_along(c, &seen, &err), -1);
    assert_true(vim_fault_is(&err, VIM_NO_PERMISSION));
    assert_string_equal(err.context, "reading host of ComputeResource domain-1");
}

/* --- two objects at once --- */

struct pairing {
    struct reading vm, host;
};

static void *read_both(void *data) {
    struct pairing *p = data;
    const struct vim_wish host = {&p->host.ref, &host_set, &p->host.object},
                          machine = {&p->vm.ref, &set, &p->vm.object};
    p->vm.rc = read_pair(p->vm.c->v, &host, &machine, &p->vm.ctx, &p->vm.err);
    return NULL;
}

/* Of hosts 1 and 2 in turn, and a machine each. */
static void start_pair(struct pairing *p, struct vim_client *c, int i) {
    *p = (struct pairing){.vm = {.c = c, .ctx = test_within(10000), .ref = {.type = "VirtualMachine"}},
                          .host = {.ref = {.type = "HostSystem"}}};
    snprintf(p->vm.ref.id, sizeof p->vm.ref.id, "vm-%d", i);
    snprintf(p->host.ref.id, sizeof p->host.ref.id, "host-%d", 1 + i % 2);
    assert_int_equal(pthread_create(&p->vm.thread, NULL, read_both, p), 0);
}

static void has_both(struct pairing *p, int i) {
    has_name(&p->vm, i);
    assert_true(moref_equal(&p->host.object.ref, &p->host.ref));
    assert_true(xml_is(vim_property(&p->host.object, "state"), p->host.ref.id));
    vim_object_free(&p->host.object);
}

static void two_objects_are_read_in_one_round_trip_which_others_share(void **state) {
    struct vim_client *c = *state;
    struct pairing all[20];
    add_cluster(c);
    unsigned long before = vim_round_trips(c->v);
    start_pair(&all[0], c, 1);
    pthread_join(all[0].vm.thread, NULL);
    has_both(&all[0], 1);
    assert_int_equal(vim_round_trips(c->v) - before, 1);
    for (int i = 0; i < 20; i++)
        start_pair(&all[i], c, i + 1);
    for (int i = 0; i < 20; i++) {
        pthread_join(all[i].vm.thread, NULL);
        has_both(&all[i], i + 1);
    }
}

static void pair_of_which_one_is_gone_fails_nobody_else(void **state) {
    struct vim_client *c = *state;
    struct pairing all[20];
    add_cluster(c);
    vim_server_remove(c->s, "vm-13");
    for (int old = 0; old < 2; old++) {
        c->s->old_missing = old; /* such a server fails the whole */
        for (int i = 0; i < 20; i++)
            start_pair(&all[i], c, i + 1);
        for (int i = 0; i < 20; i++) {
            pthread_join(all[i].vm.thread, NULL);
            if (i + 1 != 13) {
                has_both(&all[i], i + 1);
                continue;
            }
            is_gone(&all[i].vm);
            assert_null(all[i].host.object.doc);
        }
    }
}

static void pairs_are_read_whatever_breaks(void **state) {
    struct vim_client *c = *state;
    static const enum vim_trouble troubles[] = {CUTS_XML, BREAKS_XML, CUTS_HTTP, LOSES_ANSWER, CLOSES, EXPIRES};
    add_cluster(c);
    for (size_t t = 0; t < sizeof troubles / sizeof *troubles; t++) {
        struct pairing all[10];
        vim_server_rule(c->s, (struct vim_rule){.method = "RetrievePropertiesEx", .times = 1, .trouble = troubles[t]});
        for (int i = 0; i < 10; i++)
            start_pair(&all[i], c, i + 1);
        for (int i = 0; i < 10; i++) {
            pthread_join(all[i].vm.thread, NULL);
            has_both(&all[i], i + 1);
        }
        vim_server_clear_rules(c->s);
    }
}

static void root_that_is_gone_is_told(void **state) {
    struct vim_client *c = *state;
    const struct moref gone = {"Folder", "group-v99"};
    struct context ctx = test_within(10000);
    struct error err = {0};
    struct seen seen = {.n = 0};
    assert_int_equal(vim_read_all(c->v, &gone, &set, see, &seen, &ctx, &err), -1);
    assert_true(vim_fault_is(&err, VIM_MANAGED_OBJECT_NOT_FOUND));
    assert_int_equal(vim_server_count(c->s, "CreateContainerView"), 1);
}

static void half_a_list_is_an_error(void **state) {
    struct vim_client *c = *state;
    struct seen seen = {.n = 0};
    struct error err = {0};
    vim_server_forbid(c->s, "vm-40");
    assert_int_equal(read_all(c, &seen, &err), -1);
    assert_true(vim_fault_is(&err, VIM_NO_PERMISSION));
    assert_string_equal(err.context, "reading name of VirtualMachine vm-40");
}

static void known_objects_are_read_by_pages_without_those_gone(void **state) {
    struct vim_client *c = *state;
    struct moref *refs = xcalloc(1100, sizeof *refs);
    struct seen *seen = xcalloc(1, sizeof *seen);
    struct context ctx = test_within(20000);
    struct error err = {0};
    add_machines(c, 61, 1100);
    for (int i = 0; i < 1100; i++) {
        refs[i] = (struct moref){.type = "VirtualMachine"};
        snprintf(refs[i].id, sizeof refs[i].id, "vm-%d", i + 1);
    }
    vim_server_remove(c->s, "vm-17");
    vim_server_remove(c->s, "vm-301");
    assert_int_equal(vim_read_these(c->v, refs, 1100, &set, see, seen, &ctx, &err), 0);
    assert_int_equal(seen->n, 1098);
    assert_int_equal(seen->times[17] + seen->times[301], 0);
    assert_int_equal(reads(c), 2);

    vim_server_rule(c->s, (struct vim_rule){.method = "RetrievePropertiesEx", .times = 1, .trouble = BREAKS_XML});
    vim_server_rule(c->s, (struct vim_rule){.method = "RetrievePropertiesEx", .times = 1, .trouble = EXPIRES});
    c->s->sloppy_unauthenticated = true;
    *seen = (struct seen){.n = 0};
    assert_int_equal(vim_read_these(c->v, refs, 1100, &set, see, seen, &ctx, &err), 0);
    assert_int_equal(seen->n, 1098);
    for (int i = 1; i <= 1100; i++)
        assert_int_equal(seen->times[i], i != 17 && i != 301);
    assert_int_equal(vim_read_these(c->v, refs, 0, &set, see, seen, &ctx, &err), 0);
    free(seen);
    free(refs);
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        test(object_has_its_properties),
        test(reads_of_many_threads_share_round_trips),
        test(same_object_is_read_for_all_who_ask),
        test(object_that_is_gone_fails_nobody_else),
        test(object_that_may_not_be_read_fails_nobody_else),
        test(cancelled_leader_does_not_fail_the_others),
        test(follower_leaves_when_its_own_time_is_over),
        test(broken_answers_are_asked_for_again),
        test(read_that_ended_before_it_began_asks_nothing),
        test(all_below_an_object_are_read_by_pages),
        test(number_of_round_trips_does_not_grow_with_the_objects),
        test(each_is_told_once_whatever_breaks),
        test(reader_may_end_it),
        test(two_objects_are_read_in_one_round_trip_which_others_share),
        test(pair_of_which_one_is_gone_fails_nobody_else),
        test(pairs_are_read_whatever_breaks),
        test(root_that_is_gone_is_told),
        test(an_object_and_what_it_refers_to_are_one_round_trip),
        test(what_is_referred_to_and_may_not_be_read_is_left_out),
        test(half_a_list_is_an_error),
        test(known_objects_are_read_by_pages_without_those_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
