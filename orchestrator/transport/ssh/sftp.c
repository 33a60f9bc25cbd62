#include "transport/ssh/sftp.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "transport/ssh/sftp_packet.h"

/* A server need not take more in one packet (section 3: 34000 bytes with what surrounds them). */
#define CHUNK ((size_t)32768)
/* Writes on their way at once: 2 MiB, as much as OpenSSH's server takes on a channel before it has to speak. */
#define WRITES_MAX 64

#define ATTR_SIZE 0x1
#define ATTR_UIDGID 0x2
#define ATTR_PERMISSIONS 0x4
#define OPEN_NEW (0x2 | 0x8 | 0x20) /* WRITE, CREAT, EXCL */

/* --- what a server says --- */

enum { FX_OK = 0, FX_NO_SUCH_FILE = 2, FX_PERMISSION_DENIED = 3, FX_FAILURE = 4, FX_NO_SPACE = 14, FX_QUOTA = 15 };

static const char free_some[] = "free some space there, then run the same command again";

/* Those above 8 are of later versions; some servers send them all the same. */
static const struct failure {
    uint32_t status;
    enum error_code code;
    const char *cause, *mend;
} failures[] = {
    {FX_NO_SUCH_FILE, ERR_NOT_FOUND, "the directory does not exist", ""},
    {FX_PERMISSION_DENIED, ERR_IO, "the user may not write there", "see whether the user has the rights for it"},
    {FX_NO_SPACE, ERR_DISK_FULL, "its disk is full", free_some},
    {FX_QUOTA, ERR_DISK_FULL, "the user's quota is used up", free_some},
    {FX_OK, ERR_IO, "its SFTP server failed and does not say why", "look at its disk and its log"}, /* any other */
};

static int failed(const struct sftp *s, uint32_t status, struct error *err) {
    const struct failure *f = failures;
    while (f->status != status && f->status != FX_OK)
        f++;
    error_set(err, f->code, s->subject, "cannot write %s: %s", s->target, f->cause);
    if (f->mend[0])
        error_mend(err, "%s", f->mend);
    if (err)
        err->native = (long)status;
    return -1;
}

/* A reply that is no success. Its words are not passed on: they only spell the number, in any language. */
static int refused(const struct sftp *s, struct sftp_reply *r, struct error *err) {
    uint32_t status = sftp_take_u32(r);
    if (r->type != SFTP_STATUS || r->cut || status == FX_OK)
        return sftp_nonsense(s, err);
    return failed(s, status, err);
}

static bool is_ok(struct sftp_reply *r) {
    struct sftp_reply copy = *r;
    return r->type == SFTP_STATUS && sftp_take_u32(&copy) == FX_OK && !copy.cut;
}

static int await_ok(struct sftp *s, struct sftp_request request, const struct context *ctx, struct error *err) {
    struct sftp_reply r;
    if (sftp_await(s, request, &r, ctx, err))
        return -1;
    return is_ok(&r) ? 0 : refused(s, &r, err);
}

/* --- the greeting --- */

static const struct {
    const char *name;
    enum sftp_extension bit;
} extensions[] = {
    {"posix-rename@openssh.com", SFTP_POSIX_RENAME},
    {"fsync@openssh.com", SFTP_FSYNC},
    {"fstatvfs@openssh.com", SFTP_FSTATVFS},
};

static void note_extension(struct sftp *s, const char *name, size_t len) {
    for (size_t i = 0; i < sizeof extensions / sizeof *extensions; i++)
        if (strlen(extensions[i].name) == len && memcmp(extensions[i].name, name, len) == 0)
            s->extensions |= (unsigned)extensions[i].bit;
}

/* SFTP_INIT has its version where other requests have their id. */
int sftp_greet(struct sftp *s, const struct context *ctx, struct error *err) {
    s->next_id = 3;
    struct sftp_request init = sftp_begin(s, SFTP_INIT);
    sftp_end(s, init);
    struct sftp_reply r;
    bool there = false;
    while (!there)
        if (sftp_take_reply(s, &r, &there, err) || (!there && sftp_move(s, ctx, err)))
            return -1;
    if (r.type != SFTP_VERSION)
        return sftp_nonsense(s, err);
    while (r.left > 0) {
        size_t name_len, data_len;
        const char *name = sftp_take_string(&r, &name_len);
        sftp_take_string(&r, &data_len);
        if (r.cut)
            return sftp_nonsense(s, err);
        note_extension(s, name, name_len);
    }
    return 0;
}

bool sftp_heard(const struct sftp *s) { return s->received.len > 0 || s->taken > 0; }

void sftp_free(struct sftp *s) {
    buffer_free(&s->queued);
    buffer_free(&s->received);
}

/* --- files --- */

static void put_path(struct sftp *s, const char *path) { sftp_put_string(s, path, strlen(path)); }

static void put_mode(struct sftp *s, mode_t mode) {
    sftp_put_u32(s, ATTR_PERMISSIONS);
    sftp_put_u32(s, mode & 07777);
}

int sftp_is_directory(struct sftp *s, const char *path, bool *ret, const struct context *ctx, struct error *err) {
    struct sftp_request stat = sftp_begin(s, SFTP_STAT);
    put_path(s, path);
    sftp_end(s, stat);
    struct sftp_reply r;
    if (sftp_await(s, stat, &r, ctx, err))
        return -1;
    *ret = false;
    if (r.type != SFTP_ATTRS)
        return 0; /* whatever is wrong with the name, creating one beside it will tell */
    uint32_t flags = sftp_take_u32(&r);
    if (flags & ATTR_SIZE)
        sftp_take_u64(&r);
    if (flags & ATTR_UIDGID)
        sftp_take_u64(&r);
    *ret = (flags & ATTR_PERMISSIONS) && S_ISDIR(sftp_take_u32(&r));
    return 0;
}

int sftp_create(struct sftp *s, const char *path, struct sftp_file *ret, const struct context *ctx, struct error *err) {
    struct sftp_request open = sftp_begin(s, SFTP_OPEN);
    put_path(s, path);
    sftp_put_u32(s, OPEN_NEW);
    put_mode(s, 0600);
    sftp_end(s, open);
    struct sftp_reply r;
    if (sftp_await(s, open, &r, ctx, err))
        return -1;
    if (r.type != SFTP_HANDLE)
        return refused(s, &r, err);
    size_t len;
    const char *handle = sftp_take_string(&r, &len);
    if (r.cut || len > SFTP_HANDLE_MAX)
        return sftp_nonsense(s, err);
    *ret = (struct sftp_file){.handle_len = (uint32_t)len};
    memcpy(ret->handle, handle, len);
    return 0;
}

static void put_handle(struct sftp *s, const struct sftp_file *f) { sftp_put_string(s, f->handle, f->handle_len); }

/* --- writing --- */

/* A server tells a full disk as a mere failure: version 3 has no number for it. Whether there is room for the rest
 * is asked afterwards. */
static bool has_room(struct sftp *s, const struct sftp_file *f, uint64_t rest, const struct context *ctx) {
    struct sftp_reply r;
    if (!(s->extensions & SFTP_FSTATVFS))
        return true;
    struct sftp_request statvfs = sftp_begin_extended(s, "fstatvfs@openssh.com");
    put_handle(s, f);
    sftp_end(s, statvfs);
    if (sftp_await(s, statvfs, &r, ctx, NULL) || r.type != SFTP_EXTENDED_REPLY)
        return true;
    sftp_take_u64(&r); /* f_bsize */
    uint64_t unit = sftp_take_u64(&r);
    sftp_take_u64(&r); /* f_blocks */
    sftp_take_u64(&r); /* f_bfree */
    uint64_t available = sftp_take_u64(&r);
    return r.cut || unit == 0 || available > rest / unit;
}

/* A file on its way. The chunks' requests have consecutive ids. */
struct writing {
    struct sftp *s;
    const struct sftp_file *f;
    const struct sftp_source *from;
    uint64_t asked, done; /* bytes */
    unsigned under_way;   /* requests */
    uint32_t first_id;
};

static int read_chunk(const struct writing *w, char *to, size_t n, struct error *err) {
    for (size_t have = 0; have < n;) {
        ssize_t got = pread(w->from->fd, to + have, n - have, (off_t)(w->asked + have));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_set_errno(err, errno, w->from->path, "cannot read the file to copy");
        if (got == 0)
            return error_set(err, ERR_IO, w->from->path, "the file to copy became shorter meanwhile");
        have += (size_t)got;
    }
    return 0;
}

static int ask_chunk(struct writing *w, struct error *err) {
    struct sftp *s = w->s;
    char chunk[CHUNK];
    size_t n = w->from->size - w->asked < CHUNK ? (size_t)(w->from->size - w->asked) : CHUNK;
    if (read_chunk(w, chunk, n, err))
        return -1;
    struct sftp_request write = sftp_begin(s, SFTP_WRITE);
    put_handle(s, w->f);
    sftp_put_u64(s, w->asked);
    sftp_put_string(s, chunk, n);
    sftp_end(s, write);
    w->asked += n;
    w->under_way++;
    return 0;
}

static int ask_more(struct writing *w, struct error *err) {
    while (w->asked < w->from->size && w->under_way < WRITES_MAX && sftp_unsent(w->s) < SFTP_QUEUE_MAX)
        if (ask_chunk(w, err))
            return -1;
    return 0;
}

/* The write that this answers; false for an id that was not used. */
static bool chunk_of(const struct writing *w, uint32_t id, size_t *ret_len) {
    uint64_t at = (uint64_t)(uint32_t)(id - w->first_id) * CHUNK;
    if (at >= w->asked || w->under_way == 0)
        return false;
    *ret_len = w->from->size - at < CHUNK ? (size_t)(w->from->size - at) : CHUNK;
    return true;
}

static int write_refused(const struct writing *w, struct sftp_reply *r, const struct context *ctx, struct error *err) {
    struct error e = {0};
    refused(w->s, r, &e);
    bool vague = e.code == ERR_IO && e.native == FX_FAILURE;
    if (vague && !has_room(w->s, w->f, w->from->size - w->done, ctx))
        return failed(w->s, FX_NO_SPACE, err);
    if (err)
        *err = e;
    return -1;
}

static int take_answers(struct writing *w, const struct context *ctx, struct error *err) {
    for (;;) {
        struct sftp_reply r;
        bool there;
        size_t len;
        if (sftp_take_reply(w->s, &r, &there, err))
            return -1;
        if (!there)
            return 0;
        if (!chunk_of(w, r.id, &len))
            return sftp_nonsense(w->s, err);
        if (!is_ok(&r))
            return write_refused(w, &r, ctx, err);
        w->done += len;
        w->under_way--;
    }
}

int sftp_write(struct sftp *s, const struct sftp_file *f, const struct sftp_source *from,
               const struct transfer *transfer, const struct context *ctx, struct error *err) {
    struct writing w = {.s = s, .f = f, .from = from, .first_id = s->next_id};
    while (w.asked < from->size || w.under_way > 0) {
        uint64_t before = w.done;
        if (ask_more(&w, err) || sftp_move(s, ctx, err) || take_answers(&w, ctx, err))
            return -1;
        if (transfer->progress && w.done > before)
            transfer->progress(transfer->data, w.done, transfer->total);
    }
    return 0;
}

/* --- the end of a file --- */

static int set_mode(struct sftp *s, const struct sftp_file *f, mode_t mode, const struct context *ctx,
                    struct error *err) {
    struct sftp_request setstat = sftp_begin(s, SFTP_FSETSTAT);
    put_handle(s, f);
    put_mode(s, mode);
    sftp_end(s, setstat);
    return await_ok(s, setstat, ctx, err);
}

static int put_on_disk(struct sftp *s, const struct sftp_file *f, const struct context *ctx, struct error *err) {
    if (!(s->extensions & SFTP_FSYNC))
        return 0;
    struct sftp_request fsync = sftp_begin_extended(s, "fsync@openssh.com");
    put_handle(s, f);
    sftp_end(s, fsync);
    return await_ok(s, fsync, ctx, err);
}

static int close_file(struct sftp *s, const struct sftp_file *f, const struct context *ctx, struct error *err) {
    struct sftp_request close = sftp_begin(s, SFTP_CLOSE);
    put_handle(s, f);
    sftp_end(s, close);
    return await_ok(s, close, ctx, err);
}

int sftp_finish(struct sftp *s, const struct sftp_file *f, mode_t mode, const struct context *ctx, struct error *err) {
    if (set_mode(s, f, mode, ctx, err) || put_on_disk(s, f, ctx, err))
        return -1;
    return close_file(s, f, ctx, err);
}

int sftp_rename(struct sftp *s, const char *from, const char *to, const struct context *ctx, struct error *err) {
    struct sftp_request rename = sftp_begin_extended(s, "posix-rename@openssh.com");
    put_path(s, from);
    put_path(s, to);
    sftp_end(s, rename);
    return await_ok(s, rename, ctx, err);
}

int sftp_remove(struct sftp *s, const char *path, const struct context *ctx, struct error *err) {
    struct sftp_request remove = sftp_begin(s, SFTP_REMOVE);
    put_path(s, path);
    sftp_end(s, remove);
    return await_ok(s, remove, ctx, err);
}
