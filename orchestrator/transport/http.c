/* Downloads with libcurl: into a part file beside the target, continued by the next call after a cut. */
#include "transport/http.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "nestor/file.h"
#include "nestor/identity.h"
#include "transport/http_curl.h"

#define CONNECT_MS 30000L
#define REDIRECTS_MAX 8L

struct download {
    struct http_limits limits;
    const char *url, *path, *expected;
    progress_fn progress;
    void *progress_data;
    const struct context *ctx;

    char *subject; /* the URL without what may be secret in it */
    char *part;
    int fd; /* of the part file, locked */
    uint64_t resumed_from, done;
    int64_t heard_at;
    int write_errno;
    bool too_large;

    CURLM *multi;
    CURL *easy;
    char message[CURL_ERROR_SIZE];
};

/* What a transfer comes to. */
enum outcome { FAILED, WHOLE, RESTART /* what is there cannot be continued: once more from the start */ };

/* A password or a token may stand before the host or behind the path. */
static char *without_secrets(const char *url) {
    CURLU *u = curl_url();
    char *clean = NULL;
    if (u && curl_url_set(u, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME) == CURLUE_OK) {
        curl_url_set(u, CURLUPART_USER, NULL, 0);
        curl_url_set(u, CURLUPART_PASSWORD, NULL, 0);
        curl_url_set(u, CURLUPART_QUERY, NULL, 0);
        curl_url_get(u, CURLUPART_URL, &clean, 0);
    }
    char *copy = xstrdup(clean ? clean : "the URL");
    curl_free(clean);
    curl_url_cleanup(u);
    return copy;
}

/* --- the part file --- */

/* Locked, so that two runs of nestor do not write into one another. */
static int part_open(struct download *d, struct error *err) {
    d->fd = open(d->part, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (d->fd < 0)
        return error_set_errno(err, errno, d->part, "cannot make the file to download into");
    if (flock(d->fd, LOCK_EX | LOCK_NB) == 0)
        return 0;
    error_set(err, ERR_LOCKED, d->subject, "another nestor is downloading it");
    error_mend(err, "wait for it to finish, then run the same command again");
    return error_retry(err);
}

/* Only what a checksum will prove is continued: without one, a file that changed on the server would be mixed. */
static int part_prepare(struct download *d, bool restart, struct error *err) {
    struct stat st;
    if ((restart || !d->expected) && ftruncate(d->fd, 0))
        return error_set_errno(err, errno, d->part, "cannot empty the file");
    if (fstat(d->fd, &st) || lseek(d->fd, 0, SEEK_END) < 0)
        return error_set_errno(err, errno, d->part, "cannot read the file's size");
    d->resumed_from = d->done = (uint64_t)st.st_size;
    return 0;
}

/* --- libcurl --- */

static size_t on_bytes(char *bytes, size_t size, size_t count, void *data) {
    struct download *d = data;
    size_t n = size * count;
    d->heard_at = clock_ms();
    if (n > d->limits.max_bytes || d->done > d->limits.max_bytes - n) {
        d->too_large = true;
        return CURL_WRITEFUNC_ERROR;
    }
    if (fd_write(d->fd, bytes, n)) {
        d->write_errno = errno;
        return CURL_WRITEFUNC_ERROR;
    }
    d->done += n;
    if (d->progress) {
        curl_off_t rest = -1;
        curl_easy_getinfo(d->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &rest);
        d->progress(d->progress_data, d->done, rest > 0 ? d->resumed_from + (uint64_t)rest : 0);
    }
    return n;
}

static bool is_https(const char *url) { return strncasecmp(url, "https:", 6) == 0; }

static int easy_prepare(struct download *d, struct error *err) {
    CURL *c = d->easy;
    d->message[0] = '\0';
    CURLcode rc = CURLE_OK;
#define SET(option, value) rc = rc ? rc : curl_easy_setopt(c, option, value)
    SET(CURLOPT_URL, d->url);
    SET(CURLOPT_ERRORBUFFER, d->message);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_QUICK_EXIT, 1L); /* a silent name server must not hold up the end */
    SET(CURLOPT_PROTOCOLS_STR, "https,http,file");
    SET(CURLOPT_REDIR_PROTOCOLS_STR, is_https(d->url) ? "https" : "https,http");
    SET(CURLOPT_FOLLOWLOCATION, 1L);
    SET(CURLOPT_MAXREDIRS, REDIRECTS_MAX);
    SET(CURLOPT_FAILONERROR, 1L);
    SET(CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
    SET(CURLOPT_SSL_VERIFYPEER, 1L);
    SET(CURLOPT_SSL_VERIFYHOST, 2L);
    SET(CURLOPT_USERAGENT, "nestor/" NESTOR_VERSION);
    SET(CURLOPT_RESUME_FROM_LARGE, (curl_off_t)d->resumed_from);
    SET(CURLOPT_WRITEFUNCTION, on_bytes);
    SET(CURLOPT_WRITEDATA, d);
#undef SET
    return rc ? error_set(err, ERR_INTERNAL, d->subject, "libcurl: %s", curl_easy_strerror(rc)) : 0;
}

/* Where libcurl says no more: the next call continues what is there. */
#define CONTINUES "run the same command again: the download continues"

static const struct http_failure failures[] = {
    {CURLE_FILE_COULDNT_READ_FILE, ERR_NOT_FOUND, false, "check the path in the URL"},
    {CURLE_UNSUPPORTED_PROTOCOL, ERR_UNSUPPORTED, false,
     "use an https, http or file URL; one that begins with https never leads to another kind"},
    {CURLE_URL_MALFORMAT, ERR_USAGE, false, "use an https, http or file URL"},
    {CURLE_TOO_MANY_REDIRECTS, ERR_PROTOCOL, false, "check the URL: the server sends us in a circle"},
    {CURLE_PEER_FAILED_VERIFICATION, ERR_PROTOCOL, false,
     "check this machine's clock and its CA certificates (package ca-certificates)"},
};

static int http_status_error(struct download *d, struct error *err) {
    long status = 0;
    curl_easy_getinfo(d->easy, CURLINFO_RESPONSE_CODE, &status);
    bool later = status >= 500 || status == 429;
    enum error_code code = status == 404 || status == 410   ? ERR_NOT_FOUND
                           : status == 401 || status == 403 ? ERR_AUTH
                           : later                          ? ERR_UNREACHABLE
                                                            : ERR_PROTOCOL;
    error_set(err, code, d->subject, "the server answered with HTTP status %ld", status);
    if (err) {
        err->native = status;
        err->retry = later;
    }
    return error_mend(err, later ? "try again a little later" : "check the URL");
}

static int transfer_error(struct download *d, CURLcode rc, struct error *err) {
    if (rc == CURLE_HTTP_RETURNED_ERROR)
        return http_status_error(d, err);
    if (d->write_errno)
        return error_set_errno(err, d->write_errno, d->part, "cannot write what was downloaded");
    if (d->too_large)
        return error_set(err, ERR_PROTOCOL, d->subject, "the file is larger than the limit of %llu bytes",
                         (unsigned long long)d->limits.max_bytes);
    const struct http_failure *f = http_failure_find(failures, sizeof failures / sizeof *failures, rc);
    error_set(err, f ? f->code : ERR_IO, d->subject, "cannot download it: %s",
              d->message[0] ? d->message : curl_easy_strerror(rc));
    if (f)
        error_mend(err, "%s", f->mend ? f->mend : CONTINUES);
    if (err) {
        err->native = rc;
        err->retry = f && f->retry;
    }
    return -1;
}

/* Waits for the next thing to happen, at most until the context or the server's patience ends. */
static int wait_for_bytes(struct download *d, struct error *err) {
    int64_t silent = clock_ms() - d->heard_at;
    if (context_check(d->ctx, d->subject, "downloading", err))
        return -1;
    if (silent >= d->limits.stall_ms) {
        error_set(err, ERR_TIMEOUT, d->subject, "no byte came for %d seconds", d->limits.stall_ms / 1000);
        error_mend(err, "run the same command again: the download continues");
        return error_retry(err);
    }
    int64_t left = d->limits.stall_ms - silent;
    if (context_left(d->ctx) < left)
        left = context_left(d->ctx);
    struct curl_waitfd cancelled = {.fd = d->ctx->cancel ? d->ctx->cancel->fd : -1, .events = CURL_WAIT_POLLIN};
    CURLMcode rc = curl_multi_poll(d->multi, &cancelled, d->ctx->cancel ? 1 : 0, (int)left + 1, NULL);
    return rc ? error_set(err, ERR_INTERNAL, d->subject, "libcurl: %s", curl_multi_strerror(rc)) : 0;
}

static int perform(struct download *d, CURLcode *ret_rc, struct error *err) {
    for (;;) {
        int running = 0, messages = 0;
        CURLMcode rc = curl_multi_perform(d->multi, &running);
        if (rc)
            return error_set(err, ERR_INTERNAL, d->subject, "libcurl: %s", curl_multi_strerror(rc));
        const CURLMsg *message = curl_multi_info_read(d->multi, &messages);
        if (message && message->msg == CURLMSG_DONE) {
            *ret_rc = message->data.result;
            return 0;
        }
        if (wait_for_bytes(d, err))
            return -1;
    }
}

/* The ways a server says that it cannot continue there: it knows no ranges, or ours starts at or behind the end. */
static bool cannot_continue(struct download *d, CURLcode rc) {
    long status = 0;
    curl_easy_getinfo(d->easy, CURLINFO_RESPONSE_CODE, &status);
    return d->resumed_from > 0 && (rc == CURLE_RANGE_ERROR || rc == CURLE_BAD_DOWNLOAD_RESUME || status == 416);
}

static enum outcome transfer(struct download *d, struct error *err) {
    CURLcode rc = CURLE_OK;
    if (easy_prepare(d, err))
        return FAILED;
    d->heard_at = clock_ms();
    curl_multi_add_handle(d->multi, d->easy);
    int failed = perform(d, &rc, err);
    enum outcome outcome = failed ? FAILED : rc == CURLE_OK ? WHOLE : cannot_continue(d, rc) ? RESTART : FAILED;
    if (!failed && outcome == FAILED)
        transfer_error(d, rc, err);
    curl_multi_remove_handle(d->multi, d->easy);
    return outcome;
}

/* --- the whole --- */

static int checksum_error(struct download *d, const char *actual, struct error *err) {
    unlink(d->part);
    error_set(err, ERR_CHECKSUM, d->subject, "its SHA-256 is %s, not %s", actual, d->expected);
    return error_mend(err, "the file on the server changed, or what came is damaged: download it again, and if it "
                           "stays, compare the checksum with the publisher's");
}

static enum outcome verify(struct download *d, struct error *err) {
    char actual[65];
    if (!d->expected)
        return WHOLE;
    if (sha256_file(d->part, actual, NULL, NULL, d->ctx, err))
        return FAILED;
    if (strcasecmp(actual, d->expected) == 0)
        return WHOLE;
    if (d->resumed_from > 0)
        return RESTART; /* its beginning may be of an older file */
    checksum_error(d, actual, err);
    return FAILED;
}

/* A part that is already the whole: the run before was killed between the last byte and the new name. */
static bool part_is_whole(struct download *d) {
    char actual[65];
    return d->expected && d->resumed_from > 0 && sha256_file(d->part, actual, NULL, NULL, d->ctx, NULL) == 0 &&
           strcasecmp(actual, d->expected) == 0;
}

static int fetch(struct download *d, struct error *err) {
    enum outcome outcome = RESTART;
    for (int attempt = 0; outcome == RESTART && attempt < 2; attempt++) {
        if (part_prepare(d, attempt > 0, err))
            return -1;
        if (part_is_whole(d))
            return 0;
        outcome = transfer(d, err);
        if (outcome == WHOLE)
            outcome = verify(d, err);
    }
    return outcome == WHOLE ? 0 : -1;
}

static void download_close(struct download *d) {
    curl_easy_cleanup(d->easy);
    curl_multi_cleanup(d->multi);
    cleanup_closep(&d->fd);
    free(d->subject);
    free(d->part);
}

int http_download_within(struct http_limits limits, const char *url, const char *path, const char *expected_sha256,
                         progress_fn progress, void *progress_data, const struct context *ctx, struct error *err) {
    http_curl_init();
    const char *name = basename(path);
    __attribute__((cleanup(download_close))) struct download d = {
        .limits = limits,
        .url = url,
        .path = path,
        .expected = expected_sha256,
        .progress = progress,
        .progress_data = progress_data,
        .ctx = ctx,
        .subject = without_secrets(url),
        .part = xasprintf("%.*s.%s.part", (int)(name - path), path, name),
        .fd = -1,
        .multi = curl_multi_init(),
        .easy = curl_easy_init(),
    };
    if (!d.multi || !d.easy)
        return error_set(err, ERR_INTERNAL, d.subject, "libcurl cannot be started");
    if (part_open(&d, err) || fetch(&d, err))
        return -1;
    if (fd_publish(d.fd, AT_FDCWD, d.part, d.path, 0644))
        return error_set_errno(err, errno, d.path, "cannot put the file in its place");
    return 0;
}

int http_download(const char *url, const char *path, const char *expected_sha256, progress_fn progress,
                  void *progress_data, const struct context *ctx, struct error *err) {
    return http_download_within(HTTP_LIMITS_DEFAULT, url, path, expected_sha256, progress, progress_data, ctx, err);
}
