/* Which machines the live picture shows. */
#ifndef NESTOR_UI_CROWD_H
#define NESTOR_UI_CROWD_H

#include "ui/progress.h"

enum condition { WAITING, RUNNING, READY, FAILED, SKIPPED };
enum condition condition_of(const struct board_row *row);

struct picture {
    const struct board *b;
    int64_t now;
    bool crowd;
    size_t name_columns;
    bool *shown; /* per row */
};
/* All, if there is room. Else those being worked on, what failed (at most half of it), and what ended last. Fills
 * shown, which the caller allocated, and crowd. */
void picture_choose(struct picture *v, const struct look *look);

#endif
