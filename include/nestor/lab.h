/* The lab spec as a value: what the user asked for, resolved and checked.
 *
 * struct lab is immutable once built, owns everything it points to (one arena), and is freed as a whole with
 * lab_free. Machines are in pre-order: a parent always stands before its children, `count: N` is expanded,
 * defaults are applied. Order is the file's order, so everything derived from it is deterministic.
 */
#ifndef NESTOR_LAB_H
#define NESTOR_LAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "nestor/arena.h"
#include "nestor/buffer.h"
#include "nestor/context.h"
#include "nestor/error.h"

#define LAB_NONE UINT32_MAX

/* Where in the spec a value stands. line and column count from 1; line 0: not from the file (a default). */
struct origin {
    int line, column;
};

/* A free key/value of a host: driver parameters the spec stage does not interpret beyond their type. Nested
 * maps are flattened with dots: tls: { ca: FILE } -> "tls.ca". */
struct param {
    const char *key;
    const char *value;
    struct origin origin;
};

struct host {
    const char *name;
    const char *driver; /* "qemu", "libvirt", ... checked against the driver table by the spec stage */
    const struct param *params;
    size_t nparams;
    uint32_t parallel; /* most operations at once on it; 0: the driver's default */
    struct origin origin;
};

enum boot_kind { BOOT_DISK, BOOT_KERNEL };

/* Something that can be cloned. Built-in ones (templates/images) carry only a name until image/ finds them. */
struct template {
    const char *name;
    bool on_host; /* it lives on the hypervisor under that name or path (DRIVER_TEMPLATES); nothing below is set */
    const char *source; /* path or URL of the disk; NULL: the image catalogue's entry of that name */
    const char *sha256; /* 64 hex digits of the source, or NULL (only allowed for a local path) */
    const char *format; /* "qcow2" or "raw" */
    enum boot_kind boot;
    const char *kernel, *initrd, *cmdline; /* paths or URLs for BOOT_KERNEL; initrd and cmdline may be NULL */
    const char *user;                      /* who SSH logs in as unless the machine says otherwise; NULL: root */
    struct origin origin;
};

enum nesting { NESTING_OFF, NESTING_EXPOSED, NESTING_PREFERRED, NESTING_REQUIRED };
enum ready { READY_RUNNING, READY_ADDRESS, READY_SSH };
const char *nesting_name(enum nesting n); /* "required" ... */
const char *ready_name(enum ready r);
/* The reverse; false, with *ret untouched, for any other word. */
bool nesting_parse(const char *name, enum nesting *ret) NESTOR_CHECKED;
bool ready_parse(const char *name, enum ready *ret) NESTOR_CHECKED;

struct machine {
    const char *path;       /* "quickstart/kvm1/web1" */
    const char *name;       /* "web1" */
    uint32_t level;         /* 1 for a machine on a host, 2 inside that ... */
    uint32_t parent;        /* index of the guest hypervisor it runs in, LAB_NONE at level 1 */
    uint32_t host;          /* index into lab.hosts: the host of its whole branch */
    uint32_t template;      /* index into lab.templates */
    const char *hypervisor; /* driver it is opened with once verified, NULL for a plain guest */
    uint32_t cpus;
    uint64_t memory; /* bytes */
    uint64_t disk;   /* bytes; 0: the template's own size */
    enum nesting nesting;
    enum ready ready;
    const char *ssh_user; /* never NULL once parsed */
    uint16_t ssh_port;
    uint32_t boot_timeout_s;   /* 0: the driver's default for its accelerator */
    uint32_t stop_timeout_s;   /* 0: default */
    const char *user_data;     /* extra cloud-init user-data, NULL if none */
    uint32_t parallel;         /* limit of the hypervisor this machine becomes; 0: default */
    bool full_clone;           /* `clone: full` */
    const struct param *extra; /* `extra-config`: advanced keys of the hypervisor it runs on */
    size_t nextra;
    const struct param *params; /* of `hypervisor: { driver: NAME, ... }`: how to open what it becomes */
    size_t nparams;
    struct origin origin;
};

struct lab {
    struct arena arena;
    const char *name;
    const char *file; /* as the user named it */
    const char *text; /* the whole spec, byte for byte: it goes into the state so that `down` needs no file */
    size_t text_len;
    const struct host *hosts;
    size_t nhosts;
    const struct template *templates;
    size_t ntemplates;
    const struct machine *machines;
    size_t nmachines;
};

/* One finding in a spec file. */
struct diagnostic {
    struct origin origin;
    bool warning;
    char text[320]; /* "unknown key 'memroy'" */
    char hint[160]; /* "did you mean 'memory'?" or "" */
};
struct diagnostics {
    struct diagnostic *items; /* ordered by line, then column */
    size_t n;
    size_t nerrors;
};
void diagnostics_free(struct diagnostics *d);
/* "lab.yaml:14:7: error: unknown key 'memroy'; did you mean 'memory'?" one per line. */
void diagnostics_print(const struct diagnostics *d, const char *file, struct buffer *out);

/* Parses a spec. All findings of the file go to *diags (initialised by the caller to {0}, freed by the caller
 * with diagnostics_free, filled on success too: warnings). Returns -1 with ERR_SPEC, subject
 * "file:line:column" of the first error, when there is at least one error; *ret is then untouched.
 * Input is hostile: size, depth, alias expansion and machine count are bounded, text must be UTF-8. */
int lab_parse(const char *file, const char *text, size_t len, struct lab **ret, struct diagnostics *diags,
              struct error *err) NESTOR_CHECKED;
/* Adds an error of another stage: its cause, and its mend as the hint. */
void diagnostics_add(struct diagnostics *d, struct origin at, const struct error *why);
/* Whether a template can be had, which this stage cannot know. -1 with cause and mend. */
typedef int template_check_fn(const struct template *t, struct error *err);
/* Reads the file ("-": standard input), then lab_parse. ERR_NOT_FOUND; ERR_IO, at once for what is no plain file;
 * ERR_CANCELLED and ERR_TIMEOUT, for standard input may have to be waited for.
 * Of a file with errors no lab comes out whose templates could be checked, and yet all that is wrong is told at once:
 * `check` (may be NULL) is then asked for the templates its machines use, and what it says is a finding too. It is not
 * asked for those of a file without errors. */
int lab_load(const char *file, template_check_fn *check, struct lab **ret, struct diagnostics *diags,
             const struct context *ctx, struct error *err) NESTOR_CHECKED;
void lab_free(struct lab *lab); /* NULL-safe */
/* What the machines right on that host are made from: names of templates, each once, copied to the arena. First those
 * of machines that are to nest, *ret_nesting of the *ret_n. */
const char *const *lab_templates_on(const struct lab *lab, uint32_t host, struct arena *arena, size_t *ret_n,
                                    size_t *ret_nesting);

/* Sizes as the spec writes them: "128MiB", "1.5GiB", "20GB", plain bytes. ERR_USAGE otherwise. */
int size_parse(const char *text, uint64_t *ret, struct error *err) NESTOR_CHECKED;
/* "1GiB", "1.5GiB", "128MiB": the shortest exact-enough form, into out[24]. */
void size_format(uint64_t bytes, char out[24]);
/* A name that is safe in paths, shells, XML, DNS and SSH aliases: [a-z0-9]([a-z0-9-]{0,40}[a-z0-9])? */
bool name_is_valid(const char *name);
/* A login that is one word to a shell, to YAML and to useradd, and never looks like an option: [A-Za-z_][A-Za-z0-9_-]*,
 * at most LOGIN_MAX bytes. */
#define LOGIN_MAX 32
bool login_is_valid(const char *login);
/* The content type of cloud-init user-data by how it begins; NULL if cloud-init would not know what it is.
 * USER_DATA_MULTIPART for what has MIME headers already. Static storage. */
#define USER_DATA_MULTIPART "multipart/mixed"
const char *user_data_type(const char *user_data);
/* The entry nearest to word by edit distance, NULL if none is near enough to suggest. */
const char *nearest_word(const char *word, const char *const *words, size_t n);

#endif
