#include "nestor/identity.h"

#include <stdio.h>
#include <string.h>

#include "identity/identity_priv.h"

int lab_id_new(char id[LAB_ID_LEN + 1], struct error *err) {
    unsigned char bytes[LAB_ID_LEN / 2];
    if (random_fill(bytes, sizeof bytes, err))
        return -1;
    hex_encode(bytes, sizeof bytes, id);
    return 0;
}

/* SHA-256 of purpose, lab id and path. The NULs between them keep ("ab", "c") apart from ("a", "bc"); the purpose
 * keeps the UUID from telling the MAC address. */
static void derive(const char *purpose, const char *lab_id, const char *path, unsigned char out[DIGEST_LEN]) {
    cleanup_buffer struct buffer b = {0};
    buffer_append(&b, purpose, strlen(purpose) + 1);
    buffer_append(&b, lab_id, strlen(lab_id) + 1);
    buffer_puts(&b, path);
    sha256(b.data, b.len, out);
}

void machine_uuid(const char *lab_id, const char *path, char out[37]) {
    unsigned char h[DIGEST_LEN];
    derive("uuid", lab_id, path, h);
    h[6] = (unsigned char)((h[6] & 0x0f) | 0x80); /* version 8: RFC 9562 section 5.8 */
    h[8] = (unsigned char)((h[8] & 0x3f) | 0x80); /* variant 10: section 4.1 */
    char hex[33];
    hex_encode(h, 16, hex);
    snprintf(out, 37, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16, hex + 20);
}

void machine_mac(const char *lab_id, const char *path, char out[18]) {
    unsigned char h[DIGEST_LEN];
    derive("mac", lab_id, path, h);
    h[0] = (unsigned char)((h[0] & 0xfc) | 0x02); /* bit 0: multicast, off; bit 1: locally administered, on */
    snprintf(out, 18, "%02x:%02x:%02x:%02x:%02x:%02x", h[0], h[1], h[2], h[3], h[4], h[5]);
}

char *machine_native_name(const char *lab_id, const char *path) {
    char *name = xasprintf("%s-%.8s", path, lab_id);
    for (char *c = name; (c = strchr(c, '/')); c++)
        *c = '.';
    return name;
}
