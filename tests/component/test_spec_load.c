/* Specs in files: lab_load, the labs that come with nestor, and user-data from a file. */
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "spec_lab.h"

struct fixture {
    char folder[64];
    struct lab *lab;
    struct diagnostics diags;
    struct error err;
};

static const struct context any_time = {.deadline = DEADLINE_NEVER};

static int set_up(void **state) {
    struct fixture *f = xcalloc(1, sizeof *f);
    snprintf(f->folder, sizeof f->folder, "%s", "/tmp/nestor-spec-XXXXXX");
    *state = f;
    return mkdtemp(f->folder) ? 0 : -1;
}

static int tear_down(void **state) {
    struct fixture *f = *state;
    cleanup_free char *pattern = xasprintf("%s/*", f->folder);
    glob_t files;
    if (glob(pattern, 0, NULL, &files) == 0)
        for (size_t i = 0; i < files.gl_pathc; i++)
            unlink(files.gl_pathv[i]);
    globfree(&files);
    int failed = rmdir(f->folder);
    lab_free(f->lab);
    diagnostics_free(&f->diags);
    free(f);
    return failed;
}

static char *path_of(const struct fixture *f, const char *name) { return xasprintf("%s/%s", f->folder, name); }

static void write_file(const struct fixture *f, const char *name, const char *text, size_t len) {
    cleanup_free char *path = path_of(f, name);
    cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, text, len), len);
}

static int load(struct fixture *f, const char *name) {
    cleanup_free char *path = path_of(f, name);
    return lab_load(path, NULL, &f->lab, &f->diags, &any_time, &f->err);
}

static int load_text(struct fixture *f, const char *text) {
    write_file(f, "lab.yaml", text, strlen(text));
    return load(f, "lab.yaml");
}

static void assert_only_finding(const struct fixture *f, const char *finding) {
    cleanup_buffer struct buffer got = {0};
    diagnostics_print(&f->diags, "lab.yaml", &got);
    assert_string_equal(buffer_str(&got), finding);
}

static void a_file(void **state) {
    struct fixture *f = *state;
    assert_int_equal(load_text(f, "lab: x\nmachines: { a: { template: t } }\n"), 0);
    cleanup_free char *path = path_of(f, "lab.yaml");
    assert_string_equal(f->lab->file, path);
    assert_int_equal(f->diags.n, 0);
}

static void no_file(void **state) {
    struct fixture *f = *state;
    assert_int_equal(load(f, "none.yaml"), -1);
    cleanup_free char *path = path_of(f, "none.yaml");
    assert_int_equal(f->err.code, ERR_NOT_FOUND);
    assert_string_equal(f->err.subject, path);
    assert_string_equal(f->err.cause, "it cannot be read: No such file or directory");
    assert_string_equal(f->err.mend, "name a lab file, or '-' for standard input; 'nestor init' makes a first one");
    assert_null(f->lab);
}

/* Opening a FIFO waits for a writer, and a device may never end, unless one is careful. */
static void only_a_plain_file_is_opened(void **state) {
    struct fixture *f = *state;
    cleanup_free char *fifo = path_of(f, "fifo"), *place = path_of(f, "socket");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", place);
    assert_int_equal(bind(listener, (const struct sockaddr *)&address, sizeof address), 0);
    close(listener);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    const struct {
        const char *path, *cause;
    } cases[] = {
        {f->folder, "it is a directory, not a plain file"},
        {fifo, "it is a FIFO, not a plain file"},
        {place, "it is a socket, not a plain file"},
        {"/dev/zero", "it is a device, not a plain file"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        error_clear(&f->err);
        assert_int_equal(lab_load(cases[i].path, NULL, &f->lab, &f->diags, &any_time, &f->err), -1);
        assert_int_equal(f->err.code, ERR_IO);
        assert_string_equal(f->err.subject, cases[i].path);
        assert_string_equal(f->err.cause, cases[i].cause);
        assert_non_null(strstr(f->err.mend, "'-' for standard input"));
        assert_null(f->lab);
    }
}

/* lab_load of "-", with `input` as the standard input. */
static int load_from(struct fixture *f, int input, const struct context *ctx) {
    int saved = dup(STDIN_FILENO);
    dup2(input, STDIN_FILENO);
    int failed = lab_load("-", NULL, &f->lab, &f->diags, ctx, &f->err);
    dup2(saved, STDIN_FILENO);
    close(saved);
    return failed;
}

static void standard_input(void **state) {
    struct fixture *f = *state;
    static const char text[] = "lab: x\nmachines: { a: { template: t, cpus: 0 } }\n";
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], text, strlen(text)), strlen(text));
    close(ends[1]);
    assert_int_equal(load_from(f, ends[0], &any_time), -1);
    close(ends[0]);
    assert_string_equal(f->err.subject, "-:2:37");
    assert_string_equal(f->err.cause, "'cpus' must be a whole number from 1 to 256, not '0'");
}

/* What never ends must not be read to its end. */
static void endless_standard_input(void **state) {
    struct fixture *f = *state;
    int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    assert_int_equal(load_from(f, zero, &any_time), -1);
    close(zero);
    assert_int_equal(f->err.code, ERR_SPEC);
    assert_string_equal(f->err.subject, "-:1:1");
    assert_string_equal(f->err.cause, "the file is larger than 4MiB");
}

static void standard_input_that_says_nothing_can_be_cancelled(void **state) {
    struct fixture *f = *state;
    struct cancel cancel;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(cancel_init(&cancel, NULL), 0);
    struct context ctx = {.deadline = DEADLINE_NEVER, .cancel = &cancel};
    assert_int_equal(write(ends[1], "lab: x\n", 7), 7);
    cancel_fire(&cancel);
    assert_int_equal(load_from(f, ends[0], &ctx), -1);
    assert_int_equal(f->err.code, ERR_CANCELLED);
    assert_string_equal(f->err.subject, "-");
    assert_string_equal(f->err.cause, "interrupted while reading the lab file from standard input");
    cancel_destroy(&cancel);
    close(ends[0]);
    close(ends[1]);
}

static void user_data_file(void **state) {
    struct fixture *f = *state;
    write_file(f, "seed", "#!/bin/sh\n", 10);
    assert_int_equal(load_text(f, "lab: x\nmachines: { a: { template: t, count: 2, user-data: { file: seed } } }\n"),
                     0);
    assert_string_equal(f->lab->machines[0].user_data, "#!/bin/sh\n");
    assert_ptr_equal(f->lab->machines[1].user_data, f->lab->machines[0].user_data);
}

#define WITH_SEED "lab: x\nmachines: { a: { template: t, user-data: { file: seed } }, b: { template: t } }\n"

static void user_data_file_is_missing(void **state) {
    struct fixture *f = *state;
    assert_int_equal(load_text(f, WITH_SEED), -1);
    cleanup_free char *finding = xasprintf(
        "lab.yaml:2:50: error: the file '%s/seed': it cannot be read: No such file or directory\n", f->folder);
    assert_only_finding(f, finding);
}

/* Opening a FIFO waits for a writer unless one is careful. */
static void user_data_file_is_a_fifo(void **state) {
    struct fixture *f = *state;
    cleanup_free char *path = path_of(f, "seed");
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(load_text(f, WITH_SEED), -1);
    cleanup_free char *finding =
        xasprintf("lab.yaml:2:50: error: the file '%s/seed': it is a FIFO, not a plain file\n", f->folder);
    assert_only_finding(f, finding);
}

static void user_data_file_is_bad(void **state) {
    struct fixture *f = *state;
    write_file(f, "seed", "#!/bin/sh\n\xff\n", 12);
    assert_int_equal(load_text(f, WITH_SEED), -1);
    assert_only_finding(f,
                        "lab.yaml:2:50: error: the user-data is not plain text: byte 0xff in its line 2, column 1\n");
}

static void user_data_file_is_huge(void **state) {
    struct fixture *f = *state;
    size_t len = (256 << 10) + 1;
    cleanup_free char *big = xmalloc(len);
    memset(big, '#', len);
    write_file(f, "seed", big, len);
    assert_int_equal(load_text(f, WITH_SEED), -1);
    assert_only_finding(f, "lab.yaml:2:50: error: the user-data is larger than 256KiB\n");
}

static void user_data_files_are_limited_together(void **state) {
    struct fixture *f = *state;
    size_t len = 256 << 10;
    cleanup_free char *big = xmalloc(len);
    memset(big, '#', len);
    memcpy(big, "#!", 2);
    write_file(f, "seed", big, len);
    cleanup_buffer struct buffer text = {0};
    buffer_puts(&text, "lab: x\ndefaults: { template: t }\nmachines:\n");
    for (int i = 0; i < 257; i++) {
        buffer_printf(&text, "  m%d: { user-data: { file: \"", i); /* the same file by another path each time */
        for (int k = 0; k < i; k++)
            buffer_putc(&text, '/');
        buffer_printf(&text, "%s/seed\" } }\n", f->folder);
    }
    assert_int_equal(load_text(f, buffer_str(&text)), -1);
    assert_int_equal(f->diags.nerrors, 1);
    assert_string_equal(f->err.cause, "the user-data files are larger than 64MiB together");
    assert_non_null(strstr(f->err.subject, ":260:"));
}

/* Read with the drivers of this build, which they are written for. */
static struct lab *read_with_real_drivers(const char *name, const char *text) {
    static const char *const names[] = {"qemu", "libvirt", "vsphere"};
    const struct driver *found[sizeof names / sizeof *names];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        found[i] = driver_find(names[i]);
    const struct driver_list drivers = {found, sizeof names / sizeof *names};
    struct lab *lab = NULL;
    struct diagnostics diags = {0};
    struct error err = {0};
    cleanup_buffer struct buffer findings = {0};
    int failed = spec_parse(name, text, strlen(text), &drivers, NULL, &lab, &diags, &err);
    diagnostics_print(&diags, name, &findings);
    assert_string_equal(buffer_str(&findings), "");
    assert_int_equal(failed, 0);
    diagnostics_free(&diags);
    return lab;
}

/* Every lab that comes with nestor is a good one. */
static void labs_that_come_with_nestor(void **state) {
    (void)state;
    static const struct {
        const char *name;
        size_t machines, levels;
    } labs[] = {{"cloud-image", 2, 2}, {"count", 9, 2}, {"deep", 3, 3}, {"quickstart", 3, 2}, {"vsphere", 9, 2}};
    cleanup_free char *pattern = xasprintf("%s/templates/labs/*.yaml", getenv("NESTOR_SOURCE_DIR"));
    glob_t files;
    assert_int_equal(glob(pattern, 0, NULL, &files), 0);
    assert_int_equal(files.gl_pathc, sizeof labs / sizeof *labs);
    for (size_t i = 0; i < files.gl_pathc; i++) {
        cleanup_free char *name = xasprintf("templates/labs/%s.yaml", labs[i].name);
        cleanup_free char *text = spec_source_file(name);
        struct lab *lab = read_with_real_drivers(name, text);
        assert_string_equal(lab->name, labs[i].name);
        assert_int_equal(lab->nmachines, labs[i].machines);
        assert_int_equal(lab->machines[lab->nmachines - 1].level, labs[i].levels);
        assert_int_equal(strncmp(text, "# yaml-language-server: $schema=../lab.schema.json\n", 51), 0);
        lab_free(lab);
    }
    globfree(&files);
}

int main(void) {
#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(a_file),
        WITH_FOLDER(no_file),
        WITH_FOLDER(only_a_plain_file_is_opened),
        WITH_FOLDER(endless_standard_input),
        WITH_FOLDER(standard_input),
        WITH_FOLDER(standard_input_that_says_nothing_can_be_cancelled),
        WITH_FOLDER(user_data_file),
        WITH_FOLDER(user_data_file_is_missing),
        WITH_FOLDER(user_data_file_is_a_fifo),
        WITH_FOLDER(user_data_file_is_bad),
        WITH_FOLDER(user_data_file_is_huge),
        WITH_FOLDER(user_data_files_are_limited_together),
        cmocka_unit_test(labs_that_come_with_nestor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
