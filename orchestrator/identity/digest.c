#include "nestor/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "identity/identity_priv.h"

#define CHUNK ((size_t)256 << 10)

static void digest_freep(EVP_MD_CTX **ctx) { EVP_MD_CTX_free(*ctx); }
#define cleanup_digest __attribute__((cleanup(digest_freep)))

static EVP_MD *algorithm;

static void fetch_algorithm(void) { algorithm = EVP_MD_fetch(NULL, "SHA256", NULL); }

/* Looked up once: OpenSSL 3 asks its providers again for each digest otherwise, which takes longer than the digest of
 * a name does. */
static const EVP_MD *sha256_algorithm(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, fetch_algorithm);
    return algorithm;
}

void sha256(const void *data, size_t len, unsigned char out[DIGEST_LEN]) {
    const EVP_MD *md = sha256_algorithm();
    /* Fails only without memory or without any provider (OPENSSL_CONF): nothing can be named or checked then. */
    if (!md || EVP_Digest(data, len, out, NULL, md, NULL) != 1)
        abort();
}

void sha256_hex(const void *data, size_t len, char out[65]) {
    unsigned char digest[DIGEST_LEN];
    sha256(data, len, digest);
    hex_encode(digest, sizeof digest, out);
}

/* Feeds the rest of fd to the digest. */
static int digest_fd(EVP_MD_CTX *digest, int fd, uint64_t total, const char *path,
                     void (*progress)(void *, uint64_t, uint64_t), void *data, const struct context *ctx,
                     struct error *err) {
    cleanup_free unsigned char *chunk = xmalloc(CHUNK);
    uint64_t done = 0;
    for (;;) {
        if (ctx && context_check(ctx, path, "computing its SHA-256", err))
            return -1;
        ssize_t got = read(fd, chunk, CHUNK);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_set_errno(err, errno, path, "cannot read the file");
        if (got == 0)
            return 0;
        if (EVP_DigestUpdate(digest, chunk, (size_t)got) != 1)
            return crypto_error(err, ERR_INTERNAL, path, "cannot compute the SHA-256");
        done += (uint64_t)got;
        if (progress)
            progress(data, done, total);
    }
}

int sha256_file(const char *path, char out[65], void (*progress)(void *, uint64_t, uint64_t), void *data,
                const struct context *ctx, struct error *err) {
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(err, errno, path, "cannot open the file");
    struct stat st;
    if (fstat(fd, &st) < 0)
        return error_set_errno(err, errno, path, "cannot look at the file");

    cleanup_digest EVP_MD_CTX *digest = EVP_MD_CTX_new();
    if (!digest || EVP_DigestInit_ex(digest, sha256_algorithm(), NULL) != 1)
        return crypto_error(err, ERR_INTERNAL, path, "cannot compute the SHA-256");
    uint64_t total = S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
    if (digest_fd(digest, fd, total, path, progress, data, ctx, err))
        return -1;
    unsigned char sum[DIGEST_LEN];
    if (EVP_DigestFinal_ex(digest, sum, NULL) != 1)
        return crypto_error(err, ERR_INTERNAL, path, "cannot compute the SHA-256");
    hex_encode(sum, sizeof sum, out);
    return 0;
}
