#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "image/entry.h"
#include "image/files.h"
#include "image/make.h"
#include "image/recipe.h"
#include "image/resolved.h"
#include "nestor/image.h"

bool image_has_recipe(const char *name) {
    cleanup_free char *folder = recipe_find(name);
    return folder != NULL;
}

/* An image whose recipe is not installed any more is as good as ever. */
static int check_recipe(const struct entry *e, const struct manifest *m, struct error *err) {
    char hash[65];
    if (!entry_has_recipe(e) || !image_has_recipe(e->key))
        return 0;
    if (recipe_hash(e->key, hash, err))
        return -1;
    if (strcmp(hash, m->recipe) != 0)
        return error_set(err, ERR_CONFLICT, e->key, "the recipe changed since the image was built");
    return 0;
}

static int check_current(const struct entry *e, const struct manifest *m, const struct template *t, struct error *err) {
    if (manifest_check(m, e->folder, err) || check_recipe(e, m, err))
        return -1;
    cleanup_free char *disk = manifest_path(m, IMAGE_DISK, e->folder);
    if (t->sha256 && checksum_compare(disk, t->sha256, m->files[IMAGE_DISK].sha256, err))
        return -1;
    if (!entry_has_recipe(e) && strcmp(m->format, t->format) != 0)
        return error_set(err, ERR_CONFLICT, t->name, "was made as %s, and the template now says %s", m->format,
                         t->format);
    return 0;
}

static int report_missing(const struct entry *e, const char *name, struct error *err) {
    if (!entry_has_recipe(e)) {
        error_set(err, ERR_NOT_FOUND, name, "the template's files have not been checked yet");
        return error_mend(err, "run 'nestor up': it checks or downloads them");
    }
    if (image_has_recipe(name)) {
        error_set(err, ERR_NOT_FOUND, name, "the image has not been built yet");
        return error_mend(err, "run 'nestor image build %s'", name);
    }
    error_set(err, ERR_NOT_FOUND, name, "there is no recipe of that name");
    return error_mend(err, "give the template a 'source', or see 'nestor image list' for the names there are");
}

static int find(const struct entry *e, const struct template *t, struct image **ret, struct error *err) {
    if (!file_exists(AT_FDCWD, e->folder))
        return report_missing(e, t->name, err);
    cleanup_manifest struct manifest *m = NULL;
    if (manifest_load(e->folder, &m, err) || check_current(e, m, t, err))
        return entry_has_recipe(e) ? error_mend(err, "run 'nestor image build %s'", e->key)
                                   : error_mend(err, "run 'nestor up': it checks the files again");
    *ret = image_resolve(m, e, t);
    return 0;
}

/* What lives on a hypervisor is nothing of this machine's: only its name is known. */
static struct image *on_host(const struct template *t) {
    struct image *image = xcalloc(1, sizeof *image);
    image->name = xstrdup(t->name);
    return image;
}

int image_find(const struct template *t, struct image **ret, struct error *err) {
    if (t->on_host) {
        *ret = on_host(t);
        return 0;
    }
    cleanup_entry struct entry e = {0};
    return entry_init(&e, t, err) ? -1 : find(&e, t, ret, err);
}

static int check_file(const char *path, const char *template, struct error *err) {
    struct stamp ignored;
    if (stamp_of(path, &ignored, err))
        return error_mend(err, "correct the path of template '%s'", template);
    if (access(path, R_OK) == 0)
        return 0;
    error_set_errno(err, errno, path, "cannot read the file");
    return error_mend(err, "make it readable for you, or correct the path of template '%s'", template);
}

static int check_sources(const struct entry *e, const struct template *t, struct error *err) {
    for (int i = 0; i < IMAGE_FILES; i++)
        if (e->sources[i] && !source_is_url(e->sources[i]) && check_file(e->sources[i], t->name, err))
            return -1;
    return 0;
}

int image_check(const struct template *t, struct error *err) {
    cleanup_entry struct entry e = {0};
    if (t->on_host)
        return 0;
    if (entry_init(&e, t, err) || check_sources(&e, t, err))
        return -1;
    bool can_be_made = !entry_has_recipe(&e) || image_has_recipe(e.key);
    return can_be_made || file_exists(AT_FDCWD, e.folder) ? 0 : report_missing(&e, t->name, err);
}

/* What making the image again may mend. */
static bool is_stale(const struct error *err) {
    return err->code == ERR_NOT_FOUND || err->code == ERR_CONFLICT || err->code == ERR_CHECKSUM;
}

/* As find, but *ret stays NULL when the image has to be made. */
static int find_current(const struct entry *e, const struct template *t, struct image **ret, struct error *err) {
    struct error why = {0};
    if (find(e, t, ret, &why) == 0 || is_stale(&why))
        return 0;
    if (err)
        *err = why;
    return -1;
}

static int make_locked(const struct entry *e, const struct template *t, bool rebuild, struct image **ret,
                       struct event_sink *sink, const struct context *ctx, struct error *err) {
    cleanup_hold struct entry_hold hold = {0};
    if (entry_lock(e, sink, ctx, &hold, err))
        return -1;
    /* Whoever held the lock may have made it. */
    if (!rebuild && find_current(e, t, ret, err))
        return -1;
    if (*ret)
        return 0;
    return image_make(e, t, sink, ctx, err) || find(e, t, ret, err) ? -1 : 0;
}

int image_ensure(const struct template *t, bool rebuild, struct image **ret, struct event_sink *sink,
                 const struct context *ctx, struct error *err) {
    if (t->on_host)
        return image_find(t, ret, err);
    cleanup_entry struct entry e = {0};
    struct image *image = NULL;
    if (entry_init(&e, t, err) || (!rebuild && find_current(&e, t, &image, err)))
        return -1;
    if (!image && entry_has_recipe(&e) && !image_has_recipe(e.key))
        return report_missing(&e, t->name, err);
    if (!image && make_locked(&e, t, rebuild, &image, sink, ctx, err))
        return -1;
    *ret = image;
    return 0;
}
