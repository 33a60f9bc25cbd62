#include "transport_server.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <setjmp.h>

#include <cmocka.h>

struct context test_within(int ms) {
    return context_timeout(NULL, ms);
}

static int listen_any(uint16_t *ret_port) {
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof addr;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof addr), 0);
    assert_int_equal(listen(fd, 64), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
    *ret_port = ntohs(addr.sin_port);
    return fd;
}

unsigned test_open_fds(void) {
    unsigned n = 0;
    DIR *dir = opendir("/proc/self/fd");
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

void *test_fire_soon(void *cancel) {
    usleep(100000);
    cancel_fire(cancel);
    return NULL;
}

uint16_t test_free_port(void) {
    uint16_t port;
    close(listen_any(&port));
    return port;
}

static int run(const char *const argv[]) {
    struct context ctx = test_within(20000);
    struct error err = {0};
    struct command_result r = {0};
    if (process_run(argv, &COMMAND(NULL), &r, &ctx, &err))
        fail_msg("%s: %s", argv[0], err.cause);
    int status = r.status;
    if (status)
        print_error("%s: %s\n", argv[0], buffer_str(&r.err));
    command_result_free(&r);
    return status;
}

char *test_file_read(const char *dir, const char *name) {
    struct buffer b = {0};
    cleanup_free char *path = xasprintf("%s/%s", dir, name);
    FILE *f = fopen(path, "re");
    assert_non_null(f);
    char chunk[4096];
    size_t n;
    while ((n = fread(chunk, 1, sizeof chunk, f)) > 0)
        buffer_append(&b, chunk, n);
    fclose(f);
    return buffer_steal(&b);
}

void test_key_make(const char *dir, const char *name) {
    cleanup_free char *path = xasprintf("%s/%s", dir, name);
    const char *argv[] = {"ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", path, NULL};
    assert_int_equal(run(argv), 0);
}

static void file_write(const char *dir, const char *name, const char *text) {
    cleanup_free char *path = xasprintf("%s/%s", dir, name);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static void prepare(struct test_server *s) {
    *s = (struct test_server){.dir = "/tmp/nestor-server-XXXXXX", .port = test_free_port()};
    assert_non_null(mkdtemp(s->dir));
    snprintf(s->user, sizeof s->user, "%s", getpwuid(getuid())->pw_name);
    test_key_make(s->dir, "host");
    test_key_make(s->dir, "user");
    s->host_key = test_file_read(s->dir, "host.pub");
    s->private_key = test_file_read(s->dir, "user");
    s->public_key = test_file_read(s->dir, "user.pub");
    file_write(s->dir, "authorized_keys", s->public_key);
}

static void start(struct test_server *s, const char *const argv[]) {
    cleanup_free char *log = xasprintf("%s/log", s->dir);
    pid_t parent = getpid();
    s->pid = fork();
    assert_true(s->pid >= 0);
    if (s->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(127);
        int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
        dup2(fd, STDOUT_FILENO);
        dup2(fd, STDERR_FILENO);
        execv(argv[0], (char *const *)argv);
        _exit(127);
    }
}

static void await_port(const struct test_server *s) {
    struct access *local = access_local();
    struct context ctx = test_within(10000);
    struct error err = {0};
    int fd = -1;
    while (access_dial(local, "127.0.0.1", s->port, &fd, &ctx, &err)) {
        if (err.code != ERR_CONNECT_REFUSED || kill(s->pid, 0))
            fail_msg("the test's SSH server did not start: %s", err.cause);
        error_clear(&err);
        assert_int_equal(context_sleep(&ctx, 10, NULL, "waiting for the server", NULL), 0);
    }
    close(fd);
    access_close(local);
}

static void need(const char *program) {
    if (access(program, X_OK)) {
        print_message("%s is not installed\n", program);
        exit(77);
    }
}

/* SetEnv HOME: whatever the user's shell reads at its start is no part of the test. */
void test_sshd_start(struct test_server *s, const char *extra) {
    need("/usr/sbin/sshd");
    prepare(s);
    mkdir("/run/sshd", 0755); /* sshd insists on it when run by root */
    cleanup_free char *config = xasprintf("ListenAddress 127.0.0.1\nPort %u\nHostKey %s/host\nPidFile none\n"
                                          "AuthorizedKeysFile %s/authorized_keys\nUsePAM no\nStrictModes no\n"
                                          "PermitRootLogin yes\nPasswordAuthentication no\nMaxStartups 100\n"
                                          "SetEnv HOME=%s\n%s\n",
                                          s->port, s->dir, s->dir, s->dir, extra);
    file_write(s->dir, "sshd_config", config);
    cleanup_free char *path = xasprintf("%s/sshd_config", s->dir);
    const char *argv[] = {"/usr/sbin/sshd", "-D", "-e", "-f", path, NULL};
    start(s, argv);
    await_port(s);
}

/* Dropbear takes the user's keys from the home directory only and wants everything there to be the user's, so it gets
 * a mount namespace in which the home directory is the test's. */
void test_dropbear_start(struct test_server *s) {
    need("/usr/sbin/dropbear");
    need("/usr/bin/dropbearconvert");
    need("/usr/bin/unshare");
    if (getuid() != 0) {
        print_message("only root can give Dropbear another home directory\n");
        exit(77);
    }
    prepare(s);
    cleanup_free char *from = xasprintf("%s/host", s->dir);
    cleanup_free char *to = xasprintf("%s/host.dropbear", s->dir);
    const char *convert[] = {"/usr/bin/dropbearconvert", "openssh", "dropbear", from, to, NULL};
    assert_int_equal(run(convert), 0);
    cleanup_free char *script =
        xasprintf("mkdir -p %s/home/.ssh && cp %s/authorized_keys %s/home/.ssh/ && chmod -R go= %s/home && "
                  "mount --bind %s/home %s && exec /usr/sbin/dropbear -F -E -s -r %s -p 127.0.0.1:%u -P %s/pid",
                  s->dir, s->dir, s->dir, s->dir, s->dir, getpwuid(getuid())->pw_dir, to, s->port, s->dir);
    const char *argv[] = {"/usr/bin/unshare", "-m", "sh", "-c", script, NULL};
    start(s, argv);
    await_port(s);
}

/* --- the processes below the server --- */

/* The upper ones are stopped first: none may still tell its peer what happened to those below it. */
static void signal_tree(pid_t pid, int signal) {
    cleanup_free char *path = xasprintf("/proc/%d/task/%d/children", pid, pid);
    FILE *f = fopen(path, "re");
    if (!f)
        return;
    int child;
    while (fscanf(f, "%d", &child) == 1) {
        kill(child, SIGSTOP);
        signal_tree(child, signal);
        kill(child, signal);
    }
    fclose(f);
}

void test_server_signal_children(const struct test_server *s, int signal) { signal_tree(s->pid, signal); }

void test_server_signal_connections(const struct test_server *s, int signal) {
    cleanup_free char *path = xasprintf("/proc/%d/task/%d/children", s->pid, s->pid);
    FILE *f = fopen(path, "re");
    assert_non_null(f);
    int child;
    while (fscanf(f, "%d", &child) == 1)
        kill(child, signal);
    fclose(f);
}

void test_server_stop(struct test_server *s) {
    if (s->pid > 0) {
        signal_tree(s->pid, SIGKILL);
        kill(s->pid, SIGKILL);
        waitpid(s->pid, NULL, 0);
    }
    const char *argv[] = {"rm", "-rf", s->dir, NULL};
    run(argv);
    free(s->host_key);
    free(s->private_key);
    free(s->public_key);
}

struct ssh_target test_server_target(const struct test_server *s) {
    return (struct ssh_target){
        .subject = "lab/vm",
        .host = "127.0.0.1",
        .port = s->port,
        .user = s->user,
        .host_key = s->host_key,
        .private_key = s->private_key,
        .public_key = s->public_key,
    };
}

struct access *test_server_connect(const struct test_server *s, struct access *parent) {
    struct ssh_target target = test_server_target(s);
    struct context ctx = test_within(10000);
    struct error err = {0};
    struct access *a = NULL;
    if (access_ssh(parent, &target, &a, &ctx, &err))
        fail_msg("%s: %s: %s", error_code_name(err.code), err.subject, err.cause);
    return a;
}

/* --- a listener --- */

static void *listener_main(void *arg) {
    struct test_listener *l = arg;
    for (;;) {
        struct pollfd fds[] = {{.fd = l->stop, .events = POLLIN}, {.fd = l->fd, .events = POLLIN}};
        poll(fds, 2, -1);
        if (fds[0].revents)
            return NULL;
        int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0)
            continue;
        l->serve(l->data, fd);
        close(fd);
    }
}

void test_listener_start(struct test_listener *l, void (*serve)(void *data, int fd), void *data) {
    *l = (struct test_listener){.serve = serve, .data = data};
    l->fd = listen_any(&l->port);
    l->stop = eventfd(0, EFD_CLOEXEC);
    assert_true(l->stop >= 0);
    if (serve)
        assert_int_equal(pthread_create(&l->thread, NULL, listener_main, l), 0);
}

void test_listener_stop(struct test_listener *l) {
    uint64_t one = 1;
    assert_int_equal(write(l->stop, &one, sizeof one), sizeof one);
    if (l->serve)
        pthread_join(l->thread, NULL);
    close(l->fd);
    close(l->stop);
}

void test_serve_echo(void *data, int fd) {
    (void)data;
    char chunk[65536];
    ssize_t n;
    while ((n = recv(fd, chunk, sizeof chunk, 0)) > 0)
        for (ssize_t sent = 0, m; sent < n; sent += m)
            if ((m = send(fd, chunk + sent, (size_t)(n - sent), MSG_NOSIGNAL)) < 0)
                return;
}
