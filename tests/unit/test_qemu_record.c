/* machine.json: what is written is read back, and damage is told for what it is. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "drivers/qemu/qemu_priv.h"

static const struct record sample = {
    .lab_id = "00112233445566aa",
    .path = "lab/kvm1",
    .name = "lab.kvm1-00112233",
    .digest = "0123456789abcdef",
    .uuid = "11111111-2222-8333-8444-555555555555",
    .mac = "52:54:00:01:02:03",
    .image = "/img/\"odd\"\n, \xc3\xa9.qcow2",
    .format = "qcow2",
    .image_size = INT64_MAX,
    .image_mtime_ns = 1700000000123456789,
    .kernel = "",
    .initrd = "",
    .cmdline = "quiet",
    .cpus = 2,
    .memory = (int64_t)1 << 40,
    .ssh_port = 22,
    .host_port = 65535,
    .expose = true,
    .launched_pid = 4194304,
    .launched_exposed = false,
};

struct place {
    char dir[32];
    int fd;
};

static int setup(void **state) {
    static struct place p;
    snprintf(p.dir, sizeof p.dir, "/tmp/nestor-record-XXXXXX");
    assert_non_null(mkdtemp(p.dir));
    p.fd = open(p.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    *state = &p;
    return 0;
}

static int teardown(void **state) {
    struct place *p = *state;
    unlinkat(p->fd, RECORD_FILE, 0);
    close(p->fd);
    assert_int_equal(rmdir(p->dir), 0); /* no temporary file was left */
    return 0;
}

static void reads_back_what_it_wrote(void **state) {
    struct place *p = *state;
    struct error e = {.code = ERR_NONE};
    struct record r = {0};
    assert_int_equal(vm_record_save(p->fd, &sample, "lab/kvm1", &e), 0);
    assert_int_equal(vm_record_load(p->fd, &r, "lab/kvm1", &e), 0);
    assert_string_equal(r.lab_id, sample.lab_id);
    assert_string_equal(r.path, sample.path);
    assert_string_equal(r.name, sample.name);
    assert_string_equal(r.digest, sample.digest);
    assert_string_equal(r.uuid, sample.uuid);
    assert_string_equal(r.mac, sample.mac);
    assert_string_equal(r.image, sample.image);
    assert_string_equal(r.format, sample.format);
    assert_string_equal(r.kernel, sample.kernel);
    assert_string_equal(r.initrd, sample.initrd);
    assert_string_equal(r.cmdline, sample.cmdline);
    assert_true(r.image_size == sample.image_size && r.image_mtime_ns == sample.image_mtime_ns);
    assert_true(r.cpus == sample.cpus && r.memory == sample.memory && r.ssh_port == sample.ssh_port);
    assert_true(r.host_port == sample.host_port && r.launched_pid == sample.launched_pid);
    assert_true(r.expose && !r.launched_exposed);
    struct stat st;
    assert_int_equal(fstatat(p->fd, RECORD_FILE, &st, 0), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    vm_record_free(&r);
}

static char *text_of(const struct place *p) {
    cleanup_buffer struct buffer text = {0};
    struct error e = {.code = ERR_NONE};
    assert_int_equal(file_read(p->fd, RECORD_FILE, 1 << 20, &text, NULL, &e), 0);
    return buffer_steal(&text);
}

static void check_damaged(const struct place *p, const char *text, const char *cause) {
    struct error e = {.code = ERR_NONE};
    struct record r = {.cpus = 77};
    assert_int_equal(file_write(p->fd, RECORD_FILE, text, strlen(text), 0600, NULL, &e), 0);
    int rc = vm_record_load(p->fd, &r, "lab/kvm1", &e);
    if (rc != -1 || e.code != ERR_STATE_CORRUPT || !strstr(e.cause, cause) || strcmp(e.subject, "lab/kvm1") != 0)
        fail_msg("%s: rc %d, %s: %s", text, rc, error_code_name(e.code), e.cause);
    assert_int_equal(r.cpus, 77); /* untouched */
}

/* The valid text with the first `from` replaced. */
static void check_replaced(const struct place *p, const char *valid, const char *from, const char *to,
                           const char *cause) {
    const char *at = strstr(valid, from);
    assert_non_null(at);
    cleanup_free char *text = xasprintf("%.*s%s%s", (int)(at - valid), valid, to, at + strlen(from));
    check_damaged(p, text, cause);
}

static void damage_is_told(void **state) {
    struct place *p = *state;
    struct error e = {.code = ERR_NONE};
    assert_int_equal(vm_record_save(p->fd, &sample, "lab/kvm1", &e), 0);
    cleanup_free char *valid = text_of(p);
    check_damaged(p, "", "damaged");
    check_damaged(p, "{", "damaged");
    check_damaged(p, "[]", "another version");
    check_damaged(p, "{\"version\": 2}", "another version");
    check_damaged(p, "{\"version\": 1}", "lab_id");
    check_replaced(p, valid, "\"uuid\": \"", "\"uuid\": 1, \"x\": \"", "uuid");
    check_replaced(p, valid, "\"cpus\": 2", "\"cpus\": \"2\"", "cpus");
    check_replaced(p, valid, "\"cpus\": 2", "\"cpus\": -2", "cpus");
    check_replaced(p, valid, "\"cpus\": 2", "\"cpus\": 2.5", "cpus");
    check_replaced(p, valid, "\"expose\": true", "\"expose\": 1", "expose");
    check_replaced(p, valid, "\"cpus\": 2", "\"cpus\": 2, \"cpus\": 3", "damaged");
}

static void absence_is_not_damage(void **state) {
    struct place *p = *state;
    struct error e = {.code = ERR_NONE};
    struct record r;
    assert_int_equal(vm_record_load(p->fd, &r, "lab/kvm1", &e), -1);
    assert_int_equal(e.code, ERR_NOT_FOUND);
    assert_string_equal(e.subject, "lab/kvm1");
}

static void a_path_that_is_not_utf8_is_refused(void **state) {
    struct place *p = *state;
    struct error e = {.code = ERR_NONE};
    struct record odd = sample;
    odd.image = "/img/\xff";
    assert_int_equal(vm_record_save(p->fd, &odd, "lab/kvm1", &e), -1);
    assert_int_equal(e.code, ERR_UNSUPPORTED);
    assert_non_null(strstr(e.cause, "UTF-8"));
    assert_false(file_exists(p->fd, RECORD_FILE));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(reads_back_what_it_wrote, setup, teardown),
        cmocka_unit_test_setup_teardown(damage_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(absence_is_not_damage, setup, teardown),
        cmocka_unit_test_setup_teardown(a_path_that_is_not_utf8_is_refused, setup, teardown),
    };
    return cmocka_run_group_tests_name("qemu record", tests, NULL, NULL);
}
