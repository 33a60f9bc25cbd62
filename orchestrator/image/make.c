#include "image/make.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "image/disk.h"
#include "image/recipe.h"

struct making {
    const struct entry *entry;
    const struct template *template;
    struct event_sink *sink;
    const struct context *ctx;
    char *stage; /* removed at the end, whatever it holds then; NULL: nothing to remove */
    char *out;   /* the folder that becomes the entry's */
    struct manifest *manifest;
};

static void making_end(struct making *m) {
    /* Where it fails, the next one to make this image cleans up again. */
    int ignored = m->stage ? tree_remove(m->stage, NULL, NULL) : 0;
    (void)ignored;
    free(m->stage);
    free(m->out);
    manifest_free(m->manifest);
}

int checksum_compare(const char *path, const char *expected, const char *found, struct error *err) {
    if (strcasecmp(expected, found) == 0)
        return 0;
    return error_set(err, ERR_CHECKSUM, path, "expected SHA-256 %s, found %s", expected, found);
}

struct progress {
    struct event_sink *sink;
    char *text;
};

static void report_progress(void *data, uint64_t done, uint64_t total) {
    const struct progress *p = data;
    event_emit(
        p->sink,
        (struct event){.kind = EVENT_STEP_PROGRESS, .step = "image", .text = p->text, .done = done, .total = total});
}

/* The quick look comes before the long one. */
static int record(struct making *m, enum image_file file, const char *path, struct error *err) {
    cleanup_free char *full = path[0] == '/' ? xstrdup(path) : xasprintf("%s/%s", m->out, path);
    if (file == IMAGE_DISK && disk_probe(full, m->manifest->format, &m->manifest->virtual_size, err))
        return -1;
    cleanup_free char *text = xasprintf("checking %s", path);
    struct progress progress = {m->sink, text};
    return manifest_record(m->manifest, file, path, m->out, report_progress, &progress, m->ctx, err);
}

/* --- by recipe --- */

#define RECIPE_DISK "disk.qcow2"
static const char *const recipe_files[IMAGE_FILES] = {
    [IMAGE_DISK] = RECIPE_DISK, [IMAGE_KERNEL] = "vmlinuz", [IMAGE_INITRD] = "initrd.img"};

static int read_note(const struct making *m, const char *name, char **ret, struct error *err) {
    cleanup_free char *path = xasprintf("%s/%s", m->out, name);
    char *line;
    if (file_read_line(path, &line, err))
        return -1;
    free(*ret);
    *ret = line ? line : xstrdup("");
    return 0;
}

static int take_built_files(struct making *m, struct error *err) {
    for (int i = 0; i < IMAGE_FILES; i++) {
        cleanup_free char *path = xasprintf("%s/%s", m->out, recipe_files[i]);
        if (file_exists(AT_FDCWD, path) && record(m, (enum image_file)i, recipe_files[i], err))
            return -1;
    }
    if (!m->manifest->files[IMAGE_DISK].path)
        return error_set(err, ERR_IMAGE, m->entry->key, "the recipe ended well but left no " RECIPE_DISK);
    return read_note(m, "cmdline", &m->manifest->cmdline, err) || read_note(m, "user", &m->manifest->user, err) ? -1
                                                                                                                : 0;
}

/* Nothing is wrong with a build that was interrupted, and it may have been begun by 'up'. */
static int mend_build(const struct entry *e, const char *log, struct error *err) {
    if (err && err->code == ERR_CANCELLED)
        return error_mend(err, "run the same command again");
    return error_mend(err, "read %s, then run 'nestor image build %s'", log, e->key);
}

static int build(struct making *m, struct error *err) {
    const struct entry *e = m->entry;
    char hash[65];
    if (recipe_hash(e->key, hash, err) || entry_clean(e, err) || entry_stage(e, &m->stage, err))
        return -1;
    m->manifest->recipe = xstrdup(hash);
    m->out = xasprintf("%s/out", m->stage);
    cleanup_free char *log = entry_log(e);
    if (dir_make(m->out, 0755, NULL, err))
        return -1;
    if (recipe_run(e->key, m->out, m->stage, log, m->sink, m->ctx, err) || take_built_files(m, err))
        return mend_build(e, log, err);
    return 0;
}

/* --- from paths and URLs --- */

/* Only the disk's sum can be given; for a kernel, TLS has to vouch. */
static int check_url(const struct making *m, enum image_file file, const char *url, struct error *err) {
    if (file == IMAGE_DISK && !m->template->sha256) {
        error_set(err, ERR_USAGE, m->template->name, "a template from a URL needs its SHA-256");
        return error_mend(err, "add 'sha256: ...' to the template");
    }
    if (file != IMAGE_DISK && strncasecmp(url, "http://", 7) == 0) {
        error_set(err, ERR_USAGE, m->template->name, "a kernel or initrd may not come over plain HTTP");
        return error_mend(err, "use https, or download it and give its path");
    }
    return 0;
}

static int download(struct making *m, enum image_file file, const char *url, struct error *err) {
    const char *name = file == IMAGE_DISK ? "disk" : recipe_files[file];
    const char *sha256 = file == IMAGE_DISK ? m->template->sha256 : NULL;
    cleanup_free char *path = xasprintf("%s/%s", m->out, name);
    cleanup_free char *text = xasprintf("downloading %s of %s", name, m->template->name);
    struct progress progress = {m->sink, text};
    if (check_url(m, file, url, err) || http_download(url, path, sha256, report_progress, &progress, m->ctx, err))
        return -1;
    return record(m, file, name, err);
}

static int check_given_sum(const struct making *m, struct error *err) {
    const struct manifest_file *disk = &m->manifest->files[IMAGE_DISK];
    if (!m->template->sha256 || checksum_compare(disk->path, m->template->sha256, disk->sha256, err) == 0)
        return 0;
    return error_mend(err, "get the file again, or correct 'sha256' of template '%s'", m->template->name);
}

/* Files of this machine are used where they are. Downloads go to a folder that outlives a failure, because the next
 * try continues them. */
static int fetch(struct making *m, struct error *err) {
    const struct entry *e = m->entry;
    m->manifest->recipe = xstrdup("");
    m->out = xasprintf("%s/.%s.download", e->root, e->key);
    if (dir_make(m->out, 0755, NULL, err))
        return -1;
    for (int i = 0; i < IMAGE_FILES; i++) {
        const char *source = e->sources[i];
        if (source && (source_is_url(source) ? download(m, (enum image_file)i, source, err)
                                             : record(m, (enum image_file)i, source, err)))
            return -1;
    }
    return check_given_sum(m, err);
}

/* --- both --- */

/* The spec takes no URL with a login; this is for other callers. */
static char *printable_source(const char *source) {
    size_t n;
    const char *login = url_login(source, &n);
    return login ? xasprintf("%.*s%s", (int)(login - source), source, login + n + 1) : xstrdup(source);
}

int image_make(const struct entry *e, const struct template *t, struct event_sink *sink, const struct context *ctx,
               struct error *err) {
    bool recipe = entry_has_recipe(e);
    __attribute__((cleanup(making_end))) struct making m = {
        .entry = e, .template = t, .sink = sink, .ctx = ctx, .manifest = xcalloc(1, sizeof *m.manifest)};
    m.manifest->name = xstrdup(t->name);
    m.manifest->source = recipe ? xstrdup("recipe") : printable_source(e->sources[IMAGE_DISK]);
    m.manifest->format = xstrdup(recipe ? "qcow2" : t->format);
    m.manifest->user = xstrdup("");
    m.manifest->cmdline = xstrdup("");
    m.manifest->created_at = clock_unix();
    if ((recipe ? build : fetch)(&m, err) == 0 && manifest_save(m.manifest, m.out, err) == 0 &&
        entry_publish(e, m.out, err) == 0)
        return 0;
    if (!recipe && m.out)
        rmdir(m.out); /* only what is empty: a download is continued by the next try */
    return error_context(err, "making image %s", t->name);
}
