#include "qemu_fixture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../orchestrator/drivers/qemu/qemu.h"
#include "nestor/file.h"

#define EMPTY_QCOW2_COMMAND "qemu-img create -q -f qcow2 '%s' %llu"

void qemu_assert_error(int rc, const struct error *e, enum error_code code, const char *subject, const char *cause) {
    if (rc != -1 || e->code != code || !strstr(e->cause, cause) || (subject && strcmp(e->subject, subject) != 0))
        fail_msg("rc %d, %s about '%s': %s (%s)", rc, error_code_name(e->code), e->subject, e->cause, e->mend);
}

void qemu_assert_ok(int rc, const struct error *e) {
    if (rc)
        fail_msg("%s about '%s': %s (%s; %s)", error_code_name(e->code), e->subject, e->cause, e->mend, e->note);
}

static void run(const char *command) {
    if (system(command) != 0)
        fail_msg("failed: %s", command);
}

static void need_qemu(void) {
    if (system("command -v qemu-system-x86_64 >/dev/null && command -v qemu-img >/dev/null") != 0) {
        fprintf(stderr, "skipped: QEMU is not installed\n");
        exit(77);
    }
}

void qemu_setup(struct qemu_fixture *f, const char *home_name) {
    need_qemu();
    char template[] = "/tmp/nestor-qemu-XXXXXX";
    *f = (struct qemu_fixture){.dir = xstrdup(mkdtemp(template)), .ctx = context_timeout(NULL, 60000)};
    f->home = xasprintf("%s/%s", f->dir, home_name);
    cleanup_free char *make_home = xasprintf("mkdir -p '%s'", f->home);
    run(make_home);
    f->image = (struct image){
        .name = (char *)"empty",
        .disk = xasprintf("%s/empty, base.qcow2", f->dir),
        .format = (char *)"qcow2",
        .sha256 = QEMU_IMAGE_SHA256,
        .virtual_size = QEMU_IMAGE_BYTES,
        .boot = BOOT_DISK,
    };
    cleanup_free char *make_image = xasprintf(EMPTY_QCOW2_COMMAND, f->image.disk, (unsigned long long)QEMU_IMAGE_BYTES);
    run(make_image);
    f->params[0] = (struct param){.key = "accel", .value = "tcg"};
    f->config = (struct hypervisor_config){
        .subject = "host test", .access = access_local(), .params = f->params, .nparams = 1, .home = f->home};
    qemu_reopen(f, NULL, NULL);
}

/* The ACPI registers are where QEMU's firmware puts those of a q35: event status 0x600, enable 0x602, control 0x604.
 * The button is noticed only once its enable bit is set, as with any guest that is still booting. */
/* clang-format off */
static const unsigned char obedient_system[512] = {
    0xfb,             /*       sti                    */
    0xba, 0x02, 0x06, /*       mov dx, 0x602          */
    0xb8, 0x00, 0x01, /*       mov ax, PWRBTN         */
    0xef,             /*       out dx, ax             */
    0xba, 0x00, 0x06, /*       mov dx, 0x600          */
    0xf4,             /* wait: hlt                    */
    0xed,             /*       in ax, dx              */
    0xf6, 0xc4, 0x01, /*       test ah, PWRBTN / 256  */
    0x74, 0xf9,       /*       jz wait                */
    0xba, 0x04, 0x06, /*       mov dx, 0x604          */
    0xb8, 0x00, 0x20, /*       mov ax, SLP_EN         */
    0xef,             /*       out dx, ax             */
    0xf4,             /* end:  hlt                    */
    0xeb, 0xfd,       /*       jmp end                */
    [510] = 0x55, 0xaa,
};
/* clang-format on */

void qemu_use_obedient_image(struct qemu_fixture *f) {
    free(f->image.disk);
    f->image.disk = xasprintf("%s/obedient.img", f->dir);
    f->image.format = (char *)"raw";
    f->image.virtual_size = (uint64_t)1 << 20;
    memset(f->image.sha256, 'b', 64);
    cleanup_close int fd = open(f->image.disk, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, obedient_system, sizeof obedient_system), sizeof obedient_system);
    assert_int_equal(ftruncate(fd, (off_t)f->image.virtual_size), 0);
}

void qemu_reopen(struct qemu_fixture *f, const char *key, const char *value) {
    if (f->hv)
        qemu_driver.close(f->hv);
    f->hv = NULL;
    if (key)
        f->params[f->config.nparams++] = (struct param){.key = key, .value = value};
    struct error e = {.code = ERR_NONE};
    qemu_assert_ok(qemu_driver.open(&f->config, &f->hv, &f->ctx, &e), &e);
}

/* Machines a failed test left go first; that they were there is what the test failed on. */
static size_t remove_all(struct qemu_fixture *f) {
    struct observation *o = NULL;
    struct error e = {.code = ERR_NONE};
    qemu_assert_ok(qemu_driver.observe(f->hv, NULL, &o, &f->ctx, &e), &e);
    size_t n = o->n;
    for (size_t i = 0; i < n; i++) {
        struct tag tag = {.lab_id = o->items[i].lab_id, .path = o->items[i].path};
        qemu_assert_ok(qemu_driver.remove(f->hv, &tag, &f->ctx, &e), &e);
    }
    observation_free(o);
    return n;
}

void qemu_teardown(struct qemu_fixture *f) {
    f->ctx = context_timeout(NULL, 30000);
    size_t left = remove_all(f);
    struct error e = {.code = ERR_NONE};
    qemu_assert_ok(qemu_driver.prune(f->hv, &f->ctx, &e), &e);
    cleanup_free char *driver_home = xasprintf("%s/qemu", f->home);
    bool empty = rmdir(driver_home) == 0;
    qemu_driver.close(f->hv);
    access_close(f->config.access);
    assert_int_equal(tree_remove(f->dir, NULL, NULL), 0);
    free(f->image.disk);
    free(f->home);
    free(f->dir);
    assert_int_equal(left, 0);
    assert_true(empty);
}

int qemu_begin(void **state) {
    *state = xcalloc(1, sizeof(struct qemu_fixture));
    qemu_setup(*state, "home");
    return 0;
}

int qemu_end(void **state) {
    qemu_teardown(*state);
    free(*state);
    return 0;
}

struct machine_spec qemu_machine(const struct qemu_fixture *f, const char *path) {
    static const char seed[512] = "seed";
    static _Thread_local char uuids[16][37], macs[16][18];
    static _Thread_local unsigned next;
    unsigned slot = next++ % 16, sum = 0;
    for (const char *c = path; *c; c++)
        sum = sum * 31 + (unsigned char)*c;
    snprintf(uuids[slot], sizeof uuids[slot], "%08x-%04x-8000-8000-%012x", (unsigned)getpid(), slot, sum);
    snprintf(macs[slot], sizeof macs[slot], "52:54:00:00:%02x:%02x", sum >> 8 & 0xff, sum & 0xff);
    return (struct machine_spec){
        .tag = {.lab_id = QEMU_LAB, .path = path},
        .name = "test.machine-00112233",
        .uuid = uuids[slot],
        .mac = macs[slot],
        .cpus = 1,
        .memory = (uint64_t)64 << 20,
        .expose = true,
        .image = &f->image,
        .seed = seed,
        .seed_len = sizeof seed,
        .ssh_port = 22,
        .digest = "0123456789abcdef",
    };
}

void qemu_run(struct qemu_fixture *f, const struct machine_spec *spec) {
    struct error e = {.code = ERR_NONE};
    bool exposed = !spec->expose;
    qemu_assert_ok(qemu_driver.create(f->hv, spec, &f->ctx, &e), &e);
    qemu_assert_ok(qemu_driver.expose(f->hv, spec, spec->expose, &exposed, &f->ctx, &e), &e);
    assert_int_equal(exposed, spec->expose);
    qemu_assert_ok(qemu_driver.start(f->hv, spec, &f->ctx, &e), &e);
}

void qemu_remove_ok(struct qemu_fixture *f, const struct machine_spec *spec) {
    struct error e = {.code = ERR_NONE};
    qemu_assert_ok(qemu_driver.remove(f->hv, &spec->tag, &f->ctx, &e), &e);
    assert_int_equal(qemu_pid(spec), 0);
}

enum power qemu_power(struct qemu_fixture *f, const struct machine_spec *spec, bool *ret_exposed) {
    struct observation *o = NULL;
    struct error e = {.code = ERR_NONE};
    qemu_assert_ok(qemu_driver.observe(f->hv, spec->tag.lab_id, &o, &f->ctx, &e), &e);
    enum power power = POWER_ABSENT;
    for (size_t i = 0; i < o->n; i++)
        if (strcmp(o->items[i].path, spec->tag.path) == 0) {
            power = o->items[i].power;
            if (ret_exposed)
                *ret_exposed = o->items[i].exposed;
        }
    observation_free(o);
    return power;
}

static bool names(const char *pid, const char *word) {
    char path[64], text[16384];
    snprintf(path, sizeof path, "/proc/%.20s/cmdline", pid);
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof text) : -1;
    return n > 0 && strncmp(text, "qemu", 4) == 0 && memmem(text, (size_t)n, word, strlen(word));
}

/* How many QEMU processes have the word in their arguments; *ret_pid is one of them. */
static size_t count_named(const char *word, pid_t *ret_pid) {
    size_t n = 0;
    DIR *d = opendir("/proc");
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));)
        if (e->d_name[0] >= '1' && e->d_name[0] <= '9' && names(e->d_name, word)) {
            *ret_pid = (pid_t)atoi(e->d_name);
            n++;
        }
    closedir(d);
    return n;
}

pid_t qemu_pid(const struct machine_spec *spec) {
    pid_t pid = 0;
    assert_in_range(count_named(spec->uuid, &pid), 0, 1);
    return pid;
}

size_t qemu_count_processes(const struct qemu_fixture *f) {
    pid_t ignored;
    return count_named(f->home, &ignored);
}

void qemu_kill(const struct machine_spec *spec) {
    pid_t pid = qemu_pid(spec);
    assert_int_not_equal(pid, 0);
    cleanup_close int fd = pidfd_open(pid, 0);
    assert_true(fd >= 0);
    assert_int_equal(pidfd_send_signal(fd, SIGKILL, NULL, 0), 0);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&p, 1, 10000), 1);
}

char *qemu_base(const struct qemu_fixture *f) {
    return xasprintf("%s/qemu/base/%s.%s", f->home, f->image.sha256, f->image.format);
}

char *qemu_file(const struct qemu_fixture *f, const struct machine_spec *spec, const char *file) {
    char *path = xasprintf("%s/qemu/%s/%s/%s", f->home, spec->tag.lab_id, spec->tag.path, file);
    char *in_path = strstr(path, spec->tag.path);
    for (size_t i = 0; i < strlen(spec->tag.path); i++)
        if (in_path[i] == '/')
            in_path[i] = '.';
    return path;
}

void qemu_write(const char *path, const char *text) {
    FILE *out = fopen(path, "we");
    assert_non_null(out);
    fputs(text, out);
    assert_int_equal(fclose(out), 0);
}

char *qemu_read(const char *path) {
    struct buffer text = {0};
    FILE *in = fopen(path, "re");
    for (int c; in && (c = fgetc(in)) != EOF;)
        buffer_putc(&text, (char)c);
    if (in)
        fclose(in);
    return buffer_steal(&text);
}
