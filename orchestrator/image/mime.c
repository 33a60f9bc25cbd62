#include "image/mime.h"

#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "nestor/lab.h"

void mime_begin(struct mime *mime, struct buffer *out, const char *foreign) {
    *mime = (struct mime){.out = out};
    unsigned n = 0;
    do
        snprintf(mime->boundary, sizeof mime->boundary, "=nestor-%u", n++);
    while (strstr(foreign, mime->boundary));
    buffer_printf(out, "Content-Type: multipart/mixed; boundary=\"%s\"\nMIME-Version: 1.0\n", mime->boundary);
}

static void put_base64(struct buffer *out, const char *text) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *in = (const unsigned char *)text;
    size_t len = strlen(text);
    for (size_t i = 0; i < len; i += 3) {
        size_t have = len - i < 3 ? len - i : 3;
        uint32_t bits = (uint32_t)in[i] << 16 | (have > 1 ? (uint32_t)in[i + 1] << 8 : 0) | (have > 2 ? in[i + 2] : 0);
        char four[4];
        for (int d = 0; d < 4; d++)
            four[d] = digits[bits >> (18 - 6 * d) & 0x3f];
        memset(four + have + 1, '=', 3 - have);
        buffer_append(out, four, sizeof four);
        if (i % 57 == 54) /* 76 digits a line */
            buffer_putc(out, '\n');
    }
    buffer_putc(out, '\n');
}

static void put_delimiter(const struct mime *mime, const char *end) {
    buffer_printf(mime->out, "\n--%s%s\n", mime->boundary, end);
}

/* Base64, because cloud-init reads user-data as text: 8-bit characters in a part would reach the guest garbled
 * (Python's email package re-encodes them). What is a multi-part already is nested with its own headers. */
void mime_put_foreign(struct mime *mime, const char *name, const char *text) {
    const char *type = user_data_type(text);
    put_delimiter(mime, "");
    if (strcmp(type, USER_DATA_MULTIPART) == 0) {
        buffer_puts(mime->out, text + strspn(text, " \t\r\n"));
        return;
    }
    buffer_printf(mime->out,
                  "Content-Type: %s; charset=\"utf-8\"\nContent-Disposition: attachment; filename=\"%s\"\n"
                  "Content-Transfer-Encoding: base64\n\n",
                  type, name);
    put_base64(mime->out, text);
}

void mime_begin_cloud_config(struct mime *mime, const char *name, const char *merge) {
    put_delimiter(mime, "");
    buffer_printf(mime->out,
                  "Content-Type: text/cloud-config; charset=\"us-ascii\"\n"
                  "Content-Disposition: attachment; filename=\"%s\"\nX-Merge-Type: %s\n\n#cloud-config\n",
                  name, merge);
}

void mime_end(struct mime *mime) { put_delimiter(mime, "--"); }
