/* Files that are read up to a bound and written whole, trees that are removed without leaving them. */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include <cmocka.h>

#include "nestor/file.h"
#include "state_folder.h"

struct fixture {
    char *folder, *path;
    int dirfd;
};

static int setup(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    f->folder = state_folder_new();
    f->path = state_folder_path(f->folder, "file");
    f->dirfd = open(f->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    close(f->dirfd);
    state_folder_remove(f->folder);
    free(f->path);
    free(f);
    return 0;
}

/* Stands in for the C library's: fails with fault.errnum after so many entries. */
static struct { int entries, errnum; } fault;

struct dirent *readdir(DIR *dir) {
    static struct dirent *(*real)(DIR *);
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "readdir");
    if (fault.errnum && fault.entries-- <= 0) {
        errno = fault.errnum;
        return NULL;
    }
    return real(dir);
}

static void assert_holds(const char *path, const char *text) {
    size_t n;
    char *got = state_file_read(path, &n);
    assert_int_equal(n, strlen(text));
    assert_memory_equal(got, text, n);
    free(got);
}

static size_t count_entries(const char *folder) {
    size_t n = 0;
    cleanup_dir DIR *dir = opendir(folder);
    assert_non_null(dir);
    for (const struct dirent *e; (e = readdir(dir));)
        n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    return n;
}

/* --- reading --- */

static void at_most_max_bytes_are_appended(void **state) {
    struct fixture *f = *state;
    static const struct {
        size_t max;
        const char *text;
    } cases[] = {{0, "> "}, {1, "> a"}, {3, "> abc"}, {4, "> abc"}, {SIZE_MAX, "> abc"}};
    struct error err = {0};
    state_file_write(f->path, "abc", 3);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cleanup_buffer struct buffer text = {0};
        buffer_puts(&text, "> ");
        assert_int_equal(file_read(f->dirfd, "file", cases[i].max, &text, NULL, &err), 0);
        assert_string_equal(buffer_str(&text), cases[i].text);
        assert_int_equal(text.len, strlen(cases[i].text));
    }
}

static void file_of_many_chunks_is_read_to_its_end(void **state) {
    struct fixture *f = *state;
    const size_t size = 200001;
    cleanup_free char *bytes = malloc(size);
    cleanup_buffer struct buffer text = {0};
    struct error err = {0};
    for (size_t i = 0; i < size; i++)
        bytes[i] = (char)(i % 251);
    state_file_write(f->path, bytes, size);
    assert_int_equal(file_read(AT_FDCWD, f->path, SIZE_MAX, &text, NULL, &err), 0);
    assert_int_equal(text.len, size);
    assert_memory_equal(text.data, bytes, size);
}

static void error_is_about_the_subject_or_the_file(void **state) {
    struct fixture *f = *state;
    cleanup_buffer struct buffer text = {0};
    struct error err = {0};
    assert_int_equal(file_read(f->dirfd, "none", 10, &text, "lab/kvm1", &err), -1);
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_string_equal(err.subject, "lab/kvm1");
    assert_string_equal(err.cause, "cannot read none: No such file or directory");
    error_clear(&err);
    assert_int_equal(file_read(f->dirfd, "none", 10, &text, NULL, &err), -1);
    assert_string_equal(err.subject, "none");
    assert_string_equal(err.cause, "cannot read it: No such file or directory");
    error_clear(&err);
    assert_int_equal(file_read(AT_FDCWD, f->folder, 10, &text, NULL, &err), -1);
    assert_int_equal(err.code, ERR_IO);
    assert_string_equal(err.cause, "cannot read it: Is a directory");
}

static void more_than_the_buffer_may_hold_is_an_error(void **state) {
    struct fixture *f = *state;
    cleanup_buffer struct buffer text = {.max = 16};
    struct error err = {0};
    state_file_write(f->path, "abc", 3);
    assert_int_equal(file_read(f->dirfd, "file", 17, &text, NULL, &err), -1);
    assert_string_equal(err.cause, "cannot read it: File too large");
}

static int pipe_ends[2];
static volatile sig_atomic_t signals;

/* The first signal only interrupts, the second one also lets the reader go on. */
static void on_alarm(int number) {
    (void)number;
    if (++signals == 2) {
        ssize_t put = write(pipe_ends[1], "late", 4);
        (void)put;
        close(pipe_ends[1]);
    }
}

static void interrupted_read_goes_on(void **state) {
    (void)state;
    cleanup_buffer struct buffer text = {0};
    assert_int_equal(pipe(pipe_ends), 0);
    signals = 0;
    struct sigaction interrupt = {.sa_handler = on_alarm}, old;
    const struct itimerval often = {{0, 2000}, {0, 2000}}, never = {{0, 0}, {0, 0}};
    assert_int_equal(sigaction(SIGALRM, &interrupt, &old), 0);
    assert_int_equal(setitimer(ITIMER_REAL, &often, NULL), 0);
    int failed = fd_read(pipe_ends[0], 100, &text);
    setitimer(ITIMER_REAL, &never, NULL);
    sigaction(SIGALRM, &old, NULL);
    close(pipe_ends[0]);
    assert_int_equal(failed, 0);
    assert_string_equal(buffer_str(&text), "late");
}

/* --- writing --- */

static void written_file_replaces_the_old_one_with_its_own_mode(void **state) {
    struct fixture *f = *state;
    struct error err = {0};
    struct stat st;
    state_file_write(f->path, "a longer old text", 17);
    mode_t old = umask(077);
    int failed = file_write(f->dirfd, "file", "new", 3, 0644, NULL, &err);
    umask(old);
    assert_int_equal(failed, 0);
    assert_holds(f->path, "new");
    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0644);
    assert_int_equal(count_entries(f->folder), 1);
}

static void write_that_fails_leaves_the_old_file_and_nothing_else(void **state) {
    struct fixture *f = *state;
    struct error err = {0};
    char big[8192] = "";
    state_file_write(f->path, "old", 3);
    struct rlimit old, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = (struct rlimit){.rlim_cur = 4096, .rlim_max = old.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    int failed = file_write(f->dirfd, "file", big, sizeof big, 0600, "lab/kvm1", &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(failed, -1);
    assert_string_equal(err.subject, "lab/kvm1");
    assert_string_equal(err.cause, "cannot write file: File too large");
    assert_holds(f->path, "old");
    assert_int_equal(count_entries(f->folder), 1);
}

static void file_is_not_put_in_place_of_a_directory(void **state) {
    struct fixture *f = *state;
    struct error err = {0};
    assert_int_equal(mkdir(f->path, 0700), 0);
    assert_int_equal(file_write(AT_FDCWD, f->path, "new", 3, 0600, NULL, &err), -1);
    assert_int_equal(err.code, ERR_IO);
    assert_string_equal(err.subject, f->path);
    assert_string_equal(err.cause, "cannot write it: Is a directory");
    assert_int_equal(count_entries(f->folder), 1);
}

static void temporary_name_that_is_a_link_is_not_followed(void **state) {
    struct fixture *f = *state;
    struct error err = {0};
    cleanup_free char *victim = state_folder_path(f->folder, "victim");
    cleanup_free char *temporary = xasprintf("%s.%d.tmp", f->path, (int)gettid());
    state_file_write(victim, "precious", 8);
    assert_int_equal(symlink(victim, temporary), 0);
    assert_int_equal(file_write(f->dirfd, "file", "new", 3, 0600, NULL, &err), -1);
    assert_string_equal(err.cause, "cannot write it: Too many levels of symbolic links");
    assert_holds(victim, "precious");
}

#define ROUNDS 30
#define TEXT_LEN 100000

struct writer {
    int dirfd;
    char letter;
    int failed;
};

static void *write_often(void *data) {
    struct writer *w = data;
    cleanup_free char *text = malloc(TEXT_LEN);
    struct error err = {0};
    memset(text, w->letter, TEXT_LEN);
    for (int i = 0; i < ROUNDS; i++)
        w->failed += file_write(w->dirfd, "file", text, TEXT_LEN, 0600, NULL, &err) != 0;
    return NULL;
}

static void file_is_whole_whoever_else_writes_it(void **state) {
    struct fixture *f = *state;
    struct writer writers[2] = {{f->dirfd, 'a', 0}, {f->dirfd, 'b', 0}};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_often, &writers[i]), 0);
    for (int i = 0; i < ROUNDS; i++) {
        cleanup_buffer struct buffer text = {0};
        if (!file_exists(f->dirfd, "file"))
            continue;
        assert_int_equal(file_read(f->dirfd, "file", TEXT_LEN + 1, &text, NULL, NULL), 0);
        assert_int_equal(text.len, TEXT_LEN);
        assert_int_equal(strspn(text.data, (char[]){text.data[0], '\0'}), TEXT_LEN);
    }
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(writers[i].failed, 0);
    }
    assert_int_equal(count_entries(f->folder), 1);
}

/* --- directories --- */

static void making_a_directory_that_is_there_succeeds(void **state) {
    struct fixture *f = *state;
    struct error err = {0};
    struct stat st;
    assert_int_equal(dir_make(f->path, 0700, NULL, &err), 0);
    assert_int_equal(dir_make(f->path, 0700, NULL, &err), 0);
    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    cleanup_free char *deep = state_folder_path(f->folder, "no/such"), *cause = NULL;
    cause = xasprintf("cannot make the directory %s: No such file or directory", deep);
    assert_int_equal(dir_make(deep, 0700, "host local", &err), -1);
    assert_string_equal(err.subject, "host local");
    assert_string_equal(err.cause, cause);
}

static void make_tree(const struct fixture *f) {
    static const char *const dirs[] = {"tree", "tree/a", "tree/a/b", "tree/empty", "outside"};
    static const char *const files[] = {"tree/1", "tree/a/2", "tree/a/b/.3", "outside/kept"};
    for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++)
        assert_int_equal(mkdirat(f->dirfd, dirs[i], 0700), 0);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        assert_int_equal(file_write(f->dirfd, files[i], "x", 1, 0600, NULL, NULL), 0);
    assert_int_equal(symlinkat("../../outside", f->dirfd, "tree/a/link"), 0);
    assert_int_equal(symlinkat("nowhere", f->dirfd, "tree/dangling"), 0);
}

static void tree_goes_but_not_what_its_links_lead_to(void **state) {
    struct fixture *f = *state;
    struct error err = {0};
    make_tree(f);
    cleanup_free char *tree = state_folder_path(f->folder, "tree");
    assert_int_equal(tree_remove(tree, NULL, &err), 0);
    assert_false(file_exists(f->dirfd, "tree"));
    assert_true(file_exists(f->dirfd, "outside/kept"));
    assert_int_equal(tree_remove(tree, NULL, &err), 0); /* gone is fine */
}

static void link_in_place_of_a_tree_is_removed_itself(void **state) {
    struct fixture *f = *state;
    struct error err = {0};
    make_tree(f);
    assert_int_equal(symlink("tree", f->path), 0);
    assert_int_equal(tree_remove(f->path, NULL, &err), 0);
    assert_false(file_exists(f->dirfd, "file"));
    assert_true(file_exists(f->dirfd, "tree/a/b/.3"));
}

static void removal_that_fails_names_what_stays(void **state) {
    struct fixture *f = *state;
    struct error err = {0};
    state_file_write(f->path, "x", 1);
    cleanup_free char *below = xasprintf("%s/below", f->path), *cause = NULL;
    cause = xasprintf("cannot remove %s: Not a directory", below);
    assert_int_equal(tree_remove(below, "lab/kvm1", &err), -1);
    assert_int_equal(err.code, ERR_IO);
    assert_string_equal(err.subject, "lab/kvm1");
    assert_string_equal(err.cause, cause);
}

/* --- directories --- */

static int count(void *data, const char *name, struct error *err) {
    (void)name, (void)err;
    ++*(size_t *)data;
    return 0;
}

static void directory_that_cannot_be_read_on_is_no_shorter_one(void **state) {
    struct fixture *f = *state;
    struct error err = {0};
    size_t n = 0;
    for (const char *c = "abcd"; *c; c++) {
        cleanup_free char *path = xasprintf("%s/%c", f->folder, *c);
        state_file_write(path, c, 1);
    }
    errno = EIO; /* somebody else's */
    assert_int_equal(dir_each(f->folder, "lab/kvm1", count, &n, &err), 0);
    assert_int_equal(n, 4);
    fault.entries = 3;
    fault.errnum = EIO;
    int rc = dir_each(f->folder, "lab/kvm1", count, &n, &err);
    fault.errnum = 0;
    assert_int_equal(rc, -1);
    assert_int_equal(err.code, ERR_IO);
    assert_string_equal(err.subject, "lab/kvm1");
    cleanup_free char *cause = xasprintf("cannot read %s: Input/output error", f->folder);
    assert_string_equal(err.cause, cause);
    error_clear(&err);
    fault.entries = 3;
    fault.errnum = EIO;
    rc = tree_remove(f->folder, NULL, &err);
    fault.errnum = 0;
    assert_int_equal(rc, -1);
    assert_string_equal(err.subject, f->folder);
    cause = (free(cause), xasprintf("cannot remove %s: Input/output error", f->folder));
    assert_string_equal(err.cause, cause);
}

static void program_is_found_where_execvp_finds_it(void **state) {
    struct fixture *f = *state;
    struct error err = {0};
    cleanup_free char *old = getenv("PATH") ? xstrdup(getenv("PATH")) : NULL;
    cleanup_free char *tool = xasprintf("%s/tool", f->folder), *text = xasprintf("%s/text", f->folder);
    cleanup_free char *folder = xasprintf("%s/folder", f->folder), *path = xasprintf("/nowhere:%s", f->folder);
    cleanup_free char *here = getcwd(NULL, 0);
    assert_int_equal(file_write(AT_FDCWD, tool, "#!/bin/sh\n", 10, 0700, NULL, &err), 0);
    assert_int_equal(file_write(AT_FDCWD, text, "words\n", 6, 0600, NULL, &err), 0);
    assert_int_equal(dir_make(folder, 0700, NULL, &err), 0);
    assert_true(program_exists(tool));
    assert_false(program_exists(text));
    assert_false(program_exists(folder));
    setenv("PATH", path, 1);
    assert_true(program_exists("tool"));
    assert_false(program_exists("text") || program_exists("folder") || program_exists("sh"));
    setenv("PATH", "/nowhere:", 1); /* its last element is empty: the current folder */
    assert_int_equal(chdir(f->folder), 0);
    assert_true(program_exists("tool"));
    assert_int_equal(chdir(here), 0);
    assert_false(program_exists("tool"));
    unsetenv("PATH");
    assert_true(program_exists("sh"));
    if (old)
        setenv("PATH", old, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(at_most_max_bytes_are_appended),
        TEST(file_of_many_chunks_is_read_to_its_end),
        TEST(error_is_about_the_subject_or_the_file),
        TEST(more_than_the_buffer_may_hold_is_an_error),
        TEST(interrupted_read_goes_on),
        TEST(written_file_replaces_the_old_one_with_its_own_mode),
        TEST(write_that_fails_leaves_the_old_file_and_nothing_else),
        TEST(file_is_not_put_in_place_of_a_directory),
        TEST(temporary_name_that_is_a_link_is_not_followed),
        TEST(file_is_whole_whoever_else_writes_it),
        TEST(making_a_directory_that_is_there_succeeds),
        TEST(tree_goes_but_not_what_its_links_lead_to),
        TEST(link_in_place_of_a_tree_is_removed_itself),
        TEST(removal_that_fails_names_what_stays),
        TEST(directory_that_cannot_be_read_on_is_no_shorter_one),
        TEST(program_is_found_where_execvp_finds_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
