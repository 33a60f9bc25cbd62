/* Text for a terminal. All that comes from outside (guests, servers, files) passes through text_put_safe, which is
 * the one place that decides what may reach the screen. */
#ifndef NESTOR_UI_TEXT_H
#define NESTOR_UI_TEXT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "nestor/buffer.h"

#define TEXT_NO_LIMIT SIZE_MAX

/* What a tree, a list or a bar is drawn with. */
struct glyphs {
    const char *good, *bad, *skipped, *waiting, *warning;
    const char *branch, *corner, *pipe, *blank; /* three columns each */
    const char *bar_full, *bar_empty, *ellipsis, *dash;
    const char *spinner; /* frames of one column each */
    unsigned frames;
};
/* UTF-8 or ASCII, as the locale's variables say. */
const struct glyphs *glyphs_get(bool utf8);
bool terminal_is_utf8(void);
/* Frame `at` of the spinner, as a C string into out[5]. */
void glyphs_spin(const struct glyphs *g, unsigned at, char out[5]);

/* Columns and lines of the terminal behind fd; 80 x 24 if it does not tell. */
void terminal_size(int fd, unsigned *ret_columns, unsigned *ret_lines);

/* Appends text as one line of at most max columns, ending in an ellipsis if it was cut. Control characters (C0, C1,
 * DEL), what reorders text (bidi overrides) and what is not UTF-8 are replaced. Returns the columns it takes. */
size_t text_put_safe(struct buffer *out, const char *text, size_t max, bool utf8);
/* As text_put_safe, then filled up with spaces to `width`. */
void text_put_padded(struct buffer *out, const char *text, size_t width, bool utf8);
/* Columns of text that is shown whole. */
size_t text_columns(const char *text);

/* Columns of the terminal that out is; TEXT_NO_LIMIT if it is none: what goes to a file is never broken. */
size_t text_width(FILE *out);
/* As text_put_safe, without an end: from column `column` of a line on, broken at spaces where the line has more than
 * `width` columns. It goes on `indent` columns from the left. */
void text_put_wrapped(struct buffer *out, const char *text, size_t column, size_t indent, size_t width, bool utf8);
/* The same, going on beneath its own beginning, if there is some room. */
void text_put_hanging(struct buffer *out, const char *text, size_t column, size_t width, bool utf8);

/* A text that is shown beside its subject, without the subject that it begins with: "q/a: it ended" is "it ended". */
const char *text_after_subject(const char *text, const char *subject);

/* Each line of text (at most max_lines, the last ones) behind `indent`. */
void text_put_block(struct buffer *out, const char *text, const char *indent, size_t max_lines, bool utf8);

/* A time for people, as their clock shows it: "2026-01-31 13:00:00 +0100" into out[32]. In JSON it is clock_iso8601. */
void time_format(int64_t unix_seconds, char out[32]);

/* "512 bytes", "1.4 GiB" into out[24]: for eyes; size_format (lab.h) is the exact one. */
void bytes_format(uint64_t bytes, char out[24]);

/* A JSON string from outside text: what is not UTF-8 is replaced instead of refused. */
json_t *text_json(const char *text);
/* null for NULL and "". */
json_t *text_json_or_null(const char *text);

#endif
