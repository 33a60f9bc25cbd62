#include "run/steps.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TRIES 3
#define cleanup_seed __attribute__((cleanup(seed_wipe)))

static const char *subject_of(const struct work *w, const struct step *s) {
    return s->row != LAB_NONE ? w->inv->rows[s->row].path : w->inv->hosts[s->host].name;
}

/* The hypervisor a step about a machine works on; for image, network and prune: the one it is about. A machine of the
 * first level may be removed from another host than its own. */
static int open_for(struct work *w, const struct step *s, struct hypervisor **hv, const struct driver **driver,
                    const struct context *ctx, struct error *err) {
    bool about_hypervisor = s->kind == STEP_IMAGE || s->kind == STEP_NETWORK || s->kind == STEP_PRUNE;
    uint32_t in = s->row == LAB_NONE || about_hypervisor ? s->row : w->inv->rows[s->row].parent;
    if (in == LAB_NONE)
        return reach_host(w->reach, s->host, hv, driver, ctx, err);
    return reach_inside(w->reach, in, hv, driver, ctx, err);
}

static int image_for(struct work *w, uint32_t template, const struct image **ret, const struct context *ctx,
                     struct error *err) {
    struct image_slot *slot = &w->images[template];
    int failed = 0;
    pthread_mutex_lock(&slot->lock);
    if (!slot->image)
        failed = image_ensure(&w->inv->lab->templates[template], false, &slot->image, w->sink, ctx, err);
    *ret = slot->image;
    pthread_mutex_unlock(&slot->lock);
    return failed;
}

struct progress {
    struct work *work;
    const struct step *step;
    int64_t told_at;
};

/* At most four times a second: a progress line is for people. */
static void tell_progress(void *data, uint64_t done, uint64_t total) {
    struct progress *p = data;
    int64_t now = clock_ms();
    if (done < total && now - p->told_at < 250)
        return;
    p->told_at = now;
    event_emit(p->work->sink, (struct event){.kind = EVENT_STEP_PROGRESS,
                                             .path = subject_of(p->work, p->step),
                                             .step = step_name(p->step->kind),
                                             .done = done,
                                             .total = total});
}

static int do_image(struct work *w, const struct step *s, struct hypervisor *hv, const struct driver *driver,
                    struct step_result *ret, const struct context *ctx, struct error *err) {
    (void)ret;
    const struct image *image;
    struct progress progress = {w, s, 0};
    if (image_for(w, s->template, &image, ctx, err))
        return -1;
    return driver->ensure_image(hv, image, tell_progress, &progress, ctx, err);
}

static int do_network(struct work *w, const struct step *s, struct hypervisor *hv, const struct driver *driver,
                      struct step_result *ret, const struct context *ctx, struct error *err) {
    (void)w, (void)s, (void)ret;
    return driver->ensure_network(hv, ctx, err);
}

/* A `down` of another lab on the same hypervisor prunes images and networks that no machine uses, and may do so after
 * ours were brought and before the first machine uses them. Then they are brought again. */
static int create(struct hypervisor *hv, const struct driver *driver, const struct machine_spec *spec,
                  const struct context *ctx, struct error *err) {
    struct error why = {0};
    if (driver->create(hv, spec, ctx, &why) == 0)
        return 0;
    if (why.code == ERR_NOT_FOUND)
        return driver->ensure_image(hv, spec->image, NULL, NULL, ctx, err) || driver->ensure_network(hv, ctx, err) ||
                       driver->create(hv, spec, ctx, err)
                   ? -1
                   : 0;
    *err = why;
    return -1;
}

static int do_create(struct work *w, const struct step *s, struct hypervisor *hv, const struct driver *driver,
                     struct step_result *ret, const struct context *ctx, struct error *err) {
    (void)ret;
    const struct row *row = &w->inv->rows[s->row];
    struct machine_spec spec = row_machine(w->inv, row);
    if (image_for(w, row->wanted->template, &spec.image, ctx, err))
        return -1;
    struct keypair host_key = {0};
    cleanup_free char *purpose = xasprintf("host:%s", row->path);
    if (keypair_derive(w->secret, purpose, row->name, &host_key, err))
        return error_subject(err, row->path);
    struct seed seed = {.instance_id = row->uuid,
                        .hostname = row->name,
                        .ssh_user = row->ssh_user,
                        .authorized_key = w->user_key.public_line,
                        .host_key = &host_key,
                        .extra_user_data = row->wanted->user_data};
    /* The volume and the user-data hold the machine's private host key. */
    cleanup_seed struct buffer volume = {0}, meta_data = {0}, user_data = {0};
    bool takes_volume = !(driver->features & DRIVER_TEMPLATES);
    int failed = (takes_volume && seed_build(&seed, &volume, err)) || seed_texts(&seed, &meta_data, &user_data, err);
    keypair_free(&host_key);
    if (failed)
        return error_subject(err, row->path);
    spec.seed = volume.data;
    spec.seed_len = volume.len;
    spec.meta_data = buffer_str(&meta_data);
    spec.user_data = buffer_str(&user_data);
    return create(hv, driver, &spec, ctx, err);
}

/* `exposed` asks for the setting and its read-back only; this is then all the evidence there is. */
static void expose_evidence(struct step_result *ret, bool exposed) {
    struct evidence *e = xcalloc(1, sizeof *e);
    e->checked_at = clock_unix();
    e->verified = exposed;
    e->reason = exposed ? NULL : "vhv-not-set";
    e->probes[0] = (struct probe){.name = "exposed",
                                  .command = "(the hypervisor's own setting, read back)",
                                  .output = xstrdup(exposed ? "on" : "off"),
                                  .ran = true,
                                  .ok = exposed,
                                  .reason = e->reason};
    e->nprobes = 1;
    ret->evidence = e;
}

static int nesting_error(struct error *err, const char *path, const char *code) {
    const struct reason *r = reason_find(code);
    error_set(err, ERR_NESTING, path, "%s (%s)", r ? r->meaning : "nesting could not be proved", code);
    error_reason(err, code);
    return error_mend(err, "%s", r ? r->mend : "see 'nestor verify'");
}

static int do_expose(struct work *w, const struct step *s, struct hypervisor *hv, const struct driver *driver,
                     struct step_result *ret, const struct context *ctx, struct error *err) {
    const struct row *row = &w->inv->rows[s->row];
    struct machine_spec spec = row_machine(w->inv, row);
    bool exposed = false;
    if (driver->expose(hv, &spec, row->expose, &exposed, ctx, err))
        return -1;
    atomic_store(&w->exposed[s->row], exposed);
    if (row->nesting == NESTING_EXPOSED)
        expose_evidence(ret, exposed);
    return exposed == row->expose ? 0 : nesting_error(err, row->path, "vhv-not-set");
}

static int do_start(struct work *w, const struct step *s, struct hypervisor *hv, const struct driver *driver,
                    struct step_result *ret, const struct context *ctx, struct error *err) {
    (void)ret;
    struct machine_spec spec = row_machine(w->inv, &w->inv->rows[s->row]);
    reach_forget(w->reach, s->row); /* connections from before are dead */
    return driver->start(hv, &spec, ctx, err);
}

/* Drivers tell where it should be; a driver that has no address yet waits for one itself. */
static int await_machine(struct work *w, const struct step *s, struct hypervisor *hv, const struct driver *driver,
                         struct step_result *ret, const struct context *ctx, struct error *err) {
    const struct row *row = &w->inv->rows[s->row];
    struct machine_spec spec = row_machine(w->inv, row);
    bool outside = row_is_by_address(row), within = row->ready == READY_SSH || (row->opens_as && !outside);
    struct access *access;
    struct hypervisor *inside;
    struct endpoint at;
    if ((within && reach_wait(w->reach, s->row, &access, ctx, err)) ||
        (outside && reach_wait_inside(w->reach, s->row, &inside, ctx, err)))
        return -1;
    if (within || outside) {
        reach_address(w->reach, s->row, ret->address);
        return 0;
    }
    if (driver->address(hv, &spec, &at, ctx, err))
        return -1;
    snprintf(ret->address, sizeof ret->address, "%s:%u", at.host, at.port);
    return 0;
}

/* Seen under emulated SVM (QEMU 7.2): about one nested guest in twenty hangs for ever while its kernel boots, with
 * nothing wrong in it or around it. Only what this run itself started is meant: nobody works in it yet. */
static bool may_hang(const struct work *w, const struct step *s) {
    bool nested = w->inv->rows[s->row].parent != LAB_NONE;
    return nested && w->hosts && w->hosts[s->host].emulated && w->starts[s->row];
}

static int start_again(struct work *w, const struct step *s, const struct context *ctx, struct error *err) {
    struct hypervisor *hv;
    const struct driver *driver;
    struct machine_spec spec = row_machine(w->inv, &w->inv->rows[s->row]);
    reach_forget(w->reach, s->row);
    return open_for(w, s, &hv, &driver, ctx, err) || driver->power_cut(hv, &spec.tag, ctx, err) ||
                   driver->start(hv, &spec, ctx, err)
               ? -1
               : 0;
}

static void tell_again(struct work *w, const struct step *s, const struct error *hung, struct step_result *ret) {
    cleanup_free char *text = xasprintf("trying again, with its power cut and started, because %s", hung->cause);
    ret->again = xmalloc(sizeof *hung);
    *ret->again = *hung;
    event_emit(w->sink, (struct event){
                            .kind = EVENT_NOTICE, .path = subject_of(w, s), .step = step_name(s->kind), .text = text});
}

/* Half of its time to boot for each of the two. */
static int do_reach(struct work *w, const struct step *s, struct hypervisor *hv, const struct driver *driver,
                    struct step_result *ret, const struct context *ctx, struct error *err) {
    if (!may_hang(w, s))
        return await_machine(w, s, hv, driver, ret, ctx, err);
    struct context first = context_timeout(ctx, context_left(ctx) / 2);
    struct error hung = {0}, why = {0};
    if (await_machine(w, s, hv, driver, ret, &first, &hung) == 0)
        return 0;
    if (hung.code == ERR_TIMEOUT) {
        tell_again(w, s, &hung, ret);
        if (start_again(w, s, ctx, &why) == 0)
            return await_machine(w, s, hv, driver, ret, ctx, err);
        error_note(&hung, "starting it again: %s", why.cause);
    }
    *err = hung;
    return -1;
}

static int do_verify(struct work *w, const struct step *s, struct hypervisor *hv, const struct driver *driver,
                     struct step_result *ret, const struct context *ctx, struct error *err) {
    (void)hv, (void)driver;
    const struct row *row = &w->inv->rows[s->row];
    struct evidence e;
    if (reach_prove(w->reach, w->inv, s->row, atomic_load(&w->exposed[s->row]), &e, ctx, err))
        return error_subject(err, row->path);
    ret->evidence = xmalloc(sizeof e);
    *ret->evidence = e;
    reach_set_accelerated(w->reach, s->row, e.verified);
    if (e.verified)
        return 0;
    if (row->nesting == NESTING_PREFERRED) {
        cleanup_free char *text = xasprintf("%s: its machines run unaccelerated", e.reason);
        event_emit(w->sink, (struct event){.kind = EVENT_WARNING, .path = row->path, .step = "verify", .text = text});
        return 0;
    }
    return nesting_error(err, row->path, e.reason);
}

/* How long a machine is given to power off by itself. */
static int64_t stop_seconds(const struct row *row) {
    return row->wanted && row->wanted->stop_timeout_s ? row->wanted->stop_timeout_s : 60;
}

static int do_stop(struct work *w, const struct step *s, struct hypervisor *hv, const struct driver *driver,
                   struct step_result *ret, const struct context *ctx, struct error *err) {
    (void)ret;
    const struct row *row = &w->inv->rows[s->row];
    struct tag tag = {w->inv->lab_id, row->path};
    struct context politely = context_timeout(ctx, stop_seconds(row) * 1000);
    struct error refused = {0};
    reach_forget(w->reach, s->row);
    if (driver->stop(hv, &tag, &politely, &refused) == 0)
        return 0;
    if (refused.code != ERR_TIMEOUT) {
        if (err)
            *err = refused;
        return -1;
    }
    return driver->power_cut(hv, &tag, ctx, err);
}

static int do_remove(struct work *w, const struct step *s, struct hypervisor *hv, const struct driver *driver,
                     struct step_result *ret, const struct context *ctx, struct error *err) {
    (void)ret;
    struct tag tag = {w->inv->lab_id, w->inv->rows[s->row].path};
    reach_forget(w->reach, s->row);
    return driver->remove(hv, &tag, ctx, err);
}

static int do_prune(struct work *w, const struct step *s, struct hypervisor *hv, const struct driver *driver,
                    struct step_result *ret, const struct context *ctx, struct error *err) {
    (void)w, (void)s, (void)ret;
    return driver->prune ? driver->prune(hv, ctx, err) : 0;
}

/* What each kind does, how long it may take, and the words for its errors. 0 s: the machine's boot timeout. */
static const struct step_action {
    int (*perform)(struct work *, const struct step *, struct hypervisor *, const struct driver *, struct step_result *,
                   const struct context *, struct error *);
    int64_t timeout_s;
    const char *doing;
} actions[STEP_KIND_MAX] = {
    [STEP_IMAGE] = {do_image, 3600, "bringing the image"},
    [STEP_NETWORK] = {do_network, 180, "setting up the network"},
    [STEP_CREATE] = {do_create, 600, "creating it"},
    [STEP_EXPOSE] = {do_expose, 120, "exposing hardware virtualization"},
    [STEP_START] = {do_start, 180, "starting it"},
    [STEP_REACH] = {do_reach, 0, "waiting for it"},
    [STEP_VERIFY] = {do_verify, 300, "verifying it"},
    [STEP_STOP] = {do_stop, 120, "stopping it"},
    [STEP_REMOVE] = {do_remove, 300, "removing it"},
    [STEP_PRUNE] = {do_prune, 120, "removing unused images"},
};

/* Disks are copied within a create: as for an image. */
static bool copies_disks(const struct work *w, const struct step *s) {
    const struct machine *m = s->kind == STEP_CREATE ? w->inv->rows[s->row].wanted : NULL;
    return m && m->full_clone;
}

static int64_t timeout_ms(const struct work *w, const struct step *s, const struct driver *driver) {
    int64_t seconds = actions[copies_disks(w, s) ? STEP_IMAGE : s->kind].timeout_s;
    if (s->kind == STEP_STOP) /* and then there must be time to cut the power */
        seconds += stop_seconds(&w->inv->rows[s->row]);
    if (!seconds) {
        const struct machine *m = w->inv->rows[s->row].wanted;
        bool emulated = w->hosts && w->hosts[s->host].emulated;
        seconds = m && m->boot_timeout_s ? m->boot_timeout_s
                  : emulated             ? driver->boot_timeout_emulated_s
                                         : driver->boot_timeout_s;
    }
    return seconds * 1000;
}

static int try_once(struct work *w, const struct step *s, struct step_result *ret, struct error *err) {
    struct hypervisor *hv;
    const struct driver *driver;
    /* Opening can mean connecting to a chain of machines that boot. */
    struct context opening = context_timeout(w->ctx, 300 * 1000);
    if (open_for(w, s, &hv, &driver, &opening, err))
        return -1;
    struct context ctx = context_timeout(w->ctx, timeout_ms(w, s, driver));
    return actions[s->kind].perform(w, s, hv, driver, ret, &ctx, err);
}

int step_perform(struct work *w, const struct step *s, struct step_result *ret) {
    struct error err = {0};
    for (int64_t attempt = 1, pause = 500;; attempt++, pause *= 4) {
        error_clear(&err);
        step_result_free(ret);
        if (try_once(w, s, ret, &err) == 0)
            return 0;
        struct error ignored = {0};
        bool patient = s->kind == STEP_REACH; /* has waited out its own deadline */
        if (!err.retry || patient || attempt == TRIES ||
            context_sleep(w->ctx, pause, subject_of(w, s), "waiting to try again", &ignored))
            break;
        event_emit(w->sink, (struct event){.kind = EVENT_NOTICE,
                                           .path = subject_of(w, s),
                                           .step = step_name(s->kind),
                                           .text = "trying again",
                                           .error = &err});
    }
    if (!err.subject[0])
        error_subject(&err, subject_of(w, s));
    error_context(&err, "%s", actions[s->kind].doing);
    ret->error = xmalloc(sizeof err);
    *ret->error = err;
    return -1;
}

void step_result_free(struct step_result *r) {
    free(r->error);
    free(r->again);
    evidence_free(r->evidence);
    free(r->evidence);
    *r = (struct step_result){0};
}
