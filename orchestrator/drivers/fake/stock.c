/* What machines are made from: images and the network. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "drivers/fake/operations.h"
#include "drivers/fake/remote.h"
#include "drivers/fake/world.h"

static char *image_path(const struct hypervisor *hv, const char *sha256) {
    return xasprintf("%s/images/%s", hv->settings.world, sha256);
}

/* Makes the mark unless it is there. Its part of the world is locked meanwhile: who comes second waits, and finds it
 * done. */
static int ensure_mark(const struct hypervisor *hv, const char *part, const char *path, const char *op,
                       const char *what, const struct context *ctx, struct error *err) {
    cleanup_close int lock = -1;
    if (fake_world_lock(&hv->settings, part, &lock, hv->subject, ctx, err))
        return -1;
    if (fake_mark_is_set(path))
        return 0;
    if (fake_take_time(hv, hv->subject, what, ctx, err) || fake_mark_set(path, hv->subject, err))
        return -1;
    return fake_world_log(&hv->settings, op, hv->subject, err);
}

int fake_ensure_image(struct hypervisor *hv, const struct image *image, progress_fn progress, void *data,
                      const struct context *ctx, struct error *err) {
    static const char what[] = "copying the image";
    cleanup_free char *path = image_path(hv, image->sha256);
    if (fake_begin(hv, hv->subject, what, ctx, err))
        return -1;
    if (hv->remote)
        return fake_remote_image(hv, image, err);
    if (fake_mark_is_set(path))
        return 0;
    if (access(image->disk, R_OK) != 0)
        return error_set_errno(err, errno, image->name, "cannot read %s", image->disk);
    if (ensure_mark(hv, "images", path, "image", what, ctx, err))
        return -1;
    if (progress)
        progress(data, image->file_size, image->file_size);
    return 0;
}

int fake_ensure_network(struct hypervisor *hv, const struct context *ctx, struct error *err) {
    static const char what[] = "making the network";
    cleanup_free char *path = fake_world_path(&hv->settings, "network");
    if (fake_begin(hv, hv->subject, what, ctx, err))
        return -1;
    return fake_mark_is_set(path) ? 0 : ensure_mark(hv, "machines", path, "network", what, ctx, err);
}

int fake_check_stock(const struct hypervisor *hv, const struct machine_spec *spec, struct error *err) {
    cleanup_free char *image = image_path(hv, spec->image->sha256);
    cleanup_free char *network = fake_world_path(&hv->settings, "network");
    if (hv->remote && fake_remote_image(hv, spec->image, err))
        return -1;
    bool has_image = hv->remote || fake_mark_is_set(image);
    if (has_image && fake_mark_is_set(network))
        return 0;
    if (!has_image)
        error_set(err, ERR_NOT_FOUND, spec->tag.path, "image %s is not on %s", spec->image->name, hv->subject);
    else
        error_set(err, ERR_NOT_FOUND, spec->tag.path, "%s has no network", hv->subject);
    return error_mend(err, "run 'nestor up': it copies images and makes networks before machines");
}

struct lookup {
    const char *image; /* NULL: any */
    bool found;
};

static void look_at(void *data, const struct tag *tag, const struct record *record) {
    (void)tag;
    struct lookup *l = data;
    const char *image = record->field[RECORD_IMAGE];
    l->found |= !l->image || (image && strcmp(image, l->image) == 0);
}

/* Removes what is at path unless a machine uses the image (NULL: unless there is any machine). */
static int prune_one(struct hypervisor *hv, const char *path, const char *image, struct error *err) {
    struct lookup l = {.image = image};
    if (fake_record_each(&hv->settings, NULL, look_at, &l, hv->subject, err))
        return -1;
    if (l.found || !fake_mark_is_set(path))
        return 0;
    return fake_mark_clear(path, hv->subject, err) || fake_world_log(&hv->settings, "prune", hv->subject, err) ? -1 : 0;
}

static int prune_images(struct hypervisor *hv, struct error *err) {
    cleanup_free char *images = fake_world_path(&hv->settings, "images");
    struct dirent **entries;
    int n = scandir(images, &entries, NULL, alphasort);
    if (n < 0)
        return error_set_errno(err, errno, hv->subject, "cannot list %s", images);
    int failed = 0;
    for (int i = 0; i < n; i++) {
        cleanup_free char *path = image_path(hv, entries[i]->d_name);
        if (entries[i]->d_name[0] != '.' && !failed)
            failed = prune_one(hv, path, entries[i]->d_name, err);
        free(entries[i]);
    }
    free(entries);
    return failed;
}

int fake_prune(struct hypervisor *hv, const struct context *ctx, struct error *err) {
    cleanup_free char *network = fake_world_path(&hv->settings, "network");
    cleanup_close int images = -1, machines = -1;
    if (fake_begin(hv, hv->subject, "removing what is not used", ctx, err) ||
        fake_world_lock(&hv->settings, "images", &images, hv->subject, ctx, err) ||
        fake_world_lock(&hv->settings, "machines", &machines, hv->subject, ctx, err) ||
        fake_take_time(hv, hv->subject, "removing what is not used", ctx, err))
        return -1;
    return prune_images(hv, err) || prune_one(hv, network, NULL, err) ? -1 : 0;
}
