/* Who is at the other end. One callback of OpenSSL decides inside the handshake, so that nothing of a request is ever
 * sent to somebody else, and notes which certificate was shown. */
#include <arpa/inet.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/sslerr.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "transport/https.h"

struct https_trust {
    enum { BY_CA, BY_THUMBPRINT, BY_NOTHING } by;
    unsigned char pinned[THUMBPRINT_LEN];
    X509_STORE *store; /* of the CAs that count, one for all connections */
    char *host;
};

/* --- what the user gave --- */

static int hex_value(char c) {
    const char *digits = "0123456789abcdef0123456789ABCDEF";
    const char *at = c ? strchr(digits, c) : NULL;
    return at ? (int)(at - digits) % 16 : -1;
}

/* How many bytes stand there, as pairs of hex digits with or without colons between; -1: something else does. */
static int read_hex(const char *text, unsigned char *out, int max) {
    int n = 0;
    while (*text) {
        if (n > 0 && *text == ':')
            text++;
        int high = hex_value(text[0]), low = high < 0 ? -1 : hex_value(text[1]);
        if (low < 0 || n == max)
            return -1;
        out[n++] = (unsigned char)(high * 16 + low);
        text += 2;
    }
    return n;
}

#define SHA1_LEN 20 /* what many consoles still show */

static int pin(struct https_trust *t, const char *text, const char *subject, struct error *err) {
    int n = read_hex(text, t->pinned, THUMBPRINT_LEN);
    if (n == THUMBPRINT_LEN)
        return 0;
    if (n == SHA1_LEN)
        error_set(err, ERR_USAGE, subject, "the thumbprint is one of SHA-1, which can be forged");
    else
        error_set(err, ERR_USAGE, subject, "the thumbprint is not 64 hex digits, with or without colons between bytes");
    return error_mend(err, "use the SHA-256 thumbprint: openssl x509 -noout -sha256 -fingerprint -in CERTIFICATE");
}

static int load_file(X509_STORE *store, const char *path, const char *subject, struct error *err) {
    if (access(path, R_OK)) {
        error_set_errno(err, errno, subject, "cannot read the CA file %s", path);
        return error_mend(err, "check tls: { ca: FILE }");
    }
    if (X509_STORE_load_file(store, path))
        return 0;
    ERR_clear_error();
    error_set(err, ERR_USAGE, subject, "the CA file %s holds no certificate in PEM form", path);
    return error_mend(err, "check tls: { ca: FILE }");
}

static int load_cas(struct https_trust *t, const char *path, const char *subject, struct error *err) {
    t->store = X509_STORE_new();
    /* As libcurl does it: what the file holds is trusted, be it a root or not. */
    if (!t->store || !X509_STORE_set_flags(t->store, X509_V_FLAG_TRUSTED_FIRST | X509_V_FLAG_PARTIAL_CHAIN))
        return error_set(err, ERR_INTERNAL, subject, "OpenSSL cannot make a store of certificates");
    if (path)
        return load_file(t->store, path, subject, err);
    return X509_STORE_set_default_paths(t->store)
               ? 0
               : error_set(err, ERR_INTERNAL, subject, "OpenSSL cannot use the system's CA certificates");
}

void https_trust_free(struct https_trust *t) {
    if (!t)
        return;
    X509_STORE_free(t->store);
    free(t->host);
    free(t);
}

bool https_trust_names(const struct https_trust *t) { return t->by == BY_CA; }

static void trust_freep(struct https_trust **t) { https_trust_free(*t); }

int https_trust_new(const struct http_trust *given, const char *host, const char *subject, struct https_trust **ret,
                    struct error *err) {
    __attribute__((cleanup(trust_freep))) struct https_trust *t = xcalloc(1, sizeof *t);
    t->by = given->insecure ? BY_NOTHING : given->thumbprint ? BY_THUMBPRINT : BY_CA;
    t->host = xstrdup(host);
    if (t->by == BY_THUMBPRINT && pin(t, given->thumbprint, subject, err))
        return -1;
    if (t->by == BY_CA && load_cas(t, given->ca, subject, err))
        return -1;
    *ret = steal_ptr(&t);
    return 0;
}

/* --- what the server shows --- */

static bool digest(const X509 *leaf, unsigned char out[THUMBPRINT_LEN]) {
    unsigned n = 0;
    return X509_digest(leaf, EVP_sha256(), out, &n) == 1 && n == THUMBPRINT_LEN;
}

static bool is_pinned(const struct https_trust *t, const X509 *leaf) {
    unsigned char shown[THUMBPRINT_LEN];
    return digest(leaf, shown) && CRYPTO_memcmp(shown, t->pinned, sizeof shown) == 0;
}

static void thumbprint_text(const unsigned char bytes[THUMBPRINT_LEN], char out[THUMBPRINT_TEXT]) {
    for (int i = 0; i < THUMBPRINT_LEN; i++)
        snprintf(out + 3 * i, 4, "%02X%s", bytes[i], i + 1 < THUMBPRINT_LEN ? ":" : "");
}

static void note_name(struct https_proof *p, const X509 *leaf) {
    const X509_NAME *subject = X509_get_subject_name(leaf);
    int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    unsigned char *text = NULL;
    int n = at < 0 ? -1 : ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
    size_t len = 0;
    for (; (int)len < n && len < sizeof p->name - 1; len++)
        p->name[len] = text[len] > ' ' && text[len] < 0x7f && text[len] != '"' ? (char)text[len] : '?';
    p->name[len] = '\0';
    OPENSSL_free(text);
}

static void note_certificate(struct https_proof *p, const X509 *leaf) {
    unsigned char shown[THUMBPRINT_LEN] = {0};
    digest(leaf, shown);
    thumbprint_text(shown, p->thumbprint);
    note_name(p, leaf);
}

/* In place of OpenSSL's own verification (SSL_CTX_set_cert_verify_callback(3)). */
static int verify(X509_STORE_CTX *chain, void *data) {
    struct https_proof *p = data;
    const struct https_trust *t = p->trust;
    X509 *leaf = X509_STORE_CTX_get0_cert(chain);
    if (t->by == BY_CA) {
        p->proved = X509_verify_cert(chain) == 1;
    } else {
        p->proved = t->by == BY_NOTHING || is_pinned(t, leaf);
        X509_STORE_CTX_set_error(chain, p->proved ? X509_V_OK : X509_V_ERR_CERT_REJECTED);
    }
    p->refused = !p->proved;
    p->reason = X509_STORE_CTX_get_error(chain);
    note_certificate(p, leaf);
    return p->proved;
}

/* A resumed session shows no certificate. It holds the one that was verified when it began, in this process. */
static bool resumed_is_proved(const struct https_trust *t, const SSL *ssl) {
    const X509 *leaf = SSL_get0_peer_certificate(ssl);
    if (t->by == BY_NOTHING)
        return true;
    return leaf && SSL_get_verify_result(ssl) == X509_V_OK && (t->by == BY_CA || is_pinned(t, leaf));
}

static bool is_garbled(unsigned long e) {
    return e && !(ERR_GET_LIB(e) == ERR_LIB_SSL && ERR_GET_REASON(e) == SSL_R_UNEXPECTED_EOF_WHILE_READING);
}

static void watch_handshake(const SSL *ssl, int where, int ret) {
    struct https_proof *p = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    if ((where & SSL_CB_HANDSHAKE_DONE) && SSL_session_reused(ssl))
        p->proved = resumed_is_proved(p->trust, ssl);
    if (where & SSL_CB_HANDSHAKE_DONE)
        p->on_done(p->data);
    if (where == SSL_CB_CONNECT_EXIT && ret <= 0)
        p->garbled = is_garbled(ERR_peek_error());
}

/* --- the handshake --- */

static bool want_name(SSL_CTX *ctx, const char *host) {
    X509_VERIFY_PARAM *param = SSL_CTX_get0_param(ctx);
    unsigned char address[sizeof(struct in6_addr)];
    if (inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1)
        return X509_VERIFY_PARAM_set1_ip_asc(param, host);
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return X509_VERIFY_PARAM_set1_host(param, host, 0);
}

bool https_proof_begin(struct https_proof *p, void *ssl_ctx) {
    SSL_CTX *ctx = ssl_ctx;
    *p = (struct https_proof){.trust = p->trust, .on_done = p->on_done, .data = p->data};
    /* libcurl turns tickets off unless asked not to (lib/vtls/openssl.c); with TLS 1.2 they are what is resumed. */
    SSL_CTX_clear_options(ctx, SSL_OP_NO_TICKET);
    SSL_CTX_set_app_data(ctx, p);
    SSL_CTX_set_info_callback(ctx, watch_handshake);
    SSL_CTX_set_cert_verify_callback(ctx, verify, p);
    /* Always: without it OpenSSL calls verify() and goes on whatever it says. */
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    if (p->trust->by != BY_CA)
        return true;
    return SSL_CTX_set1_verify_cert_store(ctx, p->trust->store) && want_name(ctx, p->trust->host);
}

/* --- what to say of it --- */

static int pin_error(const struct https_proof *p, const char *subject, struct error *err) {
    char pinned[THUMBPRINT_TEXT];
    thumbprint_text(p->trust->pinned, pinned);
    error_set(err, ERR_AUTH, subject,
              "it shows another certificate than the pinned one: SHA-256 thumbprint %s (CN \"%s\"), not %s",
              p->thumbprint, p->name, pinned);
    return error_mend(err,
                      "if the server has a new certificate, compare this thumbprint with what its own console shows, "
                      "then set tls: { thumbprint: \"%s\" }; if it has not, somebody stands in between",
                      p->thumbprint);
}

int https_proof_error(const struct https_proof *p, const char *why, const char *subject, struct error *err) {
    if (!p->thumbprint[0])
        return error_set(err, ERR_AUTH, subject, "it showed no certificate that proves who it is");
    if (p->trust->by == BY_THUMBPRINT)
        return pin_error(p, subject, err);
    error_set(err, ERR_AUTH, subject,
              "its certificate does not prove that it is %.100s (%.100s): CN \"%s\", SHA-256 thumbprint %s",
              p->trust->host, p->refused ? X509_verify_cert_error_string(p->reason) : why, p->name, p->thumbprint);
    return error_mend(err,
                      "compare the thumbprint with what the server's own console shows, then set "
                      "tls: { thumbprint: \"%s\" }, or name the CA that signed it: tls: { ca: FILE }",
                      p->thumbprint);
}
