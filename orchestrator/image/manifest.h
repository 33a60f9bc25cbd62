/* manifest.json: what nestor knew about an image's files when it made or first saw them. */
#ifndef NESTOR_IMAGE_MANIFEST_H
#define NESTOR_IMAGE_MANIFEST_H

#include "image/files.h"
#include "nestor/transport.h"

enum image_file { IMAGE_DISK, IMAGE_KERNEL, IMAGE_INITRD, IMAGE_FILES };

struct manifest_file {
    char *path; /* absolute, or relative to the manifest's folder; NULL: the image has none */
    char sha256[65];
    struct stamp stamp;
};

struct manifest {
    char *name;
    char *source;                  /* path, or URL without its password, or "recipe" */
    char *recipe;                  /* the recipe's hash, "" for a path or URL */
    char *format, *user, *cmdline; /* user and cmdline "" if the image says nothing */
    uint64_t virtual_size;
    int64_t created_at;
    struct manifest_file files[IMAGE_FILES];
};
void manifest_free(struct manifest *m); /* NULL-safe; frees the struct too */
void manifest_freep(struct manifest **m);
#define cleanup_manifest __attribute__((cleanup(manifest_freep)))

/* Where the file is, for a manifest in `folder`; NULL if the image has none. Caller frees. */
char *manifest_path(const struct manifest *m, enum image_file file, const char *folder);

/* Hashes the file that path names (as in struct manifest_file) and records it. ERR_CONFLICT when somebody writes to it
 * meanwhile. */
int manifest_record(struct manifest *m, enum image_file file, const char *path, const char *folder,
                    progress_fn progress, void *data, const struct context *ctx, struct error *err) NESTOR_CHECKED;
/* ERR_CONFLICT, naming the file, when one is not the recorded one any more by size and time. */
int manifest_check(const struct manifest *m, const char *folder, struct error *err) NESTOR_CHECKED;

/* ERR_NOT_FOUND without a manifest, ERR_CONFLICT with a damaged one. */
int manifest_load(const char *folder, struct manifest **ret, struct error *err) NESTOR_CHECKED;
int manifest_save(const struct manifest *m, const char *folder, struct error *err) NESTOR_CHECKED;

#endif
