/* Hands over to the system's OpenSSH, with a configuration made from the state: one alias per machine, a ProxyJump
 * chain, pinned host keys. */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/session.h"
#include "nestor/file.h"

#define LOOK_UP_MS 5000

struct ssh_options {
    bool config;
};
static const struct option_spec options[] = {
    {"config", 0, OPTION_FLAG, offsetof(struct ssh_options, config), NULL,
     "only write the configuration and print its path, for an Include in your own"},
    {0},
};

/* OpenSSH's ProxyJump ends a host name at a slash (misc.c, hpdelim2), so each machine has a second alias with dots. */
static char *dotted(const char *path) {
    char *copy = xstrdup(path);
    for (char *c = copy; *c; c++)
        if (*c == '/')
            *c = '.';
    return copy;
}

/* A path as ssh_config(5) takes it: "%" begins a token, "%%" is the character. For the others there is no way to write
 * them that every version of OpenSSH understands. */
static char *quote(const char *path, struct error *err) {
    struct buffer out = {0};
    if (path[strcspn(path, "\"\\\n")] || strstr(path, "${")) {
        error_set(err, ERR_UNSUPPORTED, path, "OpenSSH's configuration cannot name it: there is \", \\ or ${ in it");
        error_mend(err, "set NESTOR_HOME to a folder without them; 'nestor exec' works all the same");
        return NULL;
    }
    buffer_putc(&out, '"');
    for (; *path; path++) {
        if (*path == '%')
            buffer_putc(&out, '%');
        buffer_putc(&out, *path);
    }
    buffer_putc(&out, '"');
    return buffer_steal(&out);
}

/* The machine that one has to go through; LAB_NONE: none. What is spoken to at its address is not gone through. */
static uint32_t jump_of(const struct inventory *inv, const struct row *row) {
    uint32_t r = row->parent;
    while (r != LAB_NONE && row_is_by_address(&inv->rows[r]))
        r = inv->rows[r].parent;
    return r;
}

/* Hosts are asked where the machines on them answer now: leases end, and somebody may have restarted one by hand. What
 * is deeper is as it was last reached: to ask for it is to connect first. A host that does not answer, or wants a
 * password first, is no failure here. only: for this machine and the way to it; LAB_NONE: for all. */
static void look_up(struct session *s, uint32_t only) {
    struct context ctx = context_timeout(&s->cli->ctx, LOOK_UP_MS);
    const struct inventory *inv = s->inv;
    reach_ask(s->reach, NULL);
    while (only != LAB_NONE && inv->rows[only].parent != LAB_NONE)
        only = inv->rows[only].parent;
    for (uint32_t i = 0; i < inv->nrows; i++) {
        const struct row *row = &inv->rows[i];
        if (row->parent == LAB_NONE && (only == LAB_NONE || only == i) && row->recorded && row->recorded->address[0])
            reach_find(s->reach, i, &ctx);
    }
}

static void add_machine(const struct session *s, uint32_t at, const char *key, const char *known, struct buffer *out) {
    const struct row *row = &s->inv->rows[at];
    char now[80];
    reach_address(s->reach, at, now);
    const char *address = now[0] ? now : row->recorded->address, *colon = strrchr(address, ':');
    if (!colon)
        return;
    cleanup_free char *alias = dotted(row->path);
    buffer_printf(out, "Host %s %s\n    HostName %.*s\n    Port %s\n    User %s\n", row->path, alias,
                  (int)(colon - address), address, colon + 1, row->ssh_user);
    buffer_printf(out,
                  "    HostKeyAlias %s\n    IdentityFile %s\n    IdentitiesOnly yes\n"
                  "    UserKnownHostsFile %s\n    GlobalKnownHostsFile /dev/null\n    StrictHostKeyChecking yes\n"
                  "    HostKeyAlgorithms ssh-ed25519\n",
                  row->path, key, known);
    uint32_t through = jump_of(s->inv, row);
    if (through != LAB_NONE) {
        cleanup_free char *jump = dotted(s->inv->rows[through].path);
        buffer_printf(out, "    ProxyJump %s\n", jump);
    }
    buffer_putc(out, '\n');
}

static int add_known(const struct session *s, const struct row *row, struct buffer *out, struct error *err) {
    struct keypair key;
    cleanup_free char *purpose = xasprintf("host:%s", row->path);
    if (keypair_derive(&s->secret, purpose, row->name, &key, err))
        return -1;
    buffer_printf(out, "%s %s\n", row->path, key.public_line);
    keypair_free(&key);
    return 0;
}

static int write_file(const char *path, const struct buffer *text, struct error *err) {
    return file_write(AT_FDCWD, path, buffer_str(text), text->len, 0600, NULL, err);
}

static int write_config(struct session *s, const char *config, struct error *err) {
    cleanup_free char *key = session_path(s, "id_ed25519"), *known = session_path(s, "known_hosts");
    cleanup_buffer struct buffer text = {0}, hosts = {0}, private_key = {0};
    struct keypair user = {0};
    if (!s->has_secret)
        return error_set(err, ERR_AUTH, s->lab_name, "the lab's key is not on this machine");
    cleanup_free char *quoted_key = quote(key, err), *quoted_known = quoted_key ? quote(known, err) : NULL;
    if (!quoted_known)
        return -1;
    buffer_printf(&text, "# Made by nestor for lab %s; rewritten by each 'nestor ssh'.\n\n", s->lab_name);
    for (uint32_t i = 0; i < s->inv->nrows; i++) {
        const struct row *row = &s->inv->rows[i];
        if (!row->recorded || !row->recorded->address[0])
            continue;
        add_machine(s, i, quoted_key, quoted_known, &text);
        if (add_known(s, row, &hosts, err))
            return -1;
    }
    if (keypair_derive(&s->secret, "user", "nestor", &user, err))
        return -1;
    buffer_puts(&private_key, user.private_pem);
    keypair_free(&user);
    int failed = write_file(key, &private_key, err) || write_file(known, &hosts, err) || write_file(config, &text, err);
    explicit_bzero(private_key.data, private_key.len);
    return failed ? -1 : 0;
}

static int check_address(const struct session *s, uint32_t at, struct error *err) {
    const struct row *row = &s->inv->rows[at];
    if (row->recorded && row->recorded->address[0])
        return 0;
    error_set(err, ERR_NOT_FOUND, row->path, "no address is known where SSH would reach it");
    return error_mend(err, "'nestor up' brings it up; if it is up already: nestor exec %s -- COMMAND", row->path);
}

static int hand_over(const char *config, const char *path, int argc, char **argv, struct error *err) {
    const char **args = xcalloc((size_t)argc + 6, sizeof *args);
    size_t n = 0;
    args[n++] = "ssh";
    args[n++] = "-F";
    args[n++] = config;
    args[n++] = path;
    for (int i = 0; i < argc; i++)
        args[n++] = argv[i];
    execvp("ssh", (char *const *)args);
    int saved = errno;
    free(args);
    error_set_errno(err, saved, "ssh", "cannot start it");
    return error_mend(err, "install the OpenSSH client (apt-get install openssh-client), or use 'nestor exec'");
}

/* The configuration of a lab, for one machine (NULL: all). Its path goes to *ret, the caller's to free. */
static int make_config(struct cli *cli, const char *lab, const char *machine, char **ret, struct error *err) {
    struct session s;
    uint32_t at = LAB_NONE;
    cleanup_free char *config = NULL;
    int failed = -1;
    if (session_from_name(&s, cli, lab, NULL, err) == 0 && session_reach(&s, s.lab != NULL, NULL, err) == 0 &&
        (!machine || session_find_machine(&s, machine, &at, err) == 0)) {
        config = session_path(&s, "ssh_config");
        look_up(&s, at);
        failed = write_config(&s, config, err) || (machine && check_address(&s, at, err));
    }
    session_close(&s);
    if (failed)
        return -1;
    *ret = steal_ptr(&config);
    return 0;
}

static int run(struct cli *cli, const void *opts, int argc, char **argv, struct error *err) {
    const struct ssh_options *o = opts;
    cleanup_free char *lab = NULL, *config = NULL;
    if (o->config)
        lab = xstrdup(argv[0]);
    else if (split_machine_path(argv[0], &lab, err))
        return -1;
    if (make_config(cli, lab, o->config ? NULL : argv[0], &config, err))
        return -1;
    if (!o->config)
        return hand_over(config, argv[0], argc - 1, argv + 1, err);
    puts(config);
    return NESTOR_DONE;
}

const struct cli_command cmd_ssh = {
    .name = "ssh",
    .summary = "Open a shell in a machine at any level, with the system's OpenSSH",
    .arguments = "LAB/MACHINE... [SSH-ARGUMENTS...]",
    .completes = ARGUMENT_MACHINE,
    .options = options,
    .options_size = sizeof(struct ssh_options),
    .min_args = 1,
    .max_args = -1,
    .passes_rest = true,
    .details =
        "The configuration it makes has one alias per machine, pinned host keys and a ProxyJump chain. With --config\n"
        "LAB it is written and its path printed, so that scp, rsync or Ansible can use it too.",
    .examples = "  nestor ssh quickstart/kvm1/web1\n"
                "  scp -F \"$(nestor ssh --config quickstart)\" file quickstart/kvm1:/root/",
    .run = run,
};
