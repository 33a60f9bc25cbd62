/* The inside of progress: what has been told so far (the board), and the two ways to show it. The board is plain
 * data, changed by events; drawing it is a pure function of board, time and size, so both are tested without a
 * terminal or a clock. */
#ifndef NESTOR_UI_PROGRESS_H
#define NESTOR_UI_PROGRESS_H

#include "nestor/event.h"
#include "nestor/plan.h"
#include "plan/index.h"
#include "ui/text.h"
#include "ui/tree.h"
#include "ui/ui.h"

/* A step under way. */
struct active {
    struct active *next; /* oldest first */
    char step[16];
    char text[96]; /* the template of an image, else the reason */
    char note[96]; /* what it says it is doing, "" */
    int64_t started;
    int64_t next_beat; /* plain: when to say that it still runs */
    uint64_t done, total;
    unsigned tenths; /* plain: how many tenths were told */
    bool measured;   /* its own progress was seen, with its path */
    bool same;       /* its reason is the one of the step before it */
};

/* A machine, or a host: what images and networks are worked on for. */
struct board_row {
    char *path;
    struct active *active;
    uint32_t todo;   /* its own steps not ended yet: nobody says "ready" before 0 */
    char last[16];   /* the step that ended last */
    char why[96];    /* the reason of the step that began last */
    int64_t started; /* its first step; 0: not begun */
    int64_t worked;  /* from its first step to the end of its last one, ms */
    uint64_t ended;  /* counts up over the board: which ended last */
    bool failed, skipped;
    bool interrupted; /* by the user: not done, but no failure either */
    char *cause;      /* of its first failure; NULL */
};

struct board {
    struct board_row *rows;
    size_t n, cap;
    struct path_index index;
    struct tree tree; /* of the rows; rebuilt when one is added */
    char lab[64], verb[16];
    int64_t began;
    size_t steps, done, failed, skipped; /* steps: 0 if unknown; skipped: with the interrupted ones */
    uint64_t endings;
    bool over;
};

void board_plan(struct board *b, const struct plan *plan);
/* Takes one event in. Returns the step it is about, if it goes on; NULL otherwise. Borrowed until the next event. */
struct active *board_take(struct board *b, const struct event *e);
/* A step that ended because the user wished so. */
bool was_interrupted(const struct event *e);
struct board_row *board_find(struct board *b, const char *path);
void board_free(struct board *b);

struct look {
    unsigned columns, lines; /* of the terminal */
    unsigned frame;          /* of the spinner */
    bool color, utf8;
    bool last; /* the picture that stays: no bound by the terminal's size */
    bool stopping;
};
/* The whole picture; each line ends in '\n' and fits into columns, all lines together into lines - 1. */
void live_draw(const struct board *b, int64_t now, const struct look *look, struct buffer *out);
/* A line that stays above the picture: warnings and notices; nothing for other events. */
void live_message(const struct event *e, const struct look *look, struct buffer *out);

/* The plain line of an event, nothing if it has none. `active` as board_take returned it. */
void plain_event(const struct board *b, const struct event *e, struct active *active, bool quiet,
                 const struct look *look, struct buffer *out);
/* "still waiting" lines for what has run for long. */
void plain_beats(struct board *b, int64_t now, const struct look *look, struct buffer *out);

/* "3.1s", "41s", "1:04", "1:02:03" into out[24]. */
void elapsed_format(int64_t ms, char out[24]);
/* How many of so many parts are done; all of them from total on. */
unsigned share_of(uint64_t done, uint64_t total, unsigned parts);
/* "62 %" with both sizes, or what is known of them. */
void put_amount(struct buffer *out, const struct active *a);

#endif
