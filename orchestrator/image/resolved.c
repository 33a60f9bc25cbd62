#include "image/resolved.h"

#include <stdlib.h>
#include <string.h>

#include "image/make.h"

void image_free(struct image *image) {
    if (!image)
        return;
    free(image->name);
    free(image->disk);
    free(image->format);
    free(image->kernel);
    free(image->initrd);
    free(image->cmdline);
    free(image->user);
    free(image);
}

static char *choose(const char *spec, const char *image, const char *fallback) {
    return xstrdup(spec ? spec : *image ? image : fallback);
}

static bool is_in_place(const struct manifest *m) {
    bool in_place = false;
    for (int i = 0; i < IMAGE_FILES; i++)
        in_place |= m->files[i].path && m->files[i].path[0] == '/';
    return in_place;
}

struct image *image_resolve(const struct manifest *m, const struct entry *e, const struct template *t) {
    struct image *image = xcalloc(1, sizeof *image);
    image->name = xstrdup(m->name);
    image->disk = manifest_path(m, IMAGE_DISK, e->folder);
    image->format = xstrdup(m->format);
    image->virtual_size = m->virtual_size;
    image->file_size = m->files[IMAGE_DISK].stamp.size;
    image->in_place = is_in_place(m);
    image->kernel = manifest_path(m, IMAGE_KERNEL, e->folder);
    image->initrd = manifest_path(m, IMAGE_INITRD, e->folder);
    image->boot = image->kernel ? BOOT_KERNEL : BOOT_DISK;
    image->cmdline = image->kernel ? choose(t ? t->cmdline : NULL, m->cmdline, "") : NULL;
    image->user = choose(t ? t->user : NULL, m->user, "root");
    memcpy(image->sha256, m->files[IMAGE_DISK].sha256, sizeof image->sha256);
    memcpy(image->kernel_sha256, m->files[IMAGE_KERNEL].sha256, sizeof image->kernel_sha256);
    memcpy(image->initrd_sha256, m->files[IMAGE_INITRD].sha256, sizeof image->initrd_sha256);
    return image;
}

int image_verify(const struct image *image, const struct context *ctx, struct error *err) {
    const struct {
        const char *path, *sha256;
    } files[] = {
        {image->disk, image->sha256},
        {image->kernel, image->kernel_sha256},
        {image->initrd, image->initrd_sha256},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char found[65];
        if (!files[i].path)
            continue;
        if (sha256_file(files[i].path, found, NULL, NULL, ctx, err))
            return -1;
        if (checksum_compare(files[i].path, files[i].sha256, found, err))
            return error_mend(err, "make the image again: nestor image build %s", image->name);
    }
    return 0;
}
