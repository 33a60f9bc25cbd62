#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "drivers/vsphere/vsphere_priv.h"
#include "nestor/file.h"

#define PASSWORD_MAX 1024
#define VLAN_MAX 4095 /* which means all of them, on a standard switch; a distributed one says that otherwise */

static const char *const place_params[PLACE_MAX] = {
#define X(symbol, param, noun, folder, type, also) [symbol] = param,
    VSPHERE_PLACES(X)
#undef X
};

static const char *given(const struct hypervisor_config *config, const char *key) {
    const char *value = param_get(config, key, NULL);
    return value && value[0] ? value : NULL;
}

/* Of parameters that say the same thing in different ways at most one can be meant. */
static int at_most_one(const struct hypervisor_config *config, const char *const *keys, const char *mend,
                       struct error *err) {
    const char *first = NULL;
    for (; *keys; keys++) {
        if (!given(config, *keys))
            continue;
        if (first) {
            error_set(err, ERR_SPEC, config->subject, "it has both %s and %s", first, *keys);
            return error_mend(err, "%s", mend);
        }
        first = *keys;
    }
    return 0;
}

static int read_number(const struct hypervisor_config *config, const char *key, int most, int *ret, struct error *err) {
    const char *text = given(config, key);
    if (!text)
        return 0;
    char *end;
    errno = 0;
    long n = strtol(text, &end, 10);
    if (errno || *end || n < 1 || n > most) {
        error_set(err, ERR_SPEC, config->subject, "%s '%s' is no number from 1 to %d", key, text, most);
        return error_mend(err, "give a number, or leave it out");
    }
    *ret = (int)n;
    return 0;
}

static int read_flag(const struct hypervisor_config *config, const char *key, bool *ret, struct error *err) {
    const char *text = given(config, key);
    if (text && strcmp(text, "true") != 0 && strcmp(text, "false") != 0) {
        error_set(err, ERR_SPEC, config->subject, "%s '%s' is neither true nor false", key, text);
        return error_mend(err, "say %s: true, or leave it out", key);
    }
    *ret = text && strcmp(text, "true") == 0;
    return 0;
}

/* A guest hypervisor is where its machine answers; what its certificate must name is then up to `url`. */
static int read_url(const struct hypervisor_config *config, struct vsphere_settings *s, struct error *err) {
    static const char scheme[] = "https://"; /* and no other: the password must not go over the wire as it is */
    const char *url = given(config, "url");
    if (!url && config->endpoint) {
        bool v6 = strchr(config->endpoint->host, ':') != NULL;
        s->url = xasprintf("https://%s%s%s/sdk", v6 ? "[" : "", config->endpoint->host, v6 ? "]" : "");
        return 0;
    }
    if (!url) {
        error_set(err, ERR_SPEC, config->subject, "it has no url");
        return error_mend(err, "say where the vCenter or ESXi answers: url: https://ADDRESS/sdk");
    }
    size_t n = strlen(scheme), host = strncmp(url, scheme, n) == 0 ? strcspn(url + n, "/") : 0;
    if (host) {
        bool bare = strlen(url + n + host) <= 1; /* no path, or "/" */
        s->url = bare ? xasprintf("%.*s/sdk", (int)(n + host), url) : xstrdup(url);
        return 0;
    }
    error_set(err, ERR_SPEC, config->subject, "url '%s' does not begin with https://", url);
    return error_mend(err, "write it as url: https://ADDRESS/sdk");
}

static int read_access(const struct hypervisor_config *config, struct vsphere_settings *s, struct error *err) {
    int port = 443;
    s->username = given(config, "username");
    if (!s->username && config->endpoint)
        s->username = "root";
    if (!s->username) {
        error_set(err, ERR_SPEC, config->subject, "it has no username");
        return error_mend(err, "say who logs in: username: administrator@vsphere.local, or root for an ESXi");
    }
    s->ssh_port = 22;
    s->password_env = given(config, "password.env");
    s->password_file = given(config, "password.file");
    if (read_number(config, "port", 65535, &port, err) || read_number(config, "ssh.port", 65535, &s->ssh_port, err))
        return -1;
    if (config->endpoint) {
        s->dial_host = config->endpoint->host;
        s->dial_port = (uint16_t)port;
    } else if (given(config, "port")) {
        error_set(err, ERR_SPEC, config->subject, "port is for guest hypervisors");
        return error_mend(err, "write it into the url: https://ADDRESS:%d/sdk", port);
    }
    return 0;
}

static int read_trust(const struct hypervisor_config *config, struct vsphere_settings *s, struct error *err) {
    s->trust.thumbprint = given(config, "tls.thumbprint");
    s->trust.ca = given(config, "tls.ca");
    return read_flag(config, "tls.insecure", &s->trust.insecure, err);
}

static int read_inventory(const struct hypervisor_config *config, struct vsphere_settings *s, struct error *err) {
    for (int p = 0; p < PLACE_MAX; p++)
        s->named[p] = place_params[p] ? given(config, place_params[p]) : NULL;
    s->vswitch = given(config, "inventory.switch");
    if (read_number(config, "inventory.vlan", VLAN_MAX, &s->vlan, err))
        return -1;
    if (s->vlan && !s->vswitch) {
        error_set(err, ERR_SPEC, config->subject, "inventory.vlan is for the network nestor makes on inventory.switch");
        return error_mend(err, "leave it out, or name a switch instead of a network");
    }
    return 0;
}

static int check_choices(const struct hypervisor_config *config, struct error *err) {
    static const char *const passwords[] = {"password.env", "password.file", NULL};
    const char *insecure = given(config, "tls.insecure");
    bool off = insecure && strcmp(insecure, "false") == 0; /* then it says nothing */
    const char *const trusts[] = {"tls.thumbprint", "tls.ca", off ? NULL : "tls.insecure", NULL};
    static const char *const computes[] = {"inventory.cluster", "inventory.host", "inventory.resource-pool", NULL};
    static const char *const networks[] = {"inventory.network", "inventory.switch", NULL};
    return at_most_one(config, passwords, "keep the one that holds the password", err) ||
                   at_most_one(config, trusts, "keep the one that proves who the server is", err) ||
                   at_most_one(config, computes, "keep the one machines are to run on", err) ||
                   at_most_one(config, networks,
                               "name a network that is there, or the switch nestor is to make one of the lab's own on",
                               err)
               ? -1
               : 0;
}

int vsphere_settings_read(const struct hypervisor_config *config, struct vsphere_settings *ret, struct error *err) {
    struct vsphere_settings s = {0};
    if (check_choices(config, err) || read_access(config, &s, err) || read_trust(config, &s, err) ||
        read_inventory(config, &s, err) || read_url(config, &s, err))
        return -1;
    *ret = s;
    return 0;
}

void vsphere_settings_free(struct vsphere_settings *s) {
    free(s->url);
    s->url = NULL;
}

/* --- the password --- */

static int check_file(int fd, const char *path, struct error *err) {
    struct stat st;
    if (fstat(fd, &st))
        return error_set_errno(err, errno, path, "cannot look at the password file");
    if (!S_ISREG(st.st_mode))
        return error_set(err, ERR_IO, path, "the password file is not a regular file");
    if (st.st_mode & 077) {
        error_set(err, ERR_IO, path, "others may read the password file (mode %04o)", (unsigned)(st.st_mode & 07777));
        return error_mend(err, "chmod 600 %s", path);
    }
    return 0;
}

/* Its first line. */
static int read_password_file(const char *path, struct buffer *ret, struct error *err) {
    char text[PASSWORD_MAX + 2] = "";
    /* O_NONBLOCK: a FIFO of that name must be refused below, not waited for. */
    cleanup_close int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) {
        error_set_errno(err, errno, path, "cannot open the password file");
        return error_mend(err, "correct password: { file: } in the lab file, from whose folder the path is seen");
    }
    if (check_file(fd, path, err))
        return -1;
    ssize_t got = pread(fd, text, sizeof text - 1, 0);
    if (got < 0)
        return error_set_errno(err, errno, path, "cannot read the password file");
    size_t len = strcspn(text, "\r\n");
    if (len > 0 && len <= PASSWORD_MAX)
        buffer_append(ret, text, len);
    explicit_bzero(text, sizeof text);
    if (len > 0 && len <= PASSWORD_MAX)
        return 0;
    error_set(err, ERR_IO, path, "the first line of the password file is %s",
              len ? "longer than a password can be" : "empty");
    return error_mend(err, "write the password there, and nothing else");
}

static int read_password_env(const struct hypervisor *hv, const char *name, struct buffer *ret, struct error *err) {
    const char *value = getenv(name);
    if (!value || !value[0]) {
        error_set(err, ERR_NOT_FOUND, hv->config.subject, "the environment variable %s is not set", name);
        return error_mend(err, "put the password of %s into %s, or use password: { file: PATH }", hv->settings.username,
                          name);
    }
    buffer_puts(ret, value);
    return 0;
}

/* A person is asked once; the answer is kept, for a session that ends and is opened anew. */
static int ask_password(struct hypervisor *hv, struct buffer *ret, struct error *err) {
    const struct asker *asker = hv->config.asker;
    if (!hv->password.len) {
        if (!asker) {
            error_set(err, ERR_USAGE, hv->config.subject, "it needs a password, and there is nobody to ask");
            return error_mend(err, "use password: { env: VARIABLE } or { file: PATH }");
        }
        cleanup_free char *prompt = xasprintf("Password of %s at %s: ", hv->settings.username, hv->config.subject);
        if (asker->ask(asker->data, prompt, &hv->password, err))
            return -1;
    }
    buffer_append(ret, hv->password.data, hv->password.len);
    return 0;
}

int vsphere_password(void *data, struct buffer *ret, struct error *err) {
    struct hypervisor *hv = data;
    if (hv->settings.password_env)
        return read_password_env(hv, hv->settings.password_env, ret, err);
    if (hv->settings.password_file)
        return read_password_file(hv->settings.password_file, ret, err);
    return ask_password(hv, ret, err);
}
