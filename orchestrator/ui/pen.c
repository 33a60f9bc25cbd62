#include "ui/pen.h"

#define BAR_COLUMNS 20

void pen_line(struct pen *p) { p->left = p->look->columns > 1 ? p->look->columns - 1 : 1; }

/* Blanks at the end of a line would make it longer than it looks, and wrap when the terminal is made narrower. */
void pen_end(struct pen *p) {
    while (p->out->len && p->out->data[p->out->len - 1] == ' ')
        p->out->len--;
    buffer_putc(p->out, '\n');
    pen_line(p);
}

void pen_put(struct pen *p, enum tint how, const char *text) {
    if (!p->left || !*text)
        return;
    buffer_puts(p->out, tint(p->look->color, how));
    p->left -= text_put_safe(p->out, text, p->left, p->look->utf8);
    if (how != TINT_NONE)
        buffer_puts(p->out, tint_end(p->look->color));
}

void pen_put_padded(struct pen *p, enum tint how, const char *text, size_t width) {
    size_t before = p->left;
    cleanup_buffer struct buffer cut = {0};
    text_put_safe(&cut, text, width, p->look->utf8);
    pen_put(p, how, buffer_str(&cut));
    for (size_t used = before - p->left; used < width && p->left; used++, p->left--)
        buffer_putc(p->out, ' ');
}

unsigned share_of(uint64_t done, uint64_t total, unsigned parts) {
    return done >= total ? parts : (unsigned)((double)done / (double)total * parts);
}

void pen_put_bar(struct pen *p, uint64_t done, uint64_t total) {
    unsigned full = share_of(done, total, BAR_COLUMNS);
    if (p->left <= BAR_COLUMNS)
        return;
    buffer_puts(p->out, tint(p->look->color, TINT_GOOD));
    for (unsigned i = 0; i < full; i++)
        buffer_puts(p->out, p->g->bar_full);
    buffer_puts(p->out, tint_end(p->look->color));
    buffer_puts(p->out, tint(p->look->color, TINT_DIM));
    for (unsigned i = full; i < BAR_COLUMNS; i++)
        buffer_puts(p->out, p->g->bar_empty);
    buffer_puts(p->out, tint_end(p->look->color));
    p->left -= BAR_COLUMNS;
}
