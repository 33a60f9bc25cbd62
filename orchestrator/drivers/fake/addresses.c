/* The network between fake hypervisors: a folder with a link per address to the machine that has it. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "drivers/fake/remote.h"
#include "drivers/fake/world.h"

/* FNV-1a of the tag. */
static uint32_t hash(const struct tag *tag) {
    cleanup_free char *text = xasprintf("%s %s", tag->lab_id, tag->path);
    uint32_t h = 2166136261u;
    for (const char *s = text; *s; s++)
        h = (h ^ (unsigned char)*s) * 16777619u;
    return h;
}

/* In 240.0.0.0/4 (RFC 1112): nothing can answer there by accident. */
static void nth_address(const struct tag *tag, uint32_t n, char out[64]) {
    uint32_t h = hash(tag) + n;
    snprintf(out, 64, "240.%" PRIu32 ".%" PRIu32 ".%" PRIu32, h >> 16 & 255, h >> 8 & 255, h & 255);
}

static char *registry_path(const char *home, const char *address) {
    return xasprintf("%s/fake/addresses/%s", home, address);
}

static bool read_address(const struct hypervisor *hv, const struct tag *tag, char out[64]) {
    cleanup_free char *path = fake_machine_path(&hv->settings, tag, "address");
    cleanup_buffer struct buffer text = {0};
    if (file_read(AT_FDCWD, path, 63, &text, NULL, NULL) || !text.len)
        return false;
    snprintf(out, 64, "%s", buffer_str(&text));
    return true;
}

/* Claims the first address that is free, and notes it with the machine. */
static int claim(const struct hypervisor *hv, const struct tag *tag, char out[64], struct error *err) {
    cleanup_free char *around = xasprintf("%s/fake", hv->settings.home); /* a world may be elsewhere */
    cleanup_free char *folder = registry_path(hv->settings.home, "");
    cleanup_free char *machine = fake_machine_path(&hv->settings, tag, NULL);
    cleanup_free char *target = realpath(machine, NULL);
    cleanup_free char *note = fake_machine_path(&hv->settings, tag, "address");
    cleanup_buffer struct buffer text = {0};
    if (!target)
        return error_set_errno(err, errno, tag->path, "cannot find %s", machine);
    folder[strlen(folder) - 1] = '\0';
    if (dir_make(around, 0700, tag->path, err) || dir_make(folder, 0700, tag->path, err))
        return -1;
    for (uint32_t n = 0;; n++) {
        nth_address(tag, n, out);
        cleanup_free char *path = registry_path(hv->settings.home, out);
        if (symlink(target, path) == 0)
            break;
        if (errno != EEXIST)
            return error_set_errno(err, errno, tag->path, "cannot make %s", path);
    }
    buffer_puts(&text, out);
    return fake_write(note, &text, tag->path, err);
}

int fake_remote_register(const struct hypervisor *hv, const struct tag *tag, struct endpoint *ret, struct error *err) {
    char address[64];
    if (!read_address(hv, tag, address) && claim(hv, tag, address, err))
        return -1;
    struct settings inside = fake_settings_inside(&hv->settings, tag, true);
    cleanup_free char *path = fake_machine_path(&hv->settings, tag, "answers");
    cleanup_buffer struct buffer text = {0};
    fake_settings_print(&inside, &text);
    fake_settings_free(&inside);
    snprintf(ret->host, sizeof ret->host, "%s", address);
    return fake_write(path, &text, tag->path, err);
}

void fake_remote_forget(const struct hypervisor *hv, const struct tag *tag) {
    char address[64];
    if (!read_address(hv, tag, address))
        return;
    cleanup_free char *path = registry_path(hv->settings.home, address);
    unlink(path);
}

static char *path_at(const struct hypervisor_config *config, const char *leaf) {
    cleanup_free char *machine = registry_path(config->home, config->endpoint->host);
    return xasprintf("%s/%s", machine, leaf);
}

char *fake_remote_power(const struct hypervisor_config *config) { return path_at(config, "on"); }

int fake_remote_settings(const struct hypervisor_config *config, struct settings *ret, struct error *err) {
    cleanup_buffer struct buffer text = {0};
    cleanup_free char *on = path_at(config, "on");
    cleanup_free char *answers = path_at(config, "answers");
    if (fake_mark_is_set(on) && file_read(AT_FDCWD, answers, 65536, &text, NULL, NULL) == 0 && text.len) {
        fake_settings_parse(text.data, config, ret);
        return 0;
    }
    error_set(err, ERR_CONNECT_REFUSED, config->subject, "nothing answers at %s", config->endpoint->host);
    error_mend(err, "start the machine first");
    return error_retry(err);
}
