/* What a view prints, as a string. */
#ifndef TESTS_UI_CAPTURE_H
#define TESTS_UI_CAPTURE_H

#include <stdio.h>

/* Everything print writes; caller frees. */
char *ui_capture(void (*print)(void *data, FILE *out), void *data);

/* The locale decides between UTF-8 and ASCII. */
void ui_speak_utf8(void);
void ui_speak_ascii(void);

/* Fails the test if text has anything a terminal would obey: controls (but '\n'), C1 controls, bidi overrides. */
void ui_assert_harmless(const char *text);

#endif
