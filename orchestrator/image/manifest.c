#include "image/manifest.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "nestor/identity.h"

#define MANIFEST_NAME "manifest.json"
#define MANIFEST_MAX ((size_t)64 << 10)

static const char *const file_keys[IMAGE_FILES] = {
    [IMAGE_DISK] = "disk", [IMAGE_KERNEL] = "kernel", [IMAGE_INITRD] = "initrd"};

static void free_json(json_t **j) { json_decref(*j); }
#define cleanup_json __attribute__((cleanup(free_json)))

void manifest_free(struct manifest *m) {
    if (!m)
        return;
    free(m->name);
    free(m->source);
    free(m->recipe);
    free(m->format);
    free(m->user);
    free(m->cmdline);
    for (int i = 0; i < IMAGE_FILES; i++)
        free(m->files[i].path);
    free(m);
}

void manifest_freep(struct manifest **m) { manifest_free(*m); }

static char *join(const char *folder, const char *path) {
    return path[0] == '/' ? xstrdup(path) : xasprintf("%s/%s", folder, path);
}

char *manifest_path(const struct manifest *m, enum image_file file, const char *folder) {
    return m->files[file].path ? join(folder, m->files[file].path) : NULL;
}

int manifest_record(struct manifest *m, enum image_file file, const char *path, const char *folder,
                    progress_fn progress, void *data, const struct context *ctx, struct error *err) {
    cleanup_free char *full = join(folder, path);
    struct manifest_file found = {0};
    struct stamp after;
    if (stamp_of(full, &found.stamp, err) || sha256_file(full, found.sha256, progress, data, ctx, err) ||
        stamp_of(full, &after, err))
        return -1;
    if (!stamp_equal(&found.stamp, &after)) {
        error_set(err, ERR_CONFLICT, full, "changed while it was being read");
        return error_mend(err, "wait until the file is complete, then run the same command again");
    }
    free(m->files[file].path);
    m->files[file] = found;
    m->files[file].path = xstrdup(path);
    return 0;
}

int manifest_check(const struct manifest *m, const char *folder, struct error *err) {
    for (int i = 0; i < IMAGE_FILES; i++) {
        cleanup_free char *path = manifest_path(m, (enum image_file)i, folder);
        struct stamp now;
        if (!path)
            continue;
        if (stamp_of(path, &now, err))
            return -1;
        if (!stamp_equal(&now, &m->files[i].stamp))
            return error_set(err, ERR_CONFLICT, path, "changed since nestor checked it");
    }
    return 0;
}

static json_t *file_to_json(const struct manifest_file *f) {
    return json_pack("{s:s, s:s, s:I, s:I}", "path", f->path, "sha256", f->sha256, "size", (json_int_t)f->stamp.size,
                     "mtime_ns", (json_int_t)f->stamp.mtime_ns);
}

int manifest_save(const struct manifest *m, const char *folder, struct error *err) {
    cleanup_json json_t *root =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I}", "name", m->name, "source", m->source, "recipe", m->recipe,
                  "format", m->format, "user", m->user, "cmdline", m->cmdline, "virtual_size",
                  (json_int_t)m->virtual_size, "created_at", (json_int_t)m->created_at);
    for (int i = 0; root && i < IMAGE_FILES; i++)
        if (m->files[i].path)
            json_object_set_new(root, file_keys[i], file_to_json(&m->files[i]));
    cleanup_free char *text = root ? json_dumps(root, JSON_INDENT(2)) : NULL;
    if (!text) /* jansson refuses what is not UTF-8 */
        return error_set(err, ERR_USAGE, m->name, "its path, user or command line is not UTF-8 text");
    cleanup_free char *path = xasprintf("%s/" MANIFEST_NAME, folder);
    return file_write(AT_FDCWD, path, text, strlen(text), 0644, NULL, err);
}

static bool file_from_json(const json_t *j, struct manifest_file *ret) {
    const char *path, *sha256;
    json_int_t size, mtime_ns;
    if (json_unpack((json_t *)j, "{s:s, s:s, s:I, s:I}", "path", &path, "sha256", &sha256, "size", &size, "mtime_ns",
                    &mtime_ns) != 0)
        return false;
    if (strlen(sha256) != 64 || strspn(sha256, "0123456789abcdef") != 64 || !*path || size < 0)
        return false;
    ret->path = xstrdup(path);
    memcpy(ret->sha256, sha256, sizeof ret->sha256);
    ret->stamp = (struct stamp){.size = (uint64_t)size, .mtime_ns = mtime_ns};
    return true;
}

static bool manifest_from_json(const json_t *root, struct manifest *m) {
    const char *name, *source, *recipe, *format, *user, *cmdline;
    json_int_t virtual_size, created_at;
    if (json_unpack((json_t *)root, "{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I}", "name", &name, "source", &source,
                    "recipe", &recipe, "format", &format, "user", &user, "cmdline", &cmdline, "virtual_size",
                    &virtual_size, "created_at", &created_at) != 0)
        return false;
    m->name = xstrdup(name);
    m->source = xstrdup(source);
    m->recipe = xstrdup(recipe);
    m->format = xstrdup(format);
    m->user = xstrdup(user);
    m->cmdline = xstrdup(cmdline);
    m->virtual_size = (uint64_t)virtual_size;
    m->created_at = created_at;
    for (int i = 0; i < IMAGE_FILES; i++) {
        const json_t *file = json_object_get(root, file_keys[i]);
        if ((file || i == IMAGE_DISK) && !file_from_json(file, &m->files[i]))
            return false;
    }
    return virtual_size > 0;
}

int manifest_load(const char *folder, struct manifest **ret, struct error *err) {
    cleanup_free char *path = xasprintf("%s/" MANIFEST_NAME, folder);
    cleanup_buffer struct buffer text = {0};
    if (file_read(AT_FDCWD, path, MANIFEST_MAX, &text, NULL, err))
        return -1;
    cleanup_json json_t *root = json_loadb(buffer_str(&text), text.len, JSON_REJECT_DUPLICATES, NULL);
    cleanup_manifest struct manifest *m = xcalloc(1, sizeof *m);
    if (!root || !manifest_from_json(root, m))
        return error_set(err, ERR_CONFLICT, path, "the manifest is damaged");
    *ret = steal_ptr(&m);
    return 0;
}
