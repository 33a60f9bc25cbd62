/* The libvirt driver's scripts, run by a shell against a virsh that is a small script itself: its domains are files
 * that hold their state. A test's own rules may answer before it does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "drivers/libvirt/libvirt.h"
#include "nestor/file.h"
#include "nestor/identity.h"

/* As virsh does it, a failed command does not end the list it stands in, and the last one gives the status. */
static const char virsh[] =
    "#!/bin/sh\n"
    "shift 3\n"
    "cd \"$TOP\"\n"
    "echo \"virsh $*\" >>log\n"
    "[ ! -e rules ] || . ./rules\n"
    "fail() { echo \"error: $*\" >&2; status=1; }\n"
    "one() {\n"
    "    status=0\n"
    "    case $1 in list) [ \"$#\" = 1 ] || ls domains; return ;; esac\n"
    "    [ $1 = define ] || [ -e \"domains/$2\" ] || { fail no domain $2; return; }\n"
    "    case $1 in\n"
    "    define) name=${2%/*}; echo 'shut off' >\"domains/${name##*/}\" ;;\n"
    "    domuuid) echo uuid ;;\n"
    "    domstate)\n"
    "        if [ \"${3:-}\" ]; then cat \"domains/$2\"; else sed 's/ (.*//' \"domains/$2\"; fi ;;\n"
    "    start)\n"
    "        if grep -q off \"domains/$2\"; then echo running >\"domains/$2\"\n"
    "        else fail Domain is already active; fi ;;\n"
    "    resume) echo 'running (unpaused)' >\"domains/$2\" ;;\n"
    "    destroy) echo 'shut off' >\"domains/$2\" ;;\n"
    "    undefine) rm \"domains/$2\" ;;\n"
    "    dumpxml)\n"
    "        [ ! -e \"unreadable/$2\" ] || { fail cannot read it; return; }\n"
    "        path=${2%-*}; path=${path#lab.kvm1.}\n"
    "        echo \"<domain type='kvm'>\n<name>$2</name>\n<metadata><n:machine "
    "xmlns:n='urn:nestor:machine:1' lab='0123456789abcdef' path='lab/kvm1/$path' "
    "digest='d'/></metadata>\n</domain>\n\" ;;\n"
    "    esac\n"
    "}\n"
    "case $1 in\n"
    "*\\;*) IFS=\\;; for each in $1; do IFS=' '; one $each; done; exit $status ;;\n"
    "esac\n"
    "one \"$@\"\n"
    "exit $status\n";

static const char qemu_img[] = "#!/bin/sh\n"
                               "[ -e \"$6\" ] || { echo 'qemu-img: no backing file' >&2; exit 1; }\n"
                               ": >\"$9\"\n";

struct here {
    struct access base;
    char top[64];
    struct hypervisor *pruned; /* while a file is on its way there */
    bool cut;                  /* no file arrives */
};

static int run_here(struct access *a, const struct command *command, struct command_result *ret,
                    const struct context *ctx, struct error *err) {
    const struct here *here = (struct here *)a;
    cleanup_free char *script = xasprintf("export TOP='%s'\nPATH=$TOP/bin:$PATH\n%s", here->top, command->script);
    struct command changed = *command;
    changed.script = script;
    return access_run(access_local(), &changed, ret, ctx, err);
}

static int put_here(struct access *a, const char *local_path, const char *remote_path, mode_t mode,
                    progress_fn progress, void *progress_data, const struct context *ctx, struct error *err) {
    const struct here *here = (struct here *)a;
    if (here->pruned && libvirt_prune(here->pruned, ctx, err))
        return -1;
    if (here->cut)
        return error_set(err, ERR_IO, a->subject, "the copy was cut");
    return access_put(access_local(), local_path, remote_path, mode, progress, progress_data, ctx, err);
}

static const struct access_ops ops = {.run = run_here, .put = put_here};

struct fixture {
    struct here here;
    struct hypervisor hv;
    char directory[80], format[8];
    struct image image;
    struct machine_spec spec;
    struct context ctx;
    struct error err;
};

static void put(const struct fixture *f, const char *name, const char *text, mode_t mode) {
    struct error err = {0};
    cleanup_free char *path = xasprintf("%s/%s", f->here.top, name);
    if (file_write(AT_FDCWD, path, text, strlen(text), mode, NULL, &err))
        fail_msg("%s", err.cause);
}

/* A line of shell in the folder of the test. */
static bool sh(struct fixture *f, const char *script) {
    cleanup_command_result struct command_result result = {0};
    cleanup_free char *all = xasprintf("cd \"$TOP\"\n%s", script);
    const struct command command = COMMAND(all);
    if (access_run(&f->here.base, &command, &result, &f->ctx, &f->err))
        fail_msg("%s", f->err.cause);
    return result.status == 0;
}

static int setup(void **state) {
    struct fixture *f = xcalloc(1, sizeof *f);
    f->here.base = (struct access){.ops = &ops, .subject = "lab/kvm1"};
    strcpy(f->here.top, "/tmp/nestor-libvirt-XXXXXX");
    assert_non_null(mkdtemp(f->here.top));
    snprintf(f->directory, sizeof f->directory, "%s/d", f->here.top);
    f->hv = (struct hypervisor){.subject = xstrdup("lab/kvm1"),
                                .access = &f->here.base,
                                .uri = xstrdup("test"),
                                .directory = f->directory,
                                .network = xstrdup("default")};
    pthread_mutex_init(&f->hv.images, NULL);
    f->ctx = context_timeout(NULL, 20000);
    assert_true(sh(f, "mkdir bin domains d d/base; : >d/base/abc.raw"));
    put(f, "bin/virsh", virsh, 0755);
    put(f, "bin/qemu-img", qemu_img, 0755);
    strcpy(f->format, "raw");
    f->image = (struct image){.sha256 = "abc", .format = f->format};
    f->spec = (struct machine_spec){.tag = {"0123456789abcdef", "lab/kvm1/a"},
                                    .name = "lab.kvm1.a-01234567",
                                    .uuid = "u",
                                    .mac = "m",
                                    .image = &f->image,
                                    .seed = "seed",
                                    .seed_len = 4,
                                    .digest = "d"};
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    struct error err = {0};
    int failed = tree_remove(f->here.top, NULL, &err);
    free(f->hv.subject);
    free(f->hv.uri);
    free(f->hv.network);
    free(f);
    return failed;
}

static void assert_error(const struct fixture *f, int rc, enum error_code code, const char *subject,
                         const char *cause) {
    if (!rc || f->err.code != code || strcmp(f->err.subject, subject) != 0 || strcmp(f->err.cause, cause) != 0)
        fail_msg("%d: %s about '%s': %s", rc, error_code_name(f->err.code), f->err.subject, f->err.cause);
}

static void assert_ok(const struct fixture *f, int rc) {
    if (rc)
        fail_msg("%s about '%s': %s", error_code_name(f->err.code), f->err.subject, f->err.cause);
}

#define HERE "d/lab.kvm1.a-01234567"
#define DOMAIN "domains/lab.kvm1.a-01234567"

/* --- create --- */

static int create(struct fixture *f) { return libvirt_driver.create(&f->hv, &f->spec, &f->ctx, &f->err); }

static void create_makes_a_machine(void **state) {
    struct fixture *f = *state;
    assert_ok(f, create(f));
    assert_true(
        sh(f, "[ \"$(cat " HERE "/seed.img)\" = seed ] && cd " HERE " && [ -e complete ] && [ -e disk.qcow2 ]"));
    assert_true(sh(f, "[ \"$(cat " DOMAIN ")\" = 'shut off' ]"));
    assert_true(sh(f, "[ \"$(cat log)\" = \"$(printf 'virsh domuuid lab.kvm1.a-01234567\\nvirsh define '\"$TOP/" HERE
                      "\"/domain.xml)\" ]"));
}

static void an_image_that_was_pruned_is_told_from_other_failures(void **state) {
    struct fixture *f = *state;
    assert_true(sh(f, "rm d/base/abc.raw"));
    assert_error(f, create(f), ERR_NOT_FOUND, "lab/kvm1/a", "its image is not there any more");
    assert_true(sh(f, ": >d/base/abc.raw"));
    error_clear(&f->err);
    assert_ok(f, create(f));
}

/* A machine whose create was killed, and that somebody started. */
static void make_half(struct fixture *f) {
    assert_true(sh(f, "mkdir -p " HERE "; echo half >" HERE "/disk.qcow2; : >" HERE "/tag; echo running >" DOMAIN));
}

static bool is_half(struct fixture *f) {
    return sh(f, "[ \"$(cat " HERE "/disk.qcow2)\" = half ] && [ -e " DOMAIN " ]");
}

static void what_was_half_made_is_made_anew(void **state) {
    struct fixture *f = *state;
    make_half(f);
    assert_ok(f, create(f));
    assert_true(sh(f, "[ -e " HERE "/complete ] && [ ! -s " HERE "/disk.qcow2 ] && grep -q 'shut off' " DOMAIN));
    make_half(f);
    assert_true(sh(f, "rm " HERE "/complete"));
    put(f, "rules", "case $1 in undefine) rm domains/$2; echo 'error: no domain' >&2; exit 1 ;; esac\n", 0644);
    assert_ok(f, create(f)); /* somebody else was faster */
    assert_true(sh(f, "[ -e " HERE "/complete ]"));
}

static void disk_stays_while_its_domain_does(void **state) {
    struct fixture *f = *state;
    static const char *const cases[] = {"destroy", "undefine"};
    make_half(f);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cleanup_free char *rules =
            xasprintf("case $1 in %s) echo 'error: device busy' >&2; exit 1 ;; esac\n", cases[i]);
        put(f, "rules", rules, 0644);
        error_clear(&f->err);
        assert_error(f, create(f), ERR_PROCESS, "lab/kvm1/a", "device busy");
        assert_true(is_half(f));
    }
}

static void virsh_that_does_not_work_is_no_proof_of_absence(void **state) {
    struct fixture *f = *state;
    assert_ok(f, create(f));
    assert_true(sh(f, "echo mine >" HERE "/disk.qcow2"));
    put(f, "rules", "echo 'error: Failed to connect socket to x' >&2; exit 1\n", 0644);
    assert_error(f, create(f), ERR_PROCESS, "lab/kvm1/a", "Failed to connect socket to x");
    assert_true(f->err.retry);
    put(f, "rules", "case $1 in domuuid|domstate) echo 'error: Cannot recv data' >&2; exit 1 ;; esac\n", 0644);
    error_clear(&f->err);
    assert_ok(f, create(f));
    assert_error(f, libvirt_driver.remove(&f->hv, &f->spec.tag, &f->ctx, &f->err), ERR_PROCESS, "lab/kvm1/a",
                 "Cannot recv data");
    assert_true(sh(f, "[ \"$(cat " HERE "/disk.qcow2)\" = mine ] && [ -e " DOMAIN " ]"));
}

static void machine_is_on_the_disk_before_it_is_complete(void **state) {
    struct fixture *f = *state;
    put(f, "bin/sync",
        "#!/bin/sh\n[ ! -e \"$TOP/" HERE "/complete\" ] || exit 1\nfor each; do echo \"${each#\"$TOP/\"}\"; done "
        ">\"$TOP/synced\"\nexec /bin/sync \"$@\"\n",
        0755);
    assert_ok(f, create(f));
    assert_true(sh(f, "for each in " HERE "/tag " HERE "/seed.img " HERE "/disk.qcow2 " HERE
                      " d d/base; do grep -qx $each synced || exit 1; done"));
    assert_true(sh(f, "rm " HERE "/complete"));
    put(f, "bin/sync", "#!/bin/sh\necho 'sync: error syncing: Input/output error' >&2; exit 1\n", 0755);
    assert_error(f, create(f), ERR_PROCESS, "lab/kvm1/a", "sync: error syncing: Input/output error");
    assert_true(sh(f, "[ ! -e " HERE "/complete ]"));
}

/* --- start --- */

/* Starts a machine that is in this state. */
static int start(struct fixture *f, const char *state) {
    cleanup_free char *text = xasprintf("%s\n", state);
    put(f, DOMAIN, text, 0644);
    error_clear(&f->err);
    return libvirt_driver.start(&f->hv, &f->spec, &f->ctx, &f->err);
}

static void what_is_off_starts_with_one_call(void **state) {
    struct fixture *f = *state;
    assert_ok(f, start(f, "shut off (destroyed)"));
    assert_true(sh(f, "[ \"$(cat log)\" = 'virsh start lab.kvm1.a-01234567' ] && grep -q ^running " DOMAIN));
}

static void what_runs_is_started_already(void **state) {
    struct fixture *f = *state;
    assert_ok(f, start(f, "running (booted)"));
    assert_ok(f, start(f, "idle (unknown)"));
}

static void what_is_paused_is_resumed(void **state) {
    struct fixture *f = *state;
    assert_ok(f, start(f, "paused (user)"));
    assert_true(sh(f, "grep -q ^running " DOMAIN));
}

static void what_does_not_run_has_a_reason(void **state) {
    struct fixture *f = *state;
    assert_error(f, start(f, "in shutdown (user)"), ERR_PROCESS, "lab/kvm1/a", "it does not run: in shutdown (user)");
    assert_error(f, start(f, "pmsuspended (unknown)"), ERR_PROCESS, "lab/kvm1/a",
                 "it does not run: pmsuspended (unknown)");
    put(f, "rules", "[ $1 != resume ] || exit 0\n", 0644); /* and is paused again */
    assert_error(f, start(f, "paused (I/O error)"), ERR_PROCESS, "lab/kvm1/a", "it does not run: paused (I/O error)");
    put(f, "rules", "case $1 in start) echo 'error: Cannot allocate memory' >&2; exit 1 ;; esac\n", 0644);
    assert_error(f, start(f, "shut off (failed)"), ERR_PROCESS, "lab/kvm1/a", "Cannot allocate memory");
    assert_true(sh(f, "rm " DOMAIN));
    error_clear(&f->err);
    int rc = libvirt_driver.start(&f->hv, &f->spec, &f->ctx, &f->err);
    assert_error(f, rc, ERR_NOT_FOUND, "lab/kvm1/a", "there is no such domain");
}

/* --- off --- */

typedef int (*off_fn)(struct hypervisor *hv, const struct tag *tag, const struct context *ctx, struct error *err);

static int turn_off(struct fixture *f, off_fn off, const char *rules) {
    put(f, DOMAIN, "running\n", 0644);
    put(f, "rules", rules, 0644);
    error_clear(&f->err);
    return off(&f->hv, &f->spec.tag, &f->ctx, &f->err);
}

static void state_that_cannot_be_read_is_not_off(void **state) {
    struct fixture *f = *state;
    const off_fn offs[] = {libvirt_driver.stop, libvirt_driver.power_cut};
    for (size_t i = 0; i < sizeof offs / sizeof *offs; i++) {
        int rc =
            turn_off(f, offs[i], "case $1 in domstate) echo 'error: Cannot recv data: reset' >&2; exit 1 ;; esac\n");
        assert_error(f, rc, ERR_PROCESS, "lab/kvm1/a", "Cannot recv data: reset");
        assert_true(f->err.retry);
        assert_true(sh(f, "grep -qx running " DOMAIN));
        rc = turn_off(f, offs[i], "echo 'error: failed to connect to the hypervisor' >&2; exit 1\n");
        assert_error(f, rc, ERR_PROCESS, "lab/kvm1/a", "failed to connect to the hypervisor");
        assert_true(f->err.retry);
    }
}

static void state_that_cannot_be_read_is_no_death(void **state) {
    struct fixture *f = *state;
    struct endpoint at;
    assert_true(sh(f, "mkdir -p " HERE "; printf 'Kernel panic' >" HERE "/console.log"));
    put(f, DOMAIN, "running\n", 0644);
    put(f, "rules", "case $1 in domstate) echo 'error: Cannot recv data: reset' >&2; exit 1 ;; esac\n", 0644);
    int rc = libvirt_address(&f->hv, &f->spec, &at, &f->ctx, &f->err);
    assert_error(f, rc, ERR_PROCESS, "lab/kvm1", "Cannot recv data: reset");
    assert_true(f->err.retry);
    assert_true(sh(f, "rm rules; echo 'shut off' >" DOMAIN));
    error_clear(&f->err);
    rc = libvirt_address(&f->hv, &f->spec, &at, &f->ctx, &f->err);
    assert_error(f, rc, ERR_DIED, "lab/kvm1/a", "it is not running (shut off)");
}

static void state_that_is_read_at_the_second_try_counts(void **state) {
    struct fixture *f = *state;
    assert_ok(f,
              turn_off(f, libvirt_driver.power_cut,
                       "case $1 in domstate) [ -e asked ] || { : >asked; echo 'error: busy' >&2; exit 1; } ;; esac\n"));
    assert_true(sh(f, "grep -qx 'shut off' " DOMAIN));
}

static void what_is_not_there_is_off(void **state) {
    struct fixture *f = *state;
    assert_ok(f, libvirt_driver.stop(&f->hv, &f->spec.tag, &f->ctx, &f->err));
    assert_ok(f, libvirt_driver.power_cut(&f->hv, &f->spec.tag, &f->ctx, &f->err));
    assert_true(sh(f, "! grep -q -e shutdown -e destroy log"));
}

static void stop_waits_until_it_is_off(void **state) {
    struct fixture *f = *state;
    assert_ok(f, turn_off(f, libvirt_driver.stop, "case $1 in shutdown) echo 'shut off' >domains/$2; exit ;; esac\n"));
    assert_true(sh(f, "grep -qx 'virsh shutdown lab.kvm1.a-01234567' log"));
}

/* --- images --- */

static int prune(struct fixture *f) { return libvirt_prune(&f->hv, &f->ctx, &f->err); }

static const char on_its_way[] = "d/.new.lab.x-01234567/tag d/.gone.lab.y-01234567/disk.qcow2 "
                                 "d/base/abc.raw.incoming-77 d/base/.abc.raw.incoming-78.part-00c0ffee "
                                 "d/base/.unused.old.raw";
static const char work_on_its_way[] = "mkdir -p d/.new.lab.x-01234567 d/.gone.lab.y-01234567\nfor file in %s; do "
                                      ": >$file; done";

/* What the guest writes is its own: a terminal would obey it. */
static void a_console_is_the_end_of_its_log_and_printable(void **state) {
    struct fixture *f = *state;
    cleanup_buffer struct buffer none = {0}, text = {0};
    assert_ok(f, libvirt_driver.create(&f->hv, &f->spec, &f->ctx, &f->err));
    assert_ok(f, libvirt_driver.console(&f->hv, &f->spec.tag, &none, &f->ctx, &f->err));
    assert_int_equal(none.len, 0);
    assert_true(
        sh(f, "cd " HERE "\n"
              "{ echo first; head -c 5000 /dev/zero | tr '\\0' x; printf '\\n\\033[2Jlast\\r\\n'; } >console.log"));
    assert_ok(f, libvirt_driver.console(&f->hv, &f->spec.tag, &text, &f->ctx, &f->err));
    assert_null(strstr(buffer_str(&text), "first"));
    assert_non_null(strstr(buffer_str(&text), "xx\n[2Jlast\n"));
}

static void virsh_that_is_not_installed_is_said_with_what_to_install(void **state) {
    struct fixture *f = *state;
    assert_true(sh(f, "rm bin/virsh"));
    struct observation *seen = NULL;
    int rc = libvirt_driver.observe(&f->hv, f->spec.tag.lab_id, &seen, &f->ctx, &f->err);
    assert_error(f, rc, ERR_MISSING_PROGRAM, f->hv.subject, "a program is missing there: virsh: not found");
    assert_non_null(strstr(f->err.mend, "install libvirt-clients"));
}

static void prune_leaves_what_others_are_at_work_on(void **state) {
    struct fixture *f = *state;
    cleanup_free char *make = xasprintf(work_on_its_way, on_its_way);
    cleanup_free char *look = xasprintf("for file in %s; do [ -e $file ] || exit 1; done", on_its_way);
    assert_true(sh(f, make));
    assert_true(sh(f, "touch -d yesterday d/.gone.lab.y-01234567")); /* as old as its machine */
    assert_ok(f, prune(f));
    assert_true(sh(f, look));
    assert_true(sh(f, "[ ! -e d/base/abc.raw ]"));
}

/* Nobody can set the time an inode changed: find is made to count from when it was written. A machine may be named like
 * a file on its way. */
static void prune_removes_what_was_left(void **state) {
    struct fixture *f = *state;
    cleanup_free char *make = xasprintf(work_on_its_way, on_its_way);
    put(f, "bin/find",
        "#!/bin/sh\nfor word; do shift; [ \"$word\" != -cmin ] || word=-mmin; set -- \"$@\" \"$word\"; done\n"
        "PATH=${PATH#*:}\nexec find \"$@\"\n",
        0755);
    assert_true(sh(f, make));
    assert_true(sh(f, "mkdir d/lab.incoming-1-01234567; echo 'l p d used' >d/lab.incoming-1-01234567/tag\n"
                      ": >d/base/used.raw; : >d/base/used.kernel\n"
                      "find d -exec touch -d '2 hours ago' {} +"));
    assert_ok(f, prune(f));
    assert_true(sh(f, "[ \"$(find d | sort)\" = \"$(printf 'd\\nd/base\\nd/base/used.kernel\\nd/base/used.raw\\n"
                      "d/lab.incoming-1-01234567\\nd/lab.incoming-1-01234567/tag')\" ]"));
    assert_true(sh(f, "rm -r d/lab.*"));
    assert_ok(f, prune(f));
    assert_true(sh(f, "[ ! -e d ]"));
    assert_ok(f, prune(f));
}

static void prune_keeps_an_image_that_gets_its_first_machine(void **state) {
    struct fixture *f = *state;
    put(f, "bin/mv",
        "#!/bin/sh\ncase $2 in */.unused.*) mkdir -p \"$TOP/d/m\"; echo l p d abc >\"$TOP/d/m/tag\" ;; esac\n"
        "exec /bin/mv \"$@\"\n",
        0755);
    assert_ok(f, prune(f));
    assert_true(sh(f, "[ -e d/m/tag ] && [ \"$(ls -A d/base)\" = abc.raw ]"));
}

static int bring(struct fixture *f, const char *sha256) {
    cleanup_free char *disk = xasprintf("%s/disk", f->here.top);
    struct image image = {.name = f->format, .format = f->format, .disk = disk};
    memcpy(image.sha256, sha256, sizeof image.sha256);
    put(f, "disk", "disk", 0644);
    return libvirt_ensure_image(&f->hv, &image, NULL, NULL, &f->ctx, &f->err);
}

static void image_arrives_while_another_lab_prunes(void **state) {
    struct fixture *f = *state;
    char sha256[65];
    sha256_hex("disk", 4, sha256);
    assert_true(sh(f, "rm -r d"));
    f->here.pruned = &f->hv;
    assert_ok(f, bring(f, sha256));
    cleanup_free char *look = xasprintf("[ \"$(ls -A d/base)\" = %s.raw ]", sha256);
    assert_true(sh(f, look));
}

static void image_that_does_not_arrive_leaves_nothing(void **state) {
    struct fixture *f = *state;
    char sha256[65];
    sha256_hex("disk", 4, sha256);
    f->here.cut = true;
    assert_error(f, bring(f, sha256), ERR_IO, "lab/kvm1", "the copy was cut");
    assert_true(sh(f, "[ \"$(ls -A d/base)\" = abc.raw ]"));
}

/* --- observe --- */

static void define(struct fixture *f, const char *names) {
    cleanup_free char *script =
        xasprintf("for name in %s; do echo running >domains/lab.kvm1.$name-01234567; done", names);
    assert_true(sh(f, script));
}

/* The names of what was found, or NULL. */
static const char *observe(struct fixture *f, struct buffer *ret) {
    struct observation *o = NULL;
    buffer_clear(ret);
    error_clear(&f->err);
    if (libvirt_observe(&f->hv, f->spec.tag.lab_id, &o, &f->ctx, &f->err))
        return NULL;
    for (size_t i = 0; i < o->n; i++)
        buffer_printf(ret, "%s ", o->items[i].path + strlen("lab/kvm1/"));
    observation_free(o);
    return buffer_str(ret);
}

static void looking_takes_two_calls(void **state) {
    struct fixture *f = *state;
    cleanup_buffer struct buffer found = {0};
    assert_string_equal(observe(f, &found), "");
    assert_true(sh(f, "[ \"$(cat log)\" = 'virsh list --all --name' ] && rm log"));
    define(f, "a b c");
    assert_true(sh(f, ": >domains/of-others; : >'domains/of others.a-01234567'"));
    assert_string_equal(observe(f, &found), "a b c ");
    assert_true(sh(f, "[ $(grep -c ^virsh log) = 2 ]"));
}

/* What observe says of the fixture's machine. */
static enum power power_of(struct fixture *f) {
    struct observation *o = NULL;
    error_clear(&f->err);
    assert_ok(f, libvirt_observe(&f->hv, f->spec.tag.lab_id, &o, &f->ctx, &f->err));
    enum power power = o->n ? o->items[0].power : POWER_ABSENT;
    assert_in_range(o->n, 0, 1);
    observation_free(o);
    return power;
}

/* The hypervisor died between the definition and the sync: what the disk holds nobody knows. */
static void domain_whose_create_was_cut_is_made_anew(void **state) {
    struct fixture *f = *state;
    assert_ok(f, create(f));
    assert_int_equal(power_of(f), POWER_OFF);
    assert_true(sh(f, "rm " HERE "/complete"));
    assert_int_equal(power_of(f), POWER_BROKEN);
    put(f, DOMAIN, "running\n", 0644);
    assert_int_equal(power_of(f), POWER_BROKEN);
    assert_ok(f, create(f));
    assert_int_equal(power_of(f), POWER_OFF);
    assert_true(sh(f, "rm " DOMAIN));
    assert_int_equal(power_of(f), POWER_BROKEN);
}

static void machine_that_vanishes_meanwhile_is_left_out(void **state) {
    struct fixture *f = *state;
    cleanup_buffer struct buffer found = {0};
    static const char *const cases[][2] = {{"a", "b c d "}, {"b", "a c d "}, {"d", "a b c "}, {"?", ""}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cleanup_free char *rules =
            xasprintf("case $1 in *dumpxml*) rm -f domains/lab.kvm1.%s-01234567 ;; esac\n", cases[i][0]);
        define(f, "a b c d");
        put(f, "rules", rules, 0644);
        assert_ok(f, observe(f, &found) ? 0 : -1);
        assert_string_equal(buffer_str(&found), cases[i][1]);
    }
}

static void machine_that_cannot_be_read_is_never_left_out(void **state) {
    struct fixture *f = *state;
    cleanup_buffer struct buffer found = {0};
    define(f, "a b c");
    for (const char *name = "abc"; *name; name++) {
        cleanup_free char *script = xasprintf("rm -rf unreadable; mkdir unreadable; : "
                                              ">unreadable/lab.kvm1.%c-01234567",
                                              *name);
        assert_true(sh(f, script));
        int rc = observe(f, &found) ? 0 : -1;
        assert_error(f, rc, ERR_PROCESS, "lab/kvm1", "cannot read it");
    }
}

static void list_that_fails_is_no_empty_list(void **state) {
    struct fixture *f = *state;
    cleanup_buffer struct buffer found = {0};
    define(f, "a");
    put(f, "rules", "case $1 in list) echo 'error: failed to connect to the hypervisor' >&2; exit 1 ;; esac\n", 0644);
    int rc = observe(f, &found) ? 0 : -1;
    assert_error(f, rc, ERR_PROCESS, "lab/kvm1", "failed to connect to the hypervisor");
    assert_true(f->err.retry);
}

/* A guest hypervisor writes what it likes. */
static void endless_answer_is_no_list(void **state) {
    struct fixture *f = *state;
    cleanup_buffer struct buffer found = {0};
    define(f, "a");
    put(f, "rules", "case $1 in *dumpxml*) head -c 17000000 /dev/zero | tr '\\0' x; exit ;; esac\n", 0644);
    int rc = observe(f, &found) ? 0 : -1;
    assert_error(f, rc, ERR_PROTOCOL, "localhost", "the command wrote more than 16777216 bytes");
    assert_string_equal(f->err.context, "looking at its machines");
}

/* Linux takes no argument of 128 KiB or more. */
static void many_machines_are_asked_for_in_turns(void **state) {
    struct fixture *f = *state;
    cleanup_buffer struct buffer found = {0};
    assert_true(sh(f, "i=0\nwhile [ $i -lt 2000 ]; do i=$((i + 1)); "
                      ": >domains/lab.kvm1.a-long-name-for-a-machine-to-have-$i-01234567; done"));
    assert_ok(f, observe(f, &found) ? 0 : -1);
    size_t n = 0;
    for (const char *at = buffer_str(&found); *at; at++)
        n += *at == ' ';
    assert_int_equal(n, 2000);
    assert_true(sh(f, "[ $(grep -c ^virsh log) = 3 ]"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(create_makes_a_machine),
        TEST(an_image_that_was_pruned_is_told_from_other_failures),
        TEST(what_was_half_made_is_made_anew),
        TEST(disk_stays_while_its_domain_does),
        TEST(virsh_that_does_not_work_is_no_proof_of_absence),
        TEST(machine_is_on_the_disk_before_it_is_complete),
        TEST(what_is_off_starts_with_one_call),
        TEST(what_runs_is_started_already),
        TEST(what_is_paused_is_resumed),
        TEST(what_does_not_run_has_a_reason),
        TEST(a_console_is_the_end_of_its_log_and_printable),
        TEST(virsh_that_is_not_installed_is_said_with_what_to_install),
        TEST(state_that_cannot_be_read_is_not_off),
        TEST(state_that_cannot_be_read_is_no_death),
        TEST(state_that_is_read_at_the_second_try_counts),
        TEST(what_is_not_there_is_off),
        TEST(stop_waits_until_it_is_off),
        TEST(prune_leaves_what_others_are_at_work_on),
        TEST(prune_removes_what_was_left),
        TEST(prune_keeps_an_image_that_gets_its_first_machine),
        TEST(image_arrives_while_another_lab_prunes),
        TEST(image_that_does_not_arrive_leaves_nothing),
        TEST(looking_takes_two_calls),
        TEST(domain_whose_create_was_cut_is_made_anew),
        TEST(machine_that_vanishes_meanwhile_is_left_out),
        TEST(machine_that_cannot_be_read_is_never_left_out),
        TEST(list_that_fails_is_no_empty_list),
        TEST(endless_answer_is_no_list),
        TEST(many_machines_are_asked_for_in_turns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
