/* Writes the live picture one line after the other, never beyond the terminal's right edge. */
#ifndef NESTOR_UI_PEN_H
#define NESTOR_UI_PEN_H

#include "ui/progress.h"

struct pen {
    const struct look *look;
    const struct glyphs *g;
    struct buffer *out;
    size_t left; /* columns of the line */
};
void pen_line(struct pen *p); /* begins the first line */
void pen_end(struct pen *p);  /* ends a line and begins the next */
/* Text from anywhere: it is made safe, and cut where the line ends. */
void pen_put(struct pen *p, enum tint how, const char *text);
void pen_put_padded(struct pen *p, enum tint how, const char *text, size_t width);
void pen_put_bar(struct pen *p, uint64_t done, uint64_t total);

#endif
