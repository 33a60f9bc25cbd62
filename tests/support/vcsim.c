#include "vcsim.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "nestor/file.h"
#include "nestor/transport.h"

#define LIB ". \"$NESTOR_SOURCE_DIR/tests/support/vcsim_lib.sh\"\n"
#define SERVER_LINE_MAX 1024

/* --- a server: a shell that starts it, tells about it in one line, and ends with its status --- */

static void exec_shell(const char *place, const char *script, int out, pid_t parent) {
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(127);
    dup2(out, STDOUT_FILENO);
    close(out);
    setenv("place", place, 1);
    execl("/bin/sh", "sh", "-c", script, (char *)NULL);
    _exit(127);
}

static size_t read_line(int fd, char *line, size_t size) {
    size_t n = 0;
    while (n + 1 < size && read(fd, line + n, 1) == 1 && line[n] != '\n')
        n++;
    line[n] = '\0';
    return n;
}

static void server_start(struct vcsim_server *s, const char *place, const char *script) {
    int fds[2];
    pid_t parent = getpid();
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    s->shell = fork();
    assert_true(s->shell >= 0);
    if (s->shell == 0)
        exec_shell(place, script, fds[1], parent);
    close(fds[1]);
    char line[SERVER_LINE_MAX], *rest = line;
    size_t len = read_line(fds[0], line, sizeof line);
    close(fds[0]);
    if (strncmp(line, "https:", strlen("https:")) != 0) {
        int status = 0;
        waitpid(s->shell, &status, 0);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
            print_message("%s\n", line);
            exit(77);
        }
        fail_msg("the server did not start: %zu bytes: %s", len, line);
    }
    s->url = xstrdup(strsep(&rest, " "));
    s->thumbprint = xstrdup(strsep(&rest, " "));
    s->ca = xstrdup(strsep(&rest, " "));
    s->pid = (pid_t)atoi(rest);
}

/* The exit status. */
static int server_stop(struct vcsim_server *s) {
    int status = 0;
    if (s->shell > 0) {
        kill(s->pid, SIGTERM);
        waitpid(s->shell, &status, 0);
    }
    free(s->url);
    free(s->thumbprint);
    free(s->ca);
    *s = (struct vcsim_server){0};
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

/* --- vcsim --- */

void vcsim_start(struct vcsim *v, bool esx, const char *options) {
    *v = (struct vcsim){.dir = "/tmp/nestor-vcsim-XXXXXX", .esx = esx};
    if (!getenv("NESTOR_SOURCE_DIR")) {
        print_message("NESTOR_SOURCE_DIR is not set\n");
        exit(77);
    }
    assert_non_null(mkdtemp(v->dir));
    cleanup_free char *script =
        xasprintf(LIB "vcsim_start %s %s\necho \"$vcsim_url $vcsim_thumbprint $vcsim_ca $vcsim_pid\"\n"
                      "exec >/dev/null; wait $vcsim_pid",
                  esx ? "esx" : "vpx", options ? options : "");
    server_start(&v->server, v->dir, script);
}

void vcsim_stop(struct vcsim *v) {
    server_stop(&v->server);
    if (!v->dir[0])
        return;
    const char *argv[] = {"rm", "-rf", v->dir, NULL};
    struct command_result r = {0};
    struct context ctx = context_timeout(NULL, 20000);
    assert_int_equal(process_run(argv, &COMMAND(NULL), &r, &ctx, NULL), 0);
    command_result_free(&r);
    v->dir[0] = '\0';
}

char *vcsim_run(const struct vcsim *v, const char *script) {
    cleanup_free char *place = xasprintf("place=%s", v->dir);
    cleanup_free char *url = xasprintf("GOVC_URL=%s", v->server.url);
    cleanup_free char *ca = xasprintf("GOVC_TLS_CA_CERTS=%s", v->server.ca);
    cleanup_free char *text = xasprintf("set -e\n%svcsim_mode=%s\n%s", LIB, v->esx ? "esx" : "vpx", script);
    const char *argv[] = {"env", place, url, ca, "sh", "-c", text, NULL};
    struct command_result r = {0};
    struct error err = {0};
    struct context ctx = context_timeout(NULL, 120000);
    if (process_run(argv, &COMMAND(NULL), &r, &ctx, &err) || r.status)
        fail_msg("status %d of: %s\n%s%s", r.status, script, err.cause, buffer_str(&r.err));
    char *out = buffer_steal(&r.out);
    command_result_free(&r);
    return out ? out : xstrdup("");
}

json_t *vcsim_machines(const struct vcsim *v) {
    cleanup_free char *text = vcsim_run(v, "vms | jq -s .");
    json_t *machines = json_loads(text, 0, NULL);
    assert_non_null(machines);
    return machines;
}

size_t vcsim_count_machines(const struct vcsim *v, const char *prefix) {
    json_t *machines = vcsim_machines(v), *machine;
    size_t i, n = 0;
    json_array_foreach(machines, i, machine) {
        const char *name = json_string_value(json_object_get(machine, "name"));
        n += name && strncmp(name, prefix, strlen(prefix)) == 0;
    }
    json_decref(machines);
    return n;
}

/* --- the proxy --- */

void vcsim_proxy_start(struct vcsim_proxy *p, const struct vcsim *v, const char *options) {
    *p = (struct vcsim_proxy){.vcsim = v};
    cleanup_free char *place = xasprintf("%s/proxy-XXXXXX", v->dir);
    assert_non_null(mkdtemp(place));
    cleanup_free char *script =
        xasprintf(LIB "vcsim_mode=%s vcsim_url=%s\nproxy_start --record \"$place/calls\" %s\n"
                      "echo \"$proxy_url $proxy_thumbprint $proxy_ca $proxy_pid $proxy_control\"\n"
                      "exec >/dev/null; wait $proxy_pid",
                  v->esx ? "esx" : "vpx", v->server.url, options ? options : "");
    server_start(&p->server, place, script);
    p->control = xasprintf("%s/proxy1/control", place);
    p->calls = xasprintf("%s/calls", place);
}

void vcsim_proxy_stop(struct vcsim_proxy *p) {
    int status = server_stop(&p->server);
    free(p->control);
    free(p->calls);
    *p = (struct vcsim_proxy){0};
    if (status)
        fail_msg("the proxy ended with %d%s", status, status == 70 ? ": the password was outside of a Login" : "");
}

void vcsim_control(const struct vcsim_proxy *p, const char *lines) {
    cleanup_free char *new = xasprintf("%s.new", p->control);
    FILE *f = fopen(new, "we");
    assert_non_null(f);
    fputs(lines, f);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(rename(new, p->control), 0);
}

json_t *vcsim_calls(const struct vcsim_proxy *p, const char *method) {
    json_t *calls = json_array(), *call;
    FILE *f = fopen(p->calls, "re");
    assert_non_null(f);
    while ((call = json_loadf(f, JSON_DISABLE_EOF_CHECK, NULL))) {
        const char *name = json_string_value(json_object_get(call, "method"));
        if (!method || (name && strcmp(name, method) == 0))
            json_array_append(calls, call);
        json_decref(call);
    }
    fclose(f);
    return calls;
}

size_t vcsim_count_calls(const struct vcsim_proxy *p, const char *method) {
    json_t *calls = vcsim_calls(p, method);
    size_t n = json_array_size(calls);
    json_decref(calls);
    return n;
}
