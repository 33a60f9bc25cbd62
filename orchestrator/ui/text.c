#include "ui/text.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "ui/ui.h"

static const struct glyphs unicode = {
    .good = "✔",
    .bad = "✖",
    .skipped = "-",
    .waiting = "·",
    .warning = "!",
    .branch = "├─ ",
    .corner = "└─ ",
    .pipe = "│  ",
    .blank = "   ",
    .bar_full = "━",
    .bar_empty = "─",
    .ellipsis = "…",
    .dash = "–",
    .spinner = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏",
    .frames = 10,
};
static const struct glyphs ascii = {
    .good = "+",
    .bad = "x",
    .skipped = "-",
    .waiting = ".",
    .warning = "!",
    .branch = "|- ",
    .corner = "`- ",
    .pipe = "|  ",
    .blank = "   ",
    .bar_full = "#",
    .bar_empty = "-",
    .ellipsis = "~",
    .dash = "-",
    .spinner = "|/-\\",
    .frames = 4,
};

const struct glyphs *glyphs_get(bool utf8) { return utf8 ? &unicode : &ascii; }

void glyphs_spin(const struct glyphs *g, unsigned at, char out[5]) {
    size_t width = strlen(g->spinner) / g->frames;
    memcpy(out, g->spinner + width * (at % g->frames), width);
    out[width] = '\0';
}

/* The variables, not setlocale: over SSH they tell the terminal's encoding even where that locale is not installed. */
bool terminal_is_utf8(void) {
    static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    const char *locale = NULL;
    for (size_t i = 0; i < sizeof names / sizeof *names && !(locale && *locale); i++)
        locale = getenv(names[i]);
    return locale && (strcasestr(locale, "utf-8") || strcasestr(locale, "utf8"));
}

void terminal_size(int fd, unsigned *ret_columns, unsigned *ret_lines) {
    struct winsize size = {0};
    if (ioctl(fd, TIOCGWINSZ, &size) != 0)
        size = (struct winsize){0};
    *ret_columns = size.ws_col ? size.ws_col : 80;
    *ret_lines = size.ws_row ? size.ws_row : 24;
}

/* --- code points --- */

#define BAD_CHARACTER UINT32_MAX

/* Takes one code point off *s. BAD_CHARACTER, one byte consumed: not UTF-8 (RFC 3629: shortest form, no surrogates). */
static uint32_t take_character(const char **s) {
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    const unsigned char *at = (const unsigned char *)*s;
    unsigned more = at[0] < 0x80 ? 0 : (at[0] & 0xe0) == 0xc0 ? 1 : (at[0] & 0xf0) == 0xe0 ? 2 : 3;
    ++*s;
    if (at[0] >= 0xf8 || (at[0] & 0xc0) == 0x80)
        return BAD_CHARACTER;
    uint32_t c = more ? at[0] & (0x3fu >> more) : at[0];
    for (unsigned i = 1; i <= more; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return BAD_CHARACTER;
        c = c << 6 | (at[i] & 0x3f);
    }
    if (c < least[more] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
        return BAD_CHARACTER;
    *s += more;
    return c;
}

/* How many columns a character takes where it is not one; -1: it may not reach a terminal. The wide ranges are those
 * of Unicode's EastAsianWidth.txt, coarsely. In order. */
static const struct {
    uint32_t first, last;
    int columns;
} widths[] = {
    {0x0000, 0x001f, -1}, {0x007f, 0x009f, -1}, {0x0300, 0x036f, 0},   {0x061c, 0x061c, -1},  {0x1100, 0x115f, 2},
    {0x200b, 0x200d, 0},  {0x200e, 0x200f, -1}, {0x2028, 0x202e, -1},  {0x2066, 0x2069, -1},  {0x2e80, 0xa4cf, 2},
    {0xac00, 0xd7a3, 2},  {0xf900, 0xfaff, 2},  {0xfe00, 0xfe0f, 0},   {0xfe30, 0xfe6f, 2},   {0xfeff, 0xfeff, -1},
    {0xff00, 0xff60, 2},  {0xffe0, 0xffe6, 2},  {0x1f300, 0x1faff, 2}, {0x20000, 0x3fffd, 2}, {0xe0000, 0xe0fff, -1},
};

static int columns_of(uint32_t c) {
    if (c == BAD_CHARACTER)
        return -1;
    for (size_t i = 0; i < sizeof widths / sizeof *widths && widths[i].first <= c; i++)
        if (c <= widths[i].last)
            return widths[i].columns;
    return 1;
}

/* --- lines --- */

static void put_ellipsis(struct buffer *out, size_t length_before_last, bool utf8) {
    out->len = length_before_last;
    buffer_puts(out, glyphs_get(utf8)->ellipsis);
}

size_t text_put_safe(struct buffer *out, const char *text, size_t max, bool utf8) {
    size_t columns = 0, kept = out->len; /* kept: where the ellipsis goes if the next character does not fit */
    while (*text && max) {
        const char *from = text;
        uint32_t c = take_character(&text);
        int width = columns_of(c);
        bool as_is = width >= 0 && (utf8 || c < 0x80);
        size_t takes = as_is ? (size_t)width : 1;
        if (columns + takes > max) {
            put_ellipsis(out, kept, utf8);
            return max;
        }
        if (columns + takes < max)
            kept = out->len + (as_is ? (size_t)(text - from) : 1);
        if (as_is)
            buffer_append(out, from, (size_t)(text - from));
        else
            buffer_putc(out, c == '\t' || c == '\n' || c == '\r' ? ' ' : '?');
        columns += takes;
    }
    return columns;
}

void text_put_padded(struct buffer *out, const char *text, size_t width, bool utf8) {
    for (size_t columns = text_put_safe(out, text, width, utf8); columns < width; columns++)
        buffer_putc(out, ' ');
}

size_t text_columns(const char *text) {
    size_t columns = 0;
    while (*text) {
        int width = columns_of(take_character(&text));
        columns += width < 0 ? 1 : (size_t)width;
    }
    return columns;
}

size_t text_width(FILE *out) {
    unsigned columns, lines;
    if (!isatty(fileno(out)))
        return TEXT_NO_LIMIT;
    terminal_size(fileno(out), &columns, &lines);
    return columns;
}

static void break_line(struct buffer *out, size_t indent) {
    while (out->len && out->data[out->len - 1] == ' ')
        out->data[--out->len] = '\0';
    buffer_printf(out, "\n%*s", (int)indent, "");
}

void text_put_wrapped(struct buffer *out, const char *text, size_t column, size_t indent, size_t width, bool utf8) {
    while (*text) {
        size_t len = strcspn(text, " \n");
        cleanup_free char *word = xstrndup(text, len);
        size_t columns = text_columns(word);
        if (column > indent && columns > width - (column < width ? column : width)) {
            break_line(out, indent);
            column = indent;
        }
        column += text_put_safe(out, word, TEXT_NO_LIMIT, utf8);
        for (text += len; *text == ' ' || *text == '\n'; text++, column++)
            buffer_putc(out, ' ');
    }
}

#define LEAST_ROOM 24
#define DEEP_INDENT 8

void text_put_hanging(struct buffer *out, const char *text, size_t column, size_t width, bool utf8) {
    bool has_room = column < width && width - column >= LEAST_ROOM;
    text_put_wrapped(out, text, column, has_room ? column : DEEP_INDENT, width, utf8);
}

const char *text_after_subject(const char *text, const char *subject) {
    size_t n = strlen(subject);
    return strncmp(text, subject, n) == 0 && strncmp(text + n, ": ", 2) == 0 ? text + n + 2 : text;
}

static size_t count_lines(const char *text) {
    size_t n = 0;
    for (; *text; text += strcspn(text, "\n"), text += *text == '\n')
        n++;
    return n;
}

void text_put_block(struct buffer *out, const char *text, const char *indent, size_t max_lines, bool utf8) {
    size_t n = count_lines(text);
    if (n > max_lines)
        buffer_printf(out, "%s(%zu earlier line%s)\n", indent, n - max_lines, n - max_lines == 1 ? "" : "s");
    for (; *text; n--) {
        size_t len = strcspn(text, "\n");
        if (n <= max_lines) {
            cleanup_free char *line = xstrndup(text, len);
            buffer_puts(out, indent);
            text_put_safe(out, line, TEXT_NO_LIMIT, utf8);
            buffer_putc(out, '\n');
        }
        text += len + (text[len] == '\n');
    }
}

void print_safe(const char *text, FILE *out) {
    cleanup_buffer struct buffer line = {0};
    text_put_safe(&line, text, TEXT_NO_LIMIT, terminal_is_utf8());
    fputs(buffer_str(&line), out);
}

/* --- colour --- */

const char *tint(bool color, enum tint tint) {
    static const char *const codes[] = {
        [TINT_NONE] = "",         [TINT_GOOD] = "\033[32m", [TINT_BAD] = "\033[31m",
        [TINT_WARN] = "\033[33m", [TINT_DIM] = "\033[2m",   [TINT_BOLD] = "\033[1m",
    };
    return color ? codes[tint] : "";
}

const char *tint_end(bool color) { return color ? "\033[0m" : ""; }

void time_format(int64_t unix_seconds, char out[32]) {
    struct tm tm;
    time_t t = (time_t)unix_seconds;
    if (!localtime_r(&t, &tm) || strftime(out, 32, "%Y-%m-%d %H:%M:%S %z", &tm) == 0)
        out[0] = '\0';
}

void bytes_format(uint64_t bytes, char out[24]) {
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB"};
    double n = (double)bytes;
    size_t unit = 0;
    for (; n >= 1024 && unit + 1 < sizeof units / sizeof *units; unit++)
        n /= 1024;
    snprintf(out, 24, "%.*f %s", unit > 0, n, units[unit]);
}

/* --- JSON --- */

json_t *text_json(const char *text) {
    json_t *whole = json_string(text);
    if (whole)
        return whole;
    cleanup_buffer struct buffer clean = {0};
    while (*text) {
        const char *from = text;
        if (take_character(&text) == BAD_CHARACTER)
            buffer_puts(&clean, "\xef\xbf\xbd"); /* U+FFFD, the replacement character */
        else
            buffer_append(&clean, from, (size_t)(text - from));
    }
    return json_string(buffer_str(&clean));
}

json_t *text_json_or_null(const char *text) { return text && *text ? text_json(text) : json_null(); }

/* ASCII only: a C1 control or a bidi override in a string is escaped, so that JSON is safe to look at, too. */
void json_print(json_t *json, FILE *out) {
    json_dumpf(json, out, JSON_INDENT(2) | JSON_ENSURE_ASCII);
    fputc('\n', out);
    json_decref(json);
}
