#include "transport/ssh/hostkey.h"

#include <openssl/evp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define SSH_MSG_KEXINIT 20

struct slice {
    const unsigned char *p;
    size_t len;
};

static bool skip(struct slice *s, size_t n) {
    if (n > s->len)
        return false;
    s->p += n;
    s->len -= n;
    return true;
}

static bool take_u32(struct slice *s, uint32_t *ret) {
    const unsigned char *p = s->p;
    if (!skip(s, 4))
        return false;
    *ret = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
    return true;
}

/* An SSH "string": length and bytes (RFC 4251, 5). */
static bool take_string(struct slice *s, struct slice *ret) {
    uint32_t len;
    if (!take_u32(s, &len))
        return false;
    *ret = (struct slice){s->p, len};
    return skip(s, len);
}

static bool slice_is(struct slice s, const char *text) {
    return s.len == strlen(text) && memcmp(s.p, text, s.len) == 0;
}

static int refuse(struct error *err, const char *subject, const char *why) {
    error_set(err, ERR_HOST_KEY_UNKNOWN, subject, "%s, so nobody could prove to be this machine", why);
    return error_mend(err, "run 'nestor down' and 'nestor up' for this machine: it then gets a host key nestor knows");
}

/* EVP_DecodeBlock counts the padding as zero bytes; this does not. */
static bool decode_base64(const char *text, size_t len, struct hostkey *ret) {
    if (len == 0 || len % 4 || len / 4 * 3 > sizeof ret->blob)
        return false;
    int n = EVP_DecodeBlock(ret->blob, (const unsigned char *)text, (int)len);
    if (n < 0)
        return false;
    ret->blob_len = (size_t)n - (text[len - 1] == '=') - (text[len - 2] == '=');
    return true;
}

int hostkey_parse(const char *line, struct hostkey *ret, const char *subject, struct error *err) {
    struct hostkey key = {0};
    if (!line)
        return refuse(err, subject, "no host key is known for it");
    size_t type_len = strcspn(line, " ");
    const char *base64 = line + type_len + strspn(line + type_len, " ");
    if (type_len >= sizeof key.type || !decode_base64(base64, strcspn(base64, " \r\n"), &key))
        return refuse(err, subject, "its recorded host key is not a public key");
    memcpy(key.type, line, type_len);
    struct slice blob = {key.blob, key.blob_len}, inner;
    if (!take_string(&blob, &inner) || !slice_is(inner, key.type))
        return refuse(err, subject, "its recorded host key is damaged");
    *ret = key;
    return 0;
}

bool hostkey_equal(const struct hostkey *pinned, const char *blob, size_t len) {
    return blob && len == pinned->blob_len && memcmp(blob, pinned->blob, len) == 0;
}

static bool list_has(struct slice list, const char *name) {
    size_t len = strlen(name);
    while (list.len > 0) {
        const unsigned char *comma = memchr(list.p, ',', list.len);
        size_t n = comma ? (size_t)(comma - list.p) : list.len;
        if (n == len && memcmp(list.p, name, n) == 0)
            return true;
        skip(&list, comma ? n + 1 : n);
    }
    return false;
}

static bool skip_line(struct slice *s) {
    const unsigned char *newline = memchr(s->p, '\n', s->len);
    return newline && skip(s, (size_t)(newline - s->p) + 1);
}

bool hostkey_may_be_offered(const char *head, size_t len, const char *type) {
    struct slice s = {(const unsigned char *)head, len}, kex, host_keys;
    uint32_t packet_len;
    if (!skip_line(&s) || !take_u32(&s, &packet_len) || s.len < 2 || s.p[1] != SSH_MSG_KEXINIT)
        return true;
    /* padding length, message number, 16 bytes of cookie, key exchange methods, host key algorithms */
    if (!skip(&s, 2 + 16) || !take_string(&s, &kex) || !take_string(&s, &host_keys))
        return true;
    return list_has(host_keys, type);
}
