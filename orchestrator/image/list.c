#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "image/entry.h"
#include "image/recipe.h"
#include "image/resolved.h"
#include "nestor/image.h"
#include "nestor/state.h"

static int count(void *data, const char *path, struct error *err) {
    (void)path, (void)err;
    ++*(size_t *)data;
    return 0;
}

int image_remove(const char *name, struct error *err) {
    cleanup_entry struct entry e = {0};
    cleanup_hold struct entry_hold hold = {0};
    size_t nleft = 0;
    if (entry_init_key(&e, name, err) || entry_lock(&e, NULL, NULL, &hold, err) ||
        entry_each_leftover(&e, count, &nleft, err))
        return -1;
    cleanup_free char *aside = xasprintf("%s/.%s.old", e.root, e.key), *log = entry_log(&e);
    bool whole = file_exists(AT_FDCWD, e.folder);
    if (!whole && !nleft && !file_exists(AT_FDCWD, log)) {
        error_set(err, ERR_NOT_FOUND, name, "there is no such image");
        return error_mend(err, "see 'nestor image list'");
    }
    /* Out of sight first: a removal cut halfway leaves no image that is half there. */
    if (whole && tree_remove(aside, NULL, err))
        return -1;
    if (whole && rename(e.folder, aside) != 0)
        return error_set_errno(err, errno, name, "cannot remove the image");
    return entry_clean(&e, err) || tree_remove(log, NULL, err) ? -1 : 0;
}

struct names {
    char **items;
    size_t n;
};

static void names_free(struct names *names) {
    for (size_t i = 0; i < names->n; i++)
        free(names->items[i]);
    free(names->items);
}

static void add_name(struct names *names, const char *name) {
    for (size_t i = 0; i < names->n; i++)
        if (strcmp(names->items[i], name) == 0)
            return;
    names->items = xrealloc(names->items, (names->n + 1) * sizeof *names->items);
    names->items[names->n++] = xstrdup(name);
}

static int by_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* Adds the folders of root that hold `file`. No such root: none. */
static int add_folders(struct names *names, const char *root, const char *file, struct error *err) {
    cleanup_dir DIR *d = opendir(root);
    if (!d)
        return errno == ENOENT ? 0 : error_set_errno(err, errno, root, "cannot list the folder");
    int got;
    for (const char *name; (got = dir_next(d, &name)) > 0;) {
        cleanup_free char *path = xasprintf("%s/%s/%s", root, name, file);
        if (name[0] != '.' && file_exists(AT_FDCWD, path))
            add_name(names, name);
    }
    return got ? error_set_errno(err, errno, root, "cannot list the folder") : 0;
}

static struct image *load_listed(const char *name) {
    cleanup_entry struct entry e = {0};
    cleanup_manifest struct manifest *m = NULL;
    struct error ignored = {0}; /* a name that cannot be loaded is listed as not built */
    if (entry_init_key(&e, name, &ignored) || manifest_load(e.folder, &m, &ignored))
        return NULL;
    return image_resolve(m, &e, NULL);
}

int image_list(void (*fn)(void *data, const char *name, const struct image *image), void *data, struct error *err) {
    const char *cache = nestor_cache(err);
    if (!cache)
        return -1;
    cleanup_free char *recipes = recipe_root(), *built = xasprintf("%s/images", cache);
    __attribute__((cleanup(names_free))) struct names names = {0};
    if (add_folders(&names, recipes, "build.sh", err) || add_folders(&names, built, "manifest.json", err))
        return -1;
    if (names.n)
        qsort(names.items, names.n, sizeof *names.items, by_text);
    for (size_t i = 0; i < names.n; i++) {
        struct image *image = load_listed(names.items[i]);
        fn(data, names.items[i], image);
        image_free(image);
    }
    return 0;
}

/* --- what was left --- */

/* Adds the key of ".KEY.rest", or of "KEY.lock". */
static void add_key(struct names *names, const char *file) {
    const char *key = file + (file[0] == '.'), *end = strchr(key, '.');
    bool is_lock = key == file && end && strcmp(end, ".lock") == 0;
    cleanup_free char *copy = end ? xasprintf("%.*s", (int)(end - key), key) : NULL;
    if (copy && *copy && (is_lock || key != file))
        add_name(names, copy);
}

static int add_keys(struct names *names, const char *root, struct error *err) {
    cleanup_dir DIR *d = opendir(root);
    if (!d)
        return errno == ENOENT ? 0 : error_set_errno(err, errno, root, "cannot list the folder");
    int got;
    for (const char *name; (got = dir_next(d, &name)) > 0;)
        add_key(names, name);
    return got ? error_set_errno(err, errno, root, "cannot list the folder") : 0;
}

struct leftovers {
    void (*fn)(void *data, const char *name, const char *path);
    void *data;
    const char *name;
    size_t n;
};

static int tell_leftover(void *data, const char *path, struct error *err) {
    (void)err;
    struct leftovers *l = data;
    l->n++;
    l->fn(l->data, l->name, path);
    return 0;
}

static int tell_leftovers(struct leftovers *l, const char *name, struct error *err) {
    cleanup_entry struct entry e = {0};
    struct error ignored = {0}; /* no name of an image: a file of somebody else */
    if (entry_init_key(&e, name, &ignored) || entry_is_held(&e))
        return 0;
    l->name = name;
    l->n = 0;
    if (entry_each_leftover(&e, tell_leftover, l, err))
        return -1;
    cleanup_free char *lock = xasprintf("%s.lock", e.folder);
    if (!l->n && !file_exists(AT_FDCWD, e.folder) && file_exists(AT_FDCWD, lock))
        l->fn(l->data, name, lock);
    return 0;
}

int image_leftovers(void (*fn)(void *data, const char *name, const char *path), void *data, struct error *err) {
    const char *cache = nestor_cache(err);
    if (!cache)
        return -1;
    struct leftovers l = {.fn = fn, .data = data};
    cleanup_free char *root = xasprintf("%s/images", cache);
    __attribute__((cleanup(names_free))) struct names names = {0};
    int failed = add_keys(&names, root, err);
    if (names.n)
        qsort(names.items, names.n, sizeof *names.items, by_text);
    for (size_t i = 0; i < names.n && !failed; i++)
        failed = tell_leftovers(&l, names.items[i], err);
    return failed;
}

int image_clean(const char *name, struct error *err) {
    cleanup_entry struct entry e = {0};
    cleanup_hold struct entry_hold hold = {0};
    return entry_init_key(&e, name, err) || entry_lock(&e, NULL, NULL, &hold, err) || entry_clean(&e, err) ? -1 : 0;
}
