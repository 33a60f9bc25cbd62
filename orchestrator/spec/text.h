/* Text that came with the file: is it UTF-8 that YAML allows, and how to show a piece of it to the user. */
#ifndef NESTOR_SPEC_TEXT_H
#define NESTOR_SPEC_TEXT_H

#include "nestor/lab.h"

struct text_fault {
    struct origin at;
    unsigned char byte; /* the first byte of what is wrong */
    bool control;       /* a control character; else not UTF-8 */
};
/* True when all of it may stand in a YAML file. */
bool text_check(const char *text, size_t len, struct text_fault *ret);

/* Whether a character of it is none that is printed: a line break, a tab, DEL. */
bool text_has_control(const char *s);

/* Replaces what a terminal would obey or cannot show, and a character cut in half by a full buffer. */
void text_make_printable(char *s);

/* At most max bytes of s, "..." for the rest, never half a character. "..." stands for the login of a URL, too: it may
 * be a password. */
const char *text_excerpt(struct arena *arena, const char *s, size_t max);

#endif
