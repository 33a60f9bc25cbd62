/* Inside a fake machine: an access whose shell knows a handful of commands and says "not found" to the rest. */
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "drivers/fake/world.h"

#define MAX_WORDS 64
#define MAX_STREAM ((size_t)16 << 20)

struct guest {
    struct access base; /* its subject is owned */
    struct hypervisor *hv;
    char *dir;             /* the machine's directory */
    char *on;              /* its power mark */
    struct timespec since; /* when it was powered on: after a reboot this access is dead */
    struct settings inside;
};

static bool powered_on_at(const char *on, struct timespec *ret) {
    struct stat st;
    if (stat(on, &st) != 0)
        return false;
    *ret = st.st_ctim;
    return true;
}

static bool guest_alive(struct access *a) {
    struct guest *g = (struct guest *)a;
    struct timespec t;
    return powered_on_at(g->on, &t) && t.tv_sec == g->since.tv_sec && t.tv_nsec == g->since.tv_nsec &&
           access_alive(g->hv->access);
}

/* --- the shell --- */

struct shell {
    struct guest *guest;
    char **words;
    int n;
    const char *input;
    size_t input_len;
    struct buffer *out, *err;
};

static int do_true(struct shell *sh) {
    (void)sh;
    return 0;
}

static int do_exit(struct shell *sh) { return sh->n > 1 ? atoi(sh->words[1]) & 0xff : 0; }

static int do_echo(struct shell *sh) {
    for (int i = 1; i < sh->n; i++)
        buffer_printf(sh->out, "%s%s", i > 1 ? " " : "", sh->words[i]);
    buffer_putc(sh->out, '\n');
    return 0;
}

static const char *host_name(const struct guest *g) {
    const char *slash = strrchr(g->base.subject, '/');
    return slash ? slash + 1 : g->base.subject;
}

static int do_hostname(struct shell *sh) {
    buffer_printf(sh->out, "%s\n", host_name(sh->guest));
    return 0;
}

static int do_uname(struct shell *sh) {
    if (sh->n == 1)
        buffer_puts(sh->out, "Linux\n");
    else
        buffer_printf(sh->out, "Linux %s 6.1.0-fake #1 SMP x86_64 GNU/Linux\n", host_name(sh->guest));
    return 0;
}

/* Copied files lie flat in one directory, under their path with "%" for "/". */
static char *file_path(const struct guest *g, const char *remote) {
    cleanup_free char *flat = xstrdup(remote);
    for (char *s = flat; *s; s++)
        if (*s == '/')
            *s = '%';
    return xasprintf("%s/files/%s", g->dir, flat);
}

static int cat_file(struct shell *sh, const char *name) {
    cleanup_free char *path = file_path(sh->guest, name);
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    char block[16384];
    ssize_t n = -1;
    while (fd >= 0 && (n = read(fd, block, sizeof block)) > 0)
        buffer_append(sh->out, block, (size_t)n);
    if (n == 0)
        return 0;
    buffer_printf(sh->err, "cat: %s: %s\n", name, strerror(errno));
    return 1;
}

static int do_cat(struct shell *sh) {
    int status = 0;
    if (sh->n == 1)
        buffer_append(sh->out, sh->input, sh->input_len);
    for (int i = 1; i < sh->n; i++)
        status |= cat_file(sh, sh->words[i]);
    return status;
}

static int do_settings(struct shell *sh) {
    settings_print(&sh->guest->inside, sh->out);
    return 0;
}

static const struct {
    const char *name;
    int (*run)(struct shell *sh);
} commands[] = {
    {":", do_true},  {"true", do_true},   {"exit", do_exit},         {"echo", do_echo},
    {"cat", do_cat}, {"uname", do_uname}, {"hostname", do_hostname}, {SETTINGS_QUESTION, do_settings},
};

/* The answer to nestor's verification script (verify.h): per probe a line "@@ NAME STATUS", then its output. */
static void answer_verify(struct shell *sh) {
    const char *flag = sh->guest->inside.flag;
    bool sees = flag[0] != '\0';
    const char *module = strcmp(flag, "vmx") == 0 ? "kvm_intel" : "kvm_amd";
    buffer_printf(sh->out, "@@ cpu-flag %d\n%s%s", sees ? 0 : 1, flag, sees ? "\n" : "");
    buffer_printf(sh->out, "@@ kvm-module %d\n%s%s", sees ? 0 : 1, sees ? module : "", sees ? "\n" : "");
    buffer_printf(sh->out, "@@ kvm-nested %d\n%s", sees ? 0 : 1, sees ? "1\n" : "");
    buffer_printf(sh->out, "@@ dev-kvm %d\n", sees ? 0 : 1);
    buffer_puts(sh->out, "@@ hypervisor 0\nfake\n");
}

/* Splits at blanks and takes single quotes off, as buffer_put_shell puts them on. False for anything a real shell
 * would do more with. */
static bool split_words(char *script, char **words, int *ret_n) {
    char *to = script;
    int n = 0;
    for (char *s = script; *(s += strspn(s, " \t\n"));) {
        if (n == MAX_WORDS)
            return false;
        words[n++] = to;
        for (bool quoted = false; *s && (quoted || !strchr(" \t\n", *s)); s++) {
            if (*s == '\'')
                quoted = !quoted;
            else if (!quoted && strchr(";|&$`<>(){}*?\"#", *s))
                return false;
            else if (!quoted && *s == '\\' && s[1])
                *to++ = *++s;
            else
                *to++ = *s;
        }
        bool last = !*s;
        s += !last;
        *to++ = '\0'; /* never past s: the blank or the end that was just read */
        if (last)
            break;
    }
    *ret_n = n;
    return true;
}

static int shell_run(struct shell *sh, const char *script) {
    if (strncmp(script, "# nestor-verify", 15) == 0) {
        answer_verify(sh);
        return 0;
    }
    cleanup_free char *text = xstrdup(script);
    char *words[MAX_WORDS];
    sh->words = words;
    if (split_words(text, words, &sh->n)) {
        if (sh->n == 0)
            return 0;
        for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
            if (strcmp(commands[i].name, words[0]) == 0)
                return commands[i].run(sh);
    }
    buffer_printf(sh->err, "sh: 1: %s: not found\n", script);
    return 127;
}

/* --- the access --- */

static int check_alive(struct guest *g, const char *what, const struct context *ctx, struct error *err) {
    if (context_check(ctx, g->base.subject, what, err))
        return -1;
    if (guest_alive(&g->base))
        return 0;
    error_set(err, ERR_UNREACHABLE, g->base.subject, "the connection to it is lost");
    return error_retry(err);
}

static int too_much(const struct guest *g, struct error *err) {
    return error_set(err, ERR_PROTOCOL, g->base.subject, "a command's input or output is too long");
}

/* Reads fd to its end. */
static int read_input(const struct guest *g, int fd, struct buffer *to, const struct context *ctx, struct error *err) {
    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (context_poll(ctx, &p, 1, -1, g->base.subject, "reading a command's input", err) < 0)
            return -1;
        char *room = buffer_reserve(to, 4096);
        if (!room)
            return too_much(g, err);
        ssize_t n = read(fd, room, 4096);
        if (n < 0 && errno != EINTR && errno != EAGAIN)
            return error_set_errno(err, errno, g->base.subject, "cannot read a command's input");
        if (n == 0)
            return 0;
        to->len += n > 0 ? (size_t)n : 0;
    }
}

/* Empties b into fd, or leaves it in b when there is no fd. */
static int deliver(const struct guest *g, int fd, struct buffer *b, const struct context *ctx, struct error *err) {
    size_t done = 0;
    while (fd >= 0 && done < b->len) {
        struct pollfd p = {.fd = fd, .events = POLLOUT};
        if (context_poll(ctx, &p, 1, -1, g->base.subject, "writing a command's output", err) < 0)
            return -1;
        ssize_t n = write(fd, b->data + done, b->len - done);
        if (n < 0 && errno != EINTR && errno != EAGAIN)
            return error_set_errno(err, errno, g->base.subject, "cannot write a command's output");
        done += n > 0 ? (size_t)n : 0;
    }
    if (fd >= 0)
        buffer_clear(b);
    return 0;
}

static int guest_run(struct access *a, const struct command *c, struct command_result *ret, const struct context *ctx,
                     struct error *err) {
    struct guest *g = (struct guest *)a;
    size_t max = c->max_output ? c->max_output : MAX_STREAM;
    cleanup_command_result struct command_result r = {.out.max = max, .err.max = max};
    cleanup_buffer struct buffer input = {.max = MAX_STREAM};
    if (check_alive(g, "running a command", ctx, err))
        return -1;
    /* Only cat reads its input: the others must not wait for a terminal's. */
    bool reads = strcmp(c->script, "cat") == 0 || strcmp(c->script, "'cat'") == 0;
    if (c->in_fd >= 0 && reads && read_input(g, c->in_fd, &input, ctx, err))
        return -1;
    struct shell sh = {.guest = g,
                       .input = c->in_fd >= 0 ? input.data : c->input,
                       .input_len = c->in_fd >= 0 ? input.len : c->input_len,
                       .out = &r.out,
                       .err = &r.err};
    r.status = shell_run(&sh, c->script);
    if (buffer_overflowed(&r.out) || buffer_overflowed(&r.err))
        return too_much(g, err);
    if (deliver(g, c->out_fd, &r.out, ctx, err) || deliver(g, c->err_fd, &r.err, ctx, err))
        return -1;
    *ret = r;
    r = (struct command_result){0};
    return 0;
}

static int copy_bytes(int from, int to, uint64_t *done) {
    char block[65536];
    ssize_t n;
    while ((n = read(from, block, sizeof block)) > 0) {
        if (write(to, block, (size_t)n) != n)
            return -1;
        *done += (uint64_t)n;
    }
    return (int)n;
}

static int guest_put(struct access *a, const char *local, const char *remote, mode_t mode, progress_fn progress,
                     void *data, const struct context *ctx, struct error *err) {
    struct guest *g = (struct guest *)a;
    if (check_alive(g, "copying a file", ctx, err))
        return -1;
    cleanup_free char *files = xasprintf("%s/files", g->dir);
    cleanup_free char *path = file_path(g, remote);
    cleanup_free char *temporary = xasprintf("%s.tmp", path);
    cleanup_close int from = open(local, O_RDONLY | O_CLOEXEC);
    if (from < 0)
        return error_set_errno(err, errno, local, "cannot read it");
    if (mkdir(files, 0700) != 0 && errno != EEXIST)
        return error_set_errno(err, errno, g->base.subject, "cannot make %s", files);
    cleanup_close int to = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    uint64_t done = 0;
    if (to < 0 || copy_bytes(from, to, &done) || rename(temporary, path) != 0)
        return error_set_errno(err, errno, g->base.subject, "cannot copy %s", local);
    if (progress)
        progress(data, done, done);
    return 0;
}

static int guest_dial(struct access *a, const char *host, uint16_t port, int *ret_fd, const struct context *ctx,
                      struct error *err) {
    (void)ret_fd;
    (void)ctx;
    return error_set(err, ERR_UNSUPPORTED, a->subject, "a fake machine has no network to reach %s:%u", host, port);
}

static void guest_close(struct access *a) {
    struct guest *g = (struct guest *)a;
    settings_free(&g->inside);
    free((char *)g->base.subject);
    free(g->dir);
    free(g->on);
    free(g);
}

static const struct access_ops guest_ops = {
    .run = guest_run, .put = guest_put, .dial = guest_dial, .alive = guest_alive, .close = guest_close};

/* The world a machine would be: its parent's ways, and the flag only if this machine sees it. */
static struct settings settings_inside(const struct settings *outer, const struct tag *tag, bool exposed) {
    struct settings s = {.world = machine_path(outer, tag, "inside"),
                         .log = xstrdup(outer->log),
                         .blind = xstrdup(outer->blind),
                         .delay_ms = outer->delay_ms,
                         .torn = outer->torn};
    if (exposed && fnmatch(outer->blind, tag->path, FNM_PATHNAME) != 0)
        memcpy(s.flag, outer->flag, sizeof s.flag);
    return s;
}

int guest_open(struct hypervisor *hv, const struct tag *tag, const struct record *record, struct access **ret,
               struct error *err) {
    cleanup_free char *on = machine_path(&hv->settings, tag, "on");
    struct timespec since;
    if (!powered_on_at(on, &since)) {
        error_set(err, ERR_UNREACHABLE, tag->path, "it is powered off");
        return error_retry(err);
    }
    struct guest *g = xcalloc(1, sizeof *g);
    *g = (struct guest){.base = {.ops = &guest_ops, .subject = xstrdup(tag->path)},
                        .hv = hv,
                        .dir = machine_path(&hv->settings, tag, NULL),
                        .on = steal_ptr(&on),
                        .since = since,
                        .inside = settings_inside(&hv->settings, tag, record->exposed)};
    *ret = &g->base;
    return 0;
}
