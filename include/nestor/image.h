/* Images: what a template name stands for on this machine's disk, and the seed that gives a clone its identity.
 *
 * The catalogue lives in the cache directory: images/NAME/{disk.qcow2,vmlinuz,initrd.img,cmdline,manifest.json}.
 * A built-in name (templates/images/NAME) is built by its recipe; a path is hashed once and used in place, a URL is
 * downloaded, both under images/NAME-<12 hex digits of the source's hash>. Everything is addressed by the SHA-256 of
 * its disk: after a rebuild the path leads to other bytes, so what clones from it keeps its own hold of the file.
 */
#ifndef NESTOR_IMAGE_H
#define NESTOR_IMAGE_H

#include "nestor/context.h"
#include "nestor/error.h"
#include "nestor/event.h"
#include "nestor/identity.h"
#include "nestor/lab.h"
#include "nestor/transport.h"

/* A template resolved to files. Owns its strings; free with image_free. Of a template that lives on a hypervisor
 * (template.on_host) there are no files here: only its name is set, the rest is zero, and it is never missing. */
struct image {
    char *name;
    char *disk;            /* absolute path */
    char *format;          /* "qcow2" | "raw" */
    char sha256[65];       /* of the disk */
    uint64_t virtual_size; /* bytes, from the qcow2 header or the file size */
    uint64_t file_size;
    bool in_place; /* a file of it is the user's own, where it lies: it may be edited. Else they are only ever replaced
                    */
    enum boot_kind boot;
    char *kernel, *initrd, *cmdline; /* for BOOT_KERNEL; absolute paths; sha256 below */
    char kernel_sha256[65], initrd_sha256[65];
    char *user; /* default login */
};
void image_free(struct image *image); /* NULL-safe; frees the struct too */

/* Finds the template's files, building or downloading nothing. ERR_NOT_FOUND with the mend
 * "run 'nestor image build NAME'". Checks the manifest's sizes and mtimes; full hashing is image_verify's job.
 * ERR_CONFLICT when a file or the recipe changed since (image_ensure makes it again), ERR_CHECKSUM when the template
 * wants another sum. */
int image_find(const struct template *t, struct image **ret, struct error *err) NESTOR_CHECKED;
/* Whether there is a recipe of that name. */
bool image_has_recipe(const char *name);
/* Whether image_ensure has something to work with: the image, a recipe, or sources, of which those that are paths must
 * lead to regular files that can be read. Builds and downloads nothing. ERR_NOT_FOUND names what is missing; ERR_IMAGE
 * is about a folder or a device. */
int image_check(const struct template *t, struct error *err) NESTOR_CHECKED;
/* image_find, and if it is missing: build by recipe, or download, or import. Progress goes to the sink. A lock file
 * lets one nestor at a time make one image; the second waits and then finds it. */
int image_ensure(const struct template *t, bool rebuild, struct image **ret, struct event_sink *sink,
                 const struct context *ctx, struct error *err) NESTOR_CHECKED;
/* Hashes the files again and compares with the manifest: ERR_CHECKSUM names file, expected and found. */
int image_verify(const struct image *image, const struct context *ctx, struct error *err) NESTOR_CHECKED;
/* A template used in place is only forgotten; of one that never became whole, what is left of its making goes.
 * ERR_LOCKED while somebody makes it. */
int image_remove(const char *name, struct error *err) NESTOR_CHECKED;
/* Names in the catalogue (built or not): calls fn for each, in name order. image is NULL for a recipe not built. */
int image_list(void (*fn)(void *data, const char *name, const struct image *image), void *data,
               struct error *err) NESTOR_CHECKED;

/* What was left by those who were killed or interrupted while they made an image, such as half a download (which the
 * next image_ensure of the same would continue): calls fn for each path, by name. What somebody is making now is no
 * leftover. */
int image_leftovers(void (*fn)(void *data, const char *name, const char *path), void *data,
                    struct error *err) NESTOR_CHECKED;
/* Removes the leftovers of that name; fine if there are none. ERR_LOCKED while somebody makes it. */
int image_clean(const char *name, struct error *err) NESTOR_CHECKED;

/* --- the NoCloud seed (image/seed.c) --- */

struct seed {
    const char *instance_id; /* the machine's UUID */
    const char *hostname;
    const char *ssh_user;
    const char *authorized_key;     /* the lab's public key line */
    const struct keypair *host_key; /* the machine's SSH host key */
    const char *extra_user_data;    /* the spec's user-data, or NULL */
};
/* A FAT volume labelled CIDATA with meta-data and user-data, as cloud-init's NoCloud reads it
 * (cloudinit.readthedocs.io, "NoCloud"), written by nestor itself: no mkfs, no mount, no root. Deterministic.
 * With extra user-data, user-data is a MIME multi-part; nestor's parts come last in it, so that the machine's identity
 * cannot be overruled. Appends to *ret, which then holds the private host key: wipe it. */
int seed_build(const struct seed *seed, struct buffer *ret, struct error *err) NESTOR_CHECKED;
/* The same two files as texts, for hypervisors that hand them over themselves; appended to two empty buffers. user_data
 * holds the private host key: wipe it with seed_wipe. */
int seed_texts(const struct seed *seed, struct buffer *ret_meta_data, struct buffer *ret_user_data,
               struct error *err) NESTOR_CHECKED;
void seed_wipe(struct buffer *b); /* of a buffer that was only ever appended to: zeroes, then frees; empty is fine */

#endif
