/* A terminal's screen, as far as progress uses one: tests feed it what was written and look at what is seen. */
#ifndef TESTS_UI_SCREEN_H
#define TESTS_UI_SCREEN_H

#include <stdbool.h>
#include <stddef.h>

#define SCREEN_COLUMNS 200
#define SCREEN_LINES 100

struct screen {
    unsigned columns, lines;
    unsigned x, y;
    bool cursor_hidden, no_wrap;
    char cells[SCREEN_LINES][SCREEN_COLUMNS][5]; /* a character each; "" is blank */
    char rest[64];                               /* of a character or sequence that a read has cut */
    size_t nrest;
    char text[SCREEN_LINES * (SCREEN_COLUMNS * 4 + 1) + 1];
};
void screen_begin(struct screen *s, unsigned columns, unsigned lines);
/* Bytes as a program wrote them. An escape sequence it does not know fails the test. */
void screen_feed(struct screen *s, const char *bytes, size_t n);
/* What is seen, lines without trailing blanks, empty lines at the end left out. Borrowed until the next call. */
const char *screen_text(struct screen *s);

#endif
