/* Waiting over a vSphere session: tasks and objects, and whatever may happen meanwhile. */
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

#include "drivers/vsphere/watch_priv.h"
#include "transport/https.h"
#include "transport_check.h"
#include "transport_server.h"
#include "vim_server.h"

static const char *const power_path[] = {"runtime.powerState", NULL};
static const struct vim_set power_set = {"VirtualMachine", power_path};
static const char *const guest_paths[] = {"guest.net", "runtime.powerState", NULL};
static const struct vim_set guest_set = {"VirtualMachine", guest_paths};
static const struct moref vm = {"VirtualMachine", "vm-1"};

static int setup(void **state) {
    struct vim_client *c = xcalloc(1, sizeof *c);
    vim_client_open(c);
    vim_server_add(c->s, "VirtualMachine", "vm-1");
    vim_server_set(c->s, "vm-1", "runtime.powerState", "VirtualMachinePowerState", "poweredOff");
    *state = c;
    return 0;
}

static int teardown(void **state) {
    vim_client_close(*state);
    free(*state);
    return 0;
}

/* --- an operation with its task --- */

struct doing {
    struct vim_client *c;
    struct context ctx;
    struct moref result;
    struct error err;
    int rc;
    bool uncertain, sees;
    struct vim_object seen;
    int64_t took;
    pthread_t thread;
};

static void *do_task(void *data) {
    struct doing *d = data;
    const struct vim_wish wish = {&vm, &power_set, &d->seen};
    struct soap_request *r = soap_new("PowerOnVM_Task", &vm);
    int64_t begin = clock_ms();
    d->rc = d->sees ? vim_do_seeing(d->c->v, r, &wish, &d->uncertain, &d->ctx, &d->err)
                    : vim_do(d->c->v, r, &d->result, &d->uncertain, &d->ctx, &d->err);
    d->took = clock_ms() - begin;
    soap_free(r);
    return NULL;
}

static void start_doing(struct doing *d, struct vim_client *c, bool sees, struct context ctx) {
    *d = (struct doing){.c = c, .ctx = ctx, .uncertain = true, .sees = sees, .result = {"untouched", "u"}};
    assert_int_equal(pthread_create(&d->thread, NULL, do_task, d), 0);
}

static void start_task(struct doing *d, struct vim_client *c, struct context ctx) { start_doing(d, c, false, ctx); }

static void join(struct doing *d) { pthread_join(d->thread, NULL); }

static void succeeded(struct doing *d) {
    join(d);
    if (d->rc)
        fail_msg("%s (%s)", d->err.cause, d->err.note);
    assert_false(d->uncertain);
}

static void succeed(struct vim_client *c, const char *task) { vim_server_task_ends(c->s, task, NULL, NULL); }

static void task_that_has_ended_costs_two_round_trips(void **state) {
    struct vim_client *c = *state;
    struct doing d;
    c->s->tasks_end_at_once = true;
    unsigned long before = vim_round_trips(c->v);
    start_task(&d, c, test_within(10000));
    succeeded(&d);
    assert_int_equal(vim_round_trips(c->v) - before, 2);
    assert_false(moref_is_set(&d.result));
    assert_false(c->v->watch->started); /* there was nothing to wait for */
}

static void what_a_task_did_comes_with_its_end(void **state) {
    struct vim_client *c = *state;
    struct doing d;
    c->s->tasks_end_at_once = true;
    unsigned long before = vim_round_trips(c->v);
    start_doing(&d, c, true, test_within(10000));
    succeeded(&d);
    assert_int_equal(vim_round_trips(c->v) - before, 2);
    assert_true(moref_equal(&d.seen.ref, &vm));
    assert_true(xml_is(vim_property(&d.seen, "runtime.powerState"), "poweredOff"));
    vim_object_free(&d.seen);
}

static void what_was_seen_before_a_task_has_ended_is_dropped(void **state) {
    struct vim_client *c = *state;
    for (int fails = 0; fails < 2; fails++) {
        struct doing d;
        cleanup_free char *task = xasprintf("task-%d", fails + 1);
        int reads = vim_server_count(c->s, "RetrievePropertiesEx");
        start_doing(&d, c, true, test_within(10000));
        vim_server_await(c->s, "RetrievePropertiesEx", reads + 2); /* of both, and then of the task */
        vim_server_task_ends(c->s, task, fails ? "InvalidPowerState" : NULL, fails ? "It is on." : NULL);
        join(&d);
        assert_int_equal(d.rc, fails ? -1 : 0);
        assert_int_equal(vim_fault_is(&d.err, VIM_INVALID_POWER_STATE), fails);
        assert_false(d.uncertain);
        assert_null(d.seen.doc);
    }
}

static void what_cannot_be_seen_with_a_task_does_not_fail_it(void **state) {
    struct vim_client *c = *state;
    struct doing d;
    c->s->tasks_end_at_once = true;
    vim_server_forbid(c->s, vm.id);
    start_doing(&d, c, true, test_within(10000));
    succeeded(&d);
    assert_null(d.seen.doc);
}

static void task_is_followed_to_its_end(void **state) {
    struct vim_client *c = *state;
    struct doing d;
    start_task(&d, c, test_within(10000));
    vim_server_await(c->s, "WaitForUpdatesEx", 1);
    vim_server_set(c->s, "task-1", "info.state", "TaskInfoState", "running");
    vim_server_await(c->s, "WaitForUpdatesEx", 2);
    vim_server_await(c->s, "RetrievePropertiesEx", 2);
    int reads = vim_server_count(c->s, "RetrievePropertiesEx");
    vim_server_set(c->s, "task-1", "info.result", "ManagedObjectReference\" type=\"VirtualMachine", "vm-77");
    succeed(c, "task-1");
    succeeded(&d);
    assert_string_equal(d.result.id, "vm-77");
    assert_string_equal(d.result.type, "VirtualMachine");
    assert_int_equal(vim_server_count(c->s, "RetrievePropertiesEx"), reads); /* the update told all of it */
}

struct percents {
    int told[10];
    atomic_int n;
};

static void note_percent(void *data, int percent) {
    struct percents *p = data;
    p->told[p->n++] = percent;
}

struct progress {
    struct vim_client *c;
    struct moref task;
    struct percents percents;
    int rc;
    struct error err;
};

static void *follow_task(void *data) {
    struct progress *p = data;
    struct context ctx = test_within(10000);
    p->rc = vim_task(p->c->v, &p->task, NULL, note_percent, &p->percents, &ctx, &p->err);
    return NULL;
}

static void progress_is_told_as_it_changes(void **state) {
    struct vim_client *c = *state;
    struct progress p = {.c = c, .task = {"Task", "task-9"}};
    pthread_t thread;
    static const struct {
        const char *percent;
        int told; /* so many, then */
    } steps[] = {{"30", 1}, {"30", 1}, {"70", 2}, {"250", 2}, {"-1", 2}, {"x", 2}};
    vim_server_add(c->s, "Task", "task-9");
    vim_server_set(c->s, "task-9", "info.state", "TaskInfoState", "running");
    assert_int_equal(pthread_create(&thread, NULL, follow_task, &p), 0);
    vim_server_await(c->s, "WaitForUpdatesEx", 1);
    for (int i = 0; i < 6; i++) {
        int waits = vim_server_count(c->s, "WaitForUpdatesEx");
        vim_server_set(c->s, "task-9", "info.progress", "xsd:int", steps[i].percent);
        vim_server_await(c->s, "WaitForUpdatesEx", waits + 1);
        for (int tries = 0; tries < 10000 && p.percents.n < steps[i].told; tries++)
            usleep(1000);
    }
    succeed(c, "task-9");
    pthread_join(thread, NULL);
    assert_int_equal(p.rc, 0);
    assert_int_equal(p.percents.n, 2);
    assert_int_equal(p.percents.told[0], 30);
    assert_int_equal(p.percents.told[1], 70);
}

static void fault_of_a_task_is_its_error(void **state) {
    struct vim_client *c = *state;
    struct doing d;
    start_task(&d, c, test_within(10000));
    vim_server_await(c->s, "WaitForUpdatesEx", 1);
    vim_server_task_ends(c->s, "task-1", "NoDiskSpace", "Insufficient disk space on datastore 'ds1'.");
    join(&d);
    assert_int_equal(d.rc, -1);
    assert_int_equal(d.err.code, ERR_DISK_FULL);
    assert_true(vim_fault_is(&d.err, VIM_NO_DISK_SPACE));
    assert_string_equal(d.err.cause, "NoDiskSpace: Insufficient disk space on datastore 'ds1'.");
    assert_false(d.uncertain);
    assert_string_equal(d.result.type, "untouched");
}

static void task_that_vanishes_is_uncertain(void **state) {
    struct vim_client *c = *state;
    struct doing d;
    start_task(&d, c, test_within(10000));
    vim_server_await(c->s, "WaitForUpdatesEx", 1);
    vim_server_remove(c->s, "task-1");
    join(&d);
    assert_int_equal(d.err.code, ERR_NOT_FOUND);
    assert_true(vim_fault_is(&d.err, VIM_MANAGED_OBJECT_NOT_FOUND));
    assert_string_equal(d.err.cause, "Task task-1 does not exist (any more)");
    assert_true(d.uncertain);
}

/* No call is on its way but the collector's: the one that waits for the task has had all its answers. */
static void await_rest(struct vim_client *c) {
    uint32_t used = 0;
    vim_server_await(c->s, "RetrievePropertiesEx", 2); /* the second is for what was changed before it was listed */
    vim_server_await_waiting(c->s);
    for (int i = 0; i < 10000 && used != 1; i++) {
        pthread_mutex_lock(&c->v->http->pool.lock);
        used = c->v->http->pool.used;
        pthread_mutex_unlock(&c->v->http->pool.lock);
        usleep(1000);
    }
    assert_int_equal(used, 1);
}

static void cancelled_task_is_cancelled_at_the_server(void **state) {
    struct vim_client *c = *state;
    struct doing d;
    struct cancel cancel;
    assert_int_equal(cancel_init(&cancel, NULL), 0);
    c->s->tasks_obey_cancel = true;
    start_task(&d, c, (struct context){DEADLINE_NEVER, &cancel});
    await_rest(c);
    cancel_fire(&cancel);
    join(&d);
    cancel_destroy(&cancel);
    assert_int_equal(d.err.code, ERR_CANCELLED);
    assert_string_equal(d.err.cause, "interrupted while waiting for Task task-1");
    assert_string_equal(d.err.note, "the task was ended: RequestCanceled: The task was canceled by a user.");
    assert_int_equal(vim_server_count(c->s, "CancelTask"), 1);
    assert_false(d.uncertain);
    assert_true(d.took < 4000);
}

static void task_that_does_not_obey_is_left_after_five_seconds(void **state) {
    struct vim_client *c = *state;
    struct doing d;
    start_task(&d, c, test_within(300));
    join(&d);
    assert_int_equal(d.err.code, ERR_TIMEOUT);
    assert_non_null(strstr(d.err.note, "the task may still be running"));
    assert_int_equal(vim_server_count(c->s, "CancelTask"), 1);
    assert_true(d.uncertain);
    assert_true(d.took >= 5000 && d.took < 8000);
}

static void task_that_came_to_its_end_meanwhile_is_uncertain(void **state) {
    struct vim_client *c = *state;
    struct doing d;
    start_task(&d, c, test_within(300));
    vim_server_await(c->s, "CancelTask", 1);
    succeed(c, "task-1");
    join(&d);
    assert_int_equal(d.err.code, ERR_TIMEOUT);
    assert_string_equal(d.err.note, "the task had come to its end before");
    assert_true(d.uncertain);
}

/* --- an object --- */

struct waiting {
    struct vim_client *c;
    struct moref ref;
    const struct vim_set *set;
    const char *until; /* power state */
    struct context ctx;
    atomic_int looks;
    int rc;
    atomic_bool had_guest;
    struct error err;
    pthread_t thread;
};

static int look(void *data, const struct vim_object *object, struct error *err) {
    struct waiting *w = data;
    w->looks++;
    w->had_guest = vim_property(object, "guest.net") != NULL;
    xmlNode *state = vim_property(object, "runtime.powerState");
    if (xml_is(state, "suspended"))
        return error_set(err, ERR_CONFLICT, w->ref.id, "it sleeps");
    return xml_is(state, w->until);
}

static void *wait_for(void *data) {
    struct waiting *w = data;
    w->rc = vim_watch(w->c->v, &w->ref, w->set, look, w, &w->ctx, &w->err);
    return NULL;
}

static void start_with(struct waiting *w, struct vim_client *c, int vm_number, const struct vim_set *set,
                       const char *until, struct context ctx) {
    *w = (struct waiting){.c = c, .set = set, .until = until, .ctx = ctx, .ref = {.type = "VirtualMachine"}};
    snprintf(w->ref.id, sizeof w->ref.id, "vm-%d", vm_number);
    assert_int_equal(pthread_create(&w->thread, NULL, wait_for, w), 0);
}

static void start_waiting(struct waiting *w, struct vim_client *c, int vm_number) {
    start_with(w, c, vm_number, &power_set, "poweredOn", test_within(20000));
}

/* It has looked, was listed, has read once more and looked again: only updates tell it anything from now on. */
static void await_second_look(struct waiting *w) {
    for (int i = 0; i < 10000 && w->looks < 2; i++)
        usleep(1000);
    assert_true(w->looks >= 2);
}

static void power(struct vim_client *c, int vm_number, const char *what) {
    char id[24];
    snprintf(id, sizeof id, "vm-%d", vm_number);
    vim_server_set(c->s, id, "runtime.powerState", "VirtualMachinePowerState", what);
}

static void came_true(struct waiting *w) {
    pthread_join(w->thread, NULL);
    if (w->rc)
        fail_msg("%s: %s (%s)", w->ref.id, w->err.cause, w->err.note);
}

static void what_is_so_already_is_seen_at_once(void **state) {
    struct vim_client *c = *state;
    struct waiting w;
    power(c, 1, "poweredOn");
    start_waiting(&w, c, 1);
    came_true(&w);
    assert_int_equal(w.looks, 1);
    assert_int_equal(vim_server_count(c->s, "CreatePropertyCollector"), 0);
}

static void look_may_say_that_it_cannot_come(void **state) {
    struct vim_client *c = *state;
    struct waiting w;
    start_waiting(&w, c, 1);
    vim_server_await(c->s, "WaitForUpdatesEx", 1);
    power(c, 1, "suspended");
    pthread_join(w.thread, NULL);
    assert_int_equal(w.rc, -1);
    assert_int_equal(w.err.code, ERR_CONFLICT);
    assert_string_equal(w.err.cause, "it sleeps");
}

static void object_that_vanishes_is_not_found(void **state) {
    struct vim_client *c = *state;
    struct waiting w;
    start_waiting(&w, c, 1);
    vim_server_await(c->s, "WaitForUpdatesEx", 1);
    vim_server_remove(c->s, "vm-1");
    pthread_join(w.thread, NULL);
    assert_true(vim_fault_is(&w.err, VIM_MANAGED_OBJECT_NOT_FOUND));
    assert_int_equal(w.err.code, ERR_NOT_FOUND);
}

static void change_before_the_listing_is_not_lost(void **state) {
    struct vim_client *c = *state;
    struct waiting w;
    static const char *const steps[] = {"CreatePropertyCollector", "CreateListView", "CreateFilter"};
    for (int i = 0; i < 3; i++) {
        power(c, 1, "poweredOff");
        vim_server_rule(c->s, (struct vim_rule){.method = steps[i], .times = 1, .trouble = STATUS, .status = 503});
        int before = vim_server_count(c->s, steps[i]);
        start_waiting(&w, c, 1);
        vim_server_await(c->s, steps[i], before + 1);
        power(c, 1, "poweredOn"); /* while that is being repeated */
        came_true(&w);
        vim_server_clear_rules(c->s);
        vim_server_expire(c->s); /* all is made anew */
    }
}

static void wait_ends_with_its_context(void **state) {
    struct vim_client *c = *state;
    struct waiting w;
    for (int i = 0; i < 2; i++) {
        struct test_cancel cancel;
        struct context cancelled = test_cancel_start(&cancel, 300);
        int64_t begin = clock_ms();
        start_with(&w, c, 1, &power_set, "poweredOn", i ? cancelled : test_within(300));
        pthread_join(w.thread, NULL);
        test_cancel_end(&cancel);
        assert_int_equal(w.err.code, i ? ERR_CANCELLED : ERR_TIMEOUT);
        assert_non_null(strstr(w.err.cause, "waiting for VirtualMachine vm-1"));
        assert_true(clock_ms() - begin < 1500);
    }
}

/* --- many --- */

#define THREADS 100

static void many_wait_on_one_filter_and_few_round_trips(void **state) {
    struct vim_client *c = *state;
    static struct waiting all[THREADS];
    for (int i = 2; i <= THREADS; i++) {
        char id[24];
        snprintf(id, sizeof id, "vm-%d", i);
        vim_server_add(c->s, "VirtualMachine", id);
        power(c, i, "poweredOff");
    }
    unsigned long before = vim_round_trips(c->v);
    c->s->delay_ms = 50;
    for (int i = 0; i < THREADS; i++)
        start_waiting(&all[i], c, i + 1);
    for (int i = 0; i < THREADS; i++)
        await_second_look(&all[i]);
    for (int i = 0; i < THREADS; i++)
        power(c, i + 1, "poweredOn");
    for (int i = 0; i < THREADS; i++)
        came_true(&all[i]);
    c->s->delay_ms = 0;
    unsigned long trips = vim_round_trips(c->v) - before; /* about 30, and more where threads start slowly */
    if (trips > THREADS)
        fail_msg("%lu round trips for %d waits", trips, THREADS);
    assert_int_equal(vim_server_things(c->s, "PropertyFilter"), 1);
    assert_int_equal(vim_server_things(c->s, "ListView"), 1);
}

static void two_may_wait_for_the_same(void **state) {
    struct vim_client *c = *state;
    struct waiting a, b, later;
    start_waiting(&a, c, 1);
    start_with(&b, c, 1, &guest_set, "poweredOn", test_within(20000));
    vim_server_await_waiting(c->s);
    await_second_look(&a);
    await_second_look(&b);
    power(c, 1, "poweredOn");
    came_true(&a);
    came_true(&b);
    power(c, 1, "poweredOff");
    int modified = vim_server_count(c->s, "ModifyListView");
    start_waiting(&later, c, 1); /* it is on the list still */
    await_second_look(&later);
    power(c, 1, "poweredOn");
    came_true(&later);
    assert_int_equal(vim_server_count(c->s, "ModifyListView"), modified);
    assert_int_equal(vim_server_things(c->s, "PropertyFilter"), 1);
}

static void another_set_extends_the_filter(void **state) {
    struct vim_client *c = *state;
    struct waiting a;
    struct doing d;
    start_waiting(&a, c, 1);
    vim_server_await(c->s, "WaitForUpdatesEx", 1);
    start_task(&d, c, test_within(20000));
    vim_server_await(c->s, "DestroyPropertyFilter", 1);
    assert_int_equal(vim_server_things(c->s, "PropertyFilter"), 1);
    succeed(c, "task-1");
    succeeded(&d);
    power(c, 1, "poweredOn");
    came_true(&a);
    assert_int_equal(vim_server_count(c->s, "CreatePropertyCollector"), 1);
}

static void what_nobody_waits_for_leaves_the_list(void **state) {
    struct vim_client *c = *state;
    struct waiting a, b;
    vim_server_add(c->s, "VirtualMachine", "vm-2");
    power(c, 2, "poweredOff");
    start_waiting(&a, c, 1);
    vim_server_await(c->s, "WaitForUpdatesEx", 1);
    power(c, 1, "poweredOn");
    came_true(&a);
    start_waiting(&b, c, 2);
    vim_server_await(c->s, "ModifyListView", 1);
    await_second_look(&b);
    assert_int_equal(vim_server_listed(c->s), 1);
    power(c, 2, "poweredOn");
    came_true(&b);
}

static void object_that_is_gone_keeps_nobody_else_off_the_list(void **state) {
    struct vim_client *c = *state;
    for (int later = 0; later < 2; later++) { /* when the list is made, and when it is extended */
        static struct waiting all[8];
        int n = 8;
        for (int i = 0; i < n; i++) {
            char id[24];
            snprintf(id, sizeof id, "vm-%d", 10 + 10 * later + i);
            vim_server_add(c->s, "VirtualMachine", id);
            power(c, 10 + 10 * later + i, "poweredOff");
        }
        c->s->delay_ms = 200; /* time to go between the first reading and the listing */
        for (int i = 0; i < n; i++)
            start_waiting(&all[i], c, 10 + 10 * later + i);
        vim_server_await(c->s, later ? "ModifyListView" : "CreatePropertyCollector", 1);
        vim_server_remove(c->s, later ? "vm-23" : "vm-13");
        c->s->delay_ms = 0;
        for (int i = 0; i < n; i++)
            if (i != 3)
                power(c, 10 + 10 * later + i, "poweredOn");
        for (int i = 0; i < n; i++) {
            pthread_join(all[i].thread, NULL);
            assert_int_equal(all[i].rc, i == 3 ? -1 : 0);
            if (i == 3)
                assert_true(vim_fault_is(&all[i].err, VIM_MANAGED_OBJECT_NOT_FOUND));
        }
    }
}

/* --- updates of all kinds --- */

static void updates_that_are_cut_short_go_on(void **state) {
    struct vim_client *c = *state;
    static struct waiting all[20];
    c->s->chunk = 3;
    for (int i = 0; i < 20; i++) {
        char id[24];
        snprintf(id, sizeof id, "vm-%d", 100 + i);
        vim_server_add(c->s, "VirtualMachine", id);
        power(c, 100 + i, "poweredOff");
        start_waiting(&all[i], c, 100 + i);
    }
    for (int i = 0; i < 20; i++)
        await_second_look(&all[i]);
    int reads = vim_server_count(c->s, "RetrievePropertiesEx");
    for (int i = 0; i < 20; i++)
        power(c, 100 + i, "poweredOn");
    for (int i = 0; i < 20; i++)
        came_true(&all[i]);
    assert_true(vim_server_count(c->s, "RetrievePropertiesEx") - reads <= 1);
}

static void change_of_a_part_is_read(void **state) {
    struct vim_client *c = *state;
    struct waiting w;
    start_waiting(&w, c, 1);
    vim_server_await_waiting(c->s);
    await_second_look(&w);
    vim_server_tell_as(c->s, "vm-1", "runtime.powerState", "runtime");
    power(c, 1, "poweredOn");
    came_true(&w);
}

static void value_that_was_unset_is_so(void **state) {
    struct vim_client *c = *state;
    struct waiting w;
    vim_server_set(c->s, "vm-1", "guest.net", "ArrayOfGuestNicInfo", "<GuestNicInfo/>");
    start_with(&w, c, 1, &guest_set, "poweredOn", test_within(20000));
    vim_server_await_waiting(c->s);
    await_second_look(&w);
    assert_true(w.had_guest);
    int reads = vim_server_count(c->s, "RetrievePropertiesEx");
    vim_server_set(c->s, "vm-1", "guest.net", "", NULL);
    power(c, 1, "poweredOn");
    came_true(&w);
    assert_false(w.had_guest);
    assert_int_equal(vim_server_count(c->s, "RetrievePropertiesEx"), reads);
}

/* --- loss --- */

static void lost_connection_is_repaired(void **state) {
    struct vim_client *c = *state;
    struct waiting w;
    struct doing d;
    start_waiting(&w, c, 1);
    start_task(&d, c, test_within(20000));
    vim_server_await_waiting(c->s);
    await_second_look(&w);
    for (int i = 0; i < 3; i++) {
        vim_server_await_waiting(c->s);
        vim_server_drop_waits(c->s);
        vim_server_await(c->s, "CreatePropertyCollector", i + 2);
    }
    vim_server_await_waiting(c->s);
    power(c, 1, "poweredOn");
    succeed(c, "task-1");
    came_true(&w);
    succeeded(&d);
    assert_int_equal(vim_server_count(c->s, "Login"), 1);
    assert_int_equal(vim_server_things(c->s, "PropertyFilter"), 1);
}

static void change_while_the_connection_is_lost_is_seen(void **state) {
    struct vim_client *c = *state;
    struct waiting w;
    start_waiting(&w, c, 1);
    vim_server_await_waiting(c->s);
    await_second_look(&w);
    vim_server_rule(
        c->s, (struct vim_rule){.method = "CreatePropertyCollector", .times = 3, .trouble = STATUS, .status = 503});
    vim_server_drop_waits(c->s);
    vim_server_await(c->s, "CreatePropertyCollector", 2);
    power(c, 1, "poweredOn");
    came_true(&w);
}

static void session_that_ends_meanwhile_is_replaced(void **state) {
    struct vim_client *c = *state;
    struct waiting w;
    struct doing d;
    start_waiting(&w, c, 1);
    start_task(&d, c, test_within(20000));
    vim_server_await_waiting(c->s);
    await_second_look(&w);
    vim_server_expire(c->s);
    vim_server_await(c->s, "CreatePropertyCollector", 2);
    vim_server_await_waiting(c->s);
    power(c, 1, "poweredOn");
    succeed(c, "task-1");
    came_true(&w);
    succeeded(&d);
    assert_int_equal(vim_server_count(c->s, "Login"), 2);
    assert_int_equal(vim_server_things(c->s, "PropertyFilter"), 1);
}

static void what_the_server_forgets_is_made_anew(void **state) {
    struct vim_client *c = *state;
    static const char *const types[] = {"ListView", "PropertyCollector"};
    for (int i = 0; i < 2; i++) {
        struct waiting first, second;
        char id[24];
        snprintf(id, sizeof id, "vm-%d", 40 + i);
        vim_server_add(c->s, "VirtualMachine", id);
        power(c, 40 + i, "poweredOff");
        power(c, 1, "poweredOff");
        start_waiting(&first, c, 1);
        await_second_look(&first);
        vim_server_await_waiting(c->s);
        vim_server_forget(c->s, types[i]);
        start_waiting(&second, c, 40 + i);
        await_second_look(&second);
        vim_server_await_waiting(c->s);
        power(c, 1, "poweredOn");
        power(c, 40 + i, "poweredOn");
        came_true(&first);
        came_true(&second);
    }
    assert_int_equal(vim_server_count(c->s, "Login"), 1);
}

/* Each call of a wait once in a session that has just ended, and once answered with something broken. */
static void anything_may_break_at_any_call_of_a_wait(void **state) {
    (void)state;
    static const enum vim_trouble troubles[] = {EXPIRES, CUTS_XML, CLOSES, LOSES_ANSWER, BREAKS_XML};
    for (size_t t = 0; t < sizeof troubles / sizeof *troubles; t++)
        for (int at = 0; at < 9; at++) {
            struct vim_client c;
            struct waiting w;
            vim_client_open(&c);
            vim_server_add(c.s, "VirtualMachine", "vm-1");
            power(&c, 1, "poweredOff");
            vim_server_rule(c.s, (struct vim_rule){.skip = at, .times = 1, .trouble = troubles[t]});
            start_waiting(&w, &c, 1);
            vim_server_await_waiting(c.s);
            power(&c, 1, "poweredOn");
            came_true(&w);
            assert_true(vim_server_things(c.s, "PropertyFilter") <= 2);
            vim_server_clear_rules(c.s); /* the last of them is for the logout */
            vim_client_close(&c);
        }
}

static void server_that_cannot_wait_is_told(void **state) {
    struct vim_client *c = *state;
    struct waiting w;
    vim_server_rule(
        c->s, (struct vim_rule){.method = "WaitForUpdatesEx", .times = 1, .trouble = FAULTS, .text = "NoPermission"});
    start_waiting(&w, c, 1);
    pthread_join(w.thread, NULL);
    assert_int_equal(w.rc, -1);
    assert_true(vim_fault_is(&w.err, VIM_NO_PERMISSION));
}

static void server_that_fails_each_wait_is_not_hammered(void **state) {
    struct vim_client *c = *state;
    struct waiting w;
    vim_server_rule(c->s, (struct vim_rule){
                              .method = "WaitForUpdatesEx", .times = 1000, .trouble = FAULTS, .text = "RuntimeFault"});
    start_with(&w, c, 1, &power_set, "poweredOn", test_within(3000));
    pthread_join(w.thread, NULL);
    assert_int_equal(w.err.code, ERR_TIMEOUT);
    int waits = vim_server_count(c->s, "WaitForUpdatesEx");
    assert_true(waits >= 2 && waits <= 8);
}

static void thing_of_the_server_is_given_back_when_nobody_waits(void **state) {
    struct vim_client *c = *state;
    struct waiting w;
    c->v->watch->linger_ms = 50;
    start_waiting(&w, c, 1);
    vim_server_await(c->s, "WaitForUpdatesEx", 1);
    power(c, 1, "poweredOn");
    came_true(&w);
    vim_server_set(c->s, "vm-1", "runtime.powerState", "VirtualMachinePowerState", "poweredOff"); /* ends its wait */
    vim_server_await(c->s, "DestroyView", 1);
    assert_int_equal(vim_server_things(c->s, "PropertyCollector"), 0);
    start_waiting(&w, c, 1); /* and made anew */
    vim_server_await(c->s, "CreatePropertyCollector", 2);
    power(c, 1, "poweredOn");
    came_true(&w);
}

static void thread_that_rests_hears_of_the_next_wait(void **state) {
    struct vim_client *c = *state;
    struct waiting w;
    c->v->watch->linger_ms = 600000;
    start_waiting(&w, c, 1);
    vim_server_await_waiting(c->s);
    power(c, 1, "poweredOn");
    came_true(&w);
    vim_server_set(c->s, "vm-1", "runtime.powerState", "VirtualMachinePowerState", "poweredOff"); /* ends its wait */
    usleep(20000);                                                                                /* until it rests */
    start_waiting(&w, c, 1);
    vim_server_await_waiting(c->s);
    power(c, 1, "poweredOn");
    came_true(&w);
}

static void idle_session_is_kept_alive(void **state) {
    struct vim_client *c = *state;
    struct waiting w;
    c->v->watch->keep_alive_ms = 50;
    start_waiting(&w, c, 1);
    vim_server_await_waiting(c->s);
    usleep(100000);           /* it has been idle for long */
    power(c, 1, "poweredOn"); /* the thread's wait returns */
    came_true(&w);
    vim_server_await(c->s, "CurrentTime", 1);
}

/* --- a task with its machine beside it --- */

struct pair {
    struct vim_client *c;
    struct moref task;
    struct context ctx;
    atomic_int looks; /* at the machine */
    int rc;
    struct error err;
    pthread_t thread;
};

static int look_beside(void *data, const struct vim_object *object, struct error *err) {
    struct pair *p = data;
    p->looks++;
    if (xml_is(vim_property(object, "runtime.powerState"), "suspended"))
        return error_set(err, ERR_CONFLICT, object->ref.id, "it sleeps");
    return 0;
}

static void *follow_pair(void *data) {
    struct pair *p = data;
    const struct vim_watched beside = {&vm, &power_set, look_beside, p};
    p->rc = vim_task_beside(p->c->v, &p->task, &beside, &p->ctx, &p->err);
    return NULL;
}

static void begin_pair(struct pair *p, struct vim_client *c) {
    *p = (struct pair){.c = c, .ctx = test_within(10000)};
    struct soap_request *r = soap_new("PowerOnVM_Task", &vm);
    assert_int_equal(vim_call_ref(c->v, r, VIM_ONCE, &p->task, NULL, &p->ctx, &p->err), 0);
    soap_free(r);
}

static void wait_for_pair(struct pair *p) { assert_int_equal(pthread_create(&p->thread, NULL, follow_pair, p), 0); }

static void start_pair(struct pair *p, struct vim_client *c) {
    begin_pair(p, c);
    wait_for_pair(p);
}

/* Both are on the list and were read after that: the task at its beginning, too. */
static void await_pair(struct vim_client *c) {
    vim_server_await(c->s, "RetrievePropertiesEx", 3);
    vim_server_await_waiting(c->s);
}

static void pair_came_true(struct pair *p) {
    pthread_join(p->thread, NULL);
    if (p->rc)
        fail_msg("%s (%s)", p->err.cause, p->err.note);
}

static void what_is_beside_a_task_that_has_ended_costs_nothing(void **state) {
    struct vim_client *c = *state;
    struct pair p;
    c->s->tasks_end_at_once = true;
    unsigned long before = vim_round_trips(c->v);
    start_pair(&p, c);
    pair_came_true(&p);
    assert_int_equal(vim_round_trips(c->v) - before, 2);
    assert_int_equal(p.looks, 0);
    assert_false(c->v->watch->started);
}

static void task_and_what_is_beside_it_share_the_filter_and_are_read_no_more(void **state) {
    struct vim_client *c = *state;
    struct pair p;
    start_pair(&p, c);
    await_pair(c);
    assert_int_equal(vim_server_listed(c->s), 2);
    assert_int_equal(watch_waiting(c->v), 1); /* one caller, who needs no connection */
    for (int i = 0; i < 3; i++) {
        int waits = vim_server_count(c->s, "WaitForUpdatesEx"), looks = p.looks;
        power(c, 1, i % 2 ? "poweredOff" : "poweredOn");
        vim_server_await(c->s, "WaitForUpdatesEx", waits + 1);
        for (int tries = 0; tries < 10000 && p.looks == looks; tries++)
            usleep(1000);
        assert_true(p.looks > looks);
    }
    succeed(c, p.task.id);
    pair_came_true(&p);
    assert_int_equal(vim_server_count(c->s, "RetrievePropertiesEx"), 3);
    assert_int_equal(vim_server_count(c->s, "CreateFilter"), 1);
    assert_int_equal(vim_server_count(c->s, "ModifyListView"), 0);
}

static void what_is_beside_a_task_ends_its_wait_and_the_task(void **state) {
    struct vim_client *c = *state;
    for (int late = 0; late < 2; late++) {
        struct pair p;
        c->s->tasks_obey_cancel = true;
        power(c, 1, late ? "poweredOff" : "suspended");
        start_pair(&p, c);
        if (late) {
            vim_server_await_waiting(c->s);
            power(c, 1, "suspended");
        }
        pthread_join(p.thread, NULL);
        assert_int_equal(p.rc, -1);
        assert_int_equal(p.err.code, ERR_CONFLICT);
        assert_string_equal(p.err.cause, "it sleeps");
        assert_string_equal(p.err.note, "the task was ended: RequestCanceled: The task was canceled by a user.");
        assert_int_equal(vim_server_count(c->s, "CancelTask"), late + 1);
    }
}

static void what_cannot_be_read_beside_a_task_is_left_out(void **state) {
    struct vim_client *c = *state;
    for (int gone = 0; gone < 2; gone++) {
        struct pair p;
        begin_pair(&p, c);
        int reads = vim_server_count(c->s, "RetrievePropertiesEx");
        if (gone)
            vim_server_remove(c->s, "vm-1");
        else
            vim_server_forbid(c->s, "vm-1");
        wait_for_pair(&p);
        vim_server_await(c->s, "RetrievePropertiesEx", reads + 3); /* the last of them is for the machine */
        succeed(c, p.task.id);
        pair_came_true(&p);
        assert_int_equal(p.looks, 0);
    }
    assert_int_equal(vim_server_count(c->s, "CancelTask"), 0);
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        test(task_that_has_ended_costs_two_round_trips),
        test(what_a_task_did_comes_with_its_end),
        test(what_was_seen_before_a_task_has_ended_is_dropped),
        test(what_cannot_be_seen_with_a_task_does_not_fail_it),
        test(task_is_followed_to_its_end),
        test(progress_is_told_as_it_changes),
        test(fault_of_a_task_is_its_error),
        test(task_that_vanishes_is_uncertain),
        test(cancelled_task_is_cancelled_at_the_server),
        test(task_that_does_not_obey_is_left_after_five_seconds),
        test(task_that_came_to_its_end_meanwhile_is_uncertain),
        test(what_is_so_already_is_seen_at_once),
        test(look_may_say_that_it_cannot_come),
        test(object_that_vanishes_is_not_found),
        test(change_before_the_listing_is_not_lost),
        test(wait_ends_with_its_context),
        test(many_wait_on_one_filter_and_few_round_trips),
        test(two_may_wait_for_the_same),
        test(another_set_extends_the_filter),
        test(what_nobody_waits_for_leaves_the_list),
        test(object_that_is_gone_keeps_nobody_else_off_the_list),
        test(updates_that_are_cut_short_go_on),
        test(change_of_a_part_is_read),
        test(value_that_was_unset_is_so),
        test(lost_connection_is_repaired),
        test(change_while_the_connection_is_lost_is_seen),
        test(session_that_ends_meanwhile_is_replaced),
        test(what_the_server_forgets_is_made_anew),
        cmocka_unit_test(anything_may_break_at_any_call_of_a_wait),
        test(what_is_beside_a_task_that_has_ended_costs_nothing),
        test(task_and_what_is_beside_it_share_the_filter_and_are_read_no_more),
        test(what_is_beside_a_task_ends_its_wait_and_the_task),
        test(what_cannot_be_read_beside_a_task_is_left_out),
        test(server_that_cannot_wait_is_told),
        test(server_that_fails_each_wait_is_not_hammered),
        test(thing_of_the_server_is_given_back_when_nobody_waits),
        test(thread_that_rests_hears_of_the_next_wait),
        test(idle_session_is_kept_alive),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
