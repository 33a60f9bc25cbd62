/* cloud-init's data for the VMware data source: guestinfo.metadata and .userdata, each with its .encoding. Never a
 * CustomizationSpec: both at once overwrite each other (terraform-provider-vsphere#1298). */
#include <stdlib.h>
#include <string.h>

#define ZLIB_CONST
#include <zlib.h>

#include "drivers/vsphere/vsphere_priv.h"

/* Longer texts are compressed. */
#define PLAIN_MAX ((size_t)3 << 10)
/* A guest gets no value of 64 KiB or more: open-vm-tools lib/include/guest_msg_def.h, GUESTMSG_MAX_IN_SIZE. The rest is
 * for the words around it. */
#define VALUE_MAX (((size_t)64 << 10) - 256)

/* Room for all of it at once: a buffer that grows leaves copies behind that nobody wipes. */
static void put_base64(const unsigned char *bytes, size_t n, struct buffer *ret) {
    if (!buffer_reserve(ret, (n + 2) / 3 * 4))
        return; /* past the buffer's ceiling: it tells */
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < n; i += 3) {
        unsigned v = (unsigned)bytes[i] << 16 | (i + 1 < n ? (unsigned)bytes[i + 1] << 8 : 0) |
                     (i + 2 < n ? (unsigned)bytes[i + 2] : 0);
        char four[4] = {digits[v >> 18], digits[v >> 12 & 63], i + 1 < n ? digits[v >> 6 & 63] : '=',
                        i + 2 < n ? digits[v & 63] : '='};
        buffer_append(ret, four, sizeof four);
    }
}

static void wipe(struct buffer *b) {
    if (b->data)
        explicit_bzero(b->data, b->cap);
    buffer_free(b);
}

/* The same bytes for the same text: no time and no name in the header. */
static void compress_text(const char *text, size_t n, struct buffer *ret) {
    z_stream z = {.next_in = (const Bytef *)text, .avail_in = (uInt)n};
    if (n > UINT32_MAX / 2 || deflateInit2(&z, 9, Z_DEFLATED, 15 + 16 /* gzip */, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        abort(); /* out of memory: as xmalloc */
    size_t room = deflateBound(&z, (uLong)n);
    z.next_out = (Bytef *)buffer_reserve(ret, room);
    z.avail_out = (uInt)room;
    if (!z.next_out || deflate(&z, Z_FINISH) != Z_STREAM_END)
        abort(); /* deflateBound says that it fits */
    ret->len += z.total_out;
    deflateEnd(&z);
}

int vsphere_guestinfo(const char *what, const char *text, struct buffer *ret, const char **ret_encoding,
                      const char *subject, struct error *err) {
    size_t n = strlen(text);
    bool plain = n <= PLAIN_MAX;
    struct buffer packed = {0};
    if (!plain)
        compress_text(text, n, &packed);
    put_base64((const unsigned char *)(plain ? text : packed.data), plain ? n : packed.len, ret);
    wipe(&packed);
    *ret_encoding = plain ? "base64" : "gzip+base64";
    if (ret->len <= VALUE_MAX && !buffer_overflowed(ret))
        return 0;
    error_set(err, ERR_UNSUPPORTED, subject, "its %s is too large for guestinfo: %zu bytes of at most %zu, compressed",
              what, ret->len, VALUE_MAX);
    return error_mend(err, "make 'user-data:' shorter, or let it fetch the rest from somewhere");
}
