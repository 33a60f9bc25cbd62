/* Where a world is and how it behaves: told by the host's parameters, or by the machine the world is in. */
#include "drivers/fake/settings.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/fake/remote.h"
#include "drivers/fake/world.h"

void fake_settings_free(struct settings *s) {
    free(s->world);
    free(s->log);
    free(s->blind);
    free(s->templates);
    free(s->calls);
    free(s->home);
    *s = (struct settings){0};
}

static int bad_value(const char *subject, const char *key, const char *value, const char *expected, struct error *err) {
    error_set(err, ERR_USAGE, subject, "parameter '%s' of the fake driver is '%s'", key, value);
    return error_mend(err, "give %s", expected);
}

static int parse_delay(const struct hypervisor_config *config, struct settings *s, struct error *err) {
    const char *value = param_get(config, "delay", "0");
    char *end;
    errno = 0;
    s->delay_ms = strtol(value, &end, 10);
    if (errno || end == value || *end || s->delay_ms < 0 || s->delay_ms > 60000)
        return bad_value(config->subject, "delay", value, "milliseconds, 0 to 60000", err);
    return 0;
}

static int parse_flag(const struct hypervisor_config *config, struct settings *s, struct error *err) {
    const char *value = param_get(config, "flag", "svm");
    if (strcmp(value, "none") == 0)
        return 0;
    if (strcmp(value, "svm") != 0 && strcmp(value, "vmx") != 0)
        return bad_value(config->subject, "flag", value, "svm, vmx or none", err);
    memcpy(s->flag, value, 4);
    return 0;
}

static int parse_switch(const struct hypervisor_config *config, const char *key, bool *ret, struct error *err) {
    const char *value = param_get(config, key, "false");
    *ret = strcmp(value, "true") == 0;
    if (!*ret && strcmp(value, "false") != 0)
        return bad_value(config->subject, key, value, "true or false", err);
    return 0;
}

static int parse_capacity(const struct hypervisor_config *config, const char *key, uint64_t *ret, struct error *err) {
    const char *value = param_get(config, key, NULL);
    *ret = UINT64_MAX;
    if (value && size_parse(value, ret, NULL))
        return bad_value(config->subject, key, value, "a size such as 8GiB", err);
    return 0;
}

/* "host local" has its world in HOME/fake/local unless it says otherwise. */
static char *default_world(const struct hypervisor_config *config) {
    const char *space = strrchr(config->subject, ' ');
    return xasprintf("%s/fake/%s", config->home, space ? space + 1 : config->subject);
}

static int from_params(const struct hypervisor_config *config, struct settings *s, struct error *err) {
    const char *world = param_get(config, "world", NULL);
    s->world = world ? xstrdup(world) : default_world(config);
    s->log = fake_world_path(s, "log");
    s->blind = xstrdup(param_get(config, "blind", ""));
    s->templates = xstrdup(param_get(config, "templates", ""));
    s->home = xstrdup(config->home);
    bool counts;
    if (parse_delay(config, s, err) || parse_flag(config, s, err) || parse_switch(config, "torn", &s->torn, err) ||
        parse_switch(config, "emulated", &s->emulated, err) || parse_switch(config, "counts", &counts, err))
        return -1;
    s->calls = counts ? fake_world_path(s, "calls") : xstrdup("");
    return parse_capacity(config, "memory", &s->memory, err) || parse_capacity(config, "disk", &s->disk, err) ? -1 : 0;
}

void fake_settings_print(const struct settings *s, struct buffer *out) {
    buffer_printf(out, "%s\n%s\n%s\n%s\n%lld\n%d\n%s\n%s\n", s->world, s->log, s->blind, s->flag,
                  (long long)s->delay_ms, s->torn, s->templates, s->calls);
}

/* One line of what settings_print wrote; "" past its end. */
static const char *next_line(char **rest) {
    char *line = strsep(rest, "\n");
    return line ? line : "";
}

void fake_settings_parse(char *text, const struct hypervisor_config *config, struct settings *ret) {
    struct settings *s = ret;
    char *rest = text;
    *s = (struct settings){.memory = UINT64_MAX, .disk = UINT64_MAX};
    s->world = xstrdup(next_line(&rest));
    s->log = xstrdup(next_line(&rest));
    s->blind = xstrdup(next_line(&rest));
    const char *flag = next_line(&rest);
    snprintf(s->flag, sizeof s->flag, "%s", config->accelerated ? flag : "");
    s->delay_ms = strtol(next_line(&rest), NULL, 10);
    s->torn = strcmp(next_line(&rest), "1") == 0;
    s->templates = xstrdup(next_line(&rest));
    s->calls = xstrdup(next_line(&rest));
    s->home = xstrdup(config->home);
}

static int from_machine(const struct hypervisor_config *config, struct settings *s, const struct context *ctx,
                        struct error *err) {
    cleanup_command_result struct command_result answer = {0};
    struct command question = COMMAND(SETTINGS_QUESTION);
    if (access_run(config->access, &question, &answer, ctx, err))
        return -1;
    if (answer.status != 0 || !answer.out.len) {
        error_set(err, ERR_UNSUPPORTED, config->subject, "it is not a machine of the fake driver");
        return error_mend(err, "use 'hypervisor: fake' only for machines on a host with 'driver: fake'");
    }
    fake_settings_parse(answer.out.data, config, s);
    return 0;
}

/* access_local's subject; a machine's is its path, which has a slash. */
bool fake_is_outermost(const struct hypervisor_config *config) {
    return strcmp(access_subject(config->access), "localhost") == 0;
}

int fake_settings_load(const struct hypervisor_config *config, struct settings *ret, const struct context *ctx,
                       struct error *err) {
    struct settings s = {0};
    int failed = config->endpoint            ? fake_remote_settings(config, &s, err)
                 : fake_is_outermost(config) ? from_params(config, &s, err)
                                             : from_machine(config, &s, ctx, err);
    if (failed) {
        fake_settings_free(&s);
        return -1;
    }
    *ret = s;
    return 0;
}
