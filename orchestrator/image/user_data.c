#include "image/user_data.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "image/mime.h"

#define PEM_BEGIN "-----BEGIN OPENSSH PRIVATE KEY-----\n"
#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

/* What each value may consist of. None of these characters can end a line, open a YAML structure or start a comment,
 * so checked values are written as they are. */
struct rule {
    const char *what, *start, *rest;
    size_t max;
};
static const struct rule hostname_rule = {"host name", LETTERS DIGITS, LETTERS DIGITS "-", 63};
static const struct rule instance_rule = {"instance id", LETTERS DIGITS, LETTERS DIGITS "-", 64};
static const struct rule public_key_rule = {"public key", "se", LETTERS DIGITS "+/=@._- ", 1024};
static const struct rule private_key_rule = {"private key", "-", LETTERS DIGITS "+/=- \n", 8192};

/* The text itself stays out of the message: it may be a key. */
static int check(const struct seed *seed, const char *text, const struct rule *rule, struct error *err) {
    size_t len = strlen(text), good = strspn(text, rule->rest);
    if (len == 0 || len > rule->max)
        return error_set(err, ERR_USAGE, seed->hostname, "the %s must have 1 to %zu characters, it has %zu", rule->what,
                         rule->max, len);
    if (!strchr(rule->start, text[0]))
        good = 0;
    if (good < len)
        return error_set(err, ERR_USAGE, seed->hostname, "the %s may not have the byte 0x%02x at position %zu",
                         rule->what, (unsigned char)text[good], good + 1);
    return 0;
}

static int check_extra(const struct seed *seed, struct error *err) {
    const char *extra = seed->extra_user_data;
    if (!extra)
        return 0;
    if (strlen(extra) > USER_DATA_EXTRA_MAX)
        return error_set(err, ERR_USAGE, seed->hostname, "the user-data is larger than %zu bytes", USER_DATA_EXTRA_MAX);
    if (!user_data_type(extra)) {
        error_set(err, ERR_USAGE, seed->hostname, "the user-data does not begin with a line cloud-init knows");
        return error_mend(err, "begin it with '#cloud-config', '#!/bin/sh' or another of cloud-init's formats");
    }
    return 0;
}

int user_data_check(const struct seed *seed, struct error *err) {
    const struct {
        const char *text;
        const struct rule *rule;
    } values[] = {
        {seed->hostname, &hostname_rule},
        {seed->instance_id, &instance_rule},
        {seed->authorized_key, &public_key_rule},
        {seed->host_key->public_line, &public_key_rule},
        {seed->host_key->private_pem, &private_key_rule},
    };
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        if (check(seed, values[i].text, values[i].rule, err))
            return -1;
    if (!login_is_valid(seed->ssh_user))
        return error_set(err, ERR_USAGE, seed->hostname, "the SSH user is no login name");
    if (strncmp(seed->host_key->private_pem, PEM_BEGIN, strlen(PEM_BEGIN)) != 0)
        return error_set(err, ERR_USAGE, seed->hostname, "the private key is not in OpenSSH's format");
    return check_extra(seed, err);
}

void user_data_put_scalar(struct buffer *out, const char *text) {
    /* YAML 1.1, which cloud-init's PyYAML speaks, has more spellings of booleans than 1.2. */
    static const char *const words[] = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"};
    bool quote = !isalpha((unsigned char)text[0]);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        quote |= strcasecmp(text, words[i]) == 0;
    buffer_printf(out, quote ? "\"%s\"" : "%s", text);
}

static void put_line(struct buffer *out, const char *key, const char *value) {
    buffer_puts(out, key);
    user_data_put_scalar(out, value);
    buffer_putc(out, '\n');
}

/* A literal block: every line of the text, indented. */
static void put_block(struct buffer *out, const char *key, const char *indent, const char *text) {
    buffer_printf(out, "%s |\n", key);
    while (*text) {
        size_t n = strcspn(text, "\n");
        buffer_puts(out, indent);
        buffer_append(out, text, n);
        buffer_putc(out, '\n');
        text += n + (text[n] == '\n');
    }
}

/* Who the machine is. Given ssh_keys, cloud-init makes no other host keys (config/cc_ssh.py), and ssh_deletekeys
 * removes the template's: the pinned key is the only one on offer. */
static void put_identity(struct buffer *out, const struct seed *seed) {
    put_line(out, "hostname: ", seed->hostname);
    if (strcmp(seed->ssh_user, "root") == 0)
        buffer_puts(out, "disable_root: false\n");
    buffer_puts(out, "ssh_deletekeys: true\nssh_keys:\n");
    put_block(out, "  ed25519_private:", "    ", seed->host_key->private_pem);
    put_line(out, "  ed25519_public: ", seed->host_key->public_line);
}

/* Who may log in, and what a spec may choose otherwise. */
static void put_settings(struct buffer *out, const struct seed *seed) {
    buffer_puts(out, "locale: C.UTF-8\nssh_pwauth: false\nusers:\n");
    if (strcmp(seed->ssh_user, "root") != 0)
        buffer_puts(out, "  - default\n");
    put_line(out, "  - name: ", seed->ssh_user);
    if (strcmp(seed->ssh_user, "root") != 0)
        buffer_puts(out, "    lock_passwd: true\n    shell: /bin/bash\n    sudo: \"ALL=(ALL) NOPASSWD:ALL\"\n");
    buffer_puts(out, "    ssh_authorized_keys:\n");
    put_line(out, "      - ", seed->authorized_key);
}

/* cloud-init merges the parts in their order, and the later one says how (doc/rtd/reference/merging.rst). So the
 * spec's part stands first and can overrule nothing of the identity; its users come after ours, which wins for a name
 * given twice; and of the settings only those it does not have are added. */
static void put_multipart(struct buffer *out, const struct seed *seed) {
    struct mime mime;
    mime_begin(&mime, out, seed->extra_user_data);
    mime_put_foreign(&mime, "spec", seed->extra_user_data);
    mime_begin_cloud_config(&mime, "nestor-identity", "dict(replace)+list()+str()");
    put_identity(out, seed);
    mime_begin_cloud_config(&mime, "nestor-settings", "dict(no_replace,recurse_list)+list(prepend)+str()");
    put_settings(out, seed);
    mime_end(&mime);
}

void user_data_put(const struct seed *seed, struct buffer *out) {
    if (seed->extra_user_data) {
        put_multipart(out, seed);
        return;
    }
    buffer_puts(out, "#cloud-config\n");
    put_identity(out, seed);
    put_settings(out, seed);
}
