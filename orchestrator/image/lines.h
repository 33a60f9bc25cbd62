/* Follows what a program prints, while it runs: each line becomes an event and goes to a log file. */
#ifndef NESTOR_IMAGE_LINES_H
#define NESTOR_IMAGE_LINES_H

#include <pthread.h>
#include <stdbool.h>

#include "nestor/error.h"
#include "nestor/event.h"

#define LINE_MAX_LEN 256

struct lines {
    int write_fd; /* what the program prints is to be copied here; only lines_finish closes it */
    int read_fd, log_fd;
    struct event_sink *sink;
    pthread_t thread;
    bool running;
    /* The thread's own until lines_finish. */
    char line[LINE_MAX_LEN + 1], last[LINE_MAX_LEN + 1];
    size_t len;
};

/* On failure lines_end may be called all the same. The struct must not move. */
int lines_begin(struct lines *lines, const char *log, struct event_sink *sink, struct error *err) NESTOR_CHECKED;
/* The program has ended: takes what is left of its output. */
void lines_finish(struct lines *lines);
/* The last line that was not empty, printable; after lines_finish. */
const char *lines_last(const struct lines *lines);
void lines_end(struct lines *lines);

#endif
