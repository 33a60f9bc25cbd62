#include "ui_screen.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

void screen_begin(struct screen *s, unsigned columns, unsigned lines) {
    memset(s, 0, sizeof *s);
    s->columns = columns;
    s->lines = lines;
}

static void line_feed(struct screen *s) {
    if (++s->y < s->lines)
        return;
    s->y = s->lines - 1;
    memmove(s->cells[0], s->cells[1], sizeof s->cells[0] * (s->lines - 1));
    memset(s->cells[s->lines - 1], 0, sizeof s->cells[0]);
}

static void erase_line(struct screen *s, unsigned y, unsigned from) {
    for (unsigned x = from; x < s->columns; x++)
        s->cells[y][x][0] = '\0';
}

static void erase_below(struct screen *s) {
    erase_line(s, s->y, s->x);
    for (unsigned y = s->y + 1; y < s->lines; y++)
        erase_line(s, y, 0);
}

static void put(struct screen *s, const char *bytes, size_t n) {
    if (s->x == s->columns && s->no_wrap) {
        s->x--;
    } else if (s->x == s->columns) {
        s->x = 0;
        line_feed(s);
    }
    memcpy(s->cells[s->y][s->x], bytes, n);
    s->cells[s->y][s->x++][n] = '\0';
}

/* CSI sequences: ECMA-48, and DEC's private modes 7 (wrap) and 25 (cursor). `text` ends with the sequence. */
static void obey(struct screen *s, const char *text) {
    char *end;
    bool private = text[0] == '?';
    unsigned long number = strtoul(text + private, &end, 10);
    if (!private && *end == 'm')
        return;
    if (!private && *end == 'A')
        s->y -= number < s->y ? (unsigned)number : s->y;
    else if (!private && *end == 'K')
        erase_line(s, s->y, s->x);
    else if (!private && *end == 'J')
        erase_below(s);
    else if (private && number == 25 && (*end == 'h' || *end == 'l'))
        s->cursor_hidden = *end == 'l';
    else if (private && number == 7 && (*end == 'h' || *end == 'l'))
        s->no_wrap = *end == 'l';
    else
        fail_msg("unknown escape sequence ESC [ %s", text);
}

/* Bytes of what begins here; 0 if its end has not come yet. */
static size_t length_of(const char *bytes, size_t n) {
    unsigned char c = (unsigned char)bytes[0];
    size_t length = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
    if (c != '\033')
        return length <= n ? length : 0;
    if (n > 1 && bytes[1] != '[')
        fail_msg("unknown escape sequence ESC %c", bytes[1]);
    for (size_t i = 2; i < n; i++)
        if (bytes[i] >= 0x40 && bytes[i] <= 0x7e)
            return i + 1;
    return 0;
}

static void take(struct screen *s, const char *bytes, size_t n) {
    unsigned char c = (unsigned char)bytes[0];
    char sequence[32] = "";
    if (c == '\033' && n - 2 < sizeof sequence)
        obey(s, memcpy(sequence, bytes + 2, n - 2));
    else if (c == '\r')
        s->x = 0;
    else if (c == '\n')
        line_feed(s); /* the terminal's line discipline has put a '\r' before it */
    else if (c < 0x20 || c == 0x7f)
        fail_msg("unknown control character %#x", c);
    else
        put(s, bytes, n);
}

void screen_feed(struct screen *s, const char *bytes, size_t n) {
    char *all = malloc(s->nrest + n);
    size_t length, at = 0, end = s->nrest + n;
    memcpy(all, s->rest, s->nrest);
    memcpy(all + s->nrest, bytes, n);
    for (; at < end && (length = length_of(all + at, end - at)); at += length)
        take(s, all + at, length);
    s->nrest = end - at;
    assert_true(s->nrest <= sizeof s->rest);
    memcpy(s->rest, all + at, s->nrest);
    free(all);
}

/* One line without its trailing blanks; returns where it ends. */
static char *put_line(const struct screen *s, unsigned y, char *out) {
    char *end = out;
    for (unsigned x = 0; x < s->columns; x++) {
        const char *cell = s->cells[y][x];
        out = stpcpy(out, cell[0] ? cell : " ");
        if (cell[0] && strcmp(cell, " ") != 0)
            end = out;
    }
    return end;
}

const char *screen_text(struct screen *s) {
    char *out = s->text, *end = s->text;
    for (unsigned y = 0; y < s->lines; y++) {
        char *line = out;
        out = put_line(s, y, out);
        bool empty = out == line;
        *out++ = '\n';
        if (!empty)
            end = out;
    }
    *end = '\0';
    return s->text;
}
