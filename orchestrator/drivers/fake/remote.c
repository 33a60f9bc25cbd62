/* The driver fake-remote: what a vCenter or an ESXi is like to nestor, without one. It takes what it is promised at its
 * word: a call that no real one could carry out ends with `internal`. */
#include "drivers/fake/remote.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/fake/fake.h"
#include "drivers/fake/world.h"

/* --- who logs in --- */

static int first_line(const char *path, const char *subject, struct buffer *ret, struct error *err) {
    if (file_read(AT_FDCWD, path, 4096, ret, NULL, err))
        return error_subject(err, subject);
    ret->len = strcspn(buffer_str(ret), "\n");
    return 0;
}

static int ask(const struct hypervisor_config *config, struct buffer *ret, struct error *err) {
    cleanup_free char *prompt = xasprintf("Password at %s: ", config->subject);
    if (config->asker)
        return config->asker->ask(config->asker->data, prompt, ret, err);
    error_set(err, ERR_USAGE, config->subject, "it needs a password, and nobody can be asked");
    return error_mend(err, "say where it is in the lab file: password: { env: NAME }");
}

static int get_password(const struct hypervisor_config *config, struct buffer *ret, struct error *err) {
    const char *variable = param_get(config, "password.env", NULL), *file = param_get(config, "password.file", NULL);
    const char *value = variable ? getenv(variable) : NULL;
    if (variable && !value)
        return error_set(err, ERR_USAGE, config->subject, "the environment variable %s is not set", variable);
    if (value)
        buffer_puts(ret, value);
    return value ? 0 : file ? first_line(file, config->subject, ret, err) : ask(config, ret, err);
}

static int log_in(const struct hypervisor_config *config, struct error *err) {
    const char *variable = param_get(config, "expects.env", NULL), *expected = variable ? getenv(variable) : NULL;
    struct buffer password = {0};
    if (!expected)
        return 0;
    int failed = get_password(config, &password, err);
    bool good = !failed && password.len == strlen(expected) && memcmp(password.data, expected, password.len) == 0;
    if (password.data)
        explicit_bzero(password.data, password.cap);
    buffer_free(&password);
    return failed || good ? failed : error_set(err, ERR_AUTH, config->subject, "the password is wrong");
}

/* --- open --- */

static int broken_promise(const char *subject, const char *what, struct error *err) {
    return error_set(err, ERR_INTERNAL, subject, "fake-remote: %s", what);
}

/* A guest is dialled through whatever is around it, never through its own machine. */
static int check_promises(const struct hypervisor_config *config, struct error *err) {
    if (!config->access || !config->home)
        return broken_promise(config->subject, "opened without access or home", err);
    if (!config->endpoint)
        return fake_is_outermost(config) ? 0 : broken_promise(config->subject, "opened without its address", err);
    if (strcmp(access_subject(config->access), config->subject) == 0)
        return broken_promise(config->subject, "dialled through its own machine", err);
    return config->lab_id && config->lab_name ? 0 : broken_promise(config->subject, "opened for no lab", err);
}

static int parse_units(const struct hypervisor_config *config, uint32_t *ret, struct error *err) {
    const char *text = param_get(config, "units", "0");
    char *end;
    unsigned long n = strtoul(text, &end, 10);
    if (end == text || *end || n > 1000)
        return error_set(err, ERR_USAGE, config->subject, "parameter 'units' is '%s'", text);
    *ret = (uint32_t)n;
    return 0;
}

static int remote_open(const struct hypervisor_config *config, struct hypervisor **ret, const struct context *ctx,
                       struct error *err) {
    uint32_t units;
    struct hypervisor *hv;
    if (check_promises(config, err) || parse_units(config, &units, err) || log_in(config, err) ||
        fake_open(config, &hv, ctx, err))
        return -1;
    hv->remote = true;
    hv->units = units;
    hv->unfit = param_get(config, "unfit", "");
    hv->warn = param_get(config, "warns", "");
    hv->on = config->endpoint ? fake_remote_power(config) : NULL;
    *ret = hv;
    return 0;
}

/* --- templates and choices --- */

static bool is_listed(const char *list, const char *name) {
    size_t len = strlen(name);
    for (const char *s = list; *s; s += strcspn(s, ","), s += *s == ',') {
        s += strspn(s, " ");
        if (strncmp(s, name, len) == 0 && (s[len] == ',' || !s[len]))
            return true;
    }
    return !*list;
}

int fake_remote_image(const struct hypervisor *hv, const struct image *image, struct error *err) {
    if (!image->name || image->disk || image->format || image->sha256[0])
        return broken_promise(hv->subject, "given an image of this machine", err);
    if (is_listed(hv->settings.templates, image->name))
        return 0;
    error_set(err, ERR_NOT_FOUND, hv->subject, "there is no template '%s' on it", image->name);
    return error_mend(err, "name one that is there");
}

int fake_remote_choices(const struct hypervisor *hv, const struct machine_spec *spec, struct error *err) {
    cleanup_free char *path = fake_machine_path(&hv->settings, &spec->tag, "choices");
    cleanup_buffer struct buffer text = {0};
    if (!spec->meta_data || !spec->user_data || !strstr(spec->meta_data, "instance-id: "))
        return broken_promise(spec->tag.path, "created without its two texts", err);
    buffer_printf(&text, "clone %s\n", spec->full_clone ? "full" : "linked");
    for (size_t i = 0; i < spec->nextra; i++)
        buffer_printf(&text, "extra %s=%s\n", spec->extra[i].key, spec->extra[i].value);
    buffer_printf(&text, "%s", spec->meta_data);
    return fake_write(path, &text, spec->tag.path, err);
}

/* --- examine and prepare --- */

static void tell_each(const char *list, enum finding_kind kind, finding_fn fn, void *data) {
    cleanup_free char *text = xstrdup(list);
    for (char *rest = text, *subject; (subject = strsep(&rest, ";"));) {
        subject += strspn(subject, " ");
        char *what = strchr(subject, ':');
        if (!what)
            continue;
        *what++ = '\0';
        const struct finding f = {kind, subject, what + strspn(what, " "), "change it there", NULL};
        fn(data, &f);
    }
}

static int remote_examine(struct hypervisor *hv, finding_fn fn, void *data, const struct context *ctx,
                          struct error *err) {
    static const struct finding fine = {FINDING_FINE, "licence", "it allows everything", "", NULL};
    if (fake_begin(hv, hv->subject, "examining it", ctx, err))
        return -1;
    fn(data, &fine);
    tell_each(hv->warn, FINDING_WARNING, fn, data);
    tell_each(hv->unfit, FINDING_UNFIT, fn, data);
    return 0;
}

static int remote_prepare(struct hypervisor *hv, bool undo, struct buffer *report, const struct context *ctx,
                          struct error *err) {
    cleanup_free char *path = fake_world_path(&hv->settings, "prepared");
    if (fake_begin(hv, hv->subject, "preparing it", ctx, err))
        return -1;
    if (fake_mark_is_set(path) != undo) {
        buffer_printf(report, "%s: nothing to do\n", hv->subject);
        return 0;
    }
    if ((undo ? fake_mark_clear : fake_mark_set)(path, hv->subject, err) ||
        fake_world_log(&hv->settings, undo ? "unprepare" : "prepare", hv->subject, err))
        return -1;
    buffer_printf(report, "%s: %s\n", hv->subject, undo ? "taken back" : "prepared to nest");
    return 0;
}

static const struct driver_param params[] = {
    FAKE_PARAMS,
    {.key = "templates", .help = "names of its templates, with commas between; default: whatever is asked for"},
    {.key = "password", .help = "how to log in, if it expects a password", .secret = true},
    {.key = "expects", .help = "the password it expects, { env: NAME }; default: none", .secret = true},
    {.key = "units", .help = "how much it says that it takes at once; default: it does not say"},
    {.key = "unfit", .help = "what is unfit about it: SUBJECT: TEXT, with semicolons between"},
    {.key = "warns", .help = "what it warns of, in the same way"},
    {0},
};

const struct driver fake_remote_driver = {
    .size = sizeof(struct driver),
    .api = DRIVER_API,
    .name = "fake-remote",
    .summary = "for tests: as fake, with templates of its own and spoken to at its address",
    .features = DRIVER_LINKED_CLONE | DRIVER_FULL_CLONE | DRIVER_HOST | DRIVER_GUEST | DRIVER_TEMPLATES |
                DRIVER_BY_ADDRESS | DRIVER_EXTRA,
    .params = params,
    .parallel = 8,
    .boot_timeout_s = 30,
    .boot_timeout_emulated_s = 30,
    .open = remote_open,
    .close = fake_close,
    .check = fake_check,
    .observe = fake_observe,
    .ensure_image = fake_ensure_image,
    .ensure_network = fake_ensure_network,
    .create = fake_create,
    .expose = fake_expose,
    .start = fake_start,
    .stop = fake_stop,
    .power_cut = fake_power_cut,
    .address = fake_address,
    .console = fake_console,
    .remove = fake_remove,
    .prune = fake_prune,
    .connect = fake_connect,
    .full_clone_units = 4,
    .expose_is_light = true,
    .examine = remote_examine,
    .prepare = remote_prepare,
};
