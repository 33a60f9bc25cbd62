#include "spec/text.h"

#include <string.h>

/* Length of the UTF-8 character at s with `left` bytes to go, 0 if it is none (overlong forms and surrogates
 * included); *ret is its code point. Table 3-7 of the Unicode Standard. */
static size_t decode(const unsigned char *s, size_t left, uint32_t *ret) {
    static const struct {
        unsigned char mask, lead;
        uint32_t least;
    } forms[] = {{0x80, 0x00, 0}, {0xe0, 0xc0, 0x80}, {0xf0, 0xe0, 0x800}, {0xf8, 0xf0, 0x10000}};
    for (size_t n = 1; n <= 4; n++) {
        if ((s[0] & forms[n - 1].mask) != forms[n - 1].lead)
            continue;
        if (left < n)
            return 0;
        uint32_t c = s[0] & (unsigned char)~forms[n - 1].mask;
        for (size_t i = 1; i < n; i++) {
            if ((s[i] & 0xc0) != 0x80)
                return 0;
            c = c << 6 | (s[i] & 0x3f);
        }
        *ret = c;
        return c >= forms[n - 1].least && c <= 0x10ffff && (c & 0xfffff800) != 0xd800 ? n : 0;
    }
    return 0;
}

static bool is_control(uint32_t c) { return c < 0x20 || (c >= 0x7f && c < 0xa0); }

/* YAML 1.1, 5.1 "Character Set": what may stand in a stream beside the printable. U+0085 is a line break there. */
static bool is_yaml_control(uint32_t c) {
    return c == 0xfffe || c == 0xffff || (is_control(c) && c != '\t' && c != '\n' && c != '\r' && c != 0x85);
}

bool text_check(const char *text, size_t len, struct text_fault *ret) {
    const unsigned char *s = (const unsigned char *)text;
    struct origin at = {1, 1};
    for (size_t i = 0, n; i < len; i += n) {
        uint32_t c = 0;
        n = decode(s + i, len - i, &c);
        if (n == 0 || is_yaml_control(c)) {
            *ret = (struct text_fault){.at = at, .byte = s[i], .control = n > 0};
            return false;
        }
        if (c == '\n' || (c == '\r' && (i + 1 == len || s[i + 1] != '\n')))
            at = (struct origin){at.line + 1, 1};
        else if (!(i == 0 && c == 0xfeff)) /* a byte order mark takes no column */
            at.column++;
    }
    return true;
}

bool text_has_control(const char *s) {
    for (; *s; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7f)
            return true;
    return false;
}

void text_make_printable(char *s) {
    size_t left = strlen(s);
    unsigned char *p = (unsigned char *)s;
    for (size_t n; left > 0; p += n, left -= n) {
        uint32_t c = 0;
        n = decode(p, left, &c);
        if (n > 0 && !is_control(c))
            continue;
        n = n ? n : 1;
        memset(p, c == '\n' || c == '\t' ? ' ' : '?', n);
    }
}

const char *text_excerpt(struct arena *arena, const char *s, size_t max) {
    size_t login_len;
    const char *login = url_login(s, &login_len);
    if (login)
        s = arena_printf(arena, "%.*s...%s", (int)(login - s), s, login + login_len);
    if (strnlen(s, max + 1) <= max)
        return s;
    size_t n = max;
    while (n > 0 && ((unsigned char)s[n] & 0xc0) == 0x80)
        n--;
    return arena_printf(arena, "%.*s...", (int)n, s);
}
