/* Whatever was killed at whatever moment: it is seen again, carried on, or removed, and nothing else is touched. */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "drivers/qemu/qemu.h"
#include "drivers/qemu/qemu_priv.h"
#include "qemu_fixture.h"

#define SWEEP_STEP_US 6000

/* create, expose and start in a process of its own, which ends by _exit (0: all went well). */
static pid_t run_in_child(struct qemu_fixture *f, const struct machine_spec *m) {
    pid_t child = fork();
    assert_true(child >= 0);
    if (child)
        return child;
    struct error e = {.code = ERR_NONE};
    bool exposed;
    setsid();
    _exit(qemu_driver.create(f->hv, m, &f->ctx, &e) || qemu_driver.expose(f->hv, m, true, &exposed, &f->ctx, &e) ||
          qemu_driver.start(f->hv, m, &f->ctx, &e));
}

static void a_machine_outlives_who_started_it(void **state) {
    struct qemu_fixture *f = *state;
    struct machine_spec m = qemu_machine(f, "lab/kvm1");
    pid_t child = run_in_child(f, &m);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    kill(-child, SIGHUP); /* what a closing terminal does */
    bool exposed = false;
    assert_int_equal(qemu_power(f, &m, &exposed), POWER_ON);
    assert_true(exposed);
    qemu_remove_ok(f, &m);
}

/* A sweep of kills over the whole of create, expose and start. */
static void a_kill_at_any_moment_is_repaired_and_removed(void **state) {
    struct qemu_fixture *f = *state;
    unsigned seen[POWER_BROKEN + 1] = {0};
    for (useconds_t after = 0; after < 240000; after += SWEEP_STEP_US) {
        struct error e = {.code = ERR_NONE};
        struct machine_spec m = qemu_machine(f, "lab/kvm1");
        f->ctx = context_timeout(NULL, 60000);
        pid_t child = run_in_child(f, &m);
        usleep(after);
        kill(child, SIGKILL);
        assert_int_equal(waitpid(child, NULL, 0), child);
        seen[qemu_power(f, &m, NULL)]++;
        if (after / SWEEP_STEP_US % 2) {
            qemu_run(f, &m);
            assert_int_equal(qemu_power(f, &m, NULL), POWER_ON);
            struct endpoint at;
            qemu_assert_ok(qemu_driver.address(f->hv, &m, &at, &f->ctx, &e), &e);
        }
        qemu_remove_ok(f, &m);
        assert_int_equal(qemu_power(f, &m, NULL), POWER_ABSENT);
    }
    assert_int_not_equal(seen[POWER_OFF], 0); /* the sweep did cut starts */
}

/* What a kill between `cont` and the record leaves: the guest runs, and nobody wrote it down. */
static void forget_launch(struct qemu_fixture *f, const struct machine_spec *m) {
    struct error e = {.code = ERR_NONE};
    cleanup_vm struct vm vm = VM_NONE;
    qemu_assert_ok(vm_load(f->hv, &m->tag, &vm, &e), &e);
    vm.rec.launched_pid = 0;
    vm.rec.host_port = 0;
    qemu_assert_ok(vm_save(&vm, &e), &e);
}

static void a_cut_start_is_carried_on(void **state) {
    struct qemu_fixture *f = *state;
    struct error e = {.code = ERR_NONE};
    struct machine_spec m = qemu_machine(f, "lab/kvm1");
    struct endpoint before, after;
    qemu_run(f, &m);
    pid_t pid = qemu_pid(&m);
    qemu_assert_ok(qemu_driver.address(f->hv, &m, &before, &f->ctx, &e), &e);
    forget_launch(f, &m);
    assert_int_equal(qemu_power(f, &m, NULL), POWER_OFF);
    qemu_assert_error(qemu_driver.address(f->hv, &m, &after, &f->ctx, &e), &e, ERR_DIED, "lab/kvm1", "is not running");

    error_clear(&e);
    qemu_assert_ok(qemu_driver.start(f->hv, &m, &f->ctx, &e), &e);
    assert_int_equal(qemu_pid(&m), pid);
    qemu_assert_ok(qemu_driver.address(f->hv, &m, &after, &f->ctx, &e), &e);
    assert_int_equal(after.port, before.port);
    assert_int_equal(qemu_power(f, &m, NULL), POWER_ON);
    qemu_remove_ok(f, &m);
}

static void a_cut_start_beyond_help_is_begun_again(void **state) {
    struct qemu_fixture *f = *state;
    struct error e = {.code = ERR_NONE};
    struct machine_spec m = qemu_machine(f, "lab/kvm1");
    qemu_run(f, &m);
    pid_t pid = qemu_pid(&m);
    forget_launch(f, &m);
    cleanup_free char *sock = qemu_file(f, &m, "qmp.sock");
    assert_int_equal(unlink(sock), 0);
    qemu_assert_ok(qemu_driver.start(f->hv, &m, &f->ctx, &e), &e);
    assert_int_not_equal(qemu_pid(&m), pid);
    qemu_remove_ok(f, &m);
}

/* The process was made before the setting changed: its CPU is asked, not the setting. */
static void a_cut_start_with_another_cpu_is_begun_again(void **state) {
    struct qemu_fixture *f = *state;
    struct error e = {.code = ERR_NONE};
    struct machine_spec m = qemu_machine(f, "lab/kvm1");
    bool exposed = true;
    qemu_run(f, &m);
    pid_t pid = qemu_pid(&m);
    {
        cleanup_vm struct vm vm = VM_NONE;
        qemu_assert_ok(vm_load(f->hv, &m.tag, &vm, &e), &e);
        vm.rec.launched_pid = 0;
        vm.rec.expose = false;
        qemu_assert_ok(vm_save(&vm, &e), &e);
    }
    qemu_assert_ok(qemu_driver.start(f->hv, &m, &f->ctx, &e), &e);
    assert_int_not_equal(qemu_pid(&m), pid);
    assert_int_equal(qemu_power(f, &m, &exposed), POWER_ON);
    assert_false(exposed);
    qemu_remove_ok(f, &m);
}

static void half_starts_are_ended_by_every_power_operation(void **state) {
    struct qemu_fixture *f = *state;
    struct error e = {.code = ERR_NONE};
    struct machine_spec m = qemu_machine(f, "lab/kvm1");
    bool exposed = true;
    qemu_run(f, &m);
    forget_launch(f, &m);
    qemu_assert_ok(qemu_driver.stop(f->hv, &m.tag, &f->ctx, &e), &e);
    assert_int_equal(qemu_pid(&m), 0);

    qemu_run(f, &m);
    forget_launch(f, &m);
    qemu_assert_ok(qemu_driver.expose(f->hv, &m, false, &exposed, &f->ctx, &e), &e);
    assert_false(exposed);
    assert_int_equal(qemu_pid(&m), 0);
    qemu_remove_ok(f, &m);
}

static void a_qemu_without_its_directory_is_seen_and_ended(void **state) {
    struct qemu_fixture *f = *state;
    struct machine_spec m = qemu_machine(f, "lab/kvm1");
    qemu_run(f, &m);
    cleanup_free char *command = xasprintf("rm -r '%s/qemu/%s'", f->home, m.tag.lab_id);
    assert_int_equal(system(command), 0);
    assert_int_equal(qemu_power(f, &m, NULL), POWER_BROKEN);
    qemu_remove_ok(f, &m);
    assert_int_equal(qemu_power(f, &m, NULL), POWER_ABSENT);
}

static void a_qemu_without_its_record_is_ended_too(void **state) {
    struct qemu_fixture *f = *state;
    struct machine_spec m = qemu_machine(f, "lab/kvm1");
    qemu_run(f, &m);
    cleanup_free char *record = qemu_file(f, &m, "machine.json");
    assert_int_equal(unlink(record), 0);
    assert_int_equal(qemu_power(f, &m, NULL), POWER_BROKEN);
    qemu_remove_ok(f, &m);
}

static void a_cut_create_or_remove_is_seen(void **state) {
    struct qemu_fixture *f = *state;
    struct error e = {.code = ERR_NONE};
    struct machine_spec m = qemu_machine(f, "lab/kvm1");
    static const char *const files[] = {"machine.json", "seed.img", "disk.qcow2", ""};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        qemu_assert_ok(qemu_driver.create(f->hv, &m, &f->ctx, &e), &e);
        cleanup_free char *file = qemu_file(f, &m, files[i]);
        cleanup_free char *command = xasprintf(*files[i] ? "rm '%s'" : "rm '%s'*", file);
        assert_int_equal(system(command), 0);
        assert_int_equal(qemu_power(f, &m, NULL), POWER_BROKEN);
        if (i % 2)
            qemu_remove_ok(f, &m);
    }
    qemu_remove_ok(f, &m);
}

/* A copy made by hand holds the record of a machine that is somebody else's now. */
static void a_copied_directory_does_not_end_the_original(void **state) {
    struct qemu_fixture *f = *state;
    struct error e = {.code = ERR_NONE};
    struct machine_spec m = qemu_machine(f, "lab/kvm1"), copy = qemu_machine(f, "lab/copy");
    qemu_run(f, &m);
    pid_t pid = qemu_pid(&m);
    cleanup_free char *command = xasprintf("cd '%s/qemu/%s' && cp -r lab.kvm1 lab.copy", f->home, m.tag.lab_id);
    assert_int_equal(system(command), 0);
    qemu_assert_error(qemu_driver.remove(f->hv, &copy.tag, &f->ctx, &e), &e, ERR_STATE_CORRUPT, "lab/copy",
                      "is that of lab/kvm1");
    cleanup_free char *record = qemu_file(f, &copy, "machine.json");
    assert_int_equal(unlink(record), 0);
    assert_int_equal(qemu_power(f, &copy, NULL), POWER_BROKEN);
    qemu_remove_ok(f, &copy);
    assert_int_equal(qemu_pid(&m), pid);
    assert_int_equal(qemu_power(f, &m, NULL), POWER_ON);
    qemu_remove_ok(f, &m);
}

static size_t count_observed(struct qemu_fixture *f, const char *lab_id) {
    struct error e = {.code = ERR_NONE};
    struct observation *o = NULL;
    qemu_assert_ok(qemu_driver.observe(f->hv, lab_id, &o, &f->ctx, &e), &e);
    size_t n = o->n;
    observation_free(o);
    return n;
}

static void labs_are_kept_apart_and_strangers_left_alone(void **state) {
    struct qemu_fixture *f = *state;
    struct error e = {.code = ERR_NONE};
    struct machine_spec a = qemu_machine(f, "lab/kvm1"), b = a;
    b.tag.lab_id = "ffeeddccbbaa9988";
    b.uuid = qemu_machine(f, "lab/other").uuid;
    qemu_assert_ok(qemu_driver.create(f->hv, &a, &f->ctx, &e), &e);
    qemu_run(f, &b);
    cleanup_free char *stranger = xasprintf("%s/qemu/%s/lost+found", f->home, a.tag.lab_id);
    assert_int_equal(mkdir(stranger, 0700), 0);
    assert_int_equal(count_observed(f, a.tag.lab_id), 1);
    assert_int_equal(count_observed(f, b.tag.lab_id), 1);
    assert_int_equal(count_observed(f, "0000000000000000"), 0);
    assert_int_equal(count_observed(f, NULL), 2);

    qemu_remove_ok(f, &a);
    assert_int_equal(qemu_power(f, &b, NULL), POWER_ON);
    assert_int_equal(rmdir(stranger), 0); /* was left alone */
    qemu_remove_ok(f, &b);
    cleanup_free char *lab = xasprintf("%s/qemu/%s", f->home, a.tag.lab_id);
    assert_int_equal(access(lab, F_OK), 0);
    qemu_assert_ok(qemu_driver.prune(f->hv, &f->ctx, &e), &e);
    assert_int_not_equal(access(lab, F_OK), 0);
}

struct worker {
    struct qemu_fixture *f;
    char path[32];
    int failed;
};

/* No assertions here: cmocka's fail from a thread would not come back. */
static void *live_a_life(void *data) {
    struct worker *w = data;
    struct error e = {.code = ERR_NONE};
    struct machine_spec m = qemu_machine(w->f, w->path);
    struct endpoint at;
    struct observation *o = NULL;
    bool exposed = false;
    struct hypervisor *hv = w->f->hv;
    const struct context *ctx = &w->f->ctx;
    for (int i = 0; i < 2 && !w->failed; i++) {
        w->failed = qemu_driver.create(hv, &m, ctx, &e) || qemu_driver.expose(hv, &m, true, &exposed, ctx, &e) ||
                    qemu_driver.start(hv, &m, ctx, &e) || qemu_driver.address(hv, &m, &at, ctx, &e) ||
                    qemu_driver.observe(hv, m.tag.lab_id, &o, ctx, &e) || qemu_driver.remove(hv, &m.tag, ctx, &e);
        observation_free(o);
        o = NULL;
    }
    if (w->failed)
        fprintf(stderr, "%s: %s: %s\n", w->path, e.subject, e.cause);
    return NULL;
}

static void several_machines_live_at_once(void **state) {
    struct worker workers[4];
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        workers[i] = (struct worker){.f = *state};
        snprintf(workers[i].path, sizeof workers[i].path, "lab/kvm%d", i);
        assert_int_equal(pthread_create(&threads[i], NULL, live_a_life, &workers[i]), 0);
    }
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < 4; i++)
        assert_int_equal(workers[i].failed, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        QEMU_TEST(a_machine_outlives_who_started_it),
        QEMU_TEST(a_kill_at_any_moment_is_repaired_and_removed),
        QEMU_TEST(a_cut_start_is_carried_on),
        QEMU_TEST(a_cut_start_beyond_help_is_begun_again),
        QEMU_TEST(a_cut_start_with_another_cpu_is_begun_again),
        QEMU_TEST(half_starts_are_ended_by_every_power_operation),
        QEMU_TEST(a_qemu_without_its_directory_is_seen_and_ended),
        QEMU_TEST(a_qemu_without_its_record_is_ended_too),
        QEMU_TEST(a_cut_create_or_remove_is_seen),
        QEMU_TEST(a_copied_directory_does_not_end_the_original),
        QEMU_TEST(labs_are_kept_apart_and_strangers_left_alone),
        QEMU_TEST(several_machines_live_at_once),
    };
    return cmocka_run_group_tests_name("qemu leftovers", tests, NULL, NULL);
}
