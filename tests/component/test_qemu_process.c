/* How the qemu driver finds machines and their processes when the system does not answer. No QEMU runs here: a shell
 * with the arguments of one stands in for it. */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "drivers/qemu/qemu.h"
#include "drivers/qemu/qemu_priv.h"

#define UUID "11111111-2222-8333-8444-555555555555"

/* --- what stands in for the C library's --- */

static struct {
    int pidfd, readdir; /* what these fail with, 0: not at all */
    int pidfd_times;    /* how often, 0: always */
    int pidfd_calls;
    uid_t more; /* is added to the user */
} fault;

int pidfd_open(pid_t pid, unsigned flags) {
    fault.pidfd_calls++;
    if (fault.pidfd && (!fault.pidfd_times || fault.pidfd_calls <= fault.pidfd_times)) {
        errno = fault.pidfd;
        return -1;
    }
    return (int)syscall(SYS_pidfd_open, pid, flags);
}

uid_t geteuid(void) { return (uid_t)syscall(SYS_geteuid) + fault.more; }

struct dirent *readdir(DIR *dir) {
    static struct dirent *(*real)(DIR *);
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "readdir");
    if (fault.readdir)
        errno = fault.readdir;
    return fault.readdir ? NULL : real(dir);
}

/* --- a machine --- */

struct fixture {
    char top[32];
    struct hypervisor hv;
    struct tag tag;
    struct context ctx;
    struct error err;
    char *dir;
    pid_t pid;
};

static void put(const struct fixture *f, const char *name, const char *text) {
    struct error err = {0};
    cleanup_free char *path = xasprintf("%s/%s", f->dir, name);
    if (file_write(AT_FDCWD, path, text, strlen(text), 0600, NULL, &err))
        fail_msg("%s", err.cause);
}

static void put_record(const struct fixture *f, const char *path) {
    struct error err = {0};
    const struct record r = {.lab_id = f->tag.lab_id,
                             .path = path,
                             .name = "n",
                             .digest = "d",
                             .uuid = UUID,
                             .mac = "m",
                             .image = "i",
                             .format = "raw",
                             .kernel = "",
                             .initrd = "",
                             .cmdline = ""};
    cleanup_close int fd = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (vm_record_save(fd, &r, "lab/kvm1", &err))
        fail_msg("%s", err.cause);
}

static int setup(void **state) {
    struct fixture *f = xcalloc(1, sizeof *f);
    memset(&fault, 0, sizeof fault);
    strcpy(f->top, "/tmp/nestor-process-XXXXXX");
    assert_non_null(mkdtemp(f->top));
    f->hv = (struct hypervisor){.subject = xstrdup("host test"), .dir = f->top};
    f->tag = (struct tag){.lab_id = "00112233445566aa", .path = "lab/kvm1"};
    f->ctx = context_timeout(NULL, 20000);
    cleanup_free char *lab = xasprintf("%s/%s", f->top, f->tag.lab_id);
    f->dir = xasprintf("%s/lab.kvm1", lab);
    assert_int_equal(mkdir(lab, 0700) || mkdir(f->dir, 0700), 0);
    put_record(f, "lab/kvm1");
    put(f, SEED_FILE, "seed");
    put(f, DISK_FILE, "disk");
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    if (f->pid) {
        kill(f->pid, SIGKILL);
        waitpid(f->pid, NULL, 0);
    }
    memset(&fault, 0, sizeof fault);
    assert_int_equal(tree_remove(f->top, NULL, NULL), 0);
    free(f->hv.subject);
    free(f->dir);
    free(f);
    return 0;
}

/* It stops itself: from then on its arguments are there. */
static void start_process(struct fixture *f) {
    cleanup_free char *pidfile = xasprintf("%s/" PID_FILE, f->dir);
    int status;
    f->pid = fork();
    assert_true(f->pid >= 0);
    if (f->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execl("/bin/sh", "sh", "-c", "kill -STOP $$", "qemu", "-uuid", UUID, "-pidfile", pidfile, (char *)NULL);
        _exit(127);
    }
    assert_int_equal(waitpid(f->pid, &status, WUNTRACED), f->pid);
    assert_true(WIFSTOPPED(status));
}

static void assert_error(const struct fixture *f, int rc, enum error_code code, const char *subject,
                         const char *cause) {
    if (rc != -1 || f->err.code != code || strcmp(f->err.subject, subject) != 0 || strcmp(f->err.cause, cause) != 0)
        fail_msg("%d: %s about '%s': %s", rc, error_code_name(f->err.code), f->err.subject, f->err.cause);
}

/* --- records --- */

static int observe(struct fixture *f, struct observation **ret) {
    error_clear(&f->err);
    return qemu_observe(&f->hv, NULL, ret, &f->ctx, &f->err);
}

static enum power power_of(struct fixture *f) {
    struct observation *o = NULL;
    if (observe(f, &o))
        fail_msg("%s: %s", f->err.subject, f->err.cause);
    assert_int_equal(o->n, 1);
    enum power power = o->items[0].power;
    observation_free(o);
    return power;
}

static void only_what_is_missing_makes_a_machine_half(void **state) {
    struct fixture *f = *state;
    static const char *const files[] = {DISK_FILE, SEED_FILE, RECORD_FILE};
    assert_int_equal(power_of(f), POWER_OFF);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        cleanup_free char *path = xasprintf("%s/%s", f->dir, files[i]), *away = xasprintf("%s.away", path);
        assert_int_equal(rename(path, away), 0);
        assert_int_equal(power_of(f), POWER_BROKEN);
        assert_int_equal(rename(away, path), 0);
    }
    cleanup_free char *disk = xasprintf("%s/" DISK_FILE, f->dir);
    assert_int_equal(unlink(disk), 0);
    assert_int_equal(symlink(DISK_FILE, disk), 0); /* leads in a circle: nobody can say what is there */
    assert_int_equal(power_of(f), POWER_OFF);
}

/* Each operation that could take the machine for rubbish refuses, and its disk stays. */
static void assert_refused(struct fixture *f, enum error_code code, const char *cause) {
    struct observation *o = NULL;
    const struct image image = {.virtual_size = 1};
    const struct machine_spec spec = {.tag = f->tag, .digest = "d", .image = &image};
    assert_error(f, observe(f, &o), code, "lab/kvm1", cause);
    assert_null(o);
    cleanup_free char *file = xasprintf("make %s/" RECORD_FILE " readable", f->dir);
    assert_non_null(strstr(f->err.mend, file));
    error_clear(&f->err);
    assert_error(f, qemu_create(&f->hv, &spec, &f->ctx, &f->err), code, "lab/kvm1", cause);
    error_clear(&f->err);
    assert_error(f, qemu_stop(&f->hv, &f->tag, &f->ctx, &f->err), code, "lab/kvm1", cause);
    error_clear(&f->err);
    assert_error(f, qemu_remove(&f->hv, &f->tag, &f->ctx, &f->err), code, "lab/kvm1", cause);
    cleanup_free char *disk = xasprintf("%s/" DISK_FILE, f->dir);
    assert_true(file_exists(AT_FDCWD, disk));
}

static void a_record_that_cannot_be_read_is_no_missing_one(void **state) {
    struct fixture *f = *state;
    cleanup_free char *record = xasprintf("%s/" RECORD_FILE, f->dir);
    put(f, RECORD_FILE, "{\"version\": 2}");
    assert_refused(f, ERR_STATE_CORRUPT, "its machine.json is damaged: it is of another version");
    put_record(f, "lab/other");
    assert_refused(f, ERR_STATE_CORRUPT, "its machine.json is that of lab/other");
    assert_int_equal(unlink(record), 0);
    assert_int_equal(symlink(RECORD_FILE, record), 0);
    assert_refused(f, ERR_IO, "cannot read machine.json: Too many levels of symbolic links");
    assert_int_equal(unlink(record), 0);
    assert_int_equal(mkdir(record, 0700), 0);
    assert_refused(f, ERR_IO, "cannot read machine.json: Is a directory");
}

/* --- processes --- */

static void find_vm(struct fixture *f, struct vm *ret) {
    if (vm_find(&f->hv, &f->tag, ret, &f->err))
        fail_msg("%s: %s", f->err.subject, f->err.cause);
}

static void a_process_that_cannot_be_watched_is_an_error(void **state) {
    struct fixture *f = *state;
    static const int errnums[] = {EMFILE, ENOMEM, ENOSYS};
    cleanup_vm struct vm vm = VM_NONE;
    start_process(f);
    find_vm(f, &vm);
    for (size_t i = 0; i < sizeof errnums / sizeof *errnums; i++) {
        int fd = 0;
        fault.pidfd = errnums[i];
        fault.pidfd_calls = 0;
        error_clear(&f->err);
        int rc = vm_pidfd(&vm, &fd, &f->ctx, &f->err);
        cleanup_free char *cause = xasprintf("cannot watch its QEMU process: %s", strerror(errnums[i]));
        if (rc != -1 || strcmp(f->err.cause, cause) != 0 || f->err.native != errnums[i])
            fail_msg("%d: %s", rc, f->err.cause);
        assert_string_equal(f->err.subject, "lab/kvm1");
        assert_int_equal(fd, -1);
        assert_int_equal(fault.pidfd_calls, 1);
    }
}

static void a_process_that_ended_meanwhile_is_looked_for_again(void **state) {
    struct fixture *f = *state;
    cleanup_vm struct vm vm = VM_NONE;
    cleanup_close int fd = -1;
    start_process(f);
    find_vm(f, &vm);
    fault.pidfd = ESRCH;
    fault.pidfd_times = 2;
    assert_int_equal(vm_pidfd(&vm, &fd, &f->ctx, &f->err), 0);
    assert_true(fd >= 0);
    assert_int_equal(fault.pidfd_calls, 3);
    fault.pidfd_times = 0;
    int none = 0;
    struct context soon = context_timeout(NULL, 100);
    assert_int_equal(vm_pidfd(&vm, &none, &soon, &f->err), -1);
    assert_int_equal(f->err.code, ERR_TIMEOUT);
    assert_int_equal(none, -1);
}

static size_t count_processes(struct fixture *f) {
    cleanup_qemu_process_list struct qemu_process_list l = {0};
    size_t n = 0;
    if (qemu_process_list(&l, "lab/kvm1", &f->err))
        fail_msg("%s: %s", f->err.subject, f->err.cause);
    for (size_t i = 0; i < l.n; i++)
        n += strcmp(l.items[i].dir, f->dir) == 0;
    return n;
}

static void a_process_of_another_user_is_not_ours(void **state) {
    struct fixture *f = *state;
    start_process(f);
    assert_int_equal(count_processes(f), 1);
    fault.more = 1;
    assert_int_equal(count_processes(f), 0);
}

static void processes_that_cannot_be_listed_are_not_gone(void **state) {
    struct fixture *f = *state;
    struct observation *o = NULL;
    start_process(f);
    fault.readdir = ENOMEM;
    int rc = observe(f, &o);
    assert_int_equal(rc, -1);
    assert_null(o);
    assert_string_equal(f->err.cause, "cannot read /proc: Cannot allocate memory");
    fault.readdir = 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(only_what_is_missing_makes_a_machine_half),    TEST(a_record_that_cannot_be_read_is_no_missing_one),
        TEST(a_process_that_cannot_be_watched_is_an_error), TEST(a_process_that_ended_meanwhile_is_looked_for_again),
        TEST(a_process_of_another_user_is_not_ours),        TEST(processes_that_cannot_be_listed_are_not_gone),
    };
    alarm(120); /* what it is about may spin for ever */
    return cmocka_run_group_tests_name("qemu process", tests, NULL, NULL);
}
