/* gc when the state directory cannot be read: it must not say that nothing is left over. */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/cli.h"
#include "nestor/file.h"
#include "state_folder.h"

static bool fault;

/* Stands in for the C library's: the directory "labs" gives no entry but an error. */
struct dirent *readdir(DIR *dir) {
    static struct dirent *(*real)(DIR *);
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "readdir");
    char path[512];
    cleanup_free char *self = xasprintf("/proc/self/fd/%d", dirfd(dir));
    ssize_t n = fault ? readlink(self, path, sizeof path) : 0;
    if (n < 5 || memcmp(path + n - 5, "/labs", 5) != 0)
        return real(dir);
    errno = EIO;
    return NULL;
}

/* nestor gc in a process of its own, with what it writes in the file: its exit status. */
static int run_gc(const char *home, const char *output) {
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        static char nestor[] = "nestor", gc[] = "gc";
        char *argv[] = {nestor, gc, NULL};
        int fd = open(output, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        dup2(fd, STDOUT_FILENO);
        dup2(fd, STDERR_FILENO);
        setenv("NESTOR_HOME", home, 1);
        exit(cli_main(2, argv));
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void labs_that_cannot_be_listed_are_not_nothing(void **state) {
    (void)state;
    char *folder = state_folder_new();
    cleanup_free char *home = xasprintf("%s/home", folder), *output = xasprintf("%s/output", folder);
    cleanup_free char *labs = xasprintf("%s/labs", home), *lab = xasprintf("%s/00112233445566aa", labs);
    cleanup_free char *kept = xasprintf("Kept: %s, the key of a lab", lab);
    cleanup_free char *cause = xasprintf("cannot read %s: Input/output error", labs);
    struct error err = {0};
    assert_int_equal(dir_make(home, 0700, NULL, &err) || dir_make(labs, 0700, NULL, &err), 0);
    assert_int_equal(dir_make(lab, 0700, NULL, &err), 0);
    size_t n;
    int rc = run_gc(home, output);
    char *text = state_file_read(output, &n);
    if (rc != NESTOR_DONE || !strstr(text, kept))
        fail_msg("%d: %s", rc, text);
    free(text);
    fault = true;
    rc = run_gc(home, output);
    fault = false;
    text = state_file_read(output, &n);
    if (rc != 1 || !strstr(text, cause) || strstr(text, "Nothing is left over"))
        fail_msg("%d: %s", rc, text);
    free(text);
    state_folder_remove(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(labs_that_cannot_be_listed_are_not_nothing)};
    return cmocka_run_group_tests_name("cli gc", tests, NULL, NULL);
}
