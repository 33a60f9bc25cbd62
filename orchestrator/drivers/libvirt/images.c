/* Base images on the hypervisor: base/SHA256.qcow2, .kernel, .initrd. A file of that name is whole: it gets its name
 * only after its checksum was compared there. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "drivers/libvirt/libvirt.h"

struct part {
    const char *local, *sha256, *suffix;
};

/* What is not there is announced by an empty file: another lab's prune does not take the empty folder away then. */
static int is_there(struct hypervisor *hv, const char *name, const char *incoming, bool *ret, const struct context *ctx,
                    struct error *err) {
    cleanup_buffer struct buffer script = {0}, out = {0};
    script_begin(hv, &script);
    script_set(&script, "name", name);
    script_set(&script, "incoming", incoming);
    buffer_puts(&script, "mkdir -p \"$base\"\nchmod 755 \"$dir\" \"$base\"\n"
                         "if [ -e \"$base/$name\" ]; then echo yes; else : >\"$incoming\"; echo no; fi\n");
    if (script_run(hv, buffer_str(&script), NULL, 0, &out, ctx, err))
        return -1;
    *ret = strcmp(buffer_str(&out), "yes\n") == 0;
    return 0;
}

/* As far as it can be reached: what stays is removed by a later prune. */
static void give_up(struct hypervisor *hv, const char *incoming, const struct context *ctx) {
    cleanup_buffer struct buffer script = {0};
    script_begin(hv, &script);
    script_set(&script, "incoming", incoming);
    buffer_puts(&script, "rm -f \"$incoming\"\n");
    (void)!script_run(hv, buffer_str(&script), NULL, 0, NULL, ctx, NULL);
}

static int accept_upload(struct hypervisor *hv, const char *incoming, const char *name, const char *sha256,
                         const struct context *ctx, struct error *err) {
    cleanup_buffer struct buffer script = {0};
    script_begin(hv, &script);
    script_set(&script, "incoming", incoming);
    script_set(&script, "name", name);
    script_set(&script, "want", sha256);
    buffer_printf(&script,
                  "got=$(sha256sum \"$incoming\" | cut -d' ' -f1)\n"
                  "if [ \"$got\" != \"$want\" ]; then\n"
                  "    rm -f \"$incoming\"\n"
                  "    echo \"the image arrived damaged: expected sha256 $want, found $got\" >&2\n"
                  "    exit %d\n"
                  "fi\n"
                  "chmod 444 \"$incoming\"\nmv -f \"$incoming\" \"$base/$name\"\n",
                  SCRIPT_CHECKSUM);
    if (script_run(hv, buffer_str(&script), NULL, 0, NULL, ctx, err)) {
        if (err && err->code == ERR_CHECKSUM)
            error_retry(err);
        return -1;
    }
    return 0;
}

static int ensure_part(struct hypervisor *hv, const char *key, const struct part *part, progress_fn progress,
                       void *data, const struct context *ctx, struct error *err) {
    bool there = false;
    cleanup_free char *name = xasprintf("%s.%s", key, part->suffix);
    cleanup_free char *incoming = xasprintf("%s/base/%s.incoming-%d", hv->directory, name, (int)getpid());
    if (is_there(hv, name, incoming, &there, ctx, err))
        return -1;
    if (there)
        return 0;
    if (access_put(hv->access, part->local, incoming, 0600, progress, data, ctx, err)) {
        give_up(hv, incoming, ctx);
        return -1;
    }
    return accept_upload(hv, incoming, name, part->sha256, ctx, err);
}

int libvirt_ensure_image(struct hypervisor *hv, const struct image *image, progress_fn progress, void *data,
                         const struct context *ctx, struct error *err) {
    const struct part parts[] = {
        {image->kernel, image->kernel_sha256, "kernel"},
        {image->initrd, image->initrd_sha256, "initrd"},
        {image->disk, image->sha256, image->format},
    };
    int failed = 0;
    pthread_mutex_lock(&hv->images);
    for (size_t i = 0; !failed && i < sizeof parts / sizeof *parts; i++)
        if (parts[i].local)
            failed = ensure_part(hv, image->sha256, &parts[i], progress, data, ctx, err);
    pthread_mutex_unlock(&hv->images);
    return failed ? error_context(err, "image %s", image->name) : 0;
}

/* Other labs may be at work here at the same time.
 *
 * What is on its way is left alone until nothing happened to it for an hour: that is a leftover. (By the inode's
 * change, which a rename counts as: a directory that is being removed may not have been written to for years.)
 *
 * An image is put aside before it is looked for in the tags a second time, and a create looks for its image after its
 * tag is there: either finds the other. Disks go first, as they come last: with the disk, the rest is there too. */
static const char prune_script[] =
    "[ -d \"$dir\" ] || exit 0\n"
    "find \"$dir\" -mindepth 1 -maxdepth 2 -cmin +60 \\( -type d \\( -name '.new.*' -o -name '.gone.*' \\) -o "
    "-type f \\( -name '.*.part-*' -o -name '*.incoming-*' -o -name '.unused.*' \\) \\) -prune "
    "-exec rm -rf {} + 2>/dev/null || :\n"
    "used() { grep -qs \" $key\\$\" \"$dir\"/*/tag; }\n"
    "for file in \"$base\"/*.qcow2 \"$base\"/*.raw \"$base\"/*; do\n"
    "    name=${file##*/}; key=${name%%.*}\n"
    "    case $name in *.incoming-*) continue ;; esac\n"
    "    if [ ! -e \"$file\" ] || used; then continue; fi\n"
    "    mv \"$file\" \"$base/.unused.$name\" 2>/dev/null || continue\n"
    "    if used; then mv \"$base/.unused.$name\" \"$file\"; else rm -f \"$base/.unused.$name\"; fi\n"
    "done\n"
    "rmdir \"$base\" \"$dir\" 2>/dev/null || :\n";

int libvirt_prune(struct hypervisor *hv, const struct context *ctx, struct error *err) {
    cleanup_buffer struct buffer script = {0};
    script_begin(hv, &script);
    buffer_puts(&script, prune_script);
    return script_run(hv, buffer_str(&script), NULL, 0, NULL, ctx, err);
}
