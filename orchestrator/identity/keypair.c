/* Ed25519 keys in OpenSSH's own formats, so that ssh, sshd and cloud-init take them as they are.
 * The private format is described in OpenSSH's PROTOCOL.key, the public blob in RFC 8709. */
#include "nestor/identity.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include "identity/identity_priv.h"

#define KEY_LEN 32
#define KEY_TYPE "ssh-ed25519"
#define COMMENT_MAX 255
#define PEM_COLUMNS 70 /* as ssh-keygen writes it */

/* Bytes of HKDF for one key: its seed, and the number PROTOCOL.key calls checkint. */
struct material {
    unsigned char seed[KEY_LEN];
    unsigned char check[4];
    unsigned char public[KEY_LEN];
};

/* Wiped in whole, also behind len: a shrunk buffer keeps its bytes. */
static void buffer_wipe(struct buffer *b) {
    if (b->data)
        OPENSSL_cleanse(b->data, b->cap);
    buffer_free(b);
}
#define cleanup_wipe __attribute__((cleanup(buffer_wipe)))

/* Room for everything at once: growing would leave unwiped copies behind. */
static void reserve_once(struct buffer *b) { (void)buffer_reserve(b, 2048); }

static int hkdf(EVP_KDF_CTX *ctx, const struct secret *s, const char *purpose, unsigned char *out, size_t n) {
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)"SHA256", 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)s->bytes, sizeof s->bytes),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, (void *)"nestor", strlen("nestor")),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, (void *)purpose, strlen(purpose)),
        OSSL_PARAM_construct_end(),
    };
    return ctx && EVP_KDF_derive(ctx, out, n, params) == 1 ? 0 : -1;
}

static int derive_seed(const struct secret *s, const char *purpose, struct material *m) {
    unsigned char bytes[sizeof m->seed + sizeof m->check];
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    EVP_KDF_CTX *ctx = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
    int r = hkdf(ctx, s, purpose, bytes, sizeof bytes);
    EVP_KDF_CTX_free(ctx);
    EVP_KDF_free(kdf);
    if (r == 0) {
        memcpy(m->seed, bytes, sizeof m->seed);
        memcpy(m->check, bytes + sizeof m->seed, sizeof m->check);
    }
    OPENSSL_cleanse(bytes, sizeof bytes);
    return r;
}

static int derive_public(struct material *m) {
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, m->seed, sizeof m->seed);
    size_t len = sizeof m->public;
    int ok = key && EVP_PKEY_get_raw_public_key(key, m->public, &len) == 1 && len == sizeof m->public;
    EVP_PKEY_free(key);
    return ok ? 0 : -1;
}

static void put_u32(struct buffer *b, size_t n) {
    unsigned char be[4] = {(unsigned char)(n >> 24), (unsigned char)(n >> 16), (unsigned char)(n >> 8),
                           (unsigned char)n};
    buffer_append(b, be, sizeof be);
}

/* "string" of RFC 4251 section 5: a length and that many bytes. */
static void put_string(struct buffer *b, const void *bytes, size_t n) {
    put_u32(b, n);
    buffer_append(b, bytes, n);
}
static void put_text(struct buffer *b, const char *s) { put_string(b, s, strlen(s)); }

static void put_base64(struct buffer *b, const struct buffer *raw) {
    char *to = buffer_reserve(b, 4 * ((raw->len + 2) / 3) + 1);
    b->len += (size_t)EVP_EncodeBlock((unsigned char *)to, (const unsigned char *)raw->data, (int)raw->len);
}

static void put_public_blob(struct buffer *b, const struct material *m) {
    put_text(b, KEY_TYPE);
    put_string(b, m->public, sizeof m->public);
}

/* The part that a passphrase would encrypt. */
static void put_private_section(struct buffer *b, const struct material *m, const char *comment) {
    buffer_append(b, m->check, sizeof m->check);
    buffer_append(b, m->check, sizeof m->check);
    put_public_blob(b, m);
    put_u32(b, sizeof m->seed + sizeof m->public);
    buffer_append(b, m->seed, sizeof m->seed);
    buffer_append(b, m->public, sizeof m->public);
    put_text(b, comment);
    for (char pad = 1; b->len % 8; pad++) /* to the block size of cipher "none" */
        buffer_putc(b, pad);
}

static void put_private_blob(struct buffer *b, const struct material *m, const char *comment) {
    cleanup_wipe struct buffer section = {0};
    cleanup_buffer struct buffer blob = {0};
    reserve_once(&section);
    put_private_section(&section, m, comment);
    put_public_blob(&blob, m);

    buffer_append(b, "openssh-key-v1", sizeof "openssh-key-v1"); /* with its NUL */
    put_text(b, "none");                                         /* cipher */
    put_text(b, "none");                                         /* key derivation */
    put_text(b, "");                                             /* its options */
    put_u32(b, 1);                                               /* number of keys */
    put_string(b, blob.data, blob.len);
    put_string(b, section.data, section.len);
}

static char *private_pem(const struct material *m, const char *comment) {
    cleanup_wipe struct buffer raw = {0}, text = {0}, pem = {0};
    reserve_once(&raw);
    reserve_once(&text);
    reserve_once(&pem);
    put_private_blob(&raw, m, comment);
    put_base64(&text, &raw);

    buffer_puts(&pem, "-----BEGIN OPENSSH PRIVATE KEY-----\n");
    for (size_t at = 0; at < text.len; at += PEM_COLUMNS) {
        buffer_append(&pem, text.data + at, text.len - at < PEM_COLUMNS ? text.len - at : PEM_COLUMNS);
        buffer_putc(&pem, '\n');
    }
    buffer_puts(&pem, "-----END OPENSSH PRIVATE KEY-----\n");
    return buffer_steal(&pem);
}

static char *public_line(const struct material *m, const char *comment) {
    cleanup_buffer struct buffer blob = {0}, line = {0};
    put_public_blob(&blob, m);
    buffer_puts(&line, KEY_TYPE " ");
    put_base64(&line, &blob);
    if (*comment)
        buffer_printf(&line, " %s", comment);
    return buffer_steal(&line);
}

/* A line break in a comment would be a second line of authorized_keys. */
static int check_comment(const char *comment, struct error *err) {
    size_t len = strlen(comment);
    if (len > COMMENT_MAX)
        return error_set(err, ERR_USAGE, "key comment", "longer than %d bytes", COMMENT_MAX);
    for (const char *c = comment; *c; c++)
        if (iscntrl((unsigned char)*c))
            return error_set(err, ERR_USAGE, "key comment", "has a control character");
    return 0;
}

int keypair_derive(const struct secret *s, const char *purpose, const char *comment, struct keypair *ret,
                   struct error *err) {
    if (check_comment(comment, err))
        return -1;
    struct material m;
    int r = (derive_seed(s, purpose, &m) || derive_public(&m)) ? -1 : 0;
    if (r < 0)
        crypto_error(err, ERR_INTERNAL, purpose, "cannot derive an SSH key");
    else
        *ret = (struct keypair){.private_pem = private_pem(&m, comment), .public_line = public_line(&m, comment)};
    OPENSSL_cleanse(&m, sizeof m);
    return r;
}

void keypair_free(struct keypair *k) {
    if (!k)
        return;
    if (k->private_pem)
        OPENSSL_cleanse(k->private_pem, strlen(k->private_pem));
    free(k->private_pem);
    free(k->public_line);
    *k = (struct keypair){0};
}
