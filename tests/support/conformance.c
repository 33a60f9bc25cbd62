#include "conformance.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
/* after the headers it needs */
#include <cmocka.h>

#include "nestor/identity.h"

#define PROMPT_MS 5000 /* "soon" after the context's end */
#define N_THREADS 6

struct fixture {
    const struct conformance_target *target;
    const struct driver *driver;
    struct hypervisor *hv;
    char lab[LAB_ID_LEN + 1], other_lab[LAB_ID_LEN + 1];
    struct context ctx;
    struct error err;
};

/* A machine to ask for, with the storage of its identity. */
struct subject {
    char path[64], name[128], uuid[37], mac[18];
    struct machine_spec spec;
};

/* --- asking --- */

static const struct context *in_time(struct fixture *f) {
    error_clear(&f->err);
    f->ctx = context_timeout(NULL, f->target->operation_ms);
    return &f->ctx;
}

#define MUST(call)                                                                                                     \
    do {                                                                                                               \
        if (call)                                                                                                      \
            fail_msg("%s\n    %s: %s: %s", #call, error_code_name(f->err.code), f->err.subject, f->err.cause);         \
    } while (0)

#define MUST_FAIL(call, expected)                                                                                      \
    do {                                                                                                               \
        if ((call) == 0)                                                                                               \
            fail_msg("%s\n    succeeded, expected %s", #call, error_code_name(expected));                              \
        if (f->err.code != (expected))                                                                                 \
            fail_msg("%s\n    %s (%s: %s), expected %s", #call, error_code_name(f->err.code), f->err.subject,          \
                     f->err.cause, error_code_name(expected));                                                         \
    } while (0)

static struct subject *subject_init(struct fixture *f, struct subject *s, const char *lab, const char *path) {
    const struct conformance_target *t = f->target;
    cleanup_free char *name = machine_native_name(lab, path);
    snprintf(s->path, sizeof s->path, "%s", path);
    snprintf(s->name, sizeof s->name, "%s", name);
    machine_uuid(lab, path, s->uuid);
    machine_mac(lab, path, s->mac);
    s->spec = (struct machine_spec){.tag = {.lab_id = lab, .path = s->path},
                                    .name = s->name,
                                    .uuid = s->uuid,
                                    .mac = s->mac,
                                    .cpus = 1,
                                    .memory = t->memory,
                                    .disk = t->disk,
                                    .image = t->image,
                                    .seed = t->seed,
                                    .seed_len = t->seed_len,
                                    .meta_data = "instance-id: conformance\n",
                                    .user_data = "#cloud-config\n",
                                    .ssh_port = 22,
                                    .digest = "0123456789abcdef"};
    return s;
}

static void create(struct fixture *f, const struct subject *s) {
    MUST(f->driver->create(f->hv, &s->spec, in_time(f), &f->err));
}

static void start(struct fixture *f, const struct subject *s) {
    MUST(f->driver->start(f->hv, &s->spec, in_time(f), &f->err));
}

static void remove_machine(struct fixture *f, const struct subject *s) {
    MUST(f->driver->remove(f->hv, &s->spec.tag, in_time(f), &f->err));
}

static struct observation *observe(struct fixture *f, const char *lab) {
    struct observation *o = NULL;
    MUST(f->driver->observe(f->hv, lab, &o, in_time(f), &f->err));
    assert_non_null(o);
    return o;
}

static const struct observed *find(const struct observation *o, const struct tag *tag) {
    for (size_t i = 0; i < o->n; i++)
        if (strcmp(o->items[i].lab_id, tag->lab_id) == 0 && strcmp(o->items[i].path, tag->path) == 0)
            return &o->items[i];
    return NULL;
}

static void assert_power_at(struct fixture *f, const struct subject *s, enum power expected, int line) {
    struct observation *o = observe(f, s->spec.tag.lab_id);
    const struct observed *m = find(o, &s->spec.tag);
    enum power power = m ? m->power : POWER_ABSENT;
    observation_free(o);
    if (power != expected)
        fail_msg("line %d: %s is %s, expected %s", line, s->path, power_name(power), power_name(expected));
}
#define assert_power(f, s, expected) assert_power_at(f, s, expected, __LINE__)

static size_t count_machines(struct fixture *f, const char *lab) {
    struct observation *o = observe(f, lab);
    size_t n = o->n;
    observation_free(o);
    return n;
}

/* --- around each test --- */

static void prepare(struct fixture *f, struct hypervisor *hv) {
    MUST(f->driver->ensure_image(hv, f->target->image, NULL, NULL, in_time(f), &f->err));
    MUST(f->driver->ensure_network(hv, in_time(f), &f->err));
}

static struct hypervisor *open_another(struct fixture *f) {
    struct hypervisor *hv = NULL;
    MUST(f->driver->open(&f->target->config, &hv, in_time(f), &f->err));
    assert_non_null(hv);
    return hv;
}

static void random_lab(char id[LAB_ID_LEN + 1]) {
    uint64_t bits;
    assert_int_equal(getentropy(&bits, sizeof bits), 0);
    snprintf(id, LAB_ID_LEN + 1, "%016llx", (unsigned long long)bits);
}

static int set_up(void **state) {
    const struct conformance_target *target = *state;
    struct fixture *f = xcalloc(1, sizeof *f);
    f->target = target;
    f->driver = target->driver;
    random_lab(f->lab);
    random_lab(f->other_lab);
    f->hv = open_another(f);
    *state = f;
    prepare(f, f->hv);
    return 0;
}

static void remove_lab(struct fixture *f, const char *lab) {
    struct observation *o = observe(f, lab);
    for (size_t i = 0; i < o->n; i++) {
        struct tag tag = {.lab_id = o->items[i].lab_id, .path = o->items[i].path};
        MUST(f->driver->remove(f->hv, &tag, in_time(f), &f->err));
    }
    observation_free(o);
}

static int tear_down(void **state) {
    struct fixture *f = *state;
    remove_lab(f, f->lab);
    remove_lab(f, f->other_lab);
    f->driver->close(f->hv);
    free(f);
    return 0;
}

#define NEEDS(what)                                                                                                    \
    do {                                                                                                               \
        if (!(what))                                                                                                   \
            skip();                                                                                                    \
    } while (0)

/* --- the driver itself --- */

static void table_is_complete(void **state) {
    const struct driver *d = ((struct fixture *)*state)->driver;
    assert_int_equal(d->size, sizeof *d);
    assert_int_equal(d->api, DRIVER_API);
    assert_true(d->name && *d->name && strspn(d->name, "abcdefghijklmnopqrstuvwxyz0123456789-") == strlen(d->name));
    assert_true(d->summary && *d->summary);
    assert_non_null(d->params);
    assert_true(d->features & (DRIVER_HOST | DRIVER_GUEST));
    assert_true(d->parallel > 0 && d->boot_timeout_s > 0 && d->boot_timeout_emulated_s >= d->boot_timeout_s);
    assert_true(d->open && d->close && d->check && d->observe && d->ensure_image && d->ensure_network);
    assert_true(d->create && d->expose && d->start && d->stop && d->power_cut);
    assert_true(d->address && d->console && d->remove);
    assert_true(!d->full_clone_units || d->features & DRIVER_FULL_CLONE);
    for (const struct driver_param *p = d->params; p->key; p++)
        assert_true(p->help && *p->help && !(p->secret && (p->path || strchr(p->key, '.'))));
    bool snapshots = d->features & DRIVER_SNAPSHOT;
    assert_true(!snapshots == !d->snapshot && !snapshots == !d->revert && !snapshots == !d->drop_snapshot);
    assert_true(!d->networks == !d->remove_network);
}

static void check_gives_reasons(void **state) {
    struct fixture *f = *state;
    struct capability c = {.can_nest = true};
    MUST(f->driver->check(f->hv, &c, in_time(f), &f->err));
    assert_true(c.cpus > 0);
    assert_int_not_equal(c.detail[0], '\0');
    if (c.can_nest)
        assert_true(strcmp(c.flag, "svm") == 0 || strcmp(c.flag, "vmx") == 0);
    else
        assert_int_not_equal(c.reason[0], '\0');
}

static void count_finding(void *data, const struct finding *f) {
    size_t *n = data;
    ++*n;
    assert_true(f->kind == FINDING_FINE || f->kind == FINDING_WARNING || f->kind == FINDING_UNFIT);
    assert_true(f->subject && *f->subject && f->text && *f->text && f->mend);
    assert_true(f->kind == FINDING_FINE || *f->mend); /* what is not fine can be mended */
}

static void what_it_examines_is_told(void **state) {
    struct fixture *f = *state;
    size_t n = 0, again = 0;
    NEEDS(f->driver->examine);
    MUST(f->driver->examine(f->hv, count_finding, &n, in_time(f), &f->err));
    MUST(f->driver->examine(f->hv, count_finding, &again, in_time(f), &f->err));
    assert_true(n > 0);
    assert_int_equal(n, again);
}

#define NO_NETWORK "nestor-conformance-0a0a0a0a"

static void a_network_that_is_gone_is_removed(void **state) {
    struct fixture *f = *state;
    NEEDS(f->driver->remove_network);
    MUST(f->driver->remove_network(f->hv, NO_NETWORK, in_time(f), &f->err));
}

static void a_template_it_does_not_have_is_told(void **state) {
    struct fixture *f = *state;
    char name[] = "nestor-conformance-there-is-no-such-template";
    const struct image image = {.name = name};
    NEEDS(f->driver->features & DRIVER_TEMPLATES);
    MUST_FAIL(f->driver->ensure_image(f->hv, &image, NULL, NULL, in_time(f), &f->err), ERR_NOT_FOUND);
}

static void a_full_clone_is_a_machine_like_others(void **state) {
    struct fixture *f = *state;
    struct subject s;
    NEEDS(f->driver->features & DRIVER_FULL_CLONE);
    subject_init(f, &s, f->lab, "conf/full")->spec.full_clone = true;
    create(f, &s);
    create(f, &s);
    assert_power(f, &s, POWER_OFF);
    remove_machine(f, &s);
    assert_power(f, &s, POWER_ABSENT);
}

static void closing_nothing_is_fine(void **state) {
    struct fixture *f = *state;
    f->driver->close(NULL);
}

/* --- one machine's life --- */

static void a_new_machine_is_off_and_as_asked(void **state) {
    struct fixture *f = *state;
    struct subject s;
    create(f, subject_init(f, &s, f->lab, "conf/one"));
    struct observation *o = observe(f, f->lab);
    assert_int_equal(o->n, 1);
    assert_string_equal(o->items[0].lab_id, f->lab);
    assert_string_equal(o->items[0].path, "conf/one");
    assert_string_equal(o->items[0].name, s.name);
    assert_string_equal(o->items[0].digest, s.spec.digest);
    assert_int_equal(o->items[0].power, POWER_OFF);
    assert_false(o->items[0].exposed);
    observation_free(o);
}

static void it_starts_and_has_an_address(void **state) {
    struct fixture *f = *state;
    struct subject s;
    struct endpoint at = {0};
    NEEDS(f->target->powers);
    create(f, subject_init(f, &s, f->lab, "conf/one"));
    start(f, &s);
    assert_power(f, &s, POWER_ON);
    struct context boot = context_timeout(NULL, f->target->boot_ms);
    error_clear(&f->err);
    MUST(f->driver->address(f->hv, &s.spec, &at, &boot, &f->err));
    assert_int_not_equal(at.host[0], '\0');
    assert_int_not_equal(at.port, 0);
    start(f, &s); /* again: it runs, so nothing happens */
    create(f, &s);
    assert_power(f, &s, POWER_ON);
}

static void it_stops_when_asked(void **state) {
    struct fixture *f = *state;
    struct subject s;
    NEEDS(f->target->powers && f->target->obeys);
    create(f, subject_init(f, &s, f->lab, "conf/one"));
    MUST(f->driver->stop(f->hv, &s.spec.tag, in_time(f), &f->err)); /* it is off: nothing to do */
    start(f, &s);
    MUST(f->driver->stop(f->hv, &s.spec.tag, in_time(f), &f->err));
    assert_power(f, &s, POWER_OFF);
    start(f, &s);
    assert_power(f, &s, POWER_ON);
}

static void its_power_can_be_cut(void **state) {
    struct fixture *f = *state;
    struct subject s;
    NEEDS(f->target->powers);
    create(f, subject_init(f, &s, f->lab, "conf/one"));
    MUST(f->driver->power_cut(f->hv, &s.spec.tag, in_time(f), &f->err));
    start(f, &s);
    MUST(f->driver->power_cut(f->hv, &s.spec.tag, in_time(f), &f->err));
    assert_power(f, &s, POWER_OFF);
}

static void a_stopped_machine_has_no_address(void **state) {
    struct fixture *f = *state;
    struct subject s;
    struct endpoint at = {.port = 7};
    create(f, subject_init(f, &s, f->lab, "conf/one"));
    int64_t before = clock_ms();
    MUST_FAIL(f->driver->address(f->hv, &s.spec, &at, in_time(f), &f->err), ERR_DIED);
    assert_string_equal(f->err.subject, s.path);
    assert_true(clock_ms() - before < PROMPT_MS);
    assert_int_equal(at.port, 7);
}

static void its_console_is_printable(void **state) {
    struct fixture *f = *state;
    struct subject s;
    NEEDS(f->target->powers);
    create(f, subject_init(f, &s, f->lab, "conf/one"));
    start(f, &s);
    cleanup_buffer struct buffer text = {0};
    MUST(f->driver->console(f->hv, &s.spec.tag, &text, in_time(f), &f->err));
    for (size_t i = 0; i < text.len; i++)
        assert_true((unsigned char)text.data[i] >= 0x20 || text.data[i] == '\n' || text.data[i] == '\t');
}

/* --- asking twice --- */

static void creating_twice_makes_one(void **state) {
    struct fixture *f = *state;
    struct subject s;
    create(f, subject_init(f, &s, f->lab, "conf/one"));
    create(f, &s);
    assert_int_equal(count_machines(f, f->lab), 1);
    assert_power(f, &s, POWER_OFF);
}

static void removing_twice_is_fine(void **state) {
    struct fixture *f = *state;
    struct subject s;
    remove_machine(f, subject_init(f, &s, f->lab, "conf/never-made"));
    create(f, &s);
    remove_machine(f, &s);
    remove_machine(f, &s);
    assert_power(f, &s, POWER_ABSENT);
}

static void an_image_is_copied_once(void **state) {
    struct fixture *f = *state;
    NEEDS(f->target->copies);
    size_t before = f->target->copies(f->target->data);
    prepare(f, f->hv);
    struct hypervisor *other = open_another(f);
    prepare(f, other);
    f->driver->close(other);
    assert_int_equal(f->target->copies(f->target->data), before);
}

/* --- nesting --- */

static void expose_is_read_back(void **state) {
    struct fixture *f = *state;
    struct subject s;
    create(f, subject_init(f, &s, f->lab, "conf/one"));
    for (int round = 0; round < 4; round++) { /* on, on, off, off */
        bool on = round < 2, exposed = !on;
        MUST(f->driver->expose(f->hv, &s.spec, on, &exposed, in_time(f), &f->err));
        assert_int_equal(exposed, on);
        struct observation *o = observe(f, f->lab);
        assert_int_equal(o->items[0].exposed, on);
        observation_free(o);
    }
}

static void expose_needs_power_off(void **state) {
    struct fixture *f = *state;
    struct subject s;
    bool exposed = true;
    NEEDS(f->target->powers);
    create(f, subject_init(f, &s, f->lab, "conf/one"));
    start(f, &s);
    MUST_FAIL(f->driver->expose(f->hv, &s.spec, true, &exposed, in_time(f), &f->err), ERR_NESTING);
    assert_string_equal(f->err.reason, "vhv-needs-power-off");
    assert_string_equal(f->err.subject, s.path);
    MUST(f->driver->expose(f->hv, &s.spec, false, &exposed, in_time(f), &f->err)); /* it is off already */
    assert_false(exposed);
}

/* --- whose machines --- */

static void labs_are_told_apart(void **state) {
    struct fixture *f = *state;
    struct subject mine, other;
    create(f, subject_init(f, &mine, f->lab, "conf/one"));
    create(f, subject_init(f, &other, f->other_lab, "conf/one")); /* the same path in another lab */
    assert_int_equal(count_machines(f, f->lab), 1);
    struct observation *all = observe(f, NULL);
    assert_non_null(find(all, &mine.spec.tag));
    assert_non_null(find(all, &other.spec.tag));
    observation_free(all);
    remove_machine(f, &mine);
    assert_power(f, &other, POWER_OFF);
}

static void foreign_machines_are_not_ours(void **state) {
    struct fixture *f = *state;
    struct subject s;
    NEEDS(f->target->make_foreign);
    f->target->make_foreign(f->target->data, "conf.one");
    subject_init(f, &s, f->lab, "conf/one");
    struct observation *all = observe(f, NULL);
    for (size_t i = 0; i < all->n; i++)
        assert_string_not_equal(all->items[i].name, "conf.one");
    observation_free(all);
    assert_int_equal(count_machines(f, f->lab), 0);
}

static void two_handles_see_the_same(void **state) {
    struct fixture *f = *state;
    struct subject s;
    struct hypervisor *mine = f->hv;
    create(f, subject_init(f, &s, f->lab, "conf/one"));
    f->hv = open_another(f);
    assert_power(f, &s, POWER_OFF);
    remove_machine(f, &s); /* by its tag alone: this handle never saw the spec or the image */
    f->driver->close(f->hv);
    f->hv = mine;
    assert_power(f, &s, POWER_ABSENT);
}

/* --- leaving nothing --- */

static void nothing_is_left_of_a_machine(void **state) {
    struct fixture *f = *state;
    struct subject s;
    NEEDS(f->target->things);
    size_t before = f->target->things(f->target->data);
    create(f, subject_init(f, &s, f->lab, "conf/one"));
    assert_true(f->target->things(f->target->data) > before);
    if (f->target->powers)
        start(f, &s);
    remove_machine(f, &s); /* while it runs */
    assert_power(f, &s, POWER_ABSENT);
    assert_int_equal(f->target->things(f->target->data), before);
}

static void a_half_made_machine_can_be_removed(void **state) {
    struct fixture *f = *state;
    struct subject s;
    NEEDS(f->target->make_half && f->target->things);
    size_t before = f->target->things(f->target->data);
    f->target->make_half(f->target->data, &subject_init(f, &s, f->lab, "conf/half")->spec);
    assert_power(f, &s, POWER_BROKEN);
    remove_machine(f, &s);
    assert_power(f, &s, POWER_ABSENT);
    assert_int_equal(f->target->things(f->target->data), before);
}

static void create_replaces_a_half_made_machine(void **state) {
    struct fixture *f = *state;
    struct subject s;
    NEEDS(f->target->make_half);
    f->target->make_half(f->target->data, &subject_init(f, &s, f->lab, "conf/half")->spec);
    create(f, &s);
    assert_int_equal(count_machines(f, f->lab), 1);
    assert_power(f, &s, POWER_OFF);
    if (f->target->powers)
        start(f, &s);
}

/* --- several at once --- */

struct worker {
    struct fixture *f;
    struct subject s;
    int (*work)(struct worker *w, const struct context *ctx);
    struct error err;
    int failed;
};

static int work_create(struct worker *w, const struct context *ctx) {
    return w->f->driver->create(w->f->hv, &w->s.spec, ctx, &w->err);
}
static int work_remove(struct worker *w, const struct context *ctx) {
    return w->f->driver->remove(w->f->hv, &w->s.spec.tag, ctx, &w->err);
}
static int work_image(struct worker *w, const struct context *ctx) {
    return w->f->driver->ensure_image(w->f->hv, w->f->target->image, NULL, NULL, ctx, &w->err);
}

static void *worker_main(void *data) {
    struct worker *w = data;
    struct context ctx = context_timeout(NULL, w->f->target->operation_ms);
    w->failed = w->work(w, &ctx);
    return NULL;
}

static void all_at_once(struct worker *workers, int (*work)(struct worker *, const struct context *)) {
    pthread_t threads[N_THREADS];
    for (int i = 0; i < N_THREADS; i++) {
        workers[i].work = work;
        assert_int_equal(pthread_create(&threads[i], NULL, worker_main, &workers[i]), 0);
    }
    for (int i = 0; i < N_THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < N_THREADS; i++)
        if (workers[i].failed)
            fail_msg("thread %d: %s: %s", i, workers[i].err.subject, workers[i].err.cause);
}

static void machines_come_and_go_at_once(void **state) {
    struct fixture *f = *state;
    struct worker workers[N_THREADS];
    for (int i = 0; i < N_THREADS; i++) {
        char path[32];
        snprintf(path, sizeof path, "conf/m%d", i);
        workers[i] = (struct worker){.f = f};
        subject_init(f, &workers[i].s, f->lab, path);
    }
    all_at_once(workers, work_create);
    assert_int_equal(count_machines(f, f->lab), N_THREADS);
    all_at_once(workers, work_remove);
    assert_int_equal(count_machines(f, f->lab), 0);
}

static void an_image_wanted_by_many_is_copied_once(void **state) {
    struct fixture *f = *state;
    struct worker workers[N_THREADS];
    NEEDS(f->driver->prune && f->target->copies && count_machines(f, NULL) == 0);
    MUST(f->driver->prune(f->hv, in_time(f), &f->err));
    size_t before = f->target->copies(f->target->data);
    for (int i = 0; i < N_THREADS; i++)
        workers[i] = (struct worker){.f = f};
    all_at_once(workers, work_image);
    assert_int_equal(f->target->copies(f->target->data), before + 1);
    prepare(f, f->hv);
}

static void prune_keeps_what_is_used(void **state) {
    struct fixture *f = *state;
    struct subject s, later;
    NEEDS(f->driver->prune);
    create(f, subject_init(f, &s, f->lab, "conf/one"));
    MUST(f->driver->prune(f->hv, in_time(f), &f->err));
    create(f, subject_init(f, &later, f->lab, "conf/two")); /* without ensure_image: it must be there still */
    if (f->target->powers)
        start(f, &s);
}

/* --- ends soon after its context does --- */

/* Everything an operation may be called with; nothing of it may change. */
struct call {
    struct fixture *f;
    const struct subject *absent, *off, *on; /* machines in that state; on is off where machines cannot be started */
    struct hypervisor *hv;
    struct capability capability;
    struct observation *observation;
    struct endpoint endpoint;
    struct buffer buffer;
    bool exposed;
    const struct context *ctx;
    struct error *err;
};

static int try_open(struct call *c) { return c->f->driver->open(&c->f->target->config, &c->hv, c->ctx, c->err); }
static int try_check(struct call *c) { return c->f->driver->check(c->f->hv, &c->capability, c->ctx, c->err); }
static int try_observe(struct call *c) {
    return c->f->driver->observe(c->f->hv, NULL, &c->observation, c->ctx, c->err);
}
static int try_image(struct call *c) {
    return c->f->driver->ensure_image(c->f->hv, c->f->target->image, NULL, NULL, c->ctx, c->err);
}
static int try_network(struct call *c) { return c->f->driver->ensure_network(c->f->hv, c->ctx, c->err); }
static int try_create(struct call *c) { return c->f->driver->create(c->f->hv, &c->absent->spec, c->ctx, c->err); }
static int try_expose(struct call *c) {
    return c->f->driver->expose(c->f->hv, &c->off->spec, true, &c->exposed, c->ctx, c->err);
}
static int try_start(struct call *c) { return c->f->driver->start(c->f->hv, &c->off->spec, c->ctx, c->err); }
static int try_stop(struct call *c) { return c->f->driver->stop(c->f->hv, &c->on->spec.tag, c->ctx, c->err); }
static int try_cut(struct call *c) { return c->f->driver->power_cut(c->f->hv, &c->on->spec.tag, c->ctx, c->err); }
static int try_address(struct call *c) {
    return c->f->driver->address(c->f->hv, &c->on->spec, &c->endpoint, c->ctx, c->err);
}
static int try_console(struct call *c) {
    return c->f->driver->console(c->f->hv, &c->on->spec.tag, &c->buffer, c->ctx, c->err);
}
static int try_remove(struct call *c) { return c->f->driver->remove(c->f->hv, &c->on->spec.tag, c->ctx, c->err); }

static void pass_over(void *data, const struct finding *finding) { (void)data, (void)finding; }

static int try_examine(struct call *c) {
    if (c->f->driver->examine)
        return c->f->driver->examine(c->f->hv, pass_over, NULL, c->ctx, c->err);
    return try_check(c); /* it may be left out */
}

static void pass_over_network(void *data, const char *name, const char *lab_digits) {
    (void)data, (void)name, (void)lab_digits;
}

static int try_networks(struct call *c) {
    if (c->f->driver->networks)
        return c->f->driver->networks(c->f->hv, pass_over_network, NULL, c->ctx, c->err);
    return try_check(c);
}

static int try_remove_network(struct call *c) {
    if (c->f->driver->remove_network)
        return c->f->driver->remove_network(c->f->hv, NO_NETWORK, c->ctx, c->err);
    return try_check(c);
}

static const struct {
    const char *name;
    int (*call)(struct call *c);
} tries[] = {
    {"open", try_open},         {"check", try_check},
    {"observe", try_observe},   {"ensure_image", try_image},
    {"network", try_network},   {"create", try_create},
    {"expose", try_expose},     {"start", try_start},
    {"stop", try_stop},         {"power_cut", try_cut},
    {"address", try_address},   {"console", try_console},
    {"remove", try_remove},     {"examine", try_examine},
    {"networks", try_networks}, {"remove_network", try_remove_network},
};

static void nothing_happens(struct fixture *f, const struct context *over, enum error_code expected) {
    struct subject absent, off, on;
    create(f, subject_init(f, &off, f->lab, "conf/off"));
    create(f, subject_init(f, &on, f->lab, "conf/on"));
    subject_init(f, &absent, f->lab, "conf/absent");
    if (f->target->powers)
        start(f, &on);
    for (size_t i = 0; i < sizeof tries / sizeof *tries; i++) {
        struct error err = {0};
        struct call c = {.f = f, .absent = &absent, .off = &off, .on = &on, .ctx = over, .err = &err};
        int64_t before = clock_ms();
        if (tries[i].call(&c) == 0)
            fail_msg("%s succeeded after its context had ended", tries[i].name);
        if (err.code != expected)
            fail_msg("%s: %s (%s), expected %s", tries[i].name, error_code_name(err.code), err.cause,
                     error_code_name(expected));
        if (clock_ms() - before > PROMPT_MS)
            fail_msg("%s went on for %lld ms", tries[i].name, (long long)(clock_ms() - before));
        assert_null(c.hv);
        assert_null(c.observation);
        assert_int_equal(c.buffer.len + c.endpoint.port + c.capability.cpus + c.exposed, 0);
    }
    assert_power(f, &absent, POWER_ABSENT);
    assert_power(f, &off, POWER_OFF);
    assert_power(f, &on, f->target->powers ? POWER_ON : POWER_OFF);
}

static void nothing_happens_once_cancelled(void **state) {
    struct fixture *f = *state;
    struct cancel cancel;
    MUST(cancel_init(&cancel, &f->err));
    cancel_fire(&cancel);
    nothing_happens(f, &(struct context){.deadline = DEADLINE_NEVER, .cancel = &cancel}, ERR_CANCELLED);
    cancel_destroy(&cancel);
}

static void nothing_happens_once_time_is_over(void **state) {
    struct fixture *f = *state;
    nothing_happens(f, &(struct context){.deadline = clock_ms()}, ERR_TIMEOUT);
}

#define TEST(fn)                                                                                                       \
    { #fn, fn, set_up, tear_down, (void *)(uintptr_t)target }

int conformance_run(const struct conformance_target *target) {
    const struct CMUnitTest tests[] = {
        TEST(table_is_complete),
        TEST(check_gives_reasons),
        TEST(what_it_examines_is_told),
        TEST(a_network_that_is_gone_is_removed),
        TEST(a_template_it_does_not_have_is_told),
        TEST(a_full_clone_is_a_machine_like_others),
        TEST(closing_nothing_is_fine),
        TEST(a_new_machine_is_off_and_as_asked),
        TEST(it_starts_and_has_an_address),
        TEST(it_stops_when_asked),
        TEST(its_power_can_be_cut),
        TEST(a_stopped_machine_has_no_address),
        TEST(its_console_is_printable),
        TEST(creating_twice_makes_one),
        TEST(removing_twice_is_fine),
        TEST(an_image_is_copied_once),
        TEST(an_image_wanted_by_many_is_copied_once),
        TEST(prune_keeps_what_is_used),
        TEST(expose_is_read_back),
        TEST(expose_needs_power_off),
        TEST(labs_are_told_apart),
        TEST(foreign_machines_are_not_ours),
        TEST(two_handles_see_the_same),
        TEST(nothing_is_left_of_a_machine),
        TEST(a_half_made_machine_can_be_removed),
        TEST(create_replaces_a_half_made_machine),
        TEST(machines_come_and_go_at_once),
        TEST(nothing_happens_once_cancelled),
        TEST(nothing_happens_once_time_is_over),
    };
    return _cmocka_run_group_tests(target->driver->name, tests, sizeof tests / sizeof *tests, NULL, NULL);
}
